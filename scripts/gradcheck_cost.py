"""What a verdict costs beside `torch.autograd.gradcheck(fast_mode=True)`, at the article's size.

    python -m scripts.gradcheck_cost

Both are given two_layer at 1000 x 784 x 50 in float64. The judge's part is the draw, the truth, the
budget, the values, the memory that must not change, the repeat and the linearity of the
hand-written backward; that same backward goes to gradcheck as an autograd.Function, and beside it
autograd's own. They take turns in one process.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import click
import torch
from torch import Tensor

from manual_backprop.judge import promises
from manual_backprop.judge.draw import ARTICLE, Variant
from manual_backprop.judge.point import draw_point
from manual_backprop.judge.repeats import repeatable
from manual_backprop.judge.trial import Trial
from manual_backprop.judge.values import right_values
from manual_backprop.networks.two_layer import OP, back_two_layer


def judged(seed: int) -> float:
    """Seconds for one verdict of the judge."""
    start = perf_counter()
    here = draw_point(OP, Variant(ARTICLE), torch.float64, seed)
    trial = Trial(back_two_layer, here, "cpu", "contiguous")
    found = [*trial.first_call(), *right_values(trial, kink_is_wrong=True)]
    for promise in (promises.homogeneous, promises.additive):
        found += promise(trial)
    found += repeatable(trial, trial)
    assert not found
    return perf_counter() - start


class TwoLayer(torch.autograd.Function):
    """The same forward and hand-written backward, as gradcheck takes them."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        """Save everything."""
        ctx.save_for_backward(*inputs)
        return OP.forward(*inputs)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """The hand-written gradients, and none for the target."""
        x, w1, b1, w2, b2, target = ctx.saved_tensors
        return (*back_two_layer(x, w1, b1, w2, b2, target, grad_out), None)


def gradchecked(function: Callable[..., Tensor], seed: int) -> float:
    """Seconds for one gradcheck, as an engineer would call it."""
    torch.manual_seed(seed)
    start = perf_counter()
    *leaves, target = OP.samples[ARTICLE](lambda *s: torch.randn(s, dtype=torch.float64))
    leaves = [tensor.requires_grad_() for tensor in leaves]
    assert torch.autograd.gradcheck(
        lambda *tensors: function(*tensors, target), leaves, fast_mode=True, rtol=1e-2
    )
    return perf_counter() - start


@click.command()
@click.option("--rounds", default=9, show_default=True)
def main(rounds: int) -> None:
    """Time all in turn and print the medians and the ratios to the judge."""
    assert OP.oracle is not None
    by_hand: Callable[..., Tensor] = TwoLayer.apply
    opponents = {"gradcheck, hand-written": by_hand, "gradcheck, autograd's": OP.oracle}
    times: dict[str, list[float]] = {"judge, hand-written": [], **{name: [] for name in opponents}}
    for seed in range(rounds + 1):
        times["judge, hand-written"].append(judged(seed))
        for name, function in opponents.items():
            times[name].append(gradchecked(function, seed))
    print(f"{torch.get_num_threads()} threads, {rounds} rounds in turn, after one to warm up:")
    for name, taken in times.items():
        pairs = zip(times["judge, hand-written"][1:], taken[1:], strict=True)
        ratio = median(judge / other for judge, other in pairs)
        print(f"{name:25} {median(taken[1:]) * 1e3:6.0f} ms   judge / this = {ratio:.2f}")


if __name__ == "__main__":
    main()
