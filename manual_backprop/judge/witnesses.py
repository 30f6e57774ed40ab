"""Two witnesses in float64 that share no code: PyTorch's autograd, and slopes of the forward.

Slopes are 5-point differences whose step is chosen from the function itself. With L along a line,

    D(h) = (L(-2h) - 8 L(-h) + 8 L(h) - L(2h)) / 12h
    error ≤ 3/2 r / h  +  h⁴/30 |L⁽⁵⁾|        r: rounding of one L; then the formula's own
    h = (3/2 r / (4/30 |L⁽⁵⁾|))^(1/5)         where the two sum to least

(Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, 1988; the choice of
step as in FiniteDifferences.jl). A kink between the five points makes
D(h) and D(h/2) disagree by more than their errors; then h is halved until they agree. Beside a pole
they agree less well than they claim, so the error is no less than what is between them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps
HALVINGS = 20
AGREEMENT = 1e-9
SMALL = 40  # up to so many entries, each has its own slope


def autograd(
    forward: Callable[..., Tensor], inputs: Sequence[Tensor], wrt: Sequence[int], grad_out: Tensor
) -> tuple[Tensor, ...]:
    """`forward(*inputs)` and its gradients with respect to `inputs[i]` for i in `wrt`.

    Args:
        forward: tensors of the inputs' shapes -> one tensor.
        inputs: tensors of any shapes.
        wrt: places among `inputs`.
        grad_out: the shape of what `forward` returns.

    Returns:
        The output, then a gradient of the shape of each input in `wrt`; zero where it has no part.

    Raises:
        RuntimeError: `forward` fails, or cannot be differentiated.
    """
    leaves = list(inputs)
    for i in wrt:
        leaves[i] = inputs[i].detach().requires_grad_()
    with torch.enable_grad():
        out = forward(*leaves)
    if not out.requires_grad:  # a constant
        return (out, *(torch.zeros_like(inputs[i]) for i in wrt))
    grads = vjp(out, [leaves[i] for i in wrt], grad_out, materialize_grads=True)
    return (out.detach(), *grads)


def vjp(
    out: Tensor,
    wrt: Sequence[Tensor],
    grad_out: Tensor,
    *,
    create_graph: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """`torch.autograd.grad(out, wrt, grad_out, allow_unused=True)`, without what that imports.

    Handed a grad_out, PyTorch imports sympy, for shapes that are symbols: half a second. Of a
    number's gradient it asks nothing.

    Args:
        out: a tensor with a graph.
        wrt: tensors that it was computed from.
        grad_out: the shape of `out`.
        create_graph: let the gradients be differentiated once more.
        materialize_grads: zeros in place of None.

    Raises:
        RuntimeError: `grad_out` has another shape than `out`, or PyTorch cannot differentiate it.
    """
    if grad_out.shape != out.shape:
        raise RuntimeError(f"grad_out is {tuple(grad_out.shape)}, and out {tuple(out.shape)}")
    loss: Tensor = _Loss.apply(out, grad_out, _ZERO)
    return torch.autograd.grad(
        loss,
        wrt,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=materialize_grads,
    )


class _Loss(torch.autograd.Function):
    """A number by whose gradient `out` gets `grad_out`, to the bit."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, grad_out: Tensor, zero: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(grad_out)
        return zero

    @staticmethod
    def backward(ctx: Any, one: Tensor) -> tuple[Tensor, None, None]:  # noqa: ARG004
        return (*ctx.saved_tensors, None, None)


_ZERO = torch.zeros(())


@dataclass(frozen=True)
class Slope:
    """A directional derivative and a bound of its error; infinite where it could not be had."""

    value: float
    error: float


def slope(line: Callable[[float], float], scale: float) -> Slope:
    """The derivative at 0 of a function of one number.

    Args:
        line: L(t).
        scale: the size of the terms that L adds up, which its rounding goes by.
    """
    rounding = 4 * EPS * max(scale, abs(line(0.0)))
    wide = 0.02
    samples = [line(k * wide) for k in range(-3, 4)]
    stencil = (-0.5, 2, -2.5, 0, 2.5, -2, 0.5)
    bend = abs(sum(c * y for c, y in zip(stencil, samples, strict=True))) / wide**5  # L⁽⁵⁾
    bend = max(bend, rounding / wide**5)
    if not bend:  # flat, and to the bit: of an empty batch, say
        return Slope(0.0, 0.0)
    h = min((1.5 * rounding / (4 / 30 * bend)) ** 0.2, wide)
    coarse = _five_point(line, h, rounding, bend)
    for _ in range(HALVINGS):
        h /= 2
        fine = _five_point(line, h, rounding, bend)
        apart = abs(coarse.value - fine.value)
        if apart <= 10 * (coarse.error + fine.error):
            better = coarse if coarse.error <= fine.error else fine
            return Slope(better.value, max(better.error, apart))
        coarse = fine
    return Slope(coarse.value, float("inf"))


def _five_point(line: Callable[[float], float], h: float, rounding: float, bend: float) -> Slope:
    two_down, down, up, two_up = (line(k * h) for k in (-2, -1, 1, 2))
    value = (two_down - 8 * down + 8 * up - two_up) / (12 * h)
    return Slope(value, 1.5 * rounding / h + bend * h**4 / 30)


def one_sided(line: Callable[[float], float], sign: int) -> float:
    """The derivative at 0 to the right (sign 1) or to the left (sign -1).

    By the one-sided 5-point formula, exact for polynomials up to t⁴ (Fornberg's tables).
    """
    h = 1e-3
    values = [line(sign * h * k) for k in range(5)]
    weights = (-25 / 12, 4, -3, 4 / 3, -1 / 4)
    return sign * sum(w * v for w, v in zip(weights, values, strict=True)) / h


def sides(line: Callable[[float], float]) -> tuple[float, float]:
    """The derivatives at 0 from the left and from the right, the lower first."""
    low, high = sorted((one_sided(line, -1), one_sided(line, 1)))
    return low, high


def loss_along(
    forward: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    place: int,
    direction: Tensor,
    grad_out: Tensor,
) -> Callable[[float], float]:
    """T -> ⟨grad_out, forward(..., inputs[place] + t direction, ...)⟩, less its value at t = 0.

    Args:
        forward: tensors of the inputs' shapes -> one tensor.
        inputs: float64 tensors, or indices.
        place: of the input that is moved.
        direction: the shape of that input.
        grad_out: the shape of what `forward` returns.

    Raises:
        RuntimeError: `forward` fails; from the function returned, it fails beside the point.
    """
    base = forward(*inputs)

    def line(t: float) -> float:
        moved = list(inputs)
        moved[place] = inputs[place] + t * direction
        return float(((forward(*moved) - base) * grad_out).sum())

    return line


@dataclass(frozen=True)
class Disagreement:
    """Where the witnesses differ: which input, what each says, and how far apart they may be."""

    place: int
    autograd: float
    slope: float
    allowed: float


def disagreement(
    forward: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    wrt: Sequence[int],
    grad_out: Tensor,
    grads: Sequence[Tensor],
    generator: torch.Generator,
) -> tuple[Disagreement | None, list[int]]:
    """Hold `grads` to the slopes of `forward`, input by input.

    Directions are random signs of unit norm, two for each input, and for an input of up to SMALL
    entries each entry alone. On a kink, where there is no slope, any between the two sides will do.

    Args:
        forward: tensors of the inputs' shapes -> one tensor.
        inputs: float64 tensors, or indices.
        wrt: places among `inputs`.
        grad_out: the shape of what `forward` returns.
        grads: for each place in `wrt` the gradient to be held, of that input's shape.
        generator: draws the directions.

    Returns:
        The first disagreement or None, and the inputs for which no slope could be had.
    """
    silent: list[int] = []
    size = float((forward(*inputs) * grad_out).abs().sum())
    if math.isnan(size):  # the mean of no rows, which has no slopes
        return None, silent
    for place, grad in zip(wrt, grads, strict=True):
        x = inputs[place]
        if x.numel() == 0:
            continue
        judged = False
        for direction in _directions(x, generator):
            line = loss_along(forward, inputs, place, direction, grad_out)
            moved = float((x * grad)[direction != 0].abs().sum())  # x + t is rounded too
            try:
                found = slope(line, size + moved)
            except RuntimeError:  # beside the point lies another shape, or nothing
                continue
            allowed = max(AGREEMENT * float(grad.norm()), 10 * found.error)
            if allowed > 1e-6 * max(float(grad.norm()), 1e-3 * size):
                continue
            expected = float((grad * direction).sum())
            if not abs(expected - found.value) <= allowed:
                low, high = sides(line)
                smooth = high - low <= 1e-6 * max(abs(low), abs(high))
                alone = int(direction.count_nonzero()) == 1  # of many kinks, any may be taken
                if smooth or (alone and not low - allowed <= expected <= high + allowed):
                    return Disagreement(place, expected, found.value, allowed), silent
                if not alone:
                    continue
            judged = True
        if not judged:
            silent.append(place)
    return None, silent


def _directions(x: Tensor, generator: torch.Generator) -> list[Tensor]:
    signs = torch.randint(0, 2, (2, *x.shape), generator=generator).double() * 2 - 1
    directions = list(signs / x.numel() ** 0.5)
    if x.numel() <= SMALL:
        directions += list(torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape))
    return directions
