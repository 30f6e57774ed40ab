"""Kernels of a project of its own: RMS norm, a linear recurrence in NumPy, rounding to a grid."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


class RMSNorm(torch.autograd.Function):
    """y = w x / r with r = √(1/k Σ x² + ε) over the last axis; x (*n, k), w (k). Returns y and r.

    r is for logging, say; gradients come back from it too, and y's or its may be undefined.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        r = (x.square().mean(-1, keepdim=True) + eps).sqrt()
        ctx.save_for_backward(x, w, r)
        return w * x / r, r.squeeze(-1)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, grad_r: Tensor | None) -> Any:
        x, w, r = ctx.saved_tensors
        need_x, need_w, _ = ctx.needs_input_grad
        grad_x = grad_w = None
        normal = x / r
        if need_w and grad_y is not None:
            grad_w = (grad_y * normal).reshape(-1, w.shape[0]).sum(0)
        if need_x and grad_y is not None:
            along = grad_y * w
            grad_x = (along - normal * (along * normal).mean(-1, keepdim=True)) / r
        if need_x and grad_r is not None:
            from_r = grad_r[..., None] * normal / x.shape[-1]
            grad_x = from_r if grad_x is None else grad_x + from_r
        return grad_x, grad_w, None


def _recur(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    h = np.zeros_like(x)
    for t in range(x.shape[0]):
        h[t] = x[t] + (a[t] * h[t - 1] if t else 0)
    return h


@torch.library.custom_op("my_kernels::recurrence", mutates_args=())
def recurrence(a: Tensor, x: Tensor) -> Tensor:
    """h_t = a_t h_{t-1} + x_t along the first axis, with h_{-1} = 0; a, x and h (t, *k)."""
    return torch.from_numpy(_recur(a.detach().numpy(), x.detach().numpy()))


@recurrence.register_fake
def _(_a: Tensor, x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


def _back_recurrence(ctx: Any, grad_h: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """x̄_t = h̄_t + a_{t+1} x̄_{t+1}, the same recurrence from the end, and ā_t = x̄_t h_{t-1}."""
    a, h = ctx.saved_tensors
    later = torch.cat([torch.zeros_like(a[:1]), a[1:].flip(0)])
    grad_x = recurrence(later, grad_h.flip(0)).flip(0)
    need_a, need_x = ctx.needs_input_grad
    grad_a = grad_x * torch.cat([torch.zeros_like(h[:1]), h[:-1]]) if need_a else None
    return grad_a, grad_x if need_x else None


recurrence.register_autograd(_back_recurrence, setup_context=_save)


class ToGrid(torch.autograd.Function):
    """Rounds to multiples of 1/8; backwards it is the identity where |x| ≤ 1, and 0 elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x * 8).round() / 8

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x.abs() <= 1, grad_out, 0.0)


def swish(x: Tensor) -> Tensor:
    """y = x σ(x), of any shape."""
    return x * x.sigmoid()


def back_swish(x: Tensor, grad_out: Tensor) -> Tensor:
    """x̄ = ȳ (σ + x σ (1 - σ))."""
    s = x.sigmoid()
    return grad_out * (s + x * s * (1 - s))
