"""The site as a reader meets it: opened from disk, in a real browser."""

import re

import pytest

from manual_backprop.registry import OPS

pytestmark = pytest.mark.browser

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


@pytest.mark.parametrize(
    "name", sorted({*PAGES, "transpose", *(f"operators/{name}" for name in OPS)})
)
def test_a_page_is_accessible_on_a_telephone(name, visit, page, violations):
    page.set_viewport_size({"width": 360, "height": 740})
    visit(name)
    assert violations() == []


@every_page
def test_a_page_fits_a_telephone(name, visit, page):
    page.set_viewport_size({"width": 360, "height": 740})
    visit(name)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, f"{name} is {wide} wide"
