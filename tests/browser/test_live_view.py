"""The live views on the operators' pages: what one types, and what they compute and say of it."""

import itertools
import json
import math

import pytest
import torch

from manual_backprop import rounding_budget
from manual_backprop.registry import OPS
from scripts.site.live import operators
from tests.printed import rounding_of

pytestmark = pytest.mark.browser
every_live_view = pytest.mark.parametrize("name", operators())


CELL = 8  # signs that it has room for
FAR = (12.0, -12.0, 70.0, -70.0, 1e-6, -1e-6)


def texts(page, tensor):
    """What the live view shows of a tensor, in the order of its entries."""
    cells = page.locator(f"[data-cell='{tensor}'], [data-cell^='{tensor}[']")
    if cells.first.evaluate("cell => cell.tagName") == "INPUT":
        return [cell.input_value() for cell in cells.all()]
    return cells.all_inner_texts()


def numbers(page, tensor):
    return [float(text) for text in texts(page, tensor)]


def fill(page, tensor, values):
    cells = page.locator(f"input[data-cell='{tensor}'], input[data-cell^='{tensor}[']").all()
    for cell, number in zip(cells, values, strict=True):
        cell.fill(str(number))


def rounding_shown(text):
    """How far the number may be: four decimals of six digits, or up to three digits before an e."""
    shown = float(text)
    if not shown:
        return 0.0
    if "e" in text:
        room = CELL - text.startswith("-") - len(text[text.index("e") :])
        return rounding_of(shown, significant=min(3, room - 1), units=0.5001)
    places = ({"decimals": 4}, {"significant": 6})
    return max(rounding_of(shown, **place, units=0.5001) for place in places)


def by_torch(op, start, values):
    """Forward and gradients of what was typed, each with what rounding may make of its entries."""
    tensors = [
        torch.tensor(
            values[name], dtype=torch.float64 if fields["below"] is None else torch.int64
        ).reshape(fields["shape"])
        for name, fields in start.items()
    ]

    def computed(*tensors):
        named = dict(zip(start, tensors, strict=True))
        grad_out = named.pop("grad_out")
        leaves = [named[name].requires_grad_() for name in op.wrt]
        out = (op.oracle or op.forward)(*(named[name] for name in op.arguments))
        return (out, *torch.autograd.grad(out, leaves, grad_out))

    names = ("out", *(f"grad_{name}" for name in op.wrt))
    budgets = rounding_budget(computed, tensors, torch.float64)
    results = computed(*tensors)
    return {
        name: (result.detach(), budget.allowed)
        for name, result, budget in zip(names, results, budgets, strict=True)
    }


def assert_shown(page, op, start, values):
    for name, (tensor, allowed) in by_torch(op, start, values).items():
        got = texts(page, name)
        assert len(got) == tensor.numel()
        entries = zip(got, tensor.flatten().tolist(), allowed.flatten().tolist(), strict=True)
        for text, true, rounding in entries:
            assert abs(float(text) - true) <= rounding + rounding_shown(text), name
            assert len(text) <= CELL


@every_live_view
def test_a_live_view_computes_what_torch_computes(name, visit, seed):
    page = visit(f"operators/{name}")
    op = OPS[name]
    start = json.loads(page.locator(".live").get_attribute("data-start"))
    assert_shown(page, op, start, {tensor: fields["values"] for tensor, fields in start.items()})

    rand = torch.Generator().manual_seed(seed)
    typed = {}
    for tensor, fields in start.items():
        count = len(fields["values"])
        if fields["below"] is None:
            drawn = torch.randint(-300, 300, (count,), generator=rand).double() / 100
        else:
            drawn = torch.randint(fields["below"], (count,), generator=rand)
        typed[tensor] = drawn.tolist()
        fill(page, tensor, typed[tensor])
    assert_shown(page, op, start, typed)


@every_live_view
def test_large_and_small_numbers_keep_their_powers_of_ten(name, visit):
    page = visit(f"operators/{name}")
    start = json.loads(page.locator(".live").get_attribute("data-start"))
    for first in range(len(FAR)):
        far = itertools.cycle((*FAR[first:], *FAR[:first]))
        typed = {
            tensor: [next(far) if fields["below"] is None else value for value in fields["values"]]
            for tensor, fields in start.items()
        }
        for tensor, values in typed.items():
            fill(page, tensor, values)
        assert_shown(page, OPS[name], start, typed)


@every_live_view
def test_the_forward_is_written_without_doubled_brackets(name, visit):
    page = visit(f"operators/{name}")
    op = OPS[name]
    start = json.loads(page.locator(".live").get_attribute("data-start"))
    for tensor, fields in start.items():
        if fields["below"] is None:
            fill(page, tensor, [-1 - i / 2 for i in range(len(fields["values"]))])
    for cell in page.locator("button[data-cell='out'], button[data-cell^='out[']").all():
        cell.hover()
        _, of_numbers, value, *_ = page.locator(".live-sum p").all_inner_texts()
        assert "((" not in of_numbers
        if op.arguments == ("x",):
            formula = of_numbers.removeprefix("= ").replace("²", "**2").replace("ln(", "log(")
            result = eval(formula, {**vars(math), "max": max})
            shown = value.removeprefix("= ")
            assert abs(result - float(shown)) <= rounding_shown(shown)


@every_live_view
def test_a_field_asks_for_a_keypad_with_every_sign_that_it_takes(name, visit):
    page = visit(f"operators/{name}")
    for tensor, fields in json.loads(page.locator(".live").get_attribute("data-start")).items():
        cells = page.locator(f"input[data-cell='{tensor}'], input[data-cell^='{tensor}[']").all()
        modes = {cell.get_attribute("inputmode") for cell in cells}
        assert modes == {"text" if fields["below"] is None else "numeric"}


def assert_sum(terms, value):
    """What is written is the value, as far as its numbers are rounded to four decimals."""
    last = rounding_of(0.0, decimals=4)
    allowed = last
    for term in terms.split(" + "):
        factors = [abs(float(one.strip("()"))) for one in term.split(" · ")]
        whole = torch.tensor(factors, dtype=torch.float64)
        allowed += float((whole + last).prod() - whole.prod())
    assert abs(eval(terms.replace("·", "*")) - value) <= allowed


@every_live_view
def test_the_sum_behind_a_number_gives_that_number(name, visit):
    page = visit(f"operators/{name}")
    for cell in page.locator("button[data-cell^='grad_']").all():
        cell.hover()
        _, sum_of, value, *_ = page.locator(".live-sum p").all_inner_texts()
        assert value == f"= {cell.inner_text()}"
        assert_sum(sum_of.removeprefix("= "), float(cell.inner_text()))
        assert page.locator(".live .felt").count() > 0


def refusal(page, field):
    """The sentence that a field is described by."""
    return page.locator(f"#{field.get_attribute('aria-describedby')}")


def test_what_is_no_number_is_refused_in_words_and_the_last_one_counts(visit, violations):
    page = visit("operators/cross_entropy")
    before, sum_before = numbers(page, "grad_logits"), page.locator(".live-sum").inner_text()
    wrong = {
        "logits[0, 0]": ("two", "needs a number"),
        "target[0]": ("3", "needs a class from 0 to 2"),
        "target[1]": ("0.5", "needs a class from 0 to 2"),
    }
    fields = {cell: page.locator(f"input[data-cell='{cell}']") for cell in wrong}
    for cell, field in fields.items():
        field.fill(wrong[cell][0])
    assert page.locator(".live-sum").inner_text() == sum_before
    page.locator("button[data-cell='out']").hover()
    assert page.locator(".live-sum").inner_text().startswith("out = ")
    for cell, field in fields.items():
        assert field.get_attribute("aria-invalid") == "true"
        assert refusal(page, field).inner_text().startswith(f"{cell} {wrong[cell][1]}")
    assert violations() == []

    fields["target[0]"].fill("2")
    assert fields["target[0]"].get_attribute("aria-invalid") == "false"
    assert fields["target[0]"].get_attribute("aria-describedby") is None
    assert page.locator(".live-refused p").count() == 2
    page.locator(".live-reset").click()
    assert page.locator("[aria-invalid='true'], [aria-describedby]").count() == 0
    assert page.locator(".live-refused p").count() == 0
    assert numbers(page, "grad_logits") == before


@pytest.mark.parametrize(
    ("typed", "number"),
    [("7", 7), (" -7 ", -7), ("\N{MINUS SIGN}7", -7), ("+.5", 0.5), ("2.", 2), ("2,5", 2.5),
     ("0,125", 0.125), ("1,0005", 1.0005), ("1e-3", 0.001), ("1e\N{MINUS SIGN}3", 0.001),
     ("1,5E+1", 15), ("1.000", 1)],
)  # fmt: skip
def test_a_number_may_be_typed_in_the_usual_ways(typed, number, visit):
    page = visit("operators/cos")
    page.locator("input[data-cell^='grad_out']").first.fill("1")
    field = page.locator("input[data-cell^='x']").first
    field.fill(typed)
    assert field.get_attribute("aria-invalid") == "false"
    cos = float(torch.cos(torch.tensor(number, dtype=torch.float64)))
    shown = float(page.locator("button[data-cell^='out']").first.inner_text())
    assert abs(shown - cos) <= rounding_of(shown, decimals=4, units=0.5001)


@pytest.mark.parametrize(
    "typed",
    ["", ".", "-", "e3", "0x10", "0b1", "Infinity", "1e999", "1 000", "1,000", "-12,345", "1,000e2",
     "1,000,000", "1.000,5", "5-2"],
)  # fmt: skip
def test_what_may_be_read_as_another_number_is_not_taken(typed, visit):
    page = visit("operators/cross_entropy")
    before = numbers(page, "grad_logits")
    field = page.locator("input[data-cell='logits[0, 0]']")
    field.fill(typed)
    assert field.get_attribute("aria-invalid") == "true"
    assert numbers(page, "grad_logits") == before
    assert "needs a number" in refusal(page, field).inner_text()
    label = page.locator("input[data-cell='target[0]']")
    label.fill(typed)
    assert label.get_attribute("aria-invalid") == "true"


def test_a_comma_that_may_mean_a_thousand_is_asked_about(visit):
    page = visit("operators/lin")
    field = page.locator("input[data-cell='x[0, 0]']")
    field.fill("1,234")
    said = refusal(page, field).inner_text()
    assert "1.234" in said
    assert "1234" in said


def test_reset_keeps_the_focus_and_what_is_read_aloud(visit):
    page = visit("operators/lin")
    start = numbers(page, "x")
    page.evaluate("window.aloud = document.querySelector('.live-sum')")
    page.locator("input[data-cell='x[0, 0]']").fill("7")
    page.locator(".live-reset").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "live-reset"
    assert page.evaluate("aloud.isConnected && aloud.getAttribute('aria-live') === 'polite'")
    assert numbers(page, "x") == start


def test_the_live_view_is_worked_by_the_keyboard(visit):
    page = visit("operators/lin")
    page.locator("input[data-cell='x[0, 0]']").focus()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("7")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "x[1, 0]"
    page.locator("button[data-cell='grad_w[0, 0]']").focus()
    for key, expected in (
        ("ArrowRight", "grad_w[0, 1]"),
        ("ArrowDown", "grad_w[1, 1]"),
        ("ArrowLeft", "grad_w[1, 0]"),
        ("ArrowUp", "grad_w[0, 0]"),
    ):
        page.keyboard.press(key)
        assert focused(page) == expected
        assert page.locator(".live-sum").inner_text().startswith(f"{expected} = ")
    felt = {cell.get_attribute("data-cell") for cell in page.locator(".live .felt").all()}
    assert felt == {"x[0, 0]", "x[1, 0]", "grad_out[0, 0]", "grad_out[1, 0]"}


def focused(page):
    return page.evaluate("document.activeElement.dataset.cell")
