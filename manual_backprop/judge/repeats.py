"""A call depends on the numbers that it is given and on nothing before it."""

import random
from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from manual_backprop.judge.budget import Budget
from manual_backprop.judge.memory import overlap
from manual_backprop.judge.trial import Trial
from manual_backprop.judge.verdict import Finding

DRAWS = (
    "draws random numbers, so every call gives another gradient; what is random, as a mask, has to "
    "be an argument, so that the backward sees what the forward used"
)
SEEDS = (0, 1, 2)
UNLIKE = (
    "the sample draws other shapes each time, so it is not tried whether other numbers in the same "
    "tensors give another gradient"
)


def repeatable(trial: Trial, other: Trial) -> Iterator[Finding]:
    """The same call gives the same again to the bit, also after a call on other numbers.

    Other numbers written into the very tensors of the first call give what they give anywhere, and
    no call overwrites what an earlier one returned.

    Args:
        trial: called once.
        other: at another point of that sample; `trial` itself where there is none.
    """
    labels, old = trial.point.labels, trial.grads
    first = [_copy(grad) for grad in old]
    fresh = () if other is trial else other.gradients(copy=True)
    between = [_copy(grad) for grad in old]
    again = trial.result()
    given = [tensor for _, tensor in trial.tensors()]
    for label, a, b, kept, new in zip(labels, first, between, old, again, strict=True):
        if overlap(kept, new) and not any(overlap(new, tensor) for tensor in given):
            lost = not (same_bits(a, b) and same_bits(a, kept))
            yield trial.finding(
                "stateful",
                "the result of the first call was overwritten by a later one, for both lie in the "
                "same memory; return a new tensor from every call"
                if lost
                else "two calls returned the same memory, so whoever changes the result of one, "
                "as an optimizer does in place, changes that of the other; return a new tensor "
                "from every call",
                label,
            )
            return
        if not same_bits(a, new):
            when = "again" if other is trial else "again, after a call on other numbers,"
            broken = f"called {when} with the same numbers, it is another gradient"
            found = differs(trial, label, a, new, "from call to call", broken)
            yield found if found.code != "stateful" else next(random_numbers(trial), found)
            break
    if fresh:
        yield from _follows_the_numbers(trial, other, fresh)


def at_once(trial: Trial) -> Iterator[Finding]:
    """The same call again with nothing in between: what is beyond rounding of a wrong gradient."""
    yield from random_numbers(trial)
    yield from (found for found in repeatable(trial, trial) if not within_rounding(found))


def _follows_the_numbers(trial: Trial, other: Trial, fresh: Sequence[Tensor]) -> Iterator[Finding]:
    """Other numbers, written into the tensors of the first call, give what they give elsewhere."""
    if not alike(trial, other):
        return
    mine, theirs = dict(trial.tensors()), dict(other.tensors())
    there = copy(trial)  # the tensors of the one, and the options and the truth of the other
    there.point = other.point
    kept = {name: tensor.clone() for name, tensor in mine.items()}
    try:
        for name, tensor in mine.items():
            tensor.copy_(theirs[name])
        got = there.gradients(copy=True)
    finally:
        for name, tensor in mine.items():
            tensor.copy_(kept[name])
    for label, right, new in zip(trial.point.labels, fresh, got, strict=True):
        if not same_bits(right, new):
            yield differs(
                there,
                label,
                right,
                new,
                "from tensor to tensor",
                "other numbers written into the same tensors give another gradient than in tensors "
                "of their own; what a tensor is (id, is, data_ptr) does not tell what it holds, so "
                "keep nothing from call to call",
            )
            return


def alike(trial: Trial, other: Trial) -> bool:
    """Whether the numbers of the one fit into the tensors of the other."""
    mine, theirs = dict(trial.tensors()), dict(other.tensors())
    return {n: t.shape for n, t in mine.items()} == {n: t.shape for n, t in theirs.items()}


def differs(trial: Trial, label: str, a: Tensor, b: Tensor, when: str, broken: str) -> Finding:
    """The finding that two gradients of one shape, both of the trial's numbers, are not the same.

    Where both are right, what differs is the order of a sum and not what it is a sum of.

    Args:
        trial: at the point that both are gradients of.
        label: of the gradient.
        a: the one, of the truth's shape.
        b: the other, of that shape.
        when: how the calls differ, as in "from call to call".
        broken: what to say where one of the two is wrong.
    """
    budget: Budget = trial.point.grads[trial.point.labels.index(label)]
    if max(budget.ratio(a), budget.ratio(b)) > 1:
        return trial.finding("stateful", broken, label)
    return trial.finding(
        "not-repeatable",
        f"is not the same to the bit {when}, though within rounding: a reduction whose order is "
        "not fixed (atomics, threads); torch.use_deterministic_algorithms(True), which is on while "
        "judging, fixes it in PyTorch's kernels, and in your own add up in one order",
        label,
    )


def within_rounding(finding: Finding) -> bool:
    """Whether it says of a right gradient that its last bits differ from call to call."""
    return finding.code == "not-repeatable" and finding.message != DRAWS


def random_numbers(trial: Trial) -> Iterator[Finding]:
    """The random numbers that it draws, and nothing else, make one call differ from another."""
    numpys = np.random.get_state()
    pythons = random.getstate()
    try:
        with torch.random.fork_rng():
            first, *others = (_seeded(trial, seed) for seed in SEEDS)
            for label, *grads in zip(trial.point.labels, first, *others, strict=True):
                if not all(same_bits(grads[0], other) for other in grads[1:]):
                    if all(map(same_bits, first, _seeded(trial, SEEDS[0]))):
                        yield trial.finding("not-repeatable", DRAWS, label)
                    return
    finally:
        np.random.set_state(numpys)
        random.setstate(pythons)


def _seeded(trial: Trial, seed: int) -> tuple[Tensor, ...]:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    return trial.gradients(copy=True)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two gradients of one shape hold the same numbers, nan and the sign of 0 included."""
    raw = [t.detach().to("cpu", torch.float64).view(torch.int64) for t in (a, b)]
    return torch.equal(*raw)


def _copy(grad: Tensor) -> Tensor:
    return grad.detach().to("cpu", torch.float64, copy=True)
