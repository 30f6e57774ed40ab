"""Judge the judge by PyTorch's decompositions: right as they are, wrong with one thing changed.

    python -m scripts.outsiders --no-mutants gelu_backward glu_backward

A right one that is accused, or a mutant that passes and is not equivalent, is a fault of the judge.
A mutant is equivalent if it gives the original's gradient on numbers that the judge has not drawn,
wherever that gradient is finite: at a pole, as of logit at 1, there is none.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from inspect import signature
from multiprocessing import get_context
from typing import Any
from unittest.mock import patch

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch._decomp import decompositions

from manual_backprop.judge.draw import Rand, Variant, draw, draw_grad_out
from manual_backprop.judge.result import flat
from manual_backprop.judge.verify import verify
from manual_backprop.op import Op
from tests.mutants import mutants
from tests.outsiders import HELPERS, OUTSIDERS

ROUNDING = 1e-13  # of the largest entry: what the judge promises to see in float64


@dataclass
class Score:
    """How one outsider fared, and its mutants by what was changed."""

    cases: int = 0
    accusations: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    equivalent: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)

    @property
    def mutants(self) -> int:
        """How many there were."""
        return len(self.rejected) + len(self.equivalent) + len(self.survivors)


def score(name: str, with_mutants: bool) -> Score:
    """Judge an outsider in every dtype, and its mutants in float64."""
    torch.set_num_threads(1)
    op = OUTSIDERS[name]
    verdict = verify(op, kinks="note")
    found = Score(verdict.cases(name), [str(finding) for finding in verdict.findings])
    if with_mutants:
        judge_mutants(name, found)
    return found


def judge_mutants(name: str, found: Score) -> None:
    """Sort the mutants of an outsider into those rejected, equivalent and surviving."""
    op = OUTSIDERS[name]
    if _is_rejected(op):  # else it has kept the points, whose budgets run decompositions too
        return
    places = list(_places(op))
    rights = [_gradients(op, *place) for place in places]
    for target in filter(None, (name, HELPERS.get(name))):
        for text, mutant in mutants(getattr(decompositions, target)):
            with patch.object(decompositions, target, mutant):
                try:
                    rejected = _is_rejected(op)
                except Exception as error:  # the judge should have said it in a verdict
                    found.survivors.append(f"{text}, where the judge itself raised {error!r}")
                    continue
                if rejected:
                    found.rejected.append(text)
                elif all(
                    _agree(right, _gradients(op, *place))
                    for right, place in zip(rights, places, strict=True)
                ):
                    found.equivalent.append(text)
                else:
                    found.survivors.append(text)


def _is_rejected(op: Op) -> bool:
    parts = ("values", "promises", "made")
    return not verify(op, dtypes=(torch.float64,), parts=parts, kinks="reject").ok


class _Quarters(Rand):
    """Multiples of 1/4 from -8 to 8: they meet kinks that the judge's own ties do not."""

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(-32, 33, shape, generator=self.generator).double() / 4


def _places(op: Op) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Arguments and options of the backward, on numbers that the judge has not drawn."""
    for seed in range(1_000, 1_004):
        for sample in op.samples:
            for rand in (
                *(Rand(seed, torch.float64, kind) for kind in ("normal", "ties", "magnitudes")),
                _Quarters(seed, torch.float64),
            ):
                inputs, options = draw(op, Variant(sample), rand)
                try:
                    out = op.forward(*inputs.values(), **options)
                except RuntimeError:
                    continue  # outside the domain
                grad_out = draw_grad_out(out.shape, torch.float64, "normal", rand)
                yield {**inputs, "out": out, "grad_out": grad_out}, options


def _gradients(op: Op, given: dict[str, Any], options: dict[str, Any]) -> list[Tensor] | None:
    """What the backward returns, or None where it raises."""
    (backward,) = op.backwards
    asked = signature(backward).parameters
    try:
        return flat(backward(**{k: v for k, v in {**given, **options}.items() if k in asked}))
    except Exception:  # a mutant may raise anything
        return None


def _agree(right: list[Tensor] | None, got: list[Tensor] | None) -> bool:
    if right is None or got is None or len(right) != len(got):
        return right is got
    return all(
        a.shape == b.shape and _near(a[a.isfinite()], b[a.isfinite()])
        for a, b in zip(right, got, strict=True)
    )


def _near(right: Tensor, got: Tensor) -> bool:
    return not right.numel() or bool(((right - got).abs() <= ROUNDING * right.abs().max()).all())


def scores(names: tuple[str, ...], with_mutants: bool, jobs: int) -> dict[str, Score]:
    """Name -> Score, computed in `jobs` processes."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {name: pool.submit(score, name, with_mutants) for name in names}
        return {name: future.result() for name, future in futures.items()}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--mutants/--no-mutants", "with_mutants", default=True, help="Judge mutants too.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
def main(names: tuple[str, ...], with_mutants: bool, jobs: int) -> None:
    """Judge PyTorch's decompositions, or those named, and their mutants."""
    for name in names:
        if name not in OUTSIDERS:
            raise click.BadParameter(f"no outsider {name!r}; there are {', '.join(OUTSIDERS)}")
    found = scores(names or tuple(OUTSIDERS), with_mutants, jobs)
    table = Table(title="PyTorch's own backwards, and mutants of them")
    table.add_column("decomposition")
    table.add_column("cases", justify="right")
    table.add_column("verdict")
    for column in ("mutants", "rejected", "equivalent", "survivors"):
        table.add_column(column, justify="right")
    for name, one in found.items():
        counts = one.mutants, len(one.rejected), len(one.equivalent), len(one.survivors)
        verdict = "accused" if one.accusations else "right"
        table.add_row(name, str(one.cases), verdict, *map(str, counts))
    console = Console(width=None if Console().is_terminal else 100)
    console.print(table)
    for kind in ("accusations", "equivalent", "survivors"):
        for name, one in found.items():
            for text in getattr(one, kind):
                console.print(f"{kind}: {name}, {text}", markup=False, highlight=False)
    right = sum(not one.accusations for one in found.values())
    rejected, equivalent, survivors = (
        sum(len(getattr(one, kind)) for one in found.values())
        for kind in ("rejected", "equivalent", "survivors")
    )
    console.print(f"{right} of {len(found)} right backwards pass")
    if with_mutants:
        console.print(
            f"{rejected} of {rejected + survivors} mutants rejected, {equivalent} equivalent"
        )
    raise SystemExit(right < len(found) or survivors > 0)


if __name__ == "__main__":
    main()
