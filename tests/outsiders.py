"""Right backwards that nobody here wrote: PyTorch's decompositions, each bound to our names.

An adapter looks its function up in the module when it is called, so that a mutant can stand in.
"""

from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.op import Op

decompositions: Any = import_module(
    "torch._decomp.decompositions"
)  # its annotations are too narrow
_EPS = 1e-5
_ALL = [True, True, True]
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}

_ROWS = {"rows": lambda rand, n=11, i=7: (rand(n, i),)}
_THREES = {"threes": lambda rand, n=11, i=7: (3 * rand(n, i),)}  # ties lie on the kinks at ±3
_LOSSES = {  # the mean's batch axis is m, never empty: see DEFECTIVE_WHEN_EMPTY
    "mean": lambda rand, m=11, i=7: (rand(m, i), rand(m, i)),
    "sum": lambda rand, n=11, i=7: ((rand(n, i), rand(n, i)), {"reduction": "sum"}),
    "none": lambda rand, n=11, i=7: ((rand(n, i), rand(n, i)), {"reduction": "none"}),
}


def _inside(x: Tensor) -> Tensor:
    """Probabilities off 0 and 1, where the kernel's clamp is at a 1e-12 rounded to float32."""
    return x.sigmoid() * 0.875 + 0.0625


def _batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *, training: bool = True
) -> Tensor:
    running = (None, None) if training else (mean, var)  # while training they would be updated
    return F.batch_norm(x, running[0], running[1], weight, bias, training, eps=_EPS)


def _back_batch_norm(
    x: Tensor, weight: Tensor, mean: Tensor, var: Tensor, grad_out: Tensor, *, training: bool = True
) -> Any:
    own_mean = own_rstd = None
    if training:
        _, own_mean, own_rstd = torch.native_batch_norm(
            x, weight, None, None, None, True, 0.0, _EPS
        )
    return decompositions.native_batch_norm_backward(
        grad_out, x, weight, mean, var, own_mean, own_rstd, training, _EPS, _ALL
    )


def _back_group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, grad_out: Tensor, *, groups: int = 3
) -> Any:
    n, c, h = x.shape
    made = x.contiguous()  # which the kernel wants of its input, in torch 2.11
    _, mean, rstd = torch.native_group_norm(made, weight, bias, n, c, h, groups, _EPS)
    return decompositions.native_group_norm_backward(
        grad_out, x, mean, rstd, weight, n, c, h, groups, _ALL
    )


def _back_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, grad_out: Tensor) -> Any:
    _, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, _EPS)
    return decompositions.native_layer_norm_backward(
        grad_out, x, weight.shape, mean, rstd, weight, bias, _ALL
    )


def _back_rms_norm(x: Tensor, weight: Tensor, grad_out: Tensor) -> Any:
    _, rstd = torch._fused_rms_norm(x, weight.shape, weight, _EPS)
    return decompositions._fused_rms_norm_backward(
        grad_out, x, weight.shape, rstd, weight, _ALL[:2]
    )


def _elu(
    x: Tensor,
    *,
    alpha: float = 1.0,
    scale: float = 1.0,
    input_scale: float = 1.0,
    is_result: bool = False,
) -> Any:
    return torch.ops.aten.elu(x, alpha, scale, input_scale)


def _embedding(
    weight: Tensor, indices: Tensor, *, padding_idx: int = -1, by_freq: bool = False
) -> Tensor:
    """The function whose gradient it is: a padding row is constant, a frequent row divided."""
    weight = weight.masked_fill(torch.arange(len(weight)).unsqueeze(1) == padding_idx, 0)
    out = F.embedding(indices, weight)
    return out / indices.bincount(minlength=1)[indices].unsqueeze(1) if by_freq else out


def _back_max_pool2d(
    x: Tensor, grad_out: Tensor, *, kernel: int = 3, stride: int = 2, padding: int = 1
) -> Any:
    _, indices = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    pairs = [[size, size] for size in (kernel, stride, padding, 1)]
    return decompositions.max_pool2d_with_indices_backward(grad_out, x, *pairs, False, indices)


def _total_weight(target: Tensor, weight: Tensor, ignore_index: int) -> Tensor:
    return (weight[target] * (target != ignore_index)).sum()


OUTSIDERS = {
    "_fused_rms_norm_backward": Op(
        forward=lambda x, weight: F.rms_norm(x, weight.shape, weight, _EPS),
        backwards=(_back_rms_norm,),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i), rand(i)),
            "one row": lambda rand, i=7: (rand(i), rand(i)),
        },
        wrt=("x", "weight"),
        oracle=lambda x, weight: F.rms_norm(x, weight.shape, weight, _EPS),
    ),
    "_log_softmax_backward_data": Op(
        forward=lambda x, *, dim=-1: torch.log_softmax(x, dim),
        backwards=(
            lambda out, grad_out, *, dim=-1: decompositions._log_softmax_backward_data(
                grad_out, out, dim, out.dtype
            ),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: ((rand(n, i),), {"dim": -1}),
            "columns": lambda rand, n=11, i=7: ((rand(n, i, 3),), {"dim": 1}),
        },
        wrt=("x",),
        oracle=torch.log_softmax,
    ),
    "_prelu_kernel_backward": Op(
        forward=lambda x, weight: torch._prelu_kernel(x, weight),
        backwards=(
            lambda x, weight, grad_out: decompositions._prelu_kernel_backward(grad_out, x, weight),
        ),
        samples={"rows": lambda rand, n=11, i=7: (rand(n, i), rand(n, i))},
        wrt=("x", "weight"),
        oracle=torch._prelu_kernel,
    ),
    "_reflection_pad_backward": Op(
        forward=lambda x, *, padding=(2, 1): F.pad(x, padding, mode="reflect"),
        backwards=(
            lambda x, grad_out, *, padding=(2, 1): decompositions._reflection_pad_backward(
                grad_out, x, padding
            ),
        ),
        samples={
            "line": lambda rand, n=11, w=5: (rand(n, 1, w + 2),),
            "plane": lambda rand, n=7, h=5, w=11: (
                (rand(n, 1, h + 2, w + 2),),
                {"padding": (2, 1, 0, 2)},
            ),
            "space": lambda rand, n=3, d=5: (
                (rand(n, 1, d + 1, 4, 3),),
                {"padding": (1, 2, 2, 1, 1, 0)},
            ),
        },
        wrt=("x",),
        oracle=lambda x, *, padding=(2, 1): F.pad(x, padding, mode="reflect"),
    ),
    "_softmax_backward_data": Op(
        forward=lambda x, *, dim=-1: torch.softmax(x, dim),
        backwards=(
            lambda out, grad_out, *, dim=-1: decompositions._softmax_backward_data(
                grad_out, out, dim, out.dtype
            ),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: ((rand(n, i),), {"dim": -1}),
            "columns": lambda rand, n=11, i=7: ((rand(n, i, 3),), {"dim": 1}),
        },
        wrt=("x",),
        oracle=torch.softmax,
    ),
    "binary_cross_entropy_backward": Op(
        forward=lambda x, target, weight, *, reduction="mean": F.binary_cross_entropy(
            x, target, weight, reduction=reduction
        ),
        backwards=(
            lambda x, target, weight, grad_out, *, reduction="mean": (
                decompositions.binary_cross_entropy_backward(
                    grad_out, x, target, weight, _REDUCTIONS[reduction]
                )
            ),
        ),
        samples={
            "mean": lambda rand, n=11, i=7: (
                _inside(rand(n, i)),
                rand(n, i).sigmoid(),
                rand(n, i),
            ),
            "none": lambda rand, n=11, i=7: (
                (_inside(rand(n, i)), rand(n, i).sigmoid(), rand(n, i)),
                {"reduction": "none"},
            ),
        },
        wrt=("x",),
        oracle=F.binary_cross_entropy,
    ),
    "diagonal_backward": Op(
        forward=lambda x: torch.diagonal(x, 1, 0, 2),
        backwards=(
            lambda x, grad_out: decompositions.diagonal_backward(grad_out, x.shape, 1, 0, 2),
        ),
        samples={"cube": lambda rand, n=7, i=5, j=3: (rand(n, i, j + 1),)},
        wrt=("x",),
        oracle=lambda x: torch.diagonal(x, 1, 0, 2),
    ),
    "elu_backward": Op(
        forward=_elu,
        backwards=(
            lambda x, out, grad_out, *, alpha=1.0, scale=1.0, input_scale=1.0, is_result=False: (
                decompositions.elu_backward(
                    grad_out, alpha, scale, input_scale, is_result, out if is_result else x
                )
            ),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i),),
            "scaled": lambda rand, n=11, i=7: (
                (rand(n, i),),
                {"alpha": 1.5, "scale": 0.75, "input_scale": 0.5},
            ),
            "from its result": lambda rand, n=11, i=7: (
                (rand(n, i),),
                {"alpha": 1.5, "scale": 0.75, "input_scale": 0.5, "is_result": True},
            ),
        },
        wrt=("x",),
        oracle=_elu,
    ),
    "embedding_dense_backward": Op(
        forward=_embedding,
        backwards=(
            lambda weight, indices, grad_out, *, padding_idx=-1, by_freq=False: (
                decompositions.embedding_dense_backward(
                    grad_out, indices, len(weight), padding_idx, by_freq
                )
            ),
        ),
        samples={
            "rows": lambda rand, n=11, v=5, i=7: (rand(v, i), rand.integers(v, n)),
            "padded": lambda rand, n=11, v=5, i=7: (
                (rand(v + 1, i), rand.integers(v + 1, n)),
                {"padding_idx": 1},
            ),
            "by frequency": lambda rand, n=11, v=5, i=7: (
                (rand(v, i), rand.integers(v, n)),
                {"by_freq": True},
            ),
        },
        wrt=("weight",),
        oracle=_embedding,
    ),
    "gelu_backward": Op(
        forward=lambda x, *, approximate="none": F.gelu(x, approximate=approximate),
        backwards=(
            lambda x, grad_out, *, approximate="none": decompositions.gelu_backward(
                grad_out, x, approximate
            ),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i),),
            "tanh": lambda rand, n=11, i=7: ((rand(n, i),), {"approximate": "tanh"}),
        },
        wrt=("x",),
        oracle=F.gelu,
    ),
    "glu_backward": Op(
        forward=lambda x, *, dim=-1: F.glu(x, dim),
        backwards=(lambda x, grad_out, *, dim=-1: decompositions.glu_backward(grad_out, x, dim),),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, 2 * i),),
            "columns": lambda rand, n=11, i=7: ((rand(n, 2 * i, 3),), {"dim": 1}),
        },
        wrt=("x",),
        oracle=F.glu,
    ),
    "hardsigmoid_backward": Op(
        forward=lambda x: F.relu6(x + 3) / 6,
        backwards=(lambda x, grad_out: decompositions.hardsigmoid_backward(grad_out, x),),
        samples=_THREES,
        wrt=("x",),
        oracle=lambda x: (
            F.relu6(x + 3) / 6
        ),  # its kernel rounds 1/6 to float32, off by 3e-8 in float64,
    ),
    "hardswish_backward": Op(
        forward=lambda x: F.hardswish(x),
        backwards=(lambda x, grad_out: decompositions.hardswish_backward(grad_out, x),),
        samples=_THREES,
        wrt=("x",),
        oracle=F.hardswish,
    ),
    "hardtanh_backward": Op(
        forward=lambda x, *, min_val=-1.0, max_val=1.0: F.hardtanh(x, min_val, max_val),
        backwards=(
            lambda x, grad_out, *, min_val=-1.0, max_val=1.0: decompositions.hardtanh_backward(
                grad_out, x, min_val, max_val
            ),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i),),
            "uneven": lambda rand, n=11, i=7: ((rand(n, i),), {"min_val": -2.0, "max_val": 0.7}),
        },
        wrt=("x",),
        oracle=F.hardtanh,
    ),
    "huber_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean", delta=1.0: F.huber_loss(
            x, target, reduction=reduction, delta=delta
        ),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean", delta=1.0: (
                decompositions.huber_loss_backward(
                    grad_out, x, target, _REDUCTIONS[reduction], delta
                )
            ),
        ),
        samples={
            **_LOSSES,
            "wide": lambda rand, m=11, i=7: ((rand(m, i), rand(m, i)), {"delta": 2.0}),
        },
        wrt=("x",),
        oracle=F.huber_loss,
    ),
    "leaky_relu_backward": Op(
        forward=lambda x, *, slope=0.3: F.leaky_relu(x, slope),
        backwards=(
            lambda x, grad_out, *, slope=0.3: decompositions.leaky_relu_backward(
                grad_out, x, slope, False
            ),
        ),
        samples=_ROWS,
        wrt=("x",),
        oracle=lambda x, *, slope=0.3: F.leaky_relu(x, slope),
    ),
    "log_sigmoid_backward": Op(
        forward=lambda x, *, saved=False: F.logsigmoid(x),
        backwards=(
            lambda x, grad_out, *, saved=False: decompositions.log_sigmoid_backward(
                grad_out, x, torch.exp(-x.abs()) if saved else x.new_empty(0)
            ),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i),),
            "saved": lambda rand, n=11, i=7: ((rand(n, i),), {"saved": True}),
        },
        wrt=("x",),
        oracle=lambda x, *, saved=False: F.logsigmoid(x),
    ),
    "logit_backward": Op(
        forward=lambda x, *, eps=None: torch.logit(x, eps),
        backwards=(
            lambda x, grad_out, *, eps=None: decompositions.logit_backward(grad_out, x, eps),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i).sigmoid(),),
            "clamped": lambda rand, n=11, i=7: ((rand(n, i) / 4 + 0.5,), {"eps": 0.25}),
        },
        wrt=("x",),
        oracle=torch.logit,
    ),
    "max_pool2d_with_indices_backward": Op(
        forward=lambda x, *, kernel=3, stride=2, padding=1: F.max_pool2d(
            x, kernel, stride, padding
        ),
        backwards=(_back_max_pool2d,),
        samples={
            "planes": lambda rand, n=3, c=5, h=11, w=7: (rand(n, c, h + 2, w + 2),),
            "unbatched": lambda rand, c=5, h=11, w=7: (rand(c, h + 2, w + 2),),
        },
        wrt=("x",),
        oracle=lambda x, *, kernel=3, stride=2, padding=1: F.max_pool2d(x, kernel, stride, padding),
    ),
    "mish_backward": Op(
        forward=lambda x: F.mish(x),
        backwards=(lambda x, grad_out: decompositions.mish_backward(grad_out, x),),
        samples=_ROWS,
        wrt=("x",),
        oracle=F.mish,
    ),
    "mse_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean": F.mse_loss(x, target, reduction=reduction),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean": decompositions.mse_loss_backward(
                grad_out, x, target, _REDUCTIONS[reduction]
            ),
        ),
        samples=_LOSSES,
        wrt=("x",),
        oracle=F.mse_loss,
    ),
    "native_batch_norm_backward": Op(
        forward=_batch_norm,
        backwards=(_back_batch_norm,),
        samples={
            "training": lambda rand, m=11, c=3, h=5: (
                rand(m, c, h + 1),
                rand(c),
                rand(c),
                rand(c),
                rand(c).abs() + 1,
            ),
            "evaluation": lambda rand, m=11, c=3, h=5: (
                (rand(m, c, h + 1), rand(c), rand(c), rand(c), rand(c).abs() + 1),
                {"training": False},
            ),
        },
        wrt=("x", "weight", "bias"),
        oracle=_batch_norm,
    ),
    "native_dropout_backward": Op(
        forward=lambda x, kept, *, scale=1.25: x * kept * scale,
        backwards=(
            lambda kept, grad_out, *, scale=1.25: decompositions.native_dropout_backward(
                grad_out, kept, scale
            ),
        ),
        samples={"rows": lambda rand, n=11, i=7: (rand(n, i), rand.integers(2, n, i))},
        wrt=("x",),
        oracle=lambda x, kept, *, scale=1.25: x * kept * scale,
    ),
    "native_group_norm_backward": Op(
        forward=lambda x, weight, bias, *, groups=3: F.group_norm(x, groups, weight, bias, _EPS),
        backwards=(_back_group_norm,),
        samples={
            "lines": lambda rand, n=11, c=5, h=7: (rand(n, 3 * c, h), rand(3 * c), rand(3 * c))
        },
        wrt=("x", "weight", "bias"),
        oracle=lambda x, weight, bias, *, groups=3: F.group_norm(x, groups, weight, bias, _EPS),
    ),
    "native_layer_norm_backward": Op(
        forward=lambda x, weight, bias: F.layer_norm(x, weight.shape, weight, bias, _EPS),
        backwards=(_back_layer_norm,),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i), rand(i), rand(i)),
            "one row": lambda rand, i=7: (rand(i), rand(i), rand(i)),
        },
        wrt=("x", "weight", "bias"),
        oracle=lambda x, weight, bias: F.layer_norm(x, weight.shape, weight, bias, _EPS),
    ),
    "nll_loss_backward": Op(
        forward=lambda x, target, weight, *, ignore_index=-100, reduction="mean": F.nll_loss(
            x, target, weight, ignore_index=ignore_index, reduction=reduction
        ),
        backwards=(
            lambda x, target, weight, grad_out, *, ignore_index=-100, reduction="mean": (
                decompositions.nll_loss_backward(
                    grad_out,
                    x,
                    target,
                    weight,
                    _REDUCTIONS[reduction],
                    ignore_index,
                    _total_weight(target, weight, ignore_index),
                )
            ),
        ),
        samples={
            "mean": lambda rand, n=11, c=5: (rand(n, c), rand.integers(c, n), rand(c).abs() + 1),
            "one row": lambda rand, c=5: (rand(c), rand.integers(c), rand(c).abs() + 1),
            "none": lambda rand, n=11, c=5: (
                (rand(n, c), rand.integers(c, n), rand(c)),
                {"reduction": "none"},
            ),
        },
        wrt=("x",),
        oracle=F.nll_loss,
    ),
    "nll_loss2d_backward": Op(
        forward=lambda x, target, weight, *, ignore_index=-100, reduction="mean": F.nll_loss(
            x, target, weight, ignore_index=ignore_index, reduction=reduction
        ),
        backwards=(
            lambda x, target, weight, grad_out, *, ignore_index=-100, reduction="mean": (
                decompositions.nll_loss2d_backward(
                    grad_out,
                    x,
                    target,
                    weight,
                    _REDUCTIONS[reduction],
                    ignore_index,
                    _total_weight(target, weight, ignore_index),
                )
            ),
        ),
        samples={
            "mean": lambda rand, n=7, c=5, h=3, w=11: (
                rand(n, c, h, w),
                rand.integers(c, n, h, w),
                rand(c).abs() + 1,
            ),
            "none": lambda rand, n=7, c=5, h=3, w=11: (
                (rand(n, c, h, w), rand.integers(c, n, h, w), rand(c)),
                {"reduction": "none"},
            ),
        },
        wrt=("x",),
        oracle=F.nll_loss,
    ),
    "rrelu_with_noise_backward": Op(
        forward=lambda x, noise, *, training=True: x * noise if training else F.rrelu(x, 0.1, 0.3),
        backwards=(
            lambda x, noise, grad_out, *, training=True: decompositions.rrelu_with_noise_backward(
                grad_out, x, noise, 0.1, 0.3, training, False
            ),
        ),
        samples={
            "training": lambda rand, n=11, i=7: (rand(n, i), rand(n, i)),
            "evaluation": lambda rand, n=11, i=7: (
                (rand(n, i), rand(n, i)),
                {"training": False},
            ),
        },
        wrt=("x",),
        oracle=lambda x, noise, *, training=True: x * noise if training else F.rrelu(x, 0.1, 0.3),
    ),
    "select_backward": Op(
        forward=lambda x: x.select(1, 2),
        backwards=(lambda x, grad_out: decompositions.select_backward(grad_out, x.shape, 1, 2),),
        samples={"rows": lambda rand, n=11, i=7: (rand(n, i + 2),)},
        wrt=("x",),
        oracle=lambda x: x.select(1, 2),
    ),
    "sigmoid_backward": Op(
        forward=lambda x: torch.sigmoid(x),
        backwards=(lambda out, grad_out: decompositions.sigmoid_backward(grad_out, out),),
        samples=_ROWS,
        wrt=("x",),
        oracle=torch.sigmoid,
    ),
    "silu_backward": Op(
        forward=lambda x: F.silu(x),
        backwards=(lambda x, grad_out: decompositions.silu_backward(grad_out, x),),
        samples=_ROWS,
        wrt=("x",),
        oracle=F.silu,
    ),
    "slice_backward": Op(
        forward=lambda x: x[:, 1:-1:2].clone(),
        backwards=(
            lambda x, grad_out: decompositions.slice_backward(grad_out, x.shape, 1, 1, -1, 2),
        ),
        samples={"rows": lambda rand, n=11, i=7: (rand(n, i + 2),)},
        wrt=("x",),
        oracle=lambda x: x[:, 1:-1:2].clone(),
    ),
    "smooth_l1_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean", beta=1.0: F.smooth_l1_loss(
            x, target, reduction=reduction, beta=beta
        ),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean", beta=1.0: (
                decompositions.smooth_l1_loss_backward(
                    grad_out, x, target, _REDUCTIONS[reduction], beta
                )
            ),
        ),
        samples={
            **_LOSSES,
            "wide": lambda rand, m=11, i=7: ((rand(m, i), rand(m, i)), {"beta": 2.0}),
        },
        wrt=("x",),
        oracle=F.smooth_l1_loss,
    ),
    "soft_margin_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean": F.soft_margin_loss(
            x, target, reduction=reduction
        ),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean": (
                decompositions.soft_margin_loss_backward(
                    grad_out, x, target, _REDUCTIONS[reduction]
                )
            ),
        ),
        samples=_LOSSES,
        wrt=("x",),
        oracle=F.soft_margin_loss,
    ),
    "softplus_backward": Op(
        forward=lambda x, *, beta=1.0, threshold=20.0: F.softplus(x, beta, threshold),
        backwards=(
            lambda x, grad_out, *, beta=1.0, threshold=20.0: decompositions.softplus_backward(
                grad_out, x, beta, threshold
            ),
        ),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i),),
            "early": lambda rand, n=11, i=7: ((rand(n, i),), {"beta": 2.0, "threshold": 2.0}),
        },
        wrt=("x",),
        oracle=F.softplus,
    ),
    "tanh_backward": Op(
        forward=lambda x: torch.tanh(x),
        backwards=(lambda out, grad_out: decompositions.tanh_backward(grad_out, out),),
        samples=_ROWS,
        wrt=("x",),
        oracle=torch.tanh,
    ),
    "threshold_backward": Op(
        forward=lambda x, *, threshold=1.0: F.threshold(x, threshold, 5.0),
        backwards=(
            lambda x, grad_out, *, threshold=1.0: decompositions.threshold_backward(
                grad_out, x, threshold
            ),
        ),
        samples=_ROWS,
        wrt=("x",),
        oracle=lambda x, *, threshold=1.0: F.threshold(x, threshold, 5.0),
    ),
    "unfold_backward": Op(
        forward=lambda x, *, size=3, step=2: x.unfold(1, size, step),
        backwards=(
            lambda x, grad_out, *, size=3, step=2: decompositions.unfold_backward(
                grad_out, x.shape, 1, size, step
            ),
        ),
        samples={
            "overlapping": lambda rand, n=11, i=7: (rand(n, i + 2),),
            "apart": lambda rand, n=11, i=7: ((rand(n, i + 2),), {"size": 2, "step": 3}),
        },
        wrt=("x",),
        oracle=lambda x, *, size=3, step=2: x.unfold(1, size, step),
    ),
}

_COPIES = "runs the function of the same name without _out and copies the result"
EXCLUDED = {
    "batch_norm_backward": "calls native_batch_norm_backward, which is judged",
    "cudnn_batch_norm_backward": "calls a kernel and has no formula of its own",
    "huber_loss_backward_out": _COPIES,
    "miopen_batch_norm_backward": "calls a kernel and has no formula of its own",
    "native_batch_norm_backward_out": _COPIES,
    "native_group_norm_backward_out": _COPIES,
    "native_layer_norm_backward_out": _COPIES,
    "smooth_l1_loss_backward_out": _COPIES,
}

# The formulas that these share: a mutant of it is judged through each that calls it.
HELPERS = {
    "nll_loss_backward": "_nll_loss_backward",
    "nll_loss2d_backward": "_nll_loss_backward",
}
# These divide 1 by the number of entries in Python, which raises ZeroDivisionError for an empty
# batch, where PyTorch's own gradient is empty. The judge is right to accuse them there.
DEFECTIVE_WHEN_EMPTY = (
    "huber_loss_backward",
    "mse_loss_backward",
    "native_batch_norm_backward",
    "smooth_l1_loss_backward",
)

if not hasattr(decompositions, "max_pool2d_with_indices_backward"):  # torch 2.11 has none
    del OUTSIDERS["max_pool2d_with_indices_backward"]

for _name, _op in OUTSIDERS.items():
    _op.forward.__name__ = _name.removesuffix("_backward")
    _op.backwards[0].__name__ = _name


def with_an_empty_batch(name: str) -> Op:
    """The outsider with its batch axis called n, so that the judge makes it empty too."""
    op = OUTSIDERS[name]
    sample = op.samples["mean" if "mean" in op.samples else "evaluation"]
    return replace(op, samples={"rows": lambda rand, n=11: sample(rand, n)})
