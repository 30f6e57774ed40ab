"""What else is wrong with a backward that leaves grad_out out, or returns another dtype."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from manual_backprop.judge.diagnose import Diagnoses
from manual_backprop.judge.point import Point
from manual_backprop.judge.trial import Backward, Trial
from manual_backprop.judge.values import right_values
from manual_backprop.judge.verdict import Broken, Finding

MULTIPLIED = "once it is multiplied by grad_out, "


def once_mended(
    found: Finding, backward: Backward, here: Point, diagnoses: Diagnoses
) -> Iterator[Finding]:
    """What is wrong with its gradients besides, each cause once; said to be of the mended ones.

    Args:
        found: what was found of the backward itself. Nothing more is looked for unless, in float64,
            it ignores a grad_out that is a single number, or returns another dtype.
        backward: the function.
        here: where it was found.
        diagnoses: of its operator.
    """
    trial = Trial(backward, here, "cpu", "contiguous")
    if here.dtype is not torch.float64 or trial.in_place:
        return
    with suppress(Broken):
        if found.code == "ignores-grad-out" and here.grad_out.numel() == 1:
            once, twice = trial.gradients(copy=True), trial.gradients(2 * trial.grad_out)
            mended, said = _multiplied(backward, [*map(torch.equal, once, twice)]), MULTIPLIED
        elif found.code == "dtype":
            mended, said = _cast(backward, here.dtype), "once it is float64, "
        else:
            return
        again = Trial(mended, here, "cpu", "contiguous")
        list(again.first_call())
        told = set()
        for finding, wrong in right_values(again, kink_is_wrong=True):
            finding = diagnoses.named(mended, finding, here.variant.sample)
            cause = finding.cause and replace(finding.cause, what=said + finding.cause.what)
            if cause is None and found.code == "dtype":
                continue  # too few digits to tell a wrong number from a rounded one
            if wrong and (cause is None or cause not in told):
                told.add(cause)
                yield replace(finding, message=said + finding.message, cause=cause)


def _multiplied(backward: Backward, which: list[bool]) -> Backward:
    """The backward with those of its gradients multiplied by grad_out, which is one number."""

    def multiplied(grads: list[Tensor], grad_out: Tensor) -> list[Tensor]:
        pairs = zip(grads, which, strict=True)
        return [grad * grad_out.reshape(()) if it else grad for grad, it in pairs]

    return _mended(backward, multiplied)


def _cast(backward: Backward, dtype: torch.dtype) -> Backward:
    """The backward with its gradients in a dtype."""
    return _mended(backward, lambda grads, _: [grad.to(dtype) for grad in grads])


def _mended(backward: Backward, mend: Callable[[list[Tensor], Tensor], list[Tensor]]) -> Backward:
    """The backward with other gradients, made of its own and of grad_out."""
    own = signature(backward).parameters

    @wraps(backward)
    def mended(**given: Any) -> Any:
        grads, spec = tree_flatten(backward(**{n: v for n, v in given.items() if n in own}))
        return tree_unflatten(mend(grads, given["grad_out"]), spec)

    names = dict.fromkeys((*own, "grad_out"))
    parameters = [Parameter(name, Parameter.KEYWORD_ONLY) for name in names]
    vars(mended)["__signature__"] = signature(backward).replace(parameters=parameters)
    return mended
