"""Whether values are right: every entry within its budget of the truth, and what a kink excuses."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual_backprop.judge.budget import Budget
from manual_backprop.judge.draw import each
from manual_backprop.judge.evidence import Closest, picture
from manual_backprop.judge.result import flat
from manual_backprop.judge.trial import Trial, forward_out
from manual_backprop.judge.verdict import Broken, Finding
from manual_backprop.judge.witnesses import loss_along, sides

NEAR_KINK = 256  # so many differing entries are held to the slopes beside them, one by one


def first_index(mask: Tensor) -> tuple[int, ...]:
    """The index of the first True in a mask of any shape.

    Raises:
        IndexError: there is none.
    """
    return tuple(int(i) for i in mask.nonzero()[0])


def at(index: tuple[int, ...]) -> str:
    """As in " at [0, 2]"; nothing of a single number."""
    return f" at {list(index)}" if index else ""


def apart(one: float, other: float) -> tuple[str, str]:
    """Two different numbers, to six digits or to as many as tell them apart.

    >>> apart(0.5, 0.25), apart(1.0, 1.0000001)
    (('0.5', '0.25'), ('1', '1.0000001'))
    """
    pairs = ((f"{one:.{n}g}", f"{other:.{n}g}") for n in range(6, 18))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(one), repr(other)))


def right_values(trial: Trial, *, kink_is_wrong: bool) -> Iterator[tuple[Finding, bool]]:
    """Every gradient is within its budget of the truth, entry by entry.

    Args:
        trial: called once, so that its gradients have the shapes of the truth.
        kink_is_wrong: whether another slope than PyTorch's exactly on a kink is.

    Yields:
        A finding, and whether it is wrong (else a note).
    """
    for label, got, budget in zip(trial.point.labels, trial.grads, trial.point.grads, strict=True):
        if got.numel() == 0:
            continue
        finite = got.cpu().isfinite()
        judged = budget.judged
        if not finite.all():
            judged = _where_pytorchs_is_finite(trial, label, judged)
        lost = judged & ~finite
        if lost.any():
            index = first_index(lost)
            overflows = _overflows(trial, label, lost)
            remedy = "; an intermediate overflows in float16, in float32 none does"
            yield (
                trial.finding(
                    "unstable"
                    if overflows
                    else "nan"
                    if trial.layout == "contiguous"
                    else "layout",
                    f"is {float(got[index])}{at(index)}, where "
                    f"{float(budget.truth[index]):.6g} is right" + (remedy if overflows else ""),
                    label,
                    got=float(got[index]),
                    expected=float(budget.truth[index]),
                    picture=picture(got, budget.truth, budget.allowed, judged),
                ),
                not overflows,
            )
        error = _errors(got, budget, judged)
        over = error > budget.allowed
        if over.any():
            yield _wrong_value(trial, label, got, budget, error, over, kink_is_wrong)


def closeness(trial: Trial) -> tuple[float, float, int]:
    """Error and allowance at the entry of all gradients that comes closest to its allowance.

    Both are relative to the largest entry of that gradient, where that is more than rounding
    explains: of batch norm's on a batch of equal rows, nothing but rounding is left. The last is
    the number of that gradient.
    """
    nearest = (0.0, 0.0, 0)
    for which, (got, budget) in enumerate(zip(trial.grads, trial.point.grads, strict=True)):
        if got.numel() == 0:
            continue
        judged = budget.judged
        if not judged.any():
            continue
        error = _errors(got, budget, judged)
        place = int((error / budget.allowed).argmax())
        size = float(budget.truth[judged].abs().max())
        if size <= float(budget.allowed[judged].max()):
            size = 1.0
        here = (
            float(error.reshape(-1)[place]) / size,
            float(budget.allowed.reshape(-1)[place]) / size,
        )
        if nearest[1] == 0 or here[0] * nearest[1] > nearest[0] * here[1]:
            nearest = (*here, which)
    return nearest


def closest(trial: Trial, which: int) -> Closest:
    """The entry that `closeness` is of.

    Args:
        trial: called once, with right gradients.
        which: the number of the gradient.
    """
    got, budget = trial.grads[which], trial.point.grads[which]
    judged = budget.judged & got.isfinite().cpu()
    seen = picture(got, budget.truth, budget.allowed, judged)
    here = seen.index
    return Closest(
        gradient=trial.point.labels[which],
        got=float(got[here]),
        expected=float(budget.truth[here]),
        error=abs(float(got[here]) - float(budget.truth[here])),
        allowed=float(budget.allowed[here]),
        sample=trial.point.variant.name,
        seed=trial.point.seed,
        layout=trial.layout,
        picture=seen,
    )


def _overflows(trial: Trial, label: str, lost: Tensor) -> bool:
    """Whether the same call in float32 on the same numbers is finite where float16's is lost.

    Only of inputs that the judge made itself to be large; others an operator has to bear.
    """
    variant = trial.point.variant
    large = variant.numbers != "normal" or variant.grad_out == "huge"
    if trial.point.dtype is not torch.float16 or not large:
        return False
    wide = {
        name: each(value, lambda t: t.float() if t.is_floating_point() else t)
        for name, value in trial.given.items()
    }
    if "out" in wide:
        wide["out"] = forward_out(trial.point, wide)
    try:
        grads = flat(trial.call(trial.grad_out.float(), **wide))
    except Broken:
        return False
    grad = grads[trial.point.labels.index(label)]
    return grad.shape == lost.shape and bool(grad.cpu().isfinite()[lost].all())


def _errors(got: Tensor, budget: Budget, judged: Tensor) -> Tensor:
    error = got.detach().to("cpu", torch.float64).sub(budget.truth).abs_()
    if judged.all() and error.max().isfinite():
        return error
    return error.masked_fill_(~(judged & error.isfinite()), 0.0)


def _where_pytorchs_is_finite(trial: Trial, label: str, judged: Tensor) -> Tensor:
    """Of the entries to judge, those that PyTorch itself can compute in this dtype."""
    native = trial.point.reference(trial.point.grad_out, trial.point.dtype)[1:]
    return judged & native[trial.point.labels.index(label)].isfinite()


def _wrong_value(
    trial: Trial,
    label: str,
    got: Tensor,
    budget: Budget,
    error: Tensor,
    over: Tensor,
    kink_is_wrong: bool,
) -> tuple[Finding, bool]:
    place = int((error / budget.allowed).argmax())
    index = tuple(int(i) for i in np.unravel_index(place, got.shape))
    judged = budget.judged & got.isfinite().cpu()
    numbers: dict[str, Any] = {
        "got": float(got[index]),
        "expected": float(budget.truth[index]),
        "error": float(error[index]),
        "allowed": float(budget.allowed[index]),
        "picture": picture(got, budget.truth, budget.allowed, judged),
    }
    if int(over.sum()) <= NEAR_KINK and _inside_kinks(trial, label, got, over):
        message = _on_a_kink(trial, label, index, numbers)
        return trial.finding("kink", message, label, **numbers), kink_is_wrong
    was, is_ = _told_apart(numbers["got"], numbers["expected"])
    message = (
        f"got {was}{at(index)}, expected {is_}: off by "
        f"{numbers['error']:.1e} where {numbers['allowed']:.1e} is allowed"
        f"{_how_many(int(over.sum()), over.numel())}"
    )
    if _is_the_forwards_own(trial, label, got, budget):
        message += (
            "; it agrees with autograd of the forward itself, so forward and oracle are different "
            "functions there: look for a threshold in the oracle, or mend the forward"
        )
    code = "unknown" if trial.layout == "contiguous" else "layout"
    return trial.finding(code, message, label, **numbers), True


def _how_many(wrong: int, entries: int) -> str:
    """How the sentence about one wrong entry goes on; not at all where there is no other."""
    if entries == 1:
        return ""
    if wrong == entries:
        return f"; all {entries} entries are wrong"
    return f"; {wrong} of {entries} entries {'is' if wrong == 1 else 'are'} wrong"


def _told_apart(a: float, b: float) -> tuple[str, str]:
    """Both with as many digits as it takes to see that they differ."""
    digits = next((n for n in (9, 12, 15) if f"{a:.{n}g}" != f"{b:.{n}g}"), 17)
    return f"{a:.{digits}g}", f"{b:.{digits}g}"


def _is_the_forwards_own(trial: Trial, label: str, got: Tensor, budget: Budget) -> bool:
    """Whether the oracle's gradient is missed, and that of the forward as written is met."""
    point = trial.point
    if point.op.oracle is None:
        return False
    try:
        own = point.derivative(point.op.forward, point.grad_out, torch.float64)[1:]
    except Exception:  # a forward need not be made for autograd
        return False
    error = (got.detach().cpu().double() - own[point.labels.index(label)]).abs()
    return bool((error <= budget.allowed).all())


def _on_a_kink(trial: Trial, label: str, index: tuple[int, ...], numbers: Mapping[str, Any]) -> str:
    """What came, where, and how PyTorch's own slope is had there."""
    point = trial.point
    argument = float(point.raised[point.places[point.labels.index(label)]][index])
    said = (
        f"is {numbers['got']:.6g}{at(index)}, where {label.removeprefix('grad_')} is "
        f"{argument:.6g}, exactly on a kink; any slope between the two sides is one, and PyTorch "
        f"takes {numbers['expected']:.6g}"
    )
    low, high = _slopes_beside(trial, label, index)
    reach = 1e-6 * (high - low) + numbers["allowed"]
    if min(abs(numbers["expected"] - side) for side in (low, high)) <= reach:
        return f"{said}; turn > into >= or >= into >, or set that entry by torch.where"
    said += ", which lies between: neither > nor >= gives it, but torch.where for that entry does"
    middle = abs(numbers["expected"] - (low + high) / 2) <= reach
    return said + (", and so does torch.sign, which is 0 there" if middle else "")


def _inside_kinks(trial: Trial, label: str, got: Tensor, over: Tensor) -> bool:
    """Whether each differing entry lies between two one-sided slopes that differ."""
    for row in over.nonzero():
        index = tuple(int(i) for i in row)
        try:
            low, high = _slopes_beside(trial, label, index)
        except RuntimeError:  # the step beside leaves the domain
            return False
        reach = 1e-6 * max(abs(low), abs(high), 1e-12)
        room = reach + float(trial.point.grads[trial.point.labels.index(label)].allowed[index])
        if high - low <= reach or not low - room <= float(got[index]) <= high + room:
            return False
    return True


def _slopes_beside(trial: Trial, label: str, index: tuple[int, ...]) -> tuple[float, float]:
    """The loss's two one-sided slopes by one entry, the lower first.

    Raises:
        RuntimeError: a step beside leaves the domain.
    """
    point = trial.point
    place = point.places[point.labels.index(label)]
    direction = torch.zeros_like(point.raised[place])
    direction[index] = 1.0
    return sides(
        loss_along(point.own_forward, point.raised, place, direction, point.grad_out.double())
    )
