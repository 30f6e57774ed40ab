"""Outsiders that work on each entry by itself."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.op import Op
from tests.outsiders.bound import ROWS, decompositions

_THREES = {"threes": lambda rand, n=11, i=7: (3 * rand(n, i),)}  # ties lie on the kinks at ±3


def _elu(
    x: Tensor,
    *,
    alpha: float = 1.0,
    scale: float = 1.0,
    input_scale: float = 1.0,
    is_result: bool = False,
) -> Any:
    return torch.ops.aten.elu(x, alpha, scale, input_scale)


POINTWISE = {
    "_prelu_kernel_backward": Op(
        forward=lambda x, weight: torch._prelu_kernel(x, weight),
        backwards=(
            lambda x, weight, grad_out: decompositions._prelu_kernel_backward(grad_out, x, weight),
        ),
        samples={"rows": lambda rand, n=11, i=7: (rand(n, i), rand(n, i))},
        wrt=("x", "weight"),
        oracle=torch._prelu_kernel,
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
            **ROWS,
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
    "gelu_backward": Op(
        forward=lambda x, *, approximate="none": F.gelu(x, approximate=approximate),
        backwards=(
            lambda x, grad_out, *, approximate="none": decompositions.gelu_backward(
                grad_out, x, approximate
            ),
        ),
        samples={
            **ROWS,
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
            **ROWS,
            "uneven": lambda rand, n=11, i=7: ((rand(n, i),), {"min_val": -2.0, "max_val": 0.7}),
        },
        wrt=("x",),
        oracle=F.hardtanh,
    ),
    "leaky_relu_backward": Op(
        forward=lambda x, *, slope=0.3: F.leaky_relu(x, slope),
        backwards=(
            lambda x, grad_out, *, slope=0.3: decompositions.leaky_relu_backward(
                grad_out, x, slope, False
            ),
        ),
        samples=ROWS,
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
            **ROWS,
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
    "mish_backward": Op(
        forward=lambda x: F.mish(x),
        backwards=(lambda x, grad_out: decompositions.mish_backward(grad_out, x),),
        samples=ROWS,
        wrt=("x",),
        oracle=F.mish,
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
    "sigmoid_backward": Op(
        forward=lambda x: torch.sigmoid(x),
        backwards=(lambda out, grad_out: decompositions.sigmoid_backward(grad_out, out),),
        samples=ROWS,
        wrt=("x",),
        oracle=torch.sigmoid,
    ),
    "silu_backward": Op(
        forward=lambda x: F.silu(x),
        backwards=(lambda x, grad_out: decompositions.silu_backward(grad_out, x),),
        samples=ROWS,
        wrt=("x",),
        oracle=F.silu,
    ),
    "softplus_backward": Op(
        forward=lambda x, *, beta=1.0, threshold=20.0: F.softplus(x, beta, threshold),
        backwards=(
            lambda x, grad_out, *, beta=1.0, threshold=20.0: decompositions.softplus_backward(
                grad_out, x, beta, threshold
            ),
        ),
        samples={
            **ROWS,
            "early": lambda rand, n=11, i=7: ((rand(n, i),), {"beta": 2.0, "threshold": 2.0}),
        },
        wrt=("x",),
        oracle=F.softplus,
    ),
    "tanh_backward": Op(
        forward=lambda x: torch.tanh(x),
        backwards=(lambda out, grad_out: decompositions.tanh_backward(grad_out, out),),
        samples=ROWS,
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
        samples=ROWS,
        wrt=("x",),
        oracle=lambda x, *, threshold=1.0: F.threshold(x, threshold, 5.0),
    ),
}
