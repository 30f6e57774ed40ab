"""The forwards of a diagnosis on tape: the oracle's and the author's own, whole and in steps."""

from collections.abc import Iterator, Sequence
from typing import Any

from manual_backprop.judge.diagnose.case import Case
from manual_backprop.judge.diagnose.fused import fused
from manual_backprop.judge.diagnose.recorder import place_of, record
from manual_backprop.judge.diagnose.tape import Tape, without_shifts
from manual_backprop.judge.result import flat_named

LONG = 40  # steps


class Recording:
    """One forward, recorded once for each case.

    Attributes:
        tapes: all of one form, as many as there are cases.
    """

    def __init__(self, cases: list[Case], tapes: list[Tape], function: Any) -> None:
        self.cases = cases
        self.tapes = tapes
        self.function = function

    def where(self, step: int) -> str:
        """The author's line behind a step, as in "my_ops.py:12: h = x @ w"; may be empty."""
        return place_of(self.tapes[0].steps[step].line, self.function)


def recordings(cases: list[Case], splits: Sequence[int] = (0, 1, 2)) -> Iterator[Recording]:
    """Every different recording that gives the right gradients, the oracle's first.

    Args:
        cases: of one operator.
        splits: as in `record`, 0 first: from whole losses to exponentials and sums.
    """
    known: set[Any] = set()
    op = cases[0].point.op
    made: dict[Any, list[list[Tape]]] = vars(cases[0]).setdefault("_tapes", {})
    for function in filter(None, (op.oracle, op.forward)):
        for split in splits:
            if split and any(len(tapes[0].steps) > LONG for tapes in made[function, 0] if tapes):
                break  # so long a forward is written in small steps already
            if (function, split) not in made:
                whole = _tapes(cases, function, split)
                made[function, split] = [_fused(cases, whole), whole]
            for tapes in made[function, split]:
                if tapes and (form := _form(tapes[0])) not in known:
                    known.add(form)
                    yield Recording(cases[: len(tapes)], tapes, function)


def _fused(cases: list[Case], tapes: list[Tape]) -> list[Tape]:
    made = []
    for case, tape in zip(cases, tapes, strict=False):
        seen = fused(tape)
        if seen is None or not _right(seen, case):
            return []
        made.append(seen)
    return made if all(_form(tape) == _form(made[0]) for tape in made) else []


def _tapes(cases: list[Case], function: Any, split: int) -> list[Tape]:
    """A tape of each case; none where one does not give what is right.

    A loop that is longer at other sizes has another form: then the cases end before it.
    """
    tapes: list[Tape] = []
    for case in cases:
        here = case.point
        names = [name for name, _ in flat_named(here.inputs)]
        try:
            tape = record(
                lambda *leaves, here=here: here._apply(function, *leaves),
                here.raised, names, here.places, here.grad_out.double(),
                function if function is here.op.forward else None,
                split=split,
            )  # fmt: skip
            shiftless = without_shifts(tape)
            if shiftless is not None and _right(shiftless, case):
                tape = shiftless
            if not _right(tape, case):
                return []
        except Exception:  # another author's forward need not bear being recorded
            return []
        if tapes and _form(tape) != _form(tapes[0]):
            break
        tapes.append(tape)
    return tapes


def _form(tape: Tape) -> tuple[Any, ...]:
    return tuple((step.name, step.sources) for step in tape.steps), tape.cut


def _right(tape: Tape, case: Case) -> bool:
    return all(
        budget.ratio(grad) <= 1
        for budget, grad in zip(case.point.grads, tape.leaf_grads(), strict=True)
    )
