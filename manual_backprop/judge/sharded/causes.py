"""Which reduction across ranks is missing, or there once too often; named only where it is proven.

Of a gradient that is wrong on the mesh, and right where one rank is all the mesh, each hypothesis
says what the ranks would then hold. It has to hold to rounding at several lengths of the axis, even
and uneven shares among them, and for two draws at each.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from manual_backprop.judge.budget import Budget, rounding_budget
from manual_backprop.judge.sharded.call import Answer
from manual_backprop.judge.sharded.cut import Cut
from manual_backprop.judge.trial import Trial, passed_on, plain_ones
from manual_backprop.judge.verdict import Cause
from manual_backprop.judge.witnesses import autograd


@dataclass(frozen=True, eq=False)
class Scene:
    """One call: what the ranks hold, and what they should.

    Attributes:
        trial: with the point, whose truth is the whole gradient.
        cut: how the arguments are sharded.
        size: how long the axis is that is.
        answer: of all ranks.
        alone: of a mesh of one rank.
        place: which of the gradients is meant.
    """

    trial: Trial
    cut: Cut
    size: int
    answer: Answer
    alone: Answer
    place: int = 0

    @property
    def truth(self) -> Budget:
        """The gradient, and how far rounding may carry it."""
        return self.trial.point.grads[self.place]

    @property
    def claim(self) -> str:
        """Its placements, as DTensor writes them."""
        return self.answer.reports[0].heads[self.place].placements

    @cached_property
    def parts(self) -> list[Tensor]:
        """What each rank holds."""
        return [report.parts[self.place] for report in self.answer.reports]

    @cached_property
    def wholes(self) -> list[Tensor]:
        """What each rank takes for the whole gradient."""
        return [report.wholes[self.place] for report in self.answer.reports]

    @cached_property
    def shares(self) -> list[float]:
        """Which fraction of the axis each rank has."""
        return self.cut.shares(self.size)

    @property
    def right_alone(self) -> bool:
        """Whether a mesh of one rank computes it right."""
        return self.alone.sound and right(self.truth, self.alone.reports[0].wholes[self.place])

    @cached_property
    def own(self) -> list[Budget]:
        """What each rank's own part of the arguments gives, as if it were all, by the oracle."""
        op = self.trial.point.op
        return self._own(op.oracle or op.forward, None)

    @cached_property
    def own_by_hand(self) -> list[Budget]:
        """The same by the operator's first other backward, from the parts of what it saves.

        Raises:
            StopIteration: it has no other.
        """
        op = self.trial.point.op
        others = (b for b in op.backwards if b is not self.trial.backward and b in plain_ones(op))
        return self._own(op.forward, next(others))

    def _own(
        self, forward: Callable[..., Any], backward: Callable[..., Any] | None
    ) -> list[Budget]:
        here = self.trial.point
        given = {**here.inputs, "grad_out": here.grad_out}
        leaves, spec = tree_flatten(given)

        def of_each_rank(*tensors: Tensor) -> tuple[Tensor, ...]:
            whole = tree_unflatten(list(tensors), spec)
            if backward:
                inputs = {name: whole[name] for name in here.inputs}
                whole["out"] = forward(*inputs.values(), **here.options)
            return tuple(self._of_rank(rank, whole, forward, backward) for rank in ranks)

        ranks = range(self.cut.ranks)
        return list(rounding_budget(of_each_rank, leaves, torch.float64))

    def _of_rank(
        self, rank: int, whole: dict[str, Any], forward: Callable[..., Any], backward: Any
    ) -> Tensor:
        here = self.trial.point
        part = {name: self.cut.part(name, value, rank) for name, value in whole.items()}
        if backward:
            needs = (True,) * len(here.op.wrt)
            part |= {"needs": needs, "steps": passed_on, **here.options}
            asked = signature(backward).parameters
            with torch.no_grad():
                result = backward(**{name: part[name] for name in asked if name in part})
            return tree_leaves(result)[self.place]  # type: ignore[no-any-return]
        leaves, spec = tree_flatten(tuple(part[name] for name in here.inputs))
        return autograd(
            lambda *ts: forward(*tree_unflatten(list(ts), spec), **here.options),
            leaves,
            [here.places[self.place]],
            part["grad_out"],
        )[1]


def right(budget: Budget, got: Tensor) -> bool:
    """Whether a tensor is the truth, but for rounding."""
    return got.shape == budget.truth.shape and budget.ratio(got) <= 1


def cause_of(gradient: str, cut: Cut, seen: Sequence[Scene]) -> Cause | None:
    """The mistake across ranks that explains a wrong gradient in every scene, or None."""
    scenes = [replace(s, place=s.trial.point.labels.index(gradient)) for s in seen]
    claims = {scene.claim for scene in scenes if scene.answer.sound}
    if len(claims) != 1 or not all(s.answer.sound and s.right_alone for s in scenes):
        return None
    if all(right(s.truth, whole) for s in scenes for whole in s.wholes):
        return None
    lengths = ", ".join(map(str, sorted({scene.size for scene in scenes})))
    tried = f"at {cut.axis} = {lengths} over {cut.ranks} ranks; on a mesh of one it is right"
    for code, what, holds in hypotheses(cut):
        if all(map(_quietly(holds), scenes)):
            return Cause(code, (gradient,), what, tried)
    return None


def _quietly(holds: Callable[[Scene], bool]) -> Callable[[Scene], bool]:
    """A hypothesis that cannot be tried does not hold."""

    def tried(scene: Scene) -> bool:
        try:
            return holds(scene)
        except Exception:  # of a forward or backward of another author, on parts of its arguments
            return False

    return tried


def hypotheses(cut: Cut) -> Iterator[tuple[str, str, Callable[[Scene], bool]]]:
    """Code, sentence and test of each, in the order in which they are tried."""
    n, axis = cut.ranks, cut.axis
    yield (
        "doubled-all-reduce",
        f"every rank already holds the whole gradient, and Partial adds up {n} of it",
        lambda s: "Partial" in s.claim and _each(s, s.parts),
    )
    yield (
        "doubled-all-reduce",
        f"{n} times the gradient, on {n} ranks: what was already whole is added up once more",
        lambda s: _each(s, [whole / n for whole in s.wholes]),
    )
    yield (
        "averaged-all-reduce",
        f"1/{n} of the gradient, on {n} ranks: the ranks' parts are averaged where their sum is "
        "due",
        lambda s: _each(s, [whole * n for whole in s.wholes]),
    )
    yield (
        "missing-all-reduce",
        f"each of the {n} ranks holds its own part of a sum as if it were all; added up they are "
        "the gradient",
        lambda s: _replicated(s) and right(s.truth, _sum(s.parts)),
    )
    yield (
        "missing-all-reduce",
        f"rank 0 holds the gradient, and each other rank what went into it: all of the {n} have to "
        "hold the sum, as after all_reduce, and not one alone, as after reduce",
        lambda s: _replicated(s) and right(s.truth, s.parts[0]) and _others_halfway(s),
    )
    yield (
        "missing-all-reduce",
        f"each of the {n} ranks holds the mean over its own {axis}; weighted by how much of {axis} "
        "it has, they add up to the gradient",
        lambda s: _replicated(s) and right(s.truth, _sum(s.parts, s.shares)),
    )
    yield (
        "local-mean",
        f"each rank divides by its own part of {axis}, and all of {axis} is due",
        lambda s: _sharded(s) and right(s.truth, _scaled(s)),
    )
    yield (
        "local-mean",
        f"each rank divides by its own part of {axis} and by the {n} ranks, which is right only "
        "where all parts are of one length",
        lambda s: _sharded(s) and right(s.truth, _scaled(s) * n),
    )
    yield (
        "local-mean",
        f"each rank divides by its own part of {axis}, and the sum over the ranks is then too "
        "large; divide by all of it",
        lambda s: _means(s) and _all_equal(s, [1.0] * n),
    )
    yield (
        "local-mean",
        f"each rank's mean over its own part of {axis} counts the same, though some have less of "
        "it; weight each by its share",
        lambda s: _means(s) and _all_equal(s, [1 / n] * n),
    )
    for own in ("own", "own_by_hand"):
        yield (
            "missing-all-reduce",
            f"each rank computes as if its own part of {axis} were all there is: a sum over "
            f"{axis} on the way stays on the rank",
            lambda s, own=own: all(map(right, getattr(s, own), s.parts)),  # type: ignore[misc]
        )


def _replicated(scene: Scene) -> bool:
    return "Replicate" in scene.claim


def _sharded(scene: Scene) -> bool:
    return "Shard" in scene.claim


def _each(scene: Scene, tensors: Sequence[Tensor]) -> bool:
    return all(right(scene.truth, tensor) for tensor in tensors)


def _sum(parts: Sequence[Tensor], weights: Sequence[float] = ()) -> Tensor:
    weights = weights or [1.0] * len(parts)
    return torch.stack([p * weight for p, weight in zip(parts, weights, strict=True)]).sum(0)


def _scaled(scene: Scene) -> Tensor:
    """The shards put together again, each times its rank's share of the axis."""
    parts = [part * weight for part, weight in zip(scene.parts, scene.shares, strict=True)]
    dim = next(
        dim
        for dim in range(parts[0].dim())
        if sum(part.shape[dim] for part in parts) == scene.truth.truth.shape[dim]
    )
    return torch.cat(parts, dim)


def _others_halfway(scene: Scene) -> bool:
    """Whether each entry of every rank but the first is a sum of some ranks' parts, not of all.

    A reduction sends partial sums from neighbour to neighbour, and leaves them where they were.
    """
    n = scene.cut.ranks
    if any(right(scene.truth, part) for part in scene.parts[1:]):
        return False
    runs = [[(first + i) % n for i in range(k)] for k in range(1, n + 1) for first in range(n)]
    for weights in ([1.0] * n, scene.shares):
        parts = [own.truth * weight for own, weight in zip(scene.own, weights, strict=True)]
        sums = torch.stack([_sum([parts[rank] for rank in run]) for run in runs])
        allowed = _sum([own.allowed for own in scene.own]) + scene.truth.allowed
        if all(((sums - p).abs() <= allowed).any(0).all() for p in scene.parts[1:]):
            return True
    return False


def _means(scene: Scene) -> bool:
    """Whether the gradient is the mean of the ranks' own ones, weighted by their shares."""
    return right(scene.truth, _sum([own.truth for own in scene.own], scene.shares))


def _all_equal(scene: Scene, weights: Sequence[float]) -> bool:
    """Whether every rank takes the weighted sum of the ranks' own gradients for the whole one."""
    own = [budget.truth for budget in scene.own]
    allowed = _sum([budget.allowed for budget in scene.own])
    due = Budget(_sum(own, weights), allowed + scene.truth.allowed)
    return all(right(due, whole) for whole in scene.wholes)
