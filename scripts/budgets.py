"""Compare the judge's budget with a simpler one: false alarms, power and cost.

    python -m scripts.budgets --trials 300

    noise     the budget in judge/budget.py: an allowance for every entry
    simple    3 (E + S) + 4 eps max |G|: one allowance for all entries of a gradient G

E is the largest error of PyTorch's own gradient in the dtype, S the largest move of G when inputs
and grad_out move by ± eps of themselves. Both judge the same calls of the house's right backwards
on the same inputs, and the same spoilings of what these return. The inputs are those that `point()`
settles on, so the simple budget is spared the kinks that it cannot see.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from statistics import fmean, median

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from manual_backprop.judge.budget import Budget
from manual_backprop.judge.draw import ARTICLE, Rand, Variant, draw_grad_out, each, made, seed_of
from manual_backprop.judge.point import Point, checked_draw, point
from manual_backprop.judge.trial import Trial
from manual_backprop.judge.values import closeness, right_values
from manual_backprop.judge.verify import DTYPES
from manual_backprop.op import Op
from manual_backprop.registry import OPS

BUDGETS = ("noise", "simple")
INPUTS = ("samples", "hard")
MOVES = 3  # of the inputs; S is the largest effect
LONGEST = 1031  # of the long rows that the judge makes, those up to here are tried


@dataclass
class Score:
    """How one budget fared in one dtype: an item for each call, spoiling or point."""

    ratios: list[float] = field(default_factory=list)  # error over allowance
    alarms: list[str] = field(default_factory=list)
    caught: dict[str, list[bool]] = field(default_factory=lambda: {"entry": [], "small": []})
    least: dict[str, list[float]] = field(default_factory=lambda: {"entry": [], "small": []})
    seconds: list[float] = field(default_factory=list)


Scores = dict[tuple[str, str, torch.dtype], Score]  # by budget, inputs, dtype


def simple_budgets(here: Point, generator: torch.Generator) -> tuple[Budget, ...]:
    """One allowance per gradient, from PyTorch's own error and a few moves of the inputs."""
    info = torch.finfo(here.dtype)

    def moved(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        signs = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
        return tensor.double() * (1 + info.eps * signs)

    truths = here.reference(here.grad_out, torch.float64)[1:]
    own = here.reference(here.grad_out, here.dtype)[1:]
    moves = [
        replace(here, inputs={name: each(value, moved) for name, value in here.inputs.items()})
        .reference(moved(here.grad_out), torch.float64)[1:]
        for _ in range(MOVES)
    ]  # fmt: skip
    found = []
    for truth, rounded, *others in zip(truths, own, *moves, strict=True):
        spread = _largest(rounded - truth) + max(_largest(other - truth) for other in others)
        allowed = 3 * spread + 4 * info.eps * _largest(truth) + info.smallest_normal * info.eps
        found.append(Budget(truth, torch.full_like(truth, allowed)))
    return tuple(found)


def _largest(tensor: Tensor) -> float:
    """The largest finite magnitude: PyTorch's own gradient overflows in float16 now and then."""
    sizes = tensor[tensor.isfinite()].abs()
    return float(sizes.max()) if sizes.numel() else 0.0


def both_points(
    op: Op, variant: Variant, dtype: torch.dtype, seed: int
) -> dict[str, tuple[Point, float]]:
    """One point with either budget, and the seconds that draw, truth and budget took."""
    start = time.perf_counter()
    here = point(op, variant, dtype, seed)
    between = time.perf_counter()
    rand = Rand(seed_of(op, variant, seed, 0), dtype, variant.numbers)
    checked_draw(op, variant, rand)  # only to be timed: the numbers are those of `here`
    draw_grad_out(here.grad_out.shape, dtype, variant.grad_out, rand)
    other = replace(here, grads=simple_budgets(here, rand.generator))
    end = time.perf_counter()
    return {"noise": (here, between - start), "simple": (other, end - between)}


def spoilings(trial: Trial, random: Random) -> Iterator[tuple[str, int, int, float, Tensor]]:
    """A random entry off by a part of the largest, and a small one off by a tenth of itself.

    Yields:
        Which of the two, the gradient's and the entry's place, what the move is a part of, and the
        spoiled gradient.
    """
    op, dtype = trial.point.op, trial.point.dtype
    part = 32 * torch.finfo(dtype).eps
    if dtype is torch.float64:
        part = 1e-11 if ".networks." in op.forward.__module__ else 1e-13
    which = random.randrange(len(trial.grads))
    sizes = trial.point.grads[which].truth.abs().reshape(-1)
    moves = [("entry", random.randrange(len(sizes)), float(sizes.max()), part)]
    rising = [int(i) for i in sizes.argsort() if sizes[i] > 0]
    if quarter := rising[: len(rising) // 4]:
        entry = random.choice(quarter)
        moves.append(("small", entry, float(sizes[entry]), 0.1))
    for kind, entry, size, times in moves:
        grad = trial.grads[which].detach().clone()
        grad.view(-1)[entry] += random.choice((-1, 1)) * times * size
        yield kind, which, entry, size, grad


def compare(
    op: Op, variant: Variant, dtype: torch.dtype, seed: int, found: dict[str, Score], spoil: bool
) -> None:
    """Hold every backward of an operator at one point to both budgets, right and spoiled."""
    points = both_points(op, variant, dtype, seed)
    random = Random(seed)
    for budget, score in found.items():
        score.seconds.append(points[budget][1])
    for backward in op.backwards:
        trial = Trial(backward, points["noise"][0], "cpu", "contiguous")
        list(trial.first_call())
        spoiled = list(spoilings(trial, random)) if spoil else []
        for budget, score in found.items():
            trial.point = points[budget][0]
            wrong = [f for f, wrong in right_values(trial, kink_is_wrong=True) if wrong]
            score.alarms += [f"{budget}: {f} seed {seed}" for f in wrong[:1]]
            error, allowed, _ = closeness(trial)
            score.ratios.append(error / allowed if allowed else 0.0)
            for kind, which, entry, size, grad in spoiled:
                judged = trial.point.grads[which]
                score.caught[kind].append(judged.ratio(grad) > 1)
                score.least[kind].append(float(judged.allowed.reshape(-1)[entry]) / size)


def variants(op: Op, inputs: str) -> list[Variant]:
    """The operator's samples, or what the judge makes of them: magnitudes, ties, long rows."""
    samples = [sample for sample in op.samples if sample != ARTICLE]
    if inputs == "samples":
        return [Variant(sample) for sample in samples]
    return [
        variant
        for sample in samples
        for variant in made(op, sample)
        if variant.numbers in ("magnitudes", "ties")
        or any(31 <= size <= LONGEST for _, size in variant.sizes)
    ]


def scores(wanted: int, first_seed: int) -> Scores:
    """At least `wanted` calls of each backward in each dtype, on samples and on hard inputs."""
    found = {(b, inputs, dtype): Score() for inputs in INPUTS for dtype in DTYPES for b in BUDGETS}
    for op in OPS.values():
        for inputs in INPUTS:
            tried = variants(op, inputs)
            for dtype in DTYPES:
                point(op, tried[0], dtype, first_seed - 1)  # the first call warms up, untimed
                here = {budget: found[budget, inputs, dtype] for budget in BUDGETS}
                for seed in range(first_seed, first_seed - (-wanted // len(tried))):
                    for variant in tried:
                        compare(op, variant, dtype, seed, here, inputs == "samples")
    return found


def table(found: Scores) -> Table:
    """A row for each budget, dtype and kind of inputs."""
    result = Table(title="Two budgets on the same calls of right and of spoiled backwards")
    result.add_column("budget", no_wrap=True)
    result.add_column("dtype", no_wrap=True)
    for column in (
        "alarms / trials", "largest error / allowance", "power (entry)", "power (small entry)",
        "least move: eps of largest", "least small move: eps of itself", "ms per point",
    ):  # fmt: skip
        result.add_column(column, justify="right")
    for (budget, inputs, dtype), score in found.items():
        eps = torch.finfo(dtype).eps
        result.add_row(
            budget if inputs == "samples" else f"{budget}, {inputs}",
            str(dtype).removeprefix("torch."),
            f"{len(score.alarms)} / {len(score.ratios)}",
            f"{max(score.ratios):.3g}",
            *(f"{fmean(caught):.1%}" if caught else "" for caught in score.caught.values()),
            *(f"{median(least) / eps:.1f}" if least else "" for least in score.least.values()),
            f"{1e3 * fmean(score.seconds):.2f}",
            end_section=budget == BUDGETS[-1],
        )
    return result


def conclusion(found: Scores) -> str:
    """Which budget wins on what, in one sentence."""
    own = {b: [score for (name, _, _), score in found.items() if name == b] for b in BUDGETS}
    calls = sum(len(score.ratios) for score in own["noise"])
    least_first: dict[str, list[float]] = {
        f"alarms in {calls} right calls": [sum(len(s.alarms) for s in own[b]) for b in BUDGETS],
        "% of small entries missed": [_missed("small", own[b]) for b in BUDGETS],
        "% of entries missed": [_missed("entry", own[b]) for b in BUDGETS],
        "ms per point": [1e3 * fmean(t for s in own[b] for t in s.seconds) for b in BUDGETS],
    }
    parts = []
    for what, (noise, simple) in least_first.items():
        better = "noise" if noise < simple else "simple" if simple < noise else "neither"
        parts.append(f"{better} wins on {what} (noise {noise:.3g}, simple {simple:.3g})")
    best = BUDGETS[min((0, 1), key=lambda i: [values[i] for values in least_first.values()])]
    return f"{', '.join(parts)}; an alarm weighs most, so {best} is the one to keep."


def _missed(kind: str, own: list[Score]) -> float:
    return 100 - 100 * fmean(hit for score in own for hit in score.caught[kind])


@click.command()
@click.option(
    "--trials", "wanted", default=300, show_default=True, help="Per backward, inputs and dtype."
)
@click.option("--seed", default=1_000, show_default=True, help="The first seed.")
def main(wanted: int, seed: int) -> None:
    """Compare the two budgets over all operators."""
    torch.set_num_threads(1)
    found = scores(wanted, seed)
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table(found))
    for score in found.values():
        for alarm in score.alarms[:1]:
            console.print(f"for example, {alarm}", markup=False)
    console.print(conclusion(found))


if __name__ == "__main__":
    main()
