"""The page of `verify --html` in a new tab, and in a frame as viewers of artifacts show it."""

from html import escape

import pytest
from playwright.sync_api import expect

from manual_backprop.report.as_html import verify_page
from tests import reports
from tests.browser.conftest import address

pytestmark = pytest.mark.browser


@pytest.fixture
def report(tmp_path):
    file = tmp_path / "judged.html"
    file.write_text(verify_page(reports.judged()), "utf-8")
    return file


@pytest.mark.parametrize("how", [{"modifiers": ["ControlOrMeta"]}, {"modifiers": ["Shift"]},
                                 {"button": "middle"}])  # fmt: skip
def test_a_click_that_asks_for_a_new_tab_gets_it(how, page, report):
    page.goto(address(report))
    with page.context.expect_page() as made:
        page.locator("#c-back_relu_float64_cpu").click(**how)
    expect(made.value.locator("#back_relu_float64_cpu")).to_be_visible()
    expect(page.locator(".ev:visible")).to_have_count(0)


def test_in_a_frame_without_an_address_a_cell_opens_and_takes_the_focus(page, report):
    viewer, text = report.with_name("viewer.html"), escape(report.read_text("utf-8"))
    style = "border: 0; width: 1100px; height: 800px"
    viewer.write_text(f'<!doctype html><iframe style="{style}" srcdoc="{text}"></iframe>', "utf-8")
    page.goto(address(viewer))
    frame = page.frame_locator("iframe")
    frame.locator("#c-back_relu_float64_cpu").click()
    expect(frame.locator("#back_relu_float64_cpu")).to_be_visible()
    expect(frame.locator("#back_relu_float64_cpu")).to_be_focused()
    page.keyboard.press("Escape")
    expect(frame.locator("#c-back_relu_float64_cpu")).to_be_focused()
