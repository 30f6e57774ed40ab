"""Outsiders that normalise: every entry moves its whole row."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.op import Op
from tests.outsiders.bound import decompositions

_EPS = 1e-5
_ALL = [True, True, True]
_AXES = {
    "rows": lambda rand, n=11, i=7: ((rand(n, i),), {"dim": -1}),
    "columns": lambda rand, n=11, i=7: ((rand(n, i, 3),), {"dim": 1}),
}


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


def _group_norm(x: Tensor, weight: Tensor, bias: Tensor, *, groups: int = 3) -> Tensor:
    return F.group_norm(x, groups, weight, bias, _EPS)


def _back_group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, grad_out: Tensor, *, groups: int = 3
) -> Any:
    n, c, h = x.shape
    made = x.contiguous()  # which the kernel wants of its input, in torch 2.11
    _, mean, rstd = torch.native_group_norm(made, weight, bias, n, c, h, groups, _EPS)
    return decompositions.native_group_norm_backward(
        grad_out, x, mean, rstd, weight, n, c, h, groups, _ALL
    )


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, _EPS)


def _back_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, grad_out: Tensor) -> Any:
    _, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, _EPS)
    return decompositions.native_layer_norm_backward(
        grad_out, x, weight.shape, mean, rstd, weight, bias, _ALL
    )


def _rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, weight.shape, weight, _EPS)


def _back_rms_norm(x: Tensor, weight: Tensor, grad_out: Tensor) -> Any:
    _, rstd = torch._fused_rms_norm(x, weight.shape, weight, _EPS)
    return decompositions._fused_rms_norm_backward(
        grad_out, x, weight.shape, rstd, weight, _ALL[:2]
    )


NORMS = {
    "_fused_rms_norm_backward": Op(
        forward=_rms_norm,
        backwards=(_back_rms_norm,),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i), rand(i)),
            "one row": lambda rand, i=7: (rand(i), rand(i)),
        },
        wrt=("x", "weight"),
        oracle=_rms_norm,
    ),
    "_log_softmax_backward_data": Op(
        forward=lambda x, *, dim=-1: torch.log_softmax(x, dim),
        backwards=(
            lambda out, grad_out, *, dim=-1: decompositions._log_softmax_backward_data(
                grad_out, out, dim, out.dtype
            ),
        ),
        samples=_AXES,
        wrt=("x",),
        oracle=torch.log_softmax,
    ),
    "_softmax_backward_data": Op(
        forward=lambda x, *, dim=-1: torch.softmax(x, dim),
        backwards=(
            lambda out, grad_out, *, dim=-1: decompositions._softmax_backward_data(
                grad_out, out, dim, out.dtype
            ),
        ),
        samples=_AXES,
        wrt=("x",),
        oracle=torch.softmax,
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
    "native_group_norm_backward": Op(
        forward=_group_norm,
        backwards=(_back_group_norm,),
        samples={
            "lines": lambda rand, n=11, c=5, h=7: (rand(n, 3 * c, h), rand(3 * c), rand(3 * c))
        },
        wrt=("x", "weight", "bias"),
        oracle=_group_norm,
    ),
    "native_layer_norm_backward": Op(
        forward=_layer_norm,
        backwards=(_back_layer_norm,),
        samples={
            "rows": lambda rand, n=11, i=7: (rand(n, i), rand(i), rand(i)),
            "one row": lambda rand, i=7: (rand(i), rand(i), rand(i)),
        },
        wrt=("x", "weight", "bias"),
        oracle=_layer_norm,
    ),
}
