"""Names the mistake: which one fault in the backward gives exactly the wrong gradient that came.

A cause is named only if it gives every wrong gradient that it touches to rounding, leaves the right
ones right, and does so for several draws at several sizes. Otherwise nothing is named.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from manual_backprop.judge.diagnose.at_leaf import at_the_argument
from manual_backprop.judge.diagnose.case import Case, Reading, cases
from manual_backprop.judge.diagnose.forwards import of_another_forward
from manual_backprop.judge.diagnose.places import where_it_is_wrong
from manual_backprop.judge.diagnose.repeated import repeated
from manual_backprop.judge.diagnose.replay import replayed
from manual_backprop.judge.diagnose.slices import wrong_products
from manual_backprop.judge.diagnose.tensors import as_they_are
from manual_backprop.judge.draw import ARTICLE
from manual_backprop.judge.trial import Backward
from manual_backprop.judge.verdict import Cause, Finding, raised
from manual_backprop.op import Op

LOOKS = (
    as_they_are, replayed, at_the_argument, repeated, of_another_forward, wrong_products,
    where_it_is_wrong,
)  # fmt: skip
ENOUGH = 3  # cases
SAYS_MORE = ("mask", "extra-term", "stale-weights")  # than that it is not linear in grad_out
FURTHER = 1  # samples that are looked at where the failing one shows no cause


def diagnose(op: Op, backward: Backward, sample: str) -> tuple[Cause, ...]:
    """The causes of a backward's wrong values, one for each group of gradients; none if unknown.

    Args:
        op: the operator.
        backward: a function that returns gradients of the right number, shapes and dtypes.
        sample: on which of the operator's samples to look.
    """
    seen = _wrong_alike(cases(op, backward, sample))
    looks = LOOKS if seen is not None else LOOKS[:1]  # digits enough for these alone
    if seen is None:  # a kernel that has no float64
        seen = _wrong_alike(cases(op, backward, sample, torch.float32))
    if not seen:
        return ()
    found: list[Reading] = []
    for look in looks:
        found += look(seen)
        if chosen := _covering(found, seen[0]):
            return chosen
    return _covering(found, seen[0], parts=True)


def _wrong_alike(drawn: Iterable[Case]) -> list[Case] | None:
    """Cases in which the same gradients are wrong as in the first, and such where some are spared.

    None where no call came back; empty where nothing is wrong in the first, or in it alone.
    """
    seen: list[Case] | None = None
    alike = 0
    for case in drawn:
        if seen is None:
            seen = []
        if not case.wrong and not seen:
            break
        if not seen or case.wrong == seen[0].wrong:
            alike += 1
        elif not _spares(case, seen[0].wrong):
            continue
        seen.append(case)
        if alike == ENOUGH:
            break
    return seen if seen is None or alike > 1 else []


def _spares(case: Case, wrong: tuple[int, ...]) -> bool:
    """Whether nothing but these is wrong, and what is right of them is not so by being 0."""
    right = set(wrong) - set(case.wrong)
    return set(case.wrong) < set(wrong) and all(bool(case.true[i].any()) for i in right)


def _covering(found: list[Reading], case: Case, *, parts: bool = False) -> tuple[Cause, ...]:
    """One reading for all wrong gradients or, in parts, as few as explain what can be explained."""
    found = sorted(found, key=lambda reading: (not reading.whole, reading.rank))
    left = {case.labels[i] for i in case.wrong}
    if not parts:
        found = [r for r in found if r.whole and set(r.cause.gradients) == left]
    causes = []
    while found and left:
        best = max(found, key=lambda r: (r.whole, len(left & set(r.cause.gradients)), -r.rank))
        covered = left & set(best.cause.gradients)
        if not covered:
            break
        same = [r for r in found if covered <= set(r.cause.gradients) and r.whole == best.whole]
        also = dict.fromkeys(
            f"{r.cause.code}: {r.cause.what}" for r in same if r.cause.code != best.cause.code
        )
        causes.append(
            replace(
                best.cause,
                gradients=tuple(label for label in case.labels if label in covered),
                also=tuple(also)[:1],  # further ones confuse
            )
        )
        left -= covered
    return tuple(causes)


class Diagnoses:
    """The causes of one operator's wrong backwards, each looked for once."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.known: dict[tuple[Backward, str], tuple[Cause, ...]] = {}

    def named(self, backward: Backward, finding: Finding, sample: str) -> Finding:
        """The finding with its cause, where it is of a wrong value and a cause is found.

        Args:
            backward: the function that is wrong.
            finding: what was found.
            sample: on which of the operator's samples.
        """
        if finding.code not in ("unknown", "not-linear"):
            return finding
        others = [name for name in self.op.samples if name not in (sample, ARTICLE)]
        for here in (sample, *others[:FURTHER]):
            try:
                causes = self._causes(backward, here)
            except Exception as error:  # a forward of another author; the finding stands
                failed = raised(error)
                said = f"{finding.message} (the search for its cause failed with {failed})"
                return replace(finding, message=said)
            for cause in causes:
                says_more = finding.code == "unknown" or cause.code in SAYS_MORE
                if finding.gradient in cause.gradients and says_more:
                    return replace(finding, code=cause.code, cause=cause)
        return finding

    def others(self, backward: Backward, found: Finding, sample: str) -> Iterator[Finding]:
        """The causes that are known of its other wrong gradients.

        Args:
            backward: the function that is wrong.
            found: as `named` gave it.
            sample: as it was given to `named`.
        """
        if found.cause is None and found.code != "unknown":
            return
        for cause in self.known.get((backward, sample), ()):
            if cause != found.cause and found.gradient not in cause.gradients:
                yield Finding(
                    found.backward, cause.gradients[0], cause.code, f"is wrong: {cause.what}",
                    sample=found.sample, dtype=found.dtype, device=found.device,
                    layout=found.layout, cause=cause,
                )  # fmt: skip

    def _causes(self, backward: Backward, sample: str) -> tuple[Cause, ...]:
        key = backward, sample
        if key not in self.known:
            self.known[key] = diagnose(self.op, backward, sample)
        return self.known[key]
