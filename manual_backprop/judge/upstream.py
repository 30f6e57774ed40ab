"""A backward of a loss that leaves grad_out out: what else is wrong with it."""

from collections.abc import Iterator
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

SAID = "once it is multiplied by grad_out, "


def once_multiplied(
    found: Finding, backward: Backward, here: Point, diagnoses: Diagnoses
) -> Iterator[Finding]:
    """What is wrong with its gradients besides, each cause once; said to be of the product.

    Args:
        found: what was found of the backward itself. Nothing more is looked for unless it ignores
            grad_out in float64, where that is a single number.
        backward: the function.
        here: where it was found.
        diagnoses: of its operator.
    """
    trial = Trial(backward, here, "cpu", "contiguous")
    scalar = here.grad_out.numel() == 1 and here.dtype is torch.float64
    if found.code != "ignores-grad-out" or not scalar or trial.in_place:
        return
    with suppress(Broken):
        once, twice = trial.gradients(copy=True), trial.gradients(2 * trial.grad_out)
        whole = _multiplied(backward, [*map(torch.equal, once, twice)])
        product = Trial(whole, here, "cpu", "contiguous")
        list(product.first_call())
        told = set()
        for finding, wrong in right_values(product, kink_is_wrong=True):
            finding = diagnoses.named(whole, finding, here.variant.sample)
            cause = finding.cause and replace(finding.cause, what=SAID + finding.cause.what)
            if wrong and (cause is None or cause not in told):
                told.add(cause)
                yield replace(finding, message=SAID + finding.message, cause=cause)


def _multiplied(backward: Backward, which: list[bool]) -> Backward:
    """The backward with those of its gradients multiplied by grad_out, which is one number."""
    own = signature(backward).parameters

    @wraps(backward)
    def multiplied(**given: Any) -> Any:
        factor: Tensor = given["grad_out"]
        grads, spec = tree_flatten(backward(**{n: v for n, v in given.items() if n in own}))
        by = factor.reshape(())
        pairs = zip(grads, which, strict=True)
        return tree_unflatten([grad * by if it else grad for grad, it in pairs], spec)

    names = dict.fromkeys((*own, "grad_out"))
    parameters = [Parameter(name, Parameter.KEYWORD_ONLY) for name in names]
    vars(multiplied)["__signature__"] = signature(backward).replace(parameters=parameters)
    return multiplied
