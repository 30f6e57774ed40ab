"""`verify --html` in a browser: what one sees, finds and opens is what the JSON says."""

import re

import pytest
from playwright.sync_api import expect

from manual_backprop.report.as_html import verify_page
from manual_backprop.report.templates import plain, share
from tests import reports
from tests.browser.conftest import address

pytestmark = pytest.mark.browser
MAKERS = {
    "judged": reports.judged,
    "whole": reports.whole_house,
    "two": lambda: reports.whole_house(("cpu", "cuda")),
    "hostile": reports.hostile,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("reports")
    for name, maker in MAKERS.items():
        (made / f"{name}.html").write_text(verify_page(maker()), "utf-8")
    return made


@pytest.fixture
def opened(page, folder):
    def go(name, fragment="", **size):
        if size:
            page.set_viewport_size({"height": 800, **size})
        page.goto("about:blank")
        page.goto(address(folder / f"{name}.html") + (f"#{fragment}" if fragment else ""))
        return page

    return go


def cells(fields):
    """Every cell that was judged: its address, its record, and its tally."""
    for record in fields["backwards"]:
        for dtype, tally in record["dtypes"].items():
            for device, cell in tally["devices"].items():
                yield f"{record['backward']}_{dtype}_{device}", record, cell


def shown_rows(page):
    return page.locator(".matrix tbody tr:visible .name b").all_text_contents()


def names(fields, which=lambda record: True):
    return [record["backward"] for record in fields["backwards"] if which(record)]


def test_every_backward_has_its_row_and_every_cell_its_share(opened):
    page, fields = opened("judged"), reports.judged()

    assert shown_rows(page) == names(fields)
    for name, _, cell in cells(fields):
        link = page.locator(f"#c-{name}")
        wrong = "wrong" in link.text_content()
        if not wrong:
            ratio = cell["error"] / cell["allowed"] if cell["allowed"] else 0.0
            assert share(ratio) in link.text_content()


def test_a_wrong_one_is_told_in_words_and_not_by_colour_alone(opened):
    page, fields = opened("judged"), reports.judged()
    wrong = names(fields, lambda record: not record["ok"])

    assert len(wrong) == 2
    for name in wrong:
        row = page.locator(".matrix tbody tr", has=page.get_by_text(name, exact=True))
        assert row.locator("td a b").all_text_contents() == ["✗ wrong"] * 2
        assert "wrong" in row.locator(".end").text_content()
        assert page.locator(".card", has_text=name).count() >= 1
    expect(page.locator("h1")).to_contain_text("2 of 6 backwards are wrong")
    factor = page.locator(".card", has_text="back_square_double")
    expect(factor).to_contain_text("it is 2 times what it should be, in every entry")
    factor.get_by_role("link", name="float32 on cpu").click()
    expect(page.locator("#back_square_double_float32_cpu")).to_be_visible()


def test_the_evidence_has_the_numbers_of_the_json(opened):
    page, fields = opened("judged"), reports.judged()
    right = [(name, cell) for name, record, cell in cells(fields) if record["ok"]]

    assert len(right) == 8
    for name, cell in right:
        page.locator(f"#c-{name}").click()
        article, near = page.locator(f"#{name}"), cell["closest"]
        expect(article).to_be_visible()
        words, texts = (article.locator(f".nums {tag}").all_inner_texts() for tag in ("dt", "dd"))
        said = dict(zip(words, texts, strict=True))
        assert said["got"] == plain(near["got"])
        assert said["expected"] == plain(near["expected"])
        assert said["worst entry"].startswith(near["gradient"])
        values = article.locator("data").evaluate_all("all => all.map(one => one.value)")
        numbers = (near["error"], near["allowed"], cell["error"], cell["allowed"])
        assert [float(value) for value in values] == [*numbers]
        assert f"{cell['cases']:,} cases" in article.text_content()
        assert near["sample"] in article.text_content()
    assert page.locator(".ev:visible").count() == 1


def test_the_wrong_entry_is_the_one_that_the_picture_shows(opened):
    page = opened("judged", "back_square_one_entry_float64_cpu")
    picture = page.locator(".ev.open .pic")
    levels = picture.get_attribute("data-levels").split(" ")

    assert [(r, c) for r, row in enumerate(levels) for c, n in enumerate(row) if n >= "6"] == [
        (3, 4)
    ]
    ring = picture.locator(".ring")
    assert (ring.get_attribute("x"), ring.get_attribute("y")) == ("4", "3")
    ring.hover(force=True)
    expect(page.locator(".ev.open output")).to_contain_text("[3, 4] wrong")
    picture.hover(position={"x": 2, "y": 2})
    expect(page.locator(".ev.open output")).to_have_text(re.compile(r"\[0, 0\] (exact|up to .* %)"))


def test_search_and_filter_leave_what_was_asked_for(opened):
    page, fields = opened("judged"), reports.judged()
    search, shown = page.get_by_label("Search"), page.get_by_label("Show")

    search.fill("RELU from")
    assert shown_rows(page) == ["back_relu_from_out"]
    expect(page.locator("#count")).to_have_text("1 of 6 backwards")
    search.fill("factor")
    assert shown_rows(page) == ["back_square_double"], "a code finds what has it"
    search.fill("")
    shown.select_option("wrong")
    assert shown_rows(page) == names(fields, lambda record: not record["ok"])
    search.fill("relu")
    assert shown_rows(page) == []
    expect(page.locator("#nothing")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    assert shown_rows(page) == names(fields)
    expect(search).to_be_focused()


def test_close_ones_and_those_with_notes_can_be_asked_for(opened):
    page, fields = opened("whole"), reports.whole_house()
    page.get_by_label("Show").select_option("close")
    close = [
        record["backward"]
        for record in fields["backwards"]
        if any(tally["error"] / tally["allowed"] > 0.3 for tally in record["dtypes"].values())
    ]
    assert shown_rows(page) == close

    page = opened("hostile")
    page.get_by_label("Show").select_option("notes")
    assert shown_rows(page) == ["back_a b"]


def test_a_cell_opens_by_keyboard_and_closes_to_where_one_was(opened):
    page = opened("judged")
    cell = page.locator("#c-back_relu_float64_cpu")
    page.get_by_label("Show").focus()
    page.keyboard.press("Tab")
    expect(cell).to_be_focused()
    page.keyboard.press("Enter")
    article = page.locator("#back_relu_float64_cpu")
    expect(article).to_be_visible()
    expect(article).to_be_focused()
    expect(cell).to_have_attribute("aria-current", "true")
    assert page.url.endswith("#back_relu_float64_cpu"), "the address can be handed on"

    page.keyboard.press("Escape")
    expect(article).to_be_hidden()
    expect(cell).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#c-back_relu_float32_cpu")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#c-back_relu_from_out_float32_cpu")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Close the evidence").click()
    expect(page.locator(".ev:visible")).to_have_count(0)


def test_arrows_step_over_rows_that_are_filtered_out(opened):
    page = opened("judged")
    page.get_by_label("Search").fill("square_")
    page.locator("#c-back_square_double_float64_cpu").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#c-back_square_one_entry_float64_cpu")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#c-back_square_one_entry_float64_cpu")).to_be_focused()


def test_an_address_opens_its_evidence(opened):
    name = "back_softmax_float16_cpu"
    page = opened("whole", name)

    expect(page.locator(f"#{name}")).to_be_visible()
    expect(page.locator(f"#c-{name}")).to_be_in_viewport()


def test_on_a_phone_the_sheet_does_not_hide_the_cell_that_opened_it(opened):
    page = opened("whole", width=360, height=740)
    cell = page.locator("#c-back_tanh_float16_cpu")
    cell.scroll_into_view_if_needed()
    cell.click()
    page.wait_for_timeout(100)
    sheet = page.locator(".panel").bounding_box()
    box = cell.bounding_box()
    assert 0 <= box["y"] <= box["y"] + box["height"] <= sheet["y"]


def test_without_javascript_all_is_there_and_a_cell_still_opens(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address(folder / "judged.html"))
    assert shown_rows(page) == names(reports.judged())
    expect(page.locator(".tools")).to_be_hidden()
    page.locator("#c-back_relu_float64_cpu").click()
    expect(page.locator("#back_relu_float64_cpu")).to_be_visible()
    expect(page.locator("#back_relu_float64_cpu .pic")).to_be_visible()
    page.locator("#back_relu_float64_cpu .close").click()
    expect(page.locator(".ev:visible")).to_have_count(0)
    context.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1100, 1280, 1600])
@pytest.mark.parametrize("name", MAKERS)
def test_no_width_makes_the_page_scroll_sideways(name, width, opened):
    page = opened(name, width=width)
    if name != "hostile":
        page.locator(".matrix td a").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_guidelines_are_kept(scheme, width, opened, violations):
    page = opened("judged", width=width)
    page.emulate_media(color_scheme=scheme)
    assert violations() == []
    for name in ("back_square_one_entry_float64_cpu", "back_relu_float32_cpu"):
        page.locator(f"#c-{name}").scroll_into_view_if_needed()
        page.locator(f"#c-{name}").click()
        assert violations() == []
        page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_step_of_the_scale_can_be_read(scheme, opened, violations):
    page = opened("whole")
    page.emulate_media(color_scheme=scheme)
    for level in range(6):  # whatever was drawn, each is on the page once
        page.locator(".matrix td").nth(level).evaluate(f"cell => cell.className = 's{level}'")
    assert violations("color-contrast") == []


def test_hostile_text_is_text(opened):
    page = opened("hostile")

    assert page.evaluate("window.pwned") is None
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert f"back_{reports.HOSTILE}" in shown_rows(page)
    expect(page.locator(".top .command code")).to_have_text(reports.COMMAND)
    for link in page.locator(".matrix td a").all():
        link.click()
        expect(page.locator(".ev:visible")).to_have_count(1)
        assert "back_" in page.locator(".ev:visible h3").text_content()
    page.get_by_label("Search").fill("window.pwned")
    assert f"back_{reports.HOSTILE}" in shown_rows(page)
    assert page.evaluate("window.pwned") is None


def test_what_the_page_did_not_bring_along_does_not_run(browser, folder):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address(folder / "judged.html"))
    page.evaluate(
        "const own = document.createElement('script'); own.textContent = 'window.ran = 1';"
        "document.body.append(own)"
    )
    assert page.evaluate("window.ran") is None
    blocked = "fetch('http://localhost:9/').then(() => 'sent', error => 'refused')"
    assert page.evaluate(blocked) == "refused"
    context.close()


def test_on_paper_the_tools_are_gone_and_the_matrix_stays(opened):
    page = opened("judged")
    page.emulate_media(media="print")

    expect(page.locator(".tools")).to_be_hidden()
    assert shown_rows(page) == names(reports.judged())
    expect(page.locator(".card").first).to_be_visible()
