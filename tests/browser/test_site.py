"""The site as a reader meets it: opened from disk, in a real browser."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from manual_backprop.registry import OPS
from tests.browser.conftest import address

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


STATIC = Path(__file__).parents[2] / "docs" / "_static"
GROUNDS = {"light": ("#fff", "#f8f9fb", "#000"), "dark": ("#131416", "#1a1c1e", "#fff")}
NARROW = """<!doctype html><link rel="stylesheet" href="{style}"><script src="{script}"></script>
<style>body {{ --color-background-primary: {page}; --color-background-secondary: {box};
--color-foreground-primary: {text}; background: {page}; margin: 0 }}
.content {{ width: 200px }} .long {{ display: block; height: 40px; min-width: 60px }}</style>
<body><div class="content"><div class="formula"><i class="long"></i></div><div class="derivation">
<div class="derivation-row"><div class="right"><i class="long"></i></div></div>
<div class="derivation-row result"><div class="right"><i class="long"></i></div></div></div>
<div class="numbers"><p></p><p><i class="long"></i></p></div>
<mjx-container jax="SVG" display="true" style="display: block"><i class="long"></i></mjx-container>
</div>"""


@pytest.mark.parametrize("scheme", GROUNDS)
@pytest.mark.parametrize(
    "place", [".formula", ".right", ".result > .right", ".numbers > p:last-child", "mjx-container"]
)
def test_a_formula_wider_than_its_box_is_shaded_where_it_goes_on(place, scheme, page, tmp_path):
    colours = dict(zip(("page", "box", "text"), GROUNDS[scheme], strict=True))
    style, script = (address(STATIC / name) for name in ("site.css", "scrolled.js"))
    file = tmp_path / "page.html"
    file.write_text(NARROW.format(style=style, script=script, **colours), "utf-8")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address(file))
    box = page.locator(place).first

    def shaded():
        image = Image.open(io.BytesIO(box.screenshot())).convert("RGB")
        y, middle = image.height // 2, image.getpixel((image.width // 2, image.height // 2))
        inside = 4 if place == ".formula" else 0  # its border
        ends = {"left": inside + 3, "right": image.width - 4}
        return [end for end, x in ends.items() if image.getpixel((x, y)) != middle]

    assert shaded() == []
    box.locator(".long").evaluate("long => long.style.minWidth = '600px'")
    page.set_viewport_size({"width": 391, "height": 844})
    page.locator(f"{place}[tabindex]").first.wait_for()
    seen = []
    for scrolled in (0, 100, 1000):
        box.evaluate("(box, to) => box.scrollLeft = to", scrolled)
        page.wait_for_timeout(50)
        seen.append(shaded())
    assert seen == [["right"], ["left", "right"], ["left"]]
