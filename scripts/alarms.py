"""Count false alarms: right backwards held to their budgets many times, and how near they came.

    python -m scripts.alarms --trials 10000

A trial is one sample x layout x seed at default sizes, judged for values. Every alarm is a fault of
the judge. The suite runs a few trials; this runs as many as asked for.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context

import click
from rich.console import Console
from rich.table import Table

from manual_backprop.commands import DTYPES


@dataclass
class Score:
    """How one backward fared in one dtype: `worst` is error over allowance."""

    trials: int = 0
    alarms: int = 0
    worst: float = 0.0
    example: str = ""


def trials(op_name: str, dtype_name: str, wanted: int, first_seed: int) -> dict[str, Score]:
    """At least `wanted` trials of each backward of one operator in one dtype."""
    import torch

    from manual_backprop.judge.draw import ARTICLE, LAYOUTS, Variant
    from manual_backprop.judge.point import point
    from manual_backprop.judge.trial import Trial
    from manual_backprop.judge.values import closeness, right_values
    from manual_backprop.judge.verdict import Broken
    from manual_backprop.registry import OPS

    op = OPS[op_name]
    samples = [sample for sample in op.samples if sample != ARTICLE]
    scores = {backward.__name__: Score() for backward in op.backwards}
    rounds: Iterator[int] = count(first_seed)
    while min(score.trials for score in scores.values()) < wanted:
        seed = next(rounds)
        for sample in samples:
            for layout in LAYOUTS:
                variant = (
                    Variant(sample, "expanded", expanded=True)
                    if layout == "expanded"
                    else Variant(sample)
                )
                here = point(op, variant, getattr(torch, dtype_name), seed)
                for backward in op.backwards:
                    score = scores[backward.__name__]
                    trial = Trial(backward, here, "cpu", layout)
                    try:
                        list(trial.first_call())
                        wrong = [f for f, _ in right_values(trial, kink_is_wrong=True)]
                    except Broken as broken:
                        wrong = [broken.finding]
                    score.trials += 1
                    score.alarms += bool(wrong)
                    score.example = score.example or "".join(f"{f} seed {seed}" for f in wrong[:1])
                    error, allowed, _ = closeness(trial) if trial.grads else (0.0, 1.0, 0)
                    score.worst = max(score.worst, error / allowed if allowed else 0.0)
    return scores


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def scores(
    names: list[str], dtypes: tuple[str, ...], wanted: int, first_seed: int, jobs: int
) -> dict[tuple[str, str], Score]:
    """(backward, dtype) -> Score, computed in `jobs` processes."""
    tasks = [(name, dtype) for name in names for dtype in dtypes]
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_one_thread) as pool:
        futures = [pool.submit(trials, name, dtype, wanted, first_seed) for name, dtype in tasks]
        return {
            (backward, dtype): score
            for (_, dtype), future in zip(tasks, futures, strict=True)
            for backward, score in future.result().items()
        }


@click.command()
@click.argument("operators", nargs=-1)
@click.option(
    "--trials", "wanted", default=10_000, show_default=True, help="Per backward and dtype."
)
@click.option("--seed", default=1_000, show_default=True, help="The first seed.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
def main(operators: tuple[str, ...], wanted: int, seed: int, jobs: int) -> None:
    """Count false alarms over all operators, or those named."""
    from manual_backprop.registry import OPS

    found = scores(list(operators or OPS), DTYPES, wanted, seed, jobs)
    table = Table(
        title=f"Largest error / allowance in {wanted} trials or more (1 would be an alarm)"
    )
    table.add_column("backward")
    for dtype in DTYPES:
        table.add_column(dtype, justify="right")
    for column in ("trials", "alarms"):
        table.add_column(column, justify="right")
    for backward in dict.fromkeys(backward for backward, _ in found):
        row = [found[backward, dtype] for dtype in DTYPES]
        table.add_row(
            backward,
            *(f"{score.worst:.3f}" for score in row),
            str(sum(score.trials for score in row)),
            str(sum(score.alarms for score in row)),
        )
    console = Console(width=None if Console().is_terminal else 100)
    console.print(table)
    alarms = sum(score.alarms for score in found.values())
    total = sum(score.trials for score in found.values())
    worst = max(score.worst for score in found.values())
    console.print(f"{alarms} alarms in {total} trials; the nearest came to {worst:.3f} of 1")
    for score in found.values():
        if score.example:
            console.print(score.example)
    raise SystemExit(bool(alarms))


if __name__ == "__main__":
    main()
