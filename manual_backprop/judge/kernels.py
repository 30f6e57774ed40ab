"""Fused kernels in the steps that they consist of, one for one those of PyTorch's decompositions.

Those are written for PyTorch's compiler, and the first to run imports sympy, if not the compiler:
up to a second. Here are the kernels that most backwards meet; `noise.py` has PyTorch take all
others apart.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table

aten, prims = torch.ops.aten, torch.ops.prims
MEAN, SUM = 1, 2  # of a loss's `reduction`


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:  # noqa: ARG001
    x = x.contiguous()
    e = torch.exp(x - x.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def _softmax_backward(grad_out: Tensor, out: Tensor, dim: int, dtype: torch.dtype) -> Tensor:  # noqa: ARG001
    weighted = grad_out * out
    return (weighted - out * weighted.sum(dim, keepdim=True)).contiguous()


def _log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:  # noqa: ARG001
    x = x.contiguous()
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - torch.exp(shifted).sum(dim, keepdim=True).log()


def _log_softmax_backward(grad_out: Tensor, out: Tensor, dim: int, dtype: torch.dtype) -> Tensor:  # noqa: ARG001
    return grad_out - torch.exp(out) * grad_out.sum(dim, keepdim=True)


def _sigmoid_backward(grad_out: Tensor, out: Tensor) -> Tensor:
    return grad_out * (out * (1 - out)).conj_physical()


def _tanh_backward(grad_out: Tensor, out: Tensor) -> Tensor:
    return grad_out * (1 - out * out).conj_physical()


def _mse_loss(x: Tensor, target: Tensor, reduction: int = MEAN) -> Tensor:
    squares = (x - target) ** 2
    return squares.mean() if reduction == MEAN else squares.sum() if reduction == SUM else squares


def _mse_loss_backward(grad_out: Tensor, x: Tensor, target: Tensor, reduction: int) -> Tensor:
    return (2.0 / x.numel() if reduction == MEAN else 2.0) * (x - target) * grad_out


def _nll_loss(
    log_p: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignored: int
) -> Any:
    if weight is not None or log_p.dim() != 2:
        return decomposition_table[aten.nll_loss_forward.default](
            log_p, target, weight, reduction, ignored
        )
    chosen = torch.where(target != ignored, target, 0).unsqueeze(1)
    losses = -torch.gather(log_p, 1, chosen).squeeze(1)
    losses = torch.where(target != ignored, losses, 0)
    if reduction not in (MEAN, SUM):
        return losses, log_p.new_full((), 0.0)
    count = (target != ignored).sum().to(log_p)
    total = losses.sum()
    return (total / count if reduction == MEAN else total), count


def _nll_loss_backward(
    grad_out: Tensor,
    log_p: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignored: int,
    count: Tensor,
) -> Any:
    if weight is not None or log_p.dim() != 2:
        return decomposition_table[aten.nll_loss_backward.default](
            grad_out, log_p, target, weight, reduction, ignored, count
        )
    if reduction == MEAN:
        grad_out = grad_out / count
    target = target.unsqueeze(1)
    chosen = torch.where(target != ignored, target, 0)
    ones = torch.scatter(torch.zeros_like(log_p), 1, chosen, -1.0)
    grad_out = grad_out.unsqueeze(1) if grad_out.dim() == 1 else grad_out
    return ones * torch.where(target != ignored, grad_out, 0)


STEPS: dict[Any, Callable[..., Any]] = {
    **decomposition_table,
    aten._softmax.default: _softmax,
    aten._softmax_backward_data.default: _softmax_backward,
    aten._log_softmax.default: _log_softmax,
    aten._log_softmax_backward_data.default: _log_softmax_backward,
    aten.sigmoid_backward.default: _sigmoid_backward,
    aten.tanh_backward.default: _tanh_backward,
    aten.mse_loss.default: _mse_loss,
    aten.mse_loss_backward.default: _mse_loss_backward,
    aten.nll_loss_forward.default: _nll_loss,
    aten.nll_loss_backward.default: _nll_loss_backward,
    aten.cat.default: lambda tensors, dim=0: prims.cat(tensors, dim).clone(),
}
# These take a number from where it is; PyTorch's decompositions of them are one step as well.
WHOLE = frozenset(
    (aten.amax.default, aten.amin.default, aten.where.Scalar, aten.where.ScalarSelf,
     aten.where.ScalarOther, aten.flip.default, aten.zeros_like.default, aten.ones_like.default)
)  # fmt: skip


def kernel(func: Any) -> Any:
    """What computes an operation: of one of PyTorch's primitives, the function behind it.

    A primitive that is called itself imports PyTorch's compiler (1 s).
    """
    return getattr(func, "impl_aten", func)
