"""The pages of `check --html` and `bench --html` in a browser."""

import copy
import re

import pytest
from playwright.sync_api import expect

from manual_backprop.bench.as_html import bench_page
from manual_backprop.bench.as_json import report
from manual_backprop.bench.case import by_hand
from manual_backprop.bench.command import timed
from manual_backprop.check.as_html import check_page
from manual_backprop.check.command import record
from tests.browser.conftest import address
from tests.doubling import ALSO, MACHINE, ONCE, RIGHT, WRONG, case_of
from tests.reports import HOSTILE

pytestmark = pytest.mark.browser

FILE = """
import torch


def back_cross_entropy(logits, target, grad_out):
    p = torch.softmax(logits, dim=1)
    p[torch.arange(len(target)), target] -= 1
    return grad_out * p


def back_relu(x, grad_out):
    return (x > 0) * grad_out
"""


def never(x):
    raise ValueError(HOSTILE)


@pytest.fixture(scope="module")
def times():
    """The fields of a benchmark with every kind of outcome."""
    cases = [
        case_of(RIGHT, ALSO, name="two-ways", group="ways", remark=HOSTILE),
        case_of(RIGHT, WRONG, name="one-wrong", group="ways"),
        case_of(RIGHT, ALSO, by_hand(never, HOSTILE), name="one-missing", group="missing"),
    ]
    records = timed(cases, MACHINE, "cpu", [], quick=True, pace=ONCE)
    return report(records, MACHINE, "cpu", quick=True, command="manual-backprop bench --quick")


@pytest.fixture
def written(tmp_path, page):
    def write(text):
        file = tmp_path / "page.html"
        file.write_text(text, "utf-8")
        page.goto(address(file))
        return page

    return write


@pytest.fixture
def opened(written, learner, times):
    """A page by its name."""

    def go(name):
        if name == "bench":
            return written(bench_page(times))
        answer = learner.check(FILE, solution=True, test=True)
        fields = record(answer, "mine.py")
        return written(check_page(fields, hints=4, solution=True, test=True))

    return go


def test_each_gradient_has_its_verdict_and_its_wrong_entries(opened):
    page = opened("check")
    wrong, right = page.locator(".function").all()

    expect(page.locator("h1")).to_contain_text("1 of 2 functions is wrong")
    expect(wrong).to_contain_text("all 77 entries, shape (11, 7)")
    expect(wrong.locator(".says").first).to_contain_text("sum-for-mean")
    expect(wrong.locator("pre", has_text="def test_grad_logits")).to_be_visible()
    assert wrong.locator(".gradients .nums").count() == 2, "the first wrong entry and the worst"
    expect(wrong.locator(".pic")).to_be_visible()
    assert set(wrong.locator(".pic").get_attribute("data-levels")) <= set("6789 ")
    assert set(right.locator(".pic").get_attribute("data-levels")) == {"0"}
    expect(right.locator(".gradients")).to_contain_text("right")


def test_every_case_has_its_verdict_its_times_and_its_bars(opened, times):
    page = opened("bench")

    for case in times["cases"]:
        block = page.locator(".case", has=page.get_by_text(case["case"], exact=True))
        for opponent in case["opponents"]:
            row = block.locator("tbody tr", has=page.get_by_text(opponent["opponent"], exact=True))
            if "seconds" in opponent:
                value = row.locator("[data-label=time] data").get_attribute("value")
                assert float(value) == opponent["seconds"]
            if "ratio" in opponent:
                value = row.locator("[data-label='x hand'] data").get_attribute("value")
                assert float(value) == opponent["ratio"]["median"]
                bar = row.locator(".ratio rect").bounding_box()
                one = row.locator(".one").bounding_box()
                slower = opponent["ratio"]["median"] > 1
                assert abs((bar["x"] if slower else bar["x"] + bar["width"]) - one["x"]) < 2
    expect(page.locator(".case", has_text="two-ways")).to_contain_text(re.compile("wins|parity|lo"))
    expect(page.locator(".case", has_text="one-wrong")).to_contain_text("wrong, and not timed")
    expect(page.locator(".case", has_text="one-missing")).to_contain_text(
        f"missing: ValueError: {HOSTILE}"
    )


@pytest.mark.parametrize(
    ("low", "median", "high", "arrows"),
    [(0.9, 1.1, 2.0, []), (1.02, 1.43, 49.0, ["right"]), (30.0, 40.0, 50.0, ["right"]),
     (0.01, 0.02, 0.03, ["left"]), (0.1, 0.8, 1.1, ["left"]), (0.1, 1.4, 20.0, ["left", "right"])],
)  # fmt: skip
def test_an_end_of_an_interval_that_is_beyond_the_axis_is_an_arrow(
    low, median, high, arrows, written, times
):
    fields = copy.deepcopy(times)
    case = next(case for case in fields["cases"] if case["case"] == "two-ways")
    case["opponents"][-1]["ratio"] = {"low": low, "median": median, "high": high}
    page = written(bench_page(fields))
    picture = page.locator(".case", has_text="two-ways").locator(".ratio").last

    whole, line = picture.bounding_box(), picture.locator(".interval").first.bounding_box()
    found = []
    for arrow in picture.locator(".beyond").all():
        box = arrow.bounding_box()
        assert whole["x"] <= box["x"]
        assert box["x"] + box["width"] <= whole["x"] + whole["width"]
        found.append("left" if box["x"] < line["x"] - 1 else "right")
    assert found == arrows
    caps = picture.locator(".interval").count() - 1
    assert caps == sum(1 / 4 <= end <= 16 for end in (low, high))


def test_cases_can_be_searched_and_filtered(opened):
    page = opened("bench")
    shown = page.locator(".case:visible h3 code")

    expect(page.locator("#count")).to_have_text("all 3 cases")
    page.get_by_label("Search").fill("missing")
    assert shown.all_text_contents() == ["one-missing"]
    expect(page.locator("#count")).to_have_text("1 of 3 cases")
    page.get_by_label("Search").fill("")
    page.get_by_label("Show").select_option("wrong")
    assert shown.all_text_contents() == ["one-wrong"]
    page.get_by_label("Search").fill("missing")
    page.get_by_role("button", name="Show all").click()
    assert shown.count() == 3


def test_of_one_case_the_count_is_singular(written, times):
    page = written(bench_page({**times, "cases": times["cases"][:1]}))
    expect(page.locator("#count")).to_have_text("one case")
    page.get_by_label("Search").fill("no such words")
    expect(page.locator("#count")).to_have_text("0 of 1 case")


@pytest.mark.parametrize("width", [320, 360, 700, 1000, 1280])
@pytest.mark.parametrize("name", ["check", "bench"])
def test_no_width_makes_the_page_scroll_sideways(name, width, opened):
    page = opened(name)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["check", "bench"])
def test_the_guidelines_are_kept(name, scheme, width, opened, violations):
    page = opened(name)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    assert violations() == []
