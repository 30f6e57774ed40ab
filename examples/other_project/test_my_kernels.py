"""Each backward is held to a reference that is written as one thinks of it, loops and all."""

import torch
from my_kernels import RMSNorm, ToGrid, back_swish, recurrence, swish


def rms_norm(x, w, eps):
    r = torch.linalg.vector_norm(x, dim=-1) / x.shape[-1] ** 0.5
    r = torch.hypot(r, torch.full_like(r, eps**0.5))
    return w * (x / r[..., None]), r


def test_rms_norm(check_backward):
    check_backward(
        RMSNorm,
        reference=rms_norm,
        samples={
            "rows": lambda rand, n=11, k=7: (rand(n, k), rand(k), 0.1),
            "batched": lambda rand, m=3, n=11, k=7: (rand(m, n, k), rand(k), 0.1),
        },
        dtypes=(torch.float64, torch.float32, torch.bfloat16),  # squares overflow in float16
    )


def loop(a, x):
    h = [x[0]]
    for t in range(1, len(x)):
        h.append(a[t] * h[-1] + x[t])
    return torch.stack(h)


def test_recurrence(check_backward):
    check_backward(
        recurrence,
        reference=loop,
        # 7 steps are no axis: the judge would make one of 4099, which takes the loop minutes
        samples=lambda rand, n=11: (rand(7, n).tanh(), rand(7, n)),
        dtypes=(torch.float64, torch.float32),  # what NumPy has
    )


def test_to_grid_passes_gradients_on_as_we_mean_it(check_backward):
    check_backward(
        ToGrid,
        reference=lambda x: torch.round(x * 8) / 8,
        samples={"rows": lambda rand, n=11, k=7: (rand(n, k),)},
        expected_grad={"x": lambda x, grad_out: grad_out * (x.abs() <= 1)},
    )


def test_swish(check_backward):
    check_backward(
        back_swish,
        forward=swish,
        oracle=torch.nn.functional.silu,
        samples={"rows": lambda rand, n=11, k=7: (rand(n, k),)},
    )
