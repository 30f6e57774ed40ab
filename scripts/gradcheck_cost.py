"""What a verdict costs beside `torch.autograd.gradcheck(fast_mode=True)`, at the article's size.

    python -m scripts.gradcheck_cost

Both are given two_layer at 1000 x 784 x 50 in float64. The judge's part is the draw, the truth, the
budget, the values, the memory that must not change, the repeats and the linearity of the
hand-written backward; the two take turns in one process.
"""

from statistics import median
from time import perf_counter

import click
import torch

from manual_backprop.judge import promises
from manual_backprop.judge.draw import ARTICLE, Variant
from manual_backprop.judge.point import point
from manual_backprop.judge.trial import Trial
from manual_backprop.networks.two_layer import OP, back_two_layer


def judged(seed: int) -> float:
    """Seconds for one verdict of the judge."""
    start = perf_counter()
    here = point.__wrapped__(OP, Variant(ARTICLE), torch.float64, seed)
    trial = Trial(back_two_layer, here, "cpu", "contiguous")
    found = [*trial.first_call(), *promises.right_values(trial, kink_is_wrong=True)]
    for promise in (promises.homogeneous, promises.additive):
        found += promise(trial)
    found += promises.repeatable(trial, trial)
    assert not found
    return perf_counter() - start


def gradchecked(seed: int) -> float:
    """Seconds for one gradcheck of the same network, as an engineer would call it."""
    torch.manual_seed(seed)
    start = perf_counter()
    inputs = OP.samples[ARTICLE](lambda *shape: torch.randn(shape, dtype=torch.float64))
    leaves = [tensor.requires_grad_() for tensor in inputs[:-1]]
    assert OP.oracle is not None
    oracle = OP.oracle
    assert torch.autograd.gradcheck(
        lambda *tensors: oracle(*tensors, inputs[-1]), leaves, fast_mode=True, rtol=1e-2
    )
    return perf_counter() - start


@click.command()
@click.option("--rounds", default=9, show_default=True)
def main(rounds: int) -> None:
    """Time both in turn and print the medians and their ratio."""
    judged(0), gradchecked(0)
    pairs = [(judged(seed), gradchecked(seed)) for seed in range(1, rounds + 1)]
    ours, theirs = median(a for a, _ in pairs), median(b for _, b in pairs)
    ratio = median(a / b for a, b in pairs)
    print(f"{torch.get_num_threads()} threads, {rounds} rounds in turn, medians:")
    print(f"judge      {ours * 1e3:7.0f} ms")
    print(f"gradcheck  {theirs * 1e3:7.0f} ms   (fast_mode=True)")
    print(f"ratio      {ratio:7.2f}")


if __name__ == "__main__":
    main()
