"""The map of errors is painted as its levels say, and tells of each square what lies there."""

import io
import math

import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from manual_backprop.judge.evidence import picture
from manual_backprop.judge.verdict import Finding, Verdict
from manual_backprop.judge.verify import SEEDS
from manual_backprop.report.as_html import verify_page
from manual_backprop.report.as_json import report
from tests import reports
from tests.browser.conftest import address

pytestmark = pytest.mark.browser

EDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 1000.0)  # error over allowance, at most
SAID = {
    "0": "exact",
    "1": "up to 1 %",
    "2": "up to 3 %",
    "3": "up to 10 %",
    "4": "up to 30 %",
    "5": "up to 100 %",
    "6": "wrong, up to 10 times",
    "7": "wrong, up to 1000 times",
    "8": "wrong, more than 1000 times",
    "9": "nan or infinite",
    "-": "not judged",
}
CLASSES = {**{n: f"s{n}" for n in "012345"}, **dict.fromkeys("6789", "sw")}
SHAPES = [(11, 7), (3, 2, 7), (2, 3, 2, 5), (3, 11, 7), (11, 31), (5,)]


def drawn(shape):
    """A picture in which every level occurs, and runs of one level as well as single squares."""
    rand = torch.Generator().manual_seed(len(shape))
    steps = torch.tensor([*EDGES, 1e6, math.inf], dtype=torch.float64)
    ratio = steps[torch.randint(len(steps), shape, generator=rand)]
    judged = torch.rand(shape, generator=rand) < 0.9
    judged.view(-1)[:3] = True
    ratio.view(-1)[:3] = torch.tensor([0.0, 0.0, 0.3])
    one = torch.ones(shape, dtype=torch.float64)
    return picture(ratio, 0 * one, one, judged)


@pytest.fixture
def opened(tmp_path, page):
    """The evidence that has the picture of a gradient of that shape."""

    def go(shape):
        seen = drawn(shape)
        verdict = Verdict("square", {"back_square": ()})
        numbers = {"got": 1.0, "expected": 2.0, "error": 1.0, "allowed": 0.5}
        about = {"sample": "rows", "dtype": "float64", "device": "cpu"}
        verdict.findings.append(
            Finding("back_square", "grad_x", "unknown", "wrong", **numbers, **about, picture=seen)
        )
        file = tmp_path / "report.html"
        fields = report([verdict], ("cpu",), ("float64",), SEEDS, "manual-backprop verify")
        file.write_text(verify_page(fields), "utf-8")
        page.goto(address(file))
        page.locator(".matrix td a").first.click()
        return seen

    return go


def colours(page):
    """A level -> what its sample in the legend is painted with; of what is not judged, a line."""
    painted = "of => getComputedStyle(of).backgroundColor.match(/\\d+/g).map(Number)"
    found = {n: page.locator(f".legend i.{name}").evaluate(painted) for n, name in CLASSES.items()}
    line = page.evaluate(
        "() => { const one = document.createElement('i'); one.style.background = 'var(--line)';"
        "document.body.append(one); return getComputedStyle(one).backgroundColor.match(/\\d+/g)"
        ".map(Number) }"
    )
    return {n: tuple(colour) for n, colour in {**found, "-": line}.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_square_is_painted_as_its_level_is_in_the_legend(shape, scheme, opened, page):
    page.emulate_media(color_scheme=scheme)
    seen = opened(shape)
    colour = colours(page)
    assert len(set(colour.values())) == 8

    image = Image.open(io.BytesIO(page.locator(".ev.open .pic").screenshot())).convert("RGB")
    wide, high = image.width / len(seen.levels[0]), image.height / len(seen.levels)
    for row, levels in enumerate(seen.levels):
        for column, level in enumerate(levels):
            x, y = (column + 0.2) * wide, (row + 0.2) * high
            inside = image.crop((int(x), int(y), int(x + 0.6 * wide), int(y + 0.6 * high)))
            _, most = max(inside.getcolors())
            assert most == colour[level], (row, column, level)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_under_the_pointer_is_the_entry_and_its_level_in_words(shape, opened, page):
    seen = opened(shape)
    last, rows = shape[-1], math.prod(shape[:-1])
    page.locator(".ev.open .pic").scroll_into_view_if_needed()
    box = page.locator(".ev.open .pic").bounding_box()
    high, wide = seen.block

    def span(first, size, end):
        return f"{first}" if size == 1 else f"{first}…{min(first + size, end) - 1}"

    for row, levels in enumerate(seen.levels):
        for column, level in enumerate(levels):
            at = span(column * wide, wide, last)
            if high == 1:
                axes = torch.unravel_index(torch.tensor(row), shape[:-1]) if shape[:-1] else ()
                where = f"[{', '.join([*(str(int(n)) for n in axes), at])}]"
            elif len(shape) == 2:
                where = f"[{span(row * high, high, rows)}, {at}]"
            else:
                where = f"rows {span(row * high, high, rows)}, [{at}]"
            page.mouse.move(
                box["x"] + (column + 0.5) * box["width"] / len(levels),
                box["y"] + (row + 0.5) * box["height"] / len(seen.levels),
            )
            expect(page.locator(".ev.open output")).to_have_text(f"{where} {SAID[level]}")


def test_a_cell_and_the_legend_have_the_colours_of_the_levels_at_their_edges(tmp_path, page):
    verdict = Verdict("square", {f"back_{n}{way}": () for n in range(6) for way in ("", "_more")})
    for n, most in enumerate(EDGES[:6]):
        tally = reports.one_case(0)
        ratio = {"": most, "_more": math.nextafter(most, 1e9)}
        for way, error in ratio.items():
            cell = type(tally)(tally.cases, error, 1.0, tally.closest)
            verdict.cells[f"back_{n}{way}", "float64", "cpu"] = cell
    del verdict.cells["back_5_more", "float64", "cpu"], verdict.saves["back_5_more"]
    fields = report([verdict], ("cpu",), ("float64",), SEEDS, "manual-backprop verify")
    file = tmp_path / "report.html"
    file.write_text(verify_page(fields), "utf-8")
    page.goto(address(file))

    for n in range(6):
        kinds = {"": n, "_more": n + 1} if n < 5 else {"": n}
        for way, level in kinds.items():
            cell = page.locator(f"td:has(#c-back_{n}{way}_float64_cpu)")
            assert cell.get_attribute("class") == f"s{level}", (n, way)
    words = page.locator(".legend li").all_inner_texts()
    assert [text.split()[-2:] for text in words[1:6]] == [SAID[n].split()[-2:] for n in "12345"]
    assert words[0] == SAID["0"]
