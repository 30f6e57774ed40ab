"""Cases: tests that have the name of a number or of a mistake in the source articles.

    @case("E1-gradients", "gradients")
    def test_the_gradients_of_eight_weights(row): ...

`pytest -k E1-gradients` runs it, `-k E1-` all cases of that row of data/articles.json.
"""

from functools import wraps

import pytest
import torch

from manual_backprop.data import article_numbers

CASES = {}  # name: the numbers that it compares


class Row(dict):
    """A row of the articles, which remembers what of it was compared."""

    def __init__(self, name):
        super().__init__(article_numbers()[name])
        self.compared = set()

    def numbers(self):
        """What can be compared: the article's numbers, and ours beside them."""
        return self.get("expected", {}) | self.get("computed", {})

    def number(self, name):
        return self.numbers()[name]


def case(name, *numbers):
    """The test of that name, which gets its row and has to compare just these numbers of it."""
    if name in CASES:
        raise ValueError(f"there is a case {name} already: a name stands for one test")
    CASES[name] = numbers

    def named(test):
        @wraps(test)
        def compared(row, **given):
            row = Row(row)
            test(row, **given)
            assert row.compared == set(numbers), (
                f"{name} says that it compares {sorted(numbers)} and compared "
                f"{sorted(row.compared)}: name each in @case and hand it to assert_printed"
            )

        return pytest.mark.parametrize("row", [name.partition("-")[0]], ids=[name])(compared)

    return named


def inputs(name):
    """The inputs of another row, which this one builds on."""
    return article_numbers()[name]["inputs"]


def f64(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def drawn(seed, *shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def weights_for(o, x):
    """Weights (k, i) with which a perceptron of input x (1, i) has the outputs o (k)."""
    return torch.outer(o.logit(), x[0]) / x.square().sum()
