"""The picture of the report in the README is what `verify --html` shows."""

import pytest
from PIL import Image
from playwright.sync_api import expect

from scripts.pictures import FOLDER, REPORT, back_cross_entropy_short, opened, report_page, shown
from tests.shown import assert_shown

pytestmark = pytest.mark.browser


def test_the_picture_of_the_report_shows_what_the_page_shows(page, tmp_path):
    html = tmp_path / "verify.html"
    html.write_text(report_page(), "utf-8")
    opened(page, html)
    name = f"{back_cross_entropy_short.__name__}_float64_cpu"
    expect(page.locator(f"#{name}")).to_be_visible()
    kept = Image.open(FOLDER / REPORT).text["Description"]
    assert_shown(kept, shown(page))
