"""The walk over the grid: one operator's samples, dtypes, devices, layouts and promises."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F

from manual_backprop.judge import promises
from manual_backprop.judge.diagnose import Diagnoses
from manual_backprop.judge.draw import ARTICLE, BATCH, Rand, Variant, arranged, axes, each, made
from manual_backprop.judge.exercised import masks_of
from manual_backprop.judge.memory import memory
from manual_backprop.judge.point import Point, Unjudgeable, check_size, checked_draw, point
from manual_backprop.judge.repeats import UNLIKE, alike, repeatable
from manual_backprop.judge.result import flat_named
from manual_backprop.judge.trial import Backward, Trial, finite_or_true, forward_out
from manual_backprop.judge.values import closeness, right_values
from manual_backprop.judge.verdict import Broken, Finding, Tally, Verdict, dtype_name, error_at
from manual_backprop.judge.witnesses import disagreement
from manual_backprop.op import BadOp, Op


def is_pytorchs(oracle: Callable[..., Any] | None) -> bool:
    """Whether it is PyTorch's function itself and not a composition of several."""
    name = getattr(oracle, "__name__", "")
    return oracle is not None and oracle in (getattr(torch, name, None), getattr(F, name, None))


class Walk:
    """Walks the grid of one operator and fills in its verdict."""

    def __init__(self, op: Op, backwards: tuple[Backward, ...], kinks: str) -> None:
        self.op = op
        self.backwards = backwards
        self.house = str(op.forward.__module__).startswith("manual_backprop.")
        self.kink_is_wrong = kinks == "reject" or self.house or is_pytorchs(op.oracle)
        self.diagnoses = Diagnoses(op)
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
            if "forward" in parts and not all(self._forward_agrees(p, device) for p in points):
                return
            if "slopes" in parts and dtype is torch.float64 and device == "cpu":
                self._slopes_agree(points[0])
            for backward in self.backwards:
                try:
                    self._backward(backward, points, device, layouts, parts)
                except Broken as broken:
                    found = self.diagnoses.named(backward, broken.finding, own.sample)
                    self.verdict.findings.append(found)
                progress()
        except Unjudgeable as error:
            if own.own or self.op.oracle is None:
                self._fault("raises", str(error), own, dtype, device)
            else:  # a size that PyTorch refuses as well is nobody's mistake
                self._not_tried(own, dtype, str(error))

    def _fault(
        self, code: str, message: str, variant: Variant, dtype: torch.dtype, device: str
    ) -> None:
        """A finding against the forward, which condemns all its backwards."""
        self.verdict.findings.append(
            Finding(
                self.op.name, "", code, message, sample=variant.name, dtype=dtype_name(dtype),
                device=device, layout="contiguous",
            )
        )  # fmt: skip

    def _forward_agrees(self, here: Point, device: str) -> bool:
        """The forward's values and type are the oracle's."""
        given = {
            name: each(value, lambda t: arranged(t.to(device), "contiguous"))
            for name, value in here.inputs.items()
        }
        where = (here.variant, here.dtype, device)
        before = {name: memory(value) for name, value in flat_named(given)}
        try:
            out = forward_out(here, given)
        except Exception as error:
            self._fault(
                "raises",
                f"the forward raised {error_at(error, self.op.forward)}; mend it, or leave out "
                "what it does not take with dtypes= or devices=",
                *where,
            )
            return False
        truth = here.out.truth
        if not isinstance(out, torch.Tensor):  # a forward of another author
            self._fault(
                "forward", f"the forward returned {type(out).__name__}, not a tensor", *where
            )
        elif out.shape != truth.shape or out.dtype is not here.dtype:
            self._fault(
                "forward",
                f"the forward returned {dtype_name(out.dtype)} {tuple(out.shape)}, the oracle "
                f"{dtype_name(here.dtype)} {tuple(truth.shape)}",
                *where,
            )
        elif any(memory(value) != before[name] for name, value in flat_named(given)):
            self._fault("mutates", "the forward writes to what it is given; work on a copy", *where)
        elif (ratio := here.out.ratio(finite_or_true(out, here))) > 1:
            self._fault(
                "forward",
                f"the forward is off from the oracle by {ratio:.3g} times what rounding explains; "
                "until they agree no gradient can be judged",
                *where,
            )
        else:
            return True
        return False

    def _slopes_agree(self, here: Point) -> None:
        """Slopes of the forward agree with autograd of the oracle, in float64."""
        found, silent = disagreement(
            here.own_forward,
            here.raised,
            here.places,
            here.grad_out.double(),
            [budget.truth for budget in here.grads],
            torch.Generator().manual_seed(here.seed),
        )
        if found is not None:
            label = here.labels[here.places.index(found.place)]
            message = (
                f"the witnesses disagree about {label}: autograd of the oracle says "
                f"{found.autograd:.12g} along a line, the forward's slope is {found.slope:.12g}, "
                f"and {found.allowed:.1e} is allowed; is the forward the oracle's function?"
            )
            self._fault("witnesses", message, here.variant, here.dtype, "cpu")
        for label in (here.labels[here.places.index(place)] for place in silent):
            self.verdict.notes.append(
                Finding(
                    self.op.name, label, "not-exercised",
                    "no slope could be had to hold autograd to: the forward is too rough here",
                    sample=here.variant.name, dtype="float64",
                )
            )  # fmt: skip

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
                    if self.house or finding.code != "not-repeatable":
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
        key = trial.name, dtype_name(trial.point.dtype)
        tally = self.verdict.tallies.get(key, Tally())
        self.verdict.tallies[key] = tally.plus(*closeness(trial))
        masks_of(trial)

    def _explained(self, trial: Trial, finding: Finding) -> Finding:
        variant = trial.point.variant
        if finding.code not in ("unknown", "layout"):
            return finding
        linear = finding.code == "unknown" and {variant.numbers, variant.grad_out} == {"normal"}
        explanations = chain(
            repeatable(trial, trial), promises.homogeneous(trial) if linear else ()
        )
        return next((e for e in explanations if e.code != "not-repeatable"), finding)

    def _note(self, *notes: Finding) -> None:
        """Keep one note of a kind for each backward."""
        for note in notes:
            known = {(kept.backward, kept.code) for kept in self.verdict.notes}
            if (note.backward, note.code) not in known:
                self.verdict.notes.append(note)
