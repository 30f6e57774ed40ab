"""The site as a reader meets it: opened from disk, in a real browser."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from manual_backprop.registry import OPS
from scripts.site.live import operators
from tests.browser.conftest import address
from tests.printed import rounding_of

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PAGES = (
    "index",
    "first_gradient",
    "operators/index",
    "operators/lin",
    "operators/cross_entropy",
    "operators/classifier",
    "articles",
    "mistakes",
    "notation",
    "verify",
    "check",
    "functions",
    "mesh",
    "judge",
    "training",
    "api",
    "speed",
    "ranks",
    "gallery/index",
    "gallery/plot_himmelblau",
    "search",
)
every_page = pytest.mark.parametrize("name", PAGES)
every_live_view = pytest.mark.parametrize("name", operators())


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """The site's folder, made by the command that CONTRIBUTING names; once for all processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with FileLock(shared / "site.lock"):
        if not (shared / "site.made").exists():
            command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "docs", "site"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            (shared / "site.made").touch()
    return ROOT / "site"


@pytest.fixture
def visit(site, page):
    """Opens a page of the site and waits until its formulas are set."""

    def visited(name):
        page.goto(address(site / f"{name}.html"))
        page.evaluate("() => window.MathJax?.startup?.promise")
        return page

    return visited


@every_page
def test_a_page_loads_without_complaint_and_its_formulas_are_set(name, visit):
    page = visit(name)
    assert page.locator("h1").first.inner_text()
    formulas = page.locator(".math").count()
    assert page.locator("mjx-container svg").count() >= formulas
    assert page.locator("[data-mjx-error], mjx-merror").count() == 0


def test_every_operator_has_a_page_with_all_its_parts(site):
    for name in OPS:
        text = (site / "operators" / f"{name}.html").read_text("utf-8")
        for part in ("derivation", "by-hand", "code", "verdict", "popular-mistakes", "functions"):
            assert f'<section id="{part}">' in text, f"{name} has no {part}"


def test_no_page_names_a_script_a_style_or_a_picture_from_elsewhere(site):
    for file in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]*\bsrc=\"([^\"]+)|<link[^>]*\bhref=\"([^\"]+)",
            file.read_text("utf-8"),
        )
        for one in filter(None, (src or href for src, href in loaded)):
            assert not re.match(r"(https?:)?//", one), f"{file.name}: {one}"


def test_search_finds_an_operator(visit):
    page = visit("index")
    page.locator(".sidebar-search").fill("log_softmax")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?**")
    found = page.locator("#search-results a[href*='operators/log_softmax.html']")
    found.first.wait_for()
    found.first.click()
    assert page.locator("h1").first.inner_text().startswith("log_softmax")


@pytest.mark.parametrize("mode", ["light", "dark"])
@every_page
def test_a_page_is_accessible(name, mode, visit, page, violations):
    page.emulate_media(color_scheme=mode)
    visit(name)
    assert violations() == []


@every_page
def test_a_page_fits_a_telephone(name, visit, page):
    page.set_viewport_size({"width": 360, "height": 740})
    visit(name)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, f"{name} is {wide} wide"


def numbers(page, tensor):
    """What the live view shows of a tensor, in the order of its entries."""
    cells = page.locator(f"[data-cell='{tensor}'], [data-cell^='{tensor}[']")
    if cells.first.evaluate("cell => cell.tagName") == "INPUT":
        return [float(cell.input_value()) for cell in cells.all()]
    return [float(text) for text in cells.all_inner_texts()]


def by_torch(op, start, values):
    """Forward and gradients of what was typed."""
    tensors = {
        name: torch.tensor(
            values[name], dtype=torch.float64 if fields["below"] is None else torch.int64
        ).reshape(fields["shape"])
        for name, fields in start.items()
    }
    grad_out = tensors.pop("grad_out")
    leaves = [tensors[name].requires_grad_() for name in op.wrt]
    out = (op.oracle or op.forward)(*(tensors[name] for name in op.arguments))
    grads = torch.autograd.grad(out, leaves, grad_out)
    return {"out": out.detach(), **{f"grad_{n}": g for n, g in zip(op.wrt, grads, strict=True)}}


def assert_shown(page, op, start, values):
    for name, tensor in by_torch(op, start, values).items():
        got = numbers(page, name)
        assert len(got) == tensor.numel()
        for shown, true in zip(got, tensor.flatten().tolist(), strict=True):
            assert abs(shown - true) <= rounding_of(shown, decimals=4, units=0.5001), name


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
        cells = page.locator(f"input[data-cell='{tensor}'], input[data-cell^='{tensor}[']").all()
        for cell, number in zip(cells, typed[tensor], strict=True):
            cell.fill(str(number))
    assert_shown(page, op, start, typed)


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


def test_what_is_no_number_is_refused_in_words_and_the_last_one_counts(visit):
    page = visit("operators/cross_entropy")
    before = numbers(page, "grad_logits")
    for cell, wrong, asked in (
        ("logits[0, 0]", "two", "needs a number"),
        ("target[0]", "3", "needs a class from 0 to 2"),
        ("target[1]", "0.5", "needs a class from 0 to 2"),
    ):
        field = page.locator(f"input[data-cell='{cell}']")
        field.fill(wrong)
        assert field.get_attribute("aria-invalid") == "true"
        assert asked in page.locator(".live-sum").inner_text()
    assert numbers(page, "grad_logits") == before
    page.locator(".live-reset").click()
    assert page.locator("[aria-invalid='true']").count() == 0


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
