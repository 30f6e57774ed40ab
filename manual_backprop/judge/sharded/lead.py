"""What the first rank does: it draws, has all ranks call, and judges what they hold."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from manual_backprop.judge.draw import Variant, axes, resized
from manual_backprop.judge.point import Unjudgeable, point
from manual_backprop.judge.result import formed
from manual_backprop.judge.sharded.call import Answer, Call, Head, perform
from manual_backprop.judge.sharded.causes import Scene, cause_of
from manual_backprop.judge.sharded.cut import Cut, cut, lengths
from manual_backprop.judge.sharded.ranks import Ranks
from manual_backprop.judge.trial import Backward, Trial
from manual_backprop.judge.values import closeness, closest, right_values
from manual_backprop.judge.verdict import Broken, Cause, Finding, Tally, Verdict, dtype_name
from manual_backprop.op import BadOp, Op

REMEDY = (
    "; a tensor that the backward makes itself is none of the mesh's: make it from an argument, as "
    "x.new_ones(...) does, or call the backward under torch.distributed.tensor.experimental."
    "implicit_replication()"
)


class Lead:
    """Judges one backward of an operator on a mesh; the other ranks follow its calls."""

    def __init__(self, op: Op, backward: Backward, ranks: Ranks, *, causes: bool) -> None:
        self.op, self.backward, self.ranks, self.causes = op, backward, ranks, causes
        self.name = backward.__name__
        self.device = ranks.mesh.device_type
        self.verdict = Verdict(op.name, {self.name: op.saves(backward)})
        self.refused: dict[str, str] = {}  # what DTensor does not support -> where it was met
        self.skipped: set[tuple[str, str, str]] = set()  # sample or all, axis and kind of length
        self.scenes: dict[tuple[str, str], list[Scene]] = {}
        self.tried: dict[str, None] = {}  # axes of which a case was judged, in their order
        self.over = False  # a rank left the others waiting, and what they share is not to be used

    def walk(
        self,
        samples: Sequence[str],
        chosen: Sequence[str] | None,
        dtypes: Sequence[torch.dtype],
        seeds: Sequence[int],
        progress: Callable[[], None],
    ) -> Verdict:
        """Every sample cut along each of its axes, at several lengths, in every dtype.

        Raises:
            BadOp: a sample does not fit the operator.
            MeshError: a rank did not come in time, or is gone.
        """
        for sample in samples:
            for axis, own in axes(self.op, sample).items():
                if chosen is not None and axis not in chosen:
                    continue
                try:
                    here = cut(self.op, sample, axis, self.ranks.size)
                except Unjudgeable as error:
                    self._not_tried(str(error), sample)
                    continue
                if here is None:
                    said = f"no argument is as long as {axis}, so it cannot be sharded"
                    self._not_tried(said, sample)
                    continue
                wrong = False
                for size, kind in lengths(own, self.ranks.size).items():
                    variant = resized(self.op, sample, {axis: size})
                    for dtype in dtypes:
                        for seed in seeds:
                            skipped = self.skipped & {(sample, axis, kind), ("", axis, kind)}
                            if not (wrong or skipped or self.over):
                                wrong = self._case(variant, kind, here, dtype, seed)
                        progress()
        self.verdict.axes[self.name] = tuple(self.tried)
        self._tell_refused()
        if not self.verdict.findings and not self.verdict.cases(self.name):
            said = "nothing of it could be judged on a mesh, for the reasons in the notes"
            self.verdict.findings.append(Finding(self.name, "", "not-exercised", said))
        return self.verdict

    def _case(self, variant: Variant, kind: str, here: Cut, dtype: torch.dtype, seed: int) -> bool:
        """One call of all ranks, into the verdict; whether it is wrong."""
        try:
            drawn = point(self.op, variant, dtype, seed)
        except Unjudgeable as error:
            self._not_tried(str(error), variant.sample)
            return False
        except BadOp:
            if variant.own:
                raise
            return False  # another length than the author's may have a gradient that is 0
        try:
            trial = Trial(self.backward, drawn, self.device, here.name)
            answer = self.call(trial, here)
            if answer.refused:
                self.refused.setdefault(answer.refused, f"{variant.name}, {here.name}")
                self.skipped |= {(variant.sample if answer.alike else "", here.axis, kind)}
                return False
            self.tried[here.axis] = None
            self.over = not answer.alike
            found = self._judged(trial, answer)
        except Broken as broken:
            found = [broken.finding]
        for finding in found:
            self.verdict.findings += self._named(finding, variant.sample, here)
        return bool(found)

    def call(self, trial: Trial, here: Cut, *, alone: bool = False) -> Answer:
        """Have the backward called on all ranks, or by each rank alone, with a point's tensors.

        Raises:
            Broken: the forward that gives `out` is not right.
            MeshError: a rank did not come in time, or is gone.
        """
        drawn = trial.point
        given = {**drawn.inputs, "grad_out": drawn.grad_out}
        if "out" in trial.parameters:
            given["out"] = trial.given["out"].cpu()
        order = Call(given, drawn.options, here, self.device, len(self.op.wrt), alone)
        self.ranks.told(order)
        return perform(self.backward, order, self.ranks)

    def _judged(self, trial: Trial, answer: Answer) -> list[Finding]:
        """What is wrong with what the ranks hold, once for each gradient."""
        for finding in before_numbers(trial, answer):
            return [finding]
        found: dict[str, Finding] = {}
        first = answer.reports[0]
        for rank, report in enumerate(answer.reports):
            if rank and all(map(torch.equal, report.wholes, first.wholes)):
                continue
            trial.grads = report.wholes
            for finding, wrong in right_values(trial, kink_is_wrong=False):
                if wrong:
                    found.setdefault(finding.gradient, _on_rank(rank, finding, trial, answer))
                else:
                    self._note(finding)
        if not found:
            trial.grads = first.wholes
            key = self.name, dtype_name(trial.point.dtype), self.device
            error, allowed, which = closeness(trial)
            tally = self.verdict.cells.get(key, Tally())
            self.verdict.cells[key] = tally.plus(error, allowed, lambda: closest(trial, which))
        return list(found.values())

    def _named(self, found: Finding, sample: str, here: Cut) -> list[Finding]:
        """The finding with its cause, where one is proven."""
        if not self.causes or found.code not in ("unknown", "nan"):
            return [found]
        cause = self._cause(found.gradient, sample, here)
        if cause is None:
            return self._without_a_mesh(found) or [found]
        return [replace(found, code=cause.code, cause=cause)]

    def _without_a_mesh(self, found: Finding) -> list[Finding]:
        """What is wrong with the backward on plain tensors, where it is wrong on those as well."""
        from manual_backprop.judge.verify import verify

        with self.ranks.alone():
            plain = verify(
                self.op, self.backward, dtypes=(torch.float64,), seeds=(0,), parts=("values",),
                samples=[found.sample.partition(" (")[0]], layouts=("contiguous",),
            )  # fmt: skip
        named = [finding for finding in plain.findings if finding.gradient == found.gradient]
        return [
            replace(
                finding,
                message=f"{finding.message}; so without a mesh, and no better on one: verify "
                "judges it on plain tensors",
            )
            for finding in named
        ]

    def _cause(self, gradient: str, sample: str, here: Cut) -> Cause | None:
        key = sample, here.axis
        if key not in self.scenes:
            try:
                self.scenes[key] = list(self._scenes(sample, here))
            except (Broken, Unjudgeable, BadOp):
                self.scenes[key] = []
        return cause_of(gradient, here, self.scenes[key])

    def _scenes(self, sample: str, here: Cut) -> Iterator[Scene]:
        """The same calls at several lengths of the axis and draws, in float64.

        Raises:
            Broken, Unjudgeable, BadOp: one of them does not give numbers.
            MeshError: a rank did not come in time, or is gone.
        """
        for size in (3 * here.ranks - 1, 4 * here.ranks - 1, 2 * here.ranks):
            for seed in (0, 1):
                variant = resized(self.op, sample, {here.axis: size})
                drawn = point(self.op, variant, torch.float64, seed)
                trial = Trial(self.backward, drawn, self.device, here.name)
                answers = self.call(trial, here), self.call(trial, here, alone=True)
                yield Scene(trial, here, size, *answers)

    def _tell_refused(self) -> None:
        """What DTensor does not support: a note, or a finding where nothing else was tried."""
        cases = self.verdict.cases(self.name)
        for said, where in self.refused.items():
            if cases or self.verdict.findings:
                self._not_tried(f"DTensor does not support this: {said} ({where})", "")
            else:
                told = f"runs on no sharding, for DTensor does not support it: {said} ({where})"
                self.verdict.findings.append(Finding(self.name, "", "raises", told))
                return

    def _not_tried(self, why: str, sample: str) -> None:
        self._note(Finding(self.name, "", "not-exercised", f"{why}: not tried", sample=sample))

    def _note(self, note: Finding) -> None:
        known = {(kept.code, kept.message) for kept in self.verdict.notes}
        if (note.code, note.message) not in known:
            self.verdict.notes.append(note)


def before_numbers(trial: Trial, answer: Answer) -> Iterator[Finding]:
    """What is wrong before any number is looked at."""
    reports, labels = answer.reports, trial.point.labels
    if any(report.error for report in reports):
        yield _raised(trial, answer)
    returned = [len(report.heads) for report in reports]
    for rank, number in enumerate(returned):
        if number != returned[0]:
            said = f"returned {returned[0]} gradients on rank 0 and {number} on rank {rank}"
            yield trial.finding("arity", said)
    count = len(labels) if returned[0] == len(labels) else 0
    for label, claimed in zip(labels[:count], reports[0].heads[:count], strict=True):
        if claimed.kind == "Tensor":
            said = (
                "is a plain tensor, and the arguments are DTensors; wrap the rank's part by "
                "DTensor.from_local, with the mesh, its placements, and shape and stride of the "
                "whole"
            )
            yield trial.finding("not-a-dtensor", said, label)
    for i, label in enumerate(labels[:count]):
        heads = [report.heads[i] if i < len(report.heads) else None for report in reports]
        for rank, head in enumerate(heads):
            if head != heads[0]:
                said = (
                    f"is {_said(heads[0])} on rank 0 and {_said(head)} on rank {rank}; all ranks "
                    "have to hold parts of one tensor, with the same placements"
                )
                yield trial.finding("placement", said, label)
    try:
        formed(trial, answer.result)
    except Broken as broken:
        yield broken.finding
    for i, (label, claimed) in enumerate(zip(labels, reports[0].heads, strict=True)):
        if not claimed.own_mesh:
            yield trial.finding("placement", "lies on another mesh than the arguments", label)
        for misfit in filter(None, (report.misfits[i] for report in reports)):
            said = (
                f"claims {claimed.placements}, and {misfit}; give from_local the placements that "
                "the parts have, shape and stride of the whole; ranks may have unequal parts"
            )
            yield trial.finding("placement", said, label)
    for rank, report in enumerate(reports):
        if report.changed:
            name = report.changed[0]
            yield trial.finding("mutates", f"{name} was written to on rank {rank}; work on a copy")


def _raised(trial: Trial, answer: Answer) -> Finding:
    rank = answer.culprit
    report = answer.reports[rank]
    if report.waited:
        line = report.error.rpartition(", at ")[2]
        said = (
            f"rank {rank} waited in vain for the others, at {line}; call each collective on every "
            "rank, in one order"
        )
        return trial.finding("collective-mismatch", said)
    alone = "" if answer.alike else f", on rank {rank} and not on every other"
    mixed = REMEDY if "mixed torch.Tensor and DTensor" in report.error else ""
    return trial.finding("raises", f"raised {report.error}{alone}{mixed}")


def _said(head: Head | None) -> str:
    return f"a {head.kind} {head.shape} {head.placements}" if head else "missing"


def _on_rank(rank: int, finding: Finding, trial: Trial, answer: Answer) -> Finding:
    """The finding of a wrong value with the rank that holds it, and as what."""
    claim = answer.reports[0].heads[trial.point.labels.index(finding.gradient)].placements
    said = f"{finding.message}; on rank {rank} of {len(answer.reports)}, which claims {claim}"
    code = "unknown" if finding.code == "layout" else finding.code
    return replace(finding, code=code, message=said)
