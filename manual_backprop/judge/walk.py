"""The walk over the grid: one operator's samples, dtypes, devices, layouts and promises."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F

from manual_backprop.judge import promises
from manual_backprop.judge.diagnose import Diagnoses
from manual_backprop.judge.draw import ARTICLE, BATCH, Rand, Variant, axes, made
from manual_backprop.judge.exercised import masks_of
from manual_backprop.judge.forward import fault, unlike_its_slopes, unlike_the_oracle
from manual_backprop.judge.point import Point, Unjudgeable, check_size, checked_draw, point
from manual_backprop.judge.repeats import UNLIKE, alike, at_once, repeatable, within_rounding
from manual_backprop.judge.trial import Backward, Trial
from manual_backprop.judge.upstream import once_mended
from manual_backprop.judge.values import closeness, closest, right_values
from manual_backprop.judge.verdict import Broken, Finding, Tally, Verdict, dtype_name
from manual_backprop.op import BadOp, Op


def is_pytorchs(oracle: Callable[..., Any] | None) -> bool:
    """Whether it is PyTorch's function itself and not a composition of several."""
    name = getattr(oracle, "__name__", "")
    return oracle is not None and oracle in (getattr(torch, name, None), getattr(F, name, None))


class Walk:
    """Walks the grid of one operator and fills in its verdict."""

    def __init__(
        self, op: Op, backwards: tuple[Backward, ...], kinks: str, *, causes: bool = True
    ) -> None:
        self.op = op
        self.backwards = backwards
        self.house = str(op.forward.__module__).startswith("manual_backprop.")
        self.kink_is_wrong = kinks == "reject" or self.house or is_pytorchs(op.oracle)
        self.diagnoses = Diagnoses(op) if causes else None
        self.verdict = Verdict(op.name, {b.__name__: op.saves(b) for b in backwards})
        if not any(BATCH in axes(op, sample) for sample in op.samples):
            self.verdict.notes.append(
                Finding(
                    op.name,
                    "",
                    "not-exercised",
                    f"no sample has an axis {BATCH!r}, so no batch of 0 or 1 rows is tried; "
                    f"call the batch axis {BATCH}, as in lambda rand, {BATCH}=11: ...",
                )
            )
        if op.oracle is None:
            self.verdict.notes.append(
                Finding(
                    op.name,
                    "",
                    "witnesses",
                    "there is no oracle: the truth is autograd of the forward itself, and its "
                    "slopes are the only witness from outside",
                )
            )

    def sample(
        self,
        own: Variant,
        dtype: torch.dtype,
        device: str,
        seeds: tuple[int, ...],
        layouts: tuple[str, ...],
        parts: Sequence[str],
        progress: Callable[[], None],
    ) -> None:
        """Everything about one sample in one dtype on one device, into the verdict.

        Raises:
            BadOp: the sample does not fit the operator.
        """
        if own.sample == ARTICLE:
            seeds, layouts = seeds[:1], tuple(set(layouts) & {"contiguous"})
            parts = [part for part in parts if part in ("forward", "values")]
        try:
            points = [point(self.op, own, dtype, seed) for seed in seeds]
            if "forward" in parts:
                for here in points:
                    if found := unlike_the_oracle(here, device):
                        self.verdict.findings.append(found)
                        return
            if "slopes" in parts and dtype is torch.float64 and device == "cpu":
                for finding in unlike_its_slopes(points[0]):
                    wrong = finding.code == "witnesses"
                    (self.verdict.findings if wrong else self.verdict.notes).append(finding)
            for backward in self.backwards:
                try:
                    self._backward(backward, points, device, layouts, parts)
                except Broken as broken:
                    self.verdict.findings += self._named(backward, broken.finding, points[0])
                progress()
        except Unjudgeable as error:
            if own.own or self.op.oracle is None:
                self.verdict.findings.append(
                    fault(self.op, "raises", str(error), own, dtype, device)
                )
            else:  # a size that PyTorch refuses as well is nobody's mistake
                self._not_tried(own, dtype, str(error))

    def _named(self, backward: Backward, found: Finding, here: Point) -> list[Finding]:
        """The finding with its cause, and what else is known by it."""
        if self.diagnoses is None:
            return [found]
        sample = here.variant.sample
        found = self.diagnoses.named(backward, found, sample)
        more = once_mended(found, backward, here, self.diagnoses)
        return [found, *self.diagnoses.others(backward, found, sample), *more]

    def _backward(
        self,
        backward: Backward,
        points: Sequence[Point],
        device: str,
        layouts: Sequence[str],
        parts: Sequence[str],
    ) -> None:
        """One backward; ends at the first finding, since what is broken breaks everything.

        Raises:
            Broken: with that finding.
        """
        first = points[0]
        if "values" in parts:
            for layout in layouts:
                for here in points:
                    if layout != "expanded":
                        self._values(Trial(backward, here, device, layout))
                    elif wide := self._point(here.variant.as_expanded(), here):
                        self._values(Trial(backward, wide, device, "contiguous"))
                        self._values(Trial(backward, wide, device, layout))
        if "promises" in parts:
            trial = self._called(Trial(backward, first, device, "contiguous"))
            other = Trial(backward, self._another(points), device, "contiguous")
            if not alike(trial, other):
                self._note(trial.finding("not-exercised", UNLIKE))
            for promise in (
                repeatable(trial, other),
                promises.homogeneous(trial),
                promises.additive(trial),
                promises.zero_for_zero(trial),
                promises.honours_needs(trial),
                promises.default_grad_out(trial),
            ):
                before = trial.snapshot()
                for finding in promise:
                    if self.house or not within_rounding(finding):
                        raise Broken(finding)
                    self._note(finding)  # a right gradient, of which nobody promised the last bit
                trial.unchanged(before)
            masks_of(trial, torch.zeros_like(trial.grad_out))
        if "meta" in parts and device == "cpu":
            trial = Trial(backward, first, device, "contiguous")
            if not trial.in_place:
                self._note(*promises.shapes_on_meta(trial))
        if "made" in parts:
            for here in self._made(first):
                self._values(Trial(backward, here, device, "contiguous"))

    def _another(self, points: Sequence[Point]) -> Point:
        """A point with other numbers than the first, which may be the only one."""
        first = points[0]
        for here in points:
            if here.seed != first.seed:
                return here
        return point(self.op, first.variant, first.dtype, first.seed + 1)

    def _made(self, here: Point) -> Iterator[Point]:
        """What the judge makes of a sample; repeated indices only where it draws any."""
        rand = Rand(0, here.dtype)
        checked_draw(self.op, here.variant, rand)
        for variant in made(self.op, here.variant.sample):
            if variant.numbers == "repeated" and not rand.drew_integers:
                continue
            if found := self._point(variant, here):
                yield found

    def _point(self, variant: Variant, like: Point) -> Point | None:
        """What the judge made of a sample; a note where it is too large or PyTorch refuses it."""
        try:
            check_size(self.op, variant)
            return point(self.op, variant, like.dtype, like.seed)
        except (BadOp, Unjudgeable) as error:
            self._not_tried(variant, like.dtype, str(error))
            return None

    def _not_tried(self, variant: Variant, dtype: torch.dtype, why: str) -> None:
        self._note(
            Finding(
                self.op.name, "", "not-exercised", f"{why}: not tried", sample=variant.name,
                dtype=dtype_name(dtype),
            )
        )  # fmt: skip

    def _called(self, trial: Trial) -> Trial:
        self._note(*trial.first_call())
        return trial

    def _values(self, trial: Trial) -> None:
        """Hold one call to the truth.

        Raises:
            Broken: it is wrong; with the broken promise that explains it, where there is one.
        """
        self._called(trial)
        for finding, wrong in right_values(trial, kink_is_wrong=self.kink_is_wrong):
            if wrong:
                raise Broken(self._explained(trial, finding))
            self._note(finding)
        key = trial.name, dtype_name(trial.point.dtype), trial.device
        error, allowed, which = closeness(trial)
        tally = self.verdict.cells.get(key, Tally())
        self.verdict.cells[key] = tally.plus(error, allowed, lambda: closest(trial, which))
        masks_of(trial)

    def _explained(self, trial: Trial, finding: Finding) -> Finding:
        variant = trial.point.variant
        if finding.code not in ("unknown", "layout"):
            return finding
        linear = finding.code == "unknown" and {variant.numbers, variant.grad_out} == {"normal"}
        explanations = chain(at_once(trial), promises.homogeneous(trial) if linear else ())
        found = next(explanations, finding)
        same = found.gradient == finding.gradient
        return replace(found, picture=finding.picture) if same else found

    def _note(self, *notes: Finding) -> None:
        """Keep one note of a kind for each backward."""
        for note in notes:
            known = {(kept.backward, kept.code) for kept in self.verdict.notes}
            if (note.backward, note.code) not in known:
                self.verdict.notes.append(note)
