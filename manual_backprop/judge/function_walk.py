"""The walk over a function's samples: through its backward, past it, and what autograd adds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from manual_backprop.judge import graph_promises
from manual_backprop.judge.diagnose import Diagnoses
from manual_backprop.judge.draw import ARTICLE, LAYOUTS, Variant
from manual_backprop.judge.graph_promises import arguments_of
from manual_backprop.judge.point import Unjudgeable, point
from manual_backprop.judge.probe import probed, wrt_of
from manual_backprop.judge.repeats import same_bits
from manual_backprop.judge.trial import Trial
from manual_backprop.judge.verdict import Broken, Finding, Tally, Verdict
from manual_backprop.judge.verify import PARTS, verify
from manual_backprop.judge.view import Pair, View

MENDED = ("not-reduced", "shape", "dtype", "device")
NO_SLOPES = tuple(part for part in PARTS if part != "slopes")


class FunctionWalk:
    """Walks over samples and fills in one verdict."""

    def __init__(
        self, verdict: Verdict, devices: tuple[str, ...], seeds: tuple[int, ...], kinks: Any
    ) -> None:
        self.verdict = verdict
        self.devices = devices
        self.seeds = seeds
        self.kinks = kinks

    def sample(self, pair: Pair, wrt: tuple[str, ...] | None) -> None:
        """Everything about one sample.

        Raises:
            BadOp: it does not fit the function.
        """
        try:
            pair = probed(pair, self.seeds[0], wrt, self._note)
            whole = View(pair, pair.places, pair.wrt, pair.sample)
            self._not_random(whole)
            self._expected(pair)
            ok = self._whole(whole)
            if ok and len(pair.places) > 1 and pair.sample != ARTICLE:
                for place in pair.places:
                    names = wrt_of(pair, place, self.seeds[0])
                    if names:
                        alone = View(pair, (place,), names, f"{pair.sample}, output {place} alone")
                        self._verified(alone, alone.op.backwards[0], parts=("values", "promises"))
            if ok and wrt is None:
                self._promises(whole, (graph_promises.nothing_where_nothing_is_due,))
        except Broken as broken:
            self.verdict.findings.append(broken.finding)
        except Unjudgeable as error:
            finding = Finding(pair.subject.name, "", "raises", str(error), sample=pair.sample)
            self.verdict.findings.append(finding)

    def _whole(self, view: View) -> bool:
        """All outputs together; whether all is right."""
        direct = view.pair.subject.has_node
        if direct and not self._promises(view, (graph_promises.right_number,), called=False):
            return False
        parts = NO_SLOPES if view.pair.expected else PARTS
        found = self._verified(view, view.op.backwards[0], parts=parts)
        if any(finding.backward == view.op.name for finding in found):
            return False
        self._slopes_of_the_reference(view)
        if direct:
            self._by_engine(view, found)
        if found:
            return False
        promises = (
            graph_promises.second_backward,
            graph_promises.notices_changes,
            graph_promises.bears_no_grad_out,
            graph_promises.every_subset,
        )
        return self._promises(view, promises)

    def _by_engine(self, view: View, found: Sequence[Finding]) -> None:
        """The same gradients through the engine, and what it mended."""
        seen = self._judged(view, view.engine, ("values",), ("contiguous", "strided"))
        known = {(finding.code, finding.gradient) for finding in found}
        new = [f for f in seen.findings if (f.code, f.gradient) not in known]
        self._merge(replace(seen, findings=new if found else seen.findings))
        if seen.ok:
            for finding in found:
                if finding.code in MENDED:
                    said = (
                        "the engine mends it: what torch.autograd.grad returns is right, at the "
                        "price of another pass over it, and only while the shapes can be summed"
                        if finding.code in ("not-reduced", "shape")
                        else "the engine mends it: what torch.autograd.grad returns is right"
                    )
                    self._note(replace(finding, backward=view.engine.__name__, message=said))

    def _slopes_of_the_reference(self, view: View) -> None:
        """Where the function's own slopes are none to go by, the reference's own are."""
        pair = view.pair
        if not pair.expected and torch.float64 in pair.dtypes and "cpu" in self.devices:
            return
        names = tuple(name for name in view.wrt if name not in pair.expected)
        if names and pair.sample != ARTICLE:
            plain = View(replace(pair, expected={}), view.places, names, pair.sample)
            op = plain.reference_op(names)
            seen = verify(
                op, plain.engine, dtypes=torch.float64, seeds=self.seeds[:1], parts=("slopes",)
            )
            self._merge(replace(seen, notes=[n for n in seen.notes if n.code == "not-exercised"]))

    def _verified(
        self, view: View, backward: Callable[..., Any], *, parts: Sequence[str]
    ) -> list[Finding]:
        seen = self._judged(view, backward, parts)
        self._merge(seen)
        return seen.findings

    def _judged(
        self,
        view: View,
        backward: Callable[..., Any],
        parts: Sequence[str],
        layouts: Sequence[str] = LAYOUTS,
    ) -> Verdict:
        return verify(
            view.op,
            backward,
            dtypes=view.pair.dtypes,
            devices=self.devices,
            seeds=self.seeds,
            kinks=self.kinks,
            parts=parts,
            layouts=layouts,
        )

    def _promises(self, view: View, promises: Sequence[Any], *, called: bool = True) -> bool:
        """Whether they are kept in every dtype on every device."""
        backward = view.op.backwards[0]
        (sample,) = view.op.samples
        ok = True
        for dtype in view.pair.dtypes:
            here = point(view.op, Variant(sample), dtype, self.seeds[0])
            for device in self.devices:
                for promise in promises:
                    trial = Trial(backward, here, device, "contiguous")
                    if called:
                        list(trial.first_call())
                    for finding, wrong in promise(view, trial):
                        if wrong:
                            named = Diagnoses(view.op).named(backward, finding, sample)
                            self.verdict.findings.append(named)
                            ok = False
                        else:
                            self._note(finding)
        return ok

    def _not_random(self, view: View) -> None:
        """The same call gives the same outputs.

        Raises:
            Broken: it gives others, by more than rounding explains.
        """
        (sample,) = view.op.samples
        dtype = view.pair.dtypes[0]
        here = point(view.op, Variant(sample), dtype, self.seeds[0])
        trial = Trial(view.op.backwards[0], here, self.devices[0], "contiguous")
        outs = [
            view.row(view.pair.called(arguments_of(view, trial), ()).outputs, dtype).detach()
            for _ in range(2)
        ]
        if same_bits(*outs):
            return
        said = (
            "the forward gives other numbers when it is called again: draw what is random outside, "
            "and pass it as an argument, as a mask that the sample draws"
        )
        finding = trial.finding("not-repeatable", said, of=view.op.name)
        if max(here.out.ratio(out) for out in outs) > 1:
            raise Broken(finding)
        self._note(finding)

    def _expected(self, pair: Pair) -> None:
        for name in pair.expected:
            said = "is held to expected_grad, and not to the derivative of the reference"
            self._note(Finding(pair.subject.name, f"grad_{name}", "convention", said))

    def _merge(self, seen: Verdict) -> None:
        self.verdict.saves = {**self.verdict.saves, **dict.fromkeys(seen.saves, ())}
        self.verdict.findings += seen.findings
        for note in seen.notes:
            self._note(note)
        for key, tally in seen.cells.items():
            self.verdict.cells[key] = self.verdict.cells.get(key, Tally()).joined(tally)

    def _note(self, note: Finding) -> None:
        """Keep one note of a kind."""
        known = {(kept.backward, kept.code, kept.message, kept.gradient)
                 for kept in self.verdict.notes}  # fmt: skip
        if (note.backward, note.code, note.message, note.gradient) not in known:
            self.verdict.notes.append(note)
