"""The two pictures of the README show what the commands print."""

import re

import pytest
from click.testing import CliRunner
from PIL import Image

from manual_backprop.cli import main
from scripts.pictures import FOLDER, MINE, REPORT, TERMINAL, text_of
from tests.blocks import README
from tests.shown import assert_shown

LARGEST = 300_000  # bytes
WIDTH = 2 * 830  # pixels at least: twice what a forge gives a README


def terminal():
    return (FOLDER / TERMINAL).read_text("utf-8")


@pytest.mark.process
def test_the_terminal_shows_the_file_and_what_check_prints_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV", "uv")
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    done = CliRunner().invoke(main, ["check", "mine.py"])
    assert done.exit_code == 1

    shown = text_of(terminal())
    command = shown.index("$ uv run manual-backprop check mine.py")

    assert shown[0] == "$ cat mine.py"
    assert "\n".join(shown[1:command]).rstrip() == MINE.rstrip()
    assert_shown("\n".join(shown[command + 1 :]), done.stdout)


def test_the_terminal_needs_nothing_from_elsewhere():
    assert set(re.findall(r"https?://[^\s\"')]+", terminal())) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in terminal()
    assert "<script" not in terminal()


def test_the_report_is_sharp_and_says_in_words_what_it_shows():
    picture = Image.open(FOLDER / REPORT)
    assert picture.width >= WIDTH
    assert "missing-term" in picture.text["Description"]


@pytest.mark.parametrize("name", [TERMINAL, REPORT])
def test_a_picture_is_small_and_the_readme_shows_it_with_a_description(name):
    assert (FOLDER / name).stat().st_size <= LARGEST
    (told,) = re.findall(
        rf"!\[([^]]*)\]\(docs/pictures/{re.escape(name)}\)", README.read_text("utf-8")
    )
    assert len(told.split()) > 20
