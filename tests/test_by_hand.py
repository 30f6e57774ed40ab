"""The worked examples stand on no kink, and "By hand" prints what their gradients are."""

import re
from decimal import Decimal
from itertools import product
from math import prod

import pytest

from scripts.site.by_hand import by_hand
from scripts.site.numbers import DIGITS, number
from scripts.site.worked import STEP, worked
from tests.every import every_op
from tests.printed import rounding_of


def given(inputs):
    """The inputs by the names of the arguments: weights[0] and weights[1] are `weights`."""
    weights = tuple(value for name, value in inputs.items() if name.startswith("weights["))
    rest = {name: value for name, value in inputs.items() if "[" not in name}
    return {**rest, "weights": weights} if weights else rest


@every_op
@pytest.mark.parametrize("step", [STEP, STEP / 10])
def test_small_steps_from_the_worked_example_find_all_of_its_gradients(op, step):
    example = worked(op)

    def loss(name, index, moved):
        inputs = {**example.inputs, name: example.inputs[name].clone()}
        inputs[name][index] += moved
        known = given(inputs)
        out = (op.oracle or op.forward)(*(known[one] for one in op.arguments), **example.options)
        return float((out * example.grad_out).sum())

    for name, grad in example.grads.items():
        for index in product(*map(range, grad.shape)):
            found = (loss(name, index, step) - loss(name, index, -step)) / (2 * step)
            assert abs(found - float(grad[index])) <= rounding_of(0.0, decimals=DIGITS)


@every_op
def test_the_slope_that_a_step_gives_is_printed_as_the_gradients_is(op):
    example = worked(op)
    text = "\n".join(by_hand(example))
    alone = [entry for entry in example.entries if len(entry.terms) == 1]
    number_in_tex = r"\(?(-?[\d.]+)\)?"
    found = re.findall(
        rf"\\frac{{{number_in_tex} - {number_in_tex}}}{{([\d.]+)}} (=|\\approx) (-?[\d.]+)[.,]\$",
        text,
    )
    assert len(found) == bool(alone)
    for above, below, width, equals, slope in found:
        assert slope == number(alone[0].terms[0][1])
        quotient = (Decimal(above) - Decimal(below)) / Decimal(width)
        assert abs(float(quotient - Decimal(slope))) <= rounding_of(0.0, decimals=DIGITS)
        assert (equals == "=") == (quotient == Decimal(slope))


@every_op
def test_a_sum_that_is_written_out_says_more_than_the_gradient(op):
    example = worked(op)
    text = "\n".join(by_hand(example))
    lines = re.findall(
        r"^\$\$\\mathtt\{grad.+?\} = (.+) (=|\\approx) (\S+)\$\$$", text, re.MULTILINE
    )
    assert len(lines) == sum(
        entry.terms[0][0] != 1 or len(entry.terms) > 1 for entry in example.entries
    )
    assert bool(lines) == ("written out" in text)
    for terms, equals, value in lines:
        products = [one.split(r" \cdot ") for one in terms.split(" + ")]
        assert len(products) > 1 or products[0][0] != "1"
        written = sum(prod(Decimal(one.strip("()")) for one in factors) for factors in products)
        assert (equals == "=") == (written == Decimal(value))
