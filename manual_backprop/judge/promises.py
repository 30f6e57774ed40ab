"""What every backward promises, whatever it is the backward of.

Each promise is a function of a trial that yields findings; `first_call` of the trial has already
held the result to its count, types, shapes, memory and inputs. What is yielded is a broken promise;
Broken is raised where a call gives no gradients to compare.
"""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product

import torch
from torch import Tensor

from manual_backprop.judge.draw import each
from manual_backprop.judge.noise import Watch
from manual_backprop.judge.repeats import differs, same_bits
from manual_backprop.judge.result import flat, needed
from manual_backprop.judge.trial import Trial
from manual_backprop.judge.values import apart, at, first_index
from manual_backprop.judge.verdict import Broken, Finding


def homogeneous(trial: Trial) -> Iterator[Finding]:
    """f(s g) = s f(g) for s = -2⁴⁰ and 2⁻²⁰ (float16: -2⁴ and 2⁻⁴).

    Scaling by a power of two commutes with rounding, so a right backward keeps this to the bit,
    unless a number overflows or becomes subnormal on the way; then within the scaled budget.
    """
    info = torch.finfo(trial.point.dtype)
    half = trial.point.dtype is torch.float16
    for scale in (-(2.0**4), 2.0**-4) if half else (-(2.0**40), 2.0**-20):
        scaled = trial.gradients(trial.grad_out * scale)
        for label, once, got, budget in zip(
            trial.point.labels, trial.grads, scaled, trial.point.grads, strict=True
        ):
            plain = once.detach().to("cpu", torch.float64)
            expected = scale * plain
            if torch.equal(got, expected):
                continue
            allowed = abs(scale) * budget.allowed + info.smallest_normal
            differs = ~((got - expected).abs() <= allowed) & (expected.abs() < info.max / 2)
            if differs.any():
                index = first_index(differs)
                came, due = apart(float(got[index]), float(expected[index]))
                ignored = torch.equal(got, plain) and not _turns(trial, plain, label)
                yield trial.finding(
                    "ignores-grad-out" if ignored else "not-linear",
                    f"does not change when grad_out does: with grad_out times {_power(scale)} "
                    f"it is still {came}{at(index)}; multiply it by grad_out"
                    if ignored
                    else f"does not grow in proportion to grad_out: {_power(scale)} times grad_out "
                    f"gives {came}{at(index)}, and should give {due}; look for abs, clamp, a "
                    "threshold, a square or a norm of grad_out, or a number that is added",
                    label,
                )
                return


def _power(scale: float) -> str:
    """As in -2^40."""
    return f"{'-' if scale < 0 else ''}2^{round(math.log2(abs(scale)))}"


def _turns(trial: Trial, plain: Tensor, label: str) -> bool:
    """Whether another direction of grad_out gives another gradient."""
    place = trial.point.labels.index(label)
    flipped = trial.grad_out.clone().reshape(-1)
    flipped[: max(1, flipped.numel() // 2)] *= -1
    return not torch.equal(trial.gradients(flipped.reshape(trial.grad_out.shape))[place], plain)


def additive(trial: Trial) -> Iterator[Finding]:
    """f(a) + f(b) = f(a + b) within three times the budget, where a + b splits grad_out."""
    whole = trial.grad_out
    if whole.numel() < 2:  # of a single number there are only multiples
        return
    mask = torch.arange(whole.numel(), device=whole.device).reshape(whole.shape) % 2 == 0
    sums = [grad.detach().to("cpu", torch.float64) for grad in trial.grads]
    a, b = trial.gradients(whole * mask, copy=True), trial.gradients(whole * ~mask)
    for label, one, two, both, budget in zip(
        trial.point.labels, a, b, sums, trial.point.grads, strict=True
    ):
        if not both.numel():
            continue
        error = float((one + two - both).abs_().max())
        if error > (allowed := 3 * float(budget.allowed.max())):
            yield trial.finding(
                "not-linear",
                "does not add up: the gradients of two parts of grad_out sum to another gradient "
                f"than that of the whole, off by {error:.1e} where {allowed:.1e} is allowed; look "
                "for a threshold, a square or a norm of grad_out",
                label,
                error=error,
                allowed=allowed,
            )
            return


def zero_for_zero(trial: Trial) -> Iterator[Finding]:
    """A grad_out of zeros gives zeros, wherever the reference's does."""
    nothing = torch.zeros_like(trial.grad_out)
    got = trial.gradients(nothing)
    if all(not grad.any() for grad in got):
        return
    truth = trial.point.reference(nothing, trial.point.dtype)[1:]  # 0 · inf is nan there too
    for label, grad, true in zip(trial.point.labels, got, truth, strict=True):
        differs = (grad != 0) & (true == 0)
        if differs.any():
            index = first_index(differs)
            yield trial.finding(
                "zero",
                f"is {float(grad[index]):.6g}{at(index)} for a grad_out of zeros, not 0",
                label,
            )
            return


def honours_needs(trial: Trial) -> Iterator[Finding]:
    """None where nobody needs a gradient, the same bits elsewhere, and no work for None."""
    if "needs" not in trial.parameters:
        return
    everything = 0
    for needs in product((True, False), repeat=len(trial.point.op.wrt)):
        before = trial.snapshot()
        trial.watch = calls = Calls()
        result = trial.call(needs=needs)
        trial.watch = nullcontext()
        if all(needs):
            everything = len(calls.names)
        elif len(calls.names) >= (everything if any(needs) or trial.fused else 1):
            yield trial.finding(
                "extra-term",
                f"does {len(calls.names)} operations for needs={needs}, and {everything} for all "
                "gradients; do no work for what nobody needs",
            )
            return
        for label, value, full in needed(trial, result, needs):
            if not same_bits(value, full):
                when = f"for needs={needs}"
                yield differs(trial, label, full, value, when, f"is another gradient {when}")
                return
        trial.unchanged(before)


def default_grad_out(trial: Trial) -> Iterator[Finding]:
    """Left out, grad_out is 1: the gradient of the loss itself."""
    grad_out = trial.parameters.get("grad_out")
    if grad_out is None or grad_out.default is grad_out.empty or trial.grad_out.dim():
        return
    plain = trial.gradients(torch.ones_like(trial.grad_out), copy=True)
    size = trial.grad_out.abs().double().cpu()
    for label, left_out, one, budget in zip(
        trial.point.labels, trial.gradients_by_default(), plain, trial.point.grads, strict=True
    ):  # a default of 1.0 may be multiplied in more digits than a tensor is
        if ((left_out - one).abs() > budget.allowed / size).any():
            yield trial.finding(
                "factor", "is another gradient without grad_out than for grad_out=1", label
            )
            return


class Calls(Watch):
    """The operations that compute, by name and in order; views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if not func.is_view:
            self.names.append(str(func))
        return func(*args, **kwargs or {})


def shapes_on_meta(trial: Trial) -> Iterator[Finding]:
    """Tensors without numbers give gradients of the right shapes; a note where they raise."""
    given = {
        name: each(value, lambda tensor: tensor.to("meta")) for name, value in trial.given.items()
    }
    try:
        result = flat(trial.call(trial.grad_out.to("meta"), **given))
    except Broken as broken:
        said = f"cannot be traced without numbers (meta tensors): it {broken.finding.message}"
        yield trial.finding("device", said)
        return
    for label, grad, budget in zip(trial.point.labels, result, trial.point.grads, strict=False):
        if grad.shape != budget.truth.shape:
            yield trial.finding(
                "shape",
                f"has shape {tuple(grad.shape)} on meta tensors, not {tuple(budget.truth.shape)}",
                label,
            )
