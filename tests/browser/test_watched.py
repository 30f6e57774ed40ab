"""The fixtures of this folder: what they say of pages that are wrong, and of right ones nothing."""

import pytest

from tests.browser.conftest import Watched, address

pytestmark = pytest.mark.browser

PAGE = '<!doctype html><html lang="en"><title>t</title><main><h1>h</h1>{}</main></html>'
WRONG = {
    "console": ("<script>console.error('oh')</script>", "error: oh"),
    "exception": ("<script>nothing.there()</script>", "exception: "),
    "missing": ('<img alt="" src="not_there.png">', "failed: "),
    "policy": (
        '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">'
        "<script>1</script>",
        "error: ",
    ),
}


@pytest.fixture
def written(tmp_path):
    def write(body):
        file = tmp_path / "page.html"
        file.write_text(PAGE.format(body), "utf-8")
        return address(file)

    return write


@pytest.mark.parametrize("name", WRONG)
def test_what_a_page_complains_of_is_heard(name, browser, written):
    body, expected = WRONG[name]
    context = browser.new_context()
    watched = Watched(context)
    context.new_page().goto(written(body))
    context.close()

    assert any(said.startswith(expected) for said in watched.said), watched.said
    assert watched.left == []


def test_a_request_that_leaves_is_noted_and_does_not_leave(browser, written):
    context = browser.new_context()
    watched = Watched(context)
    context.new_page().goto(written('<img alt="" src="http://example.com/a.png">'))
    context.close()

    assert watched.left == ["http://example.com/a.png"]
    assert any("ERR_NAME_NOT_RESOLVED" in said for said in watched.said), watched.said


def test_pale_text_and_a_field_without_a_name_violate_the_guidelines(page, written, violations):
    page.goto(written('<p style="color: #aaa; background: #fff">pale</p><input>'))

    assert any(said.startswith("color-contrast") for said in violations())
    assert any(said.startswith("label") for said in violations())
    assert all(said.startswith("color-contrast") for said in violations("color-contrast"))


def test_of_a_right_page_nothing_is_said(page, written, violations):
    page.goto(written("<p>dark</p><script>console.log('fine')</script>"))

    assert violations() == []
