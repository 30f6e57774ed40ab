"""`--html`: what the commands write, how they end, and that text from elsewhere stays text."""

import copy
import json
import re
import shlex
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import jsonschema
import pytest
from click.testing import CliRunner

from manual_backprop.bench.cases import CASES
from manual_backprop.check.as_html import check_page
from manual_backprop.check.command import record, schema
from manual_backprop.cli import main
from manual_backprop.report import as_json
from manual_backprop.report.as_html import verify_page
from manual_backprop.report.templates import share
from tests import reports
from tests.doubling import ALSO, MACHINE, RIGHT, WRONG, case_of

SMALL = ("verify", "back_relu", "--dtype", "float64")
WRONG_FILE = "def back_relu(x, grad_out):\n    return 2 * (x > 0) * grad_out\n"


class Read(HTMLParser):
    """The elements of a page, its text, and what it asks for from elsewhere."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.handlers, self.addresses = [], [], [], []
        self.code = []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag
        for name, value in attributes:
            if name.startswith("on") or name == "style":
                self.handlers.append((tag, name))
            if name in ("src", "href", "action", "data", "srcset", "poster"):
                self.addresses.append(value)

    def handle_endtag(self, _):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("style", "script"):
            self.text.append(data)
        if self.inside == "code":
            self.code.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr("manual_backprop.bench.machine.measured", lambda *_: MACHINE)
    for name, opponents in {"doubling": (RIGHT, ALSO), "tripling": (RIGHT, WRONG)}.items():
        monkeypatch.setitem(CASES, name, case_of(*opponents, name=name, group=name))
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def checked(monkeypatch, learner):
    """`check` of a file that is judged in this process."""

    def run(text, *words, name="mine.py"):
        answer = learner.check(text, name=name, test=True)
        monkeypatch.setattr("manual_backprop.check.command.judge", lambda *_: [answer])
        return CliRunner().invoke(main, ["check", str(learner.folder / name), *map(str, words)])

    return run


def test_page_and_json_are_of_one_run_and_know_the_command(command, tmp_path):
    page, fields = tmp_path / "a report.html", tmp_path / "out.json"
    words = [*SMALL, "--html", page, "--json", fields]
    done = command(*words)

    assert done.exit_code == 0, done.output
    report = json.loads(fields.read_text("utf-8"))
    jsonschema.validate(report, as_json.schema())
    assert shlex.split(report["command"]) == ["manual-backprop", *map(str, words)]
    assert page.read_text("utf-8") == verify_page(report)
    assert report["command"] in Read(page.read_text("utf-8")).text
    assert "back_relu" in done.stdout, "the table is printed as well"


@pytest.mark.parametrize("words", [SMALL, ("bench", "doubling")])
def test_a_dash_is_standard_output_and_the_table_goes_elsewhere(words, command):
    done = command(*words, "--html", "-")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n")
    assert words[1] in done.stderr


def test_the_page_of_check_goes_to_standard_output_too(checked):
    done = checked(WRONG_FILE, "--html", "-")
    assert done.exit_code == 1
    assert done.stdout.startswith("<!doctype html>")
    assert "back_relu in" in done.stderr


@pytest.mark.parametrize("words", [SMALL, ("bench", "doubling"), ("check", "mine.py")])
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_computed(
    words, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(WRONG_FILE, "utf-8")
    monkeypatch.setattr("manual_backprop.judge.verify.verify", pytest.fail)
    monkeypatch.setattr("manual_backprop.check.command.judge", pytest.fail)
    monkeypatch.setattr("manual_backprop.bench.machine.measured", pytest.fail)
    done = command(*words, "--html", "/no/such/folder/report.html")
    assert done.exit_code == 2
    assert "--html" in done.stderr
    assert "no folder /no/such/folder" in done.stderr
    assert command(*words, "--html", tmp_path).exit_code == 2, "a folder is no file"
    monkeypatch.setattr("os.access", lambda *_: False)
    done = command(*words, "--html", "report.html")
    assert done.exit_code == 2
    assert "may not be written into" in done.stderr


@pytest.mark.parametrize(
    "words",
    [(*SMALL, "--json", "-", "--html", "-"), ("bench", "doubling", "--json", "-", "--html", "-"),
     ("check", "mine.py", "--watch", "--html", "-")],
)  # fmt: skip
def test_two_reports_do_not_share_standard_output(words, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(WRONG_FILE, "utf-8")
    done = command(*words)
    assert done.exit_code == 2
    assert "standard output" in done.stderr


def test_where_json_is_asked_for_of_check_the_refusal_is_json(command, tmp_path):
    (tmp_path / "mine.py").write_text(WRONG_FILE, "utf-8")
    for asked in ("-", "/no/such/folder/report.html"):
        done = command("check", tmp_path / "mine.py", "--json", "--html", asked)
        assert done.exit_code == 2
        jsonschema.validate(json.loads(done.stdout), schema())


def test_what_was_there_stays_where_the_page_cannot_be_written(command, tmp_path, monkeypatch):
    page = tmp_path / "report.html"
    page.write_text("before", "utf-8")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    done = command(*SMALL, "--html", page)
    assert done.exit_code == 2
    assert "No space left on device" in done.stderr
    assert page.read_text("utf-8") == "before"


def test_exit_statuses_are_those_without_a_page(checked, command, tmp_path):
    page = tmp_path / "report.html"
    for text, status, said in (
        (WRONG_FILE, 1, "back_relu is wrong"),
        (WRONG_FILE.replace("2 * ", ""), 0, "back_relu is right"),
        ("x = 1\n", 2, "mine.py cannot be judged"),
    ):
        assert checked(text, "--html", page).exit_code == status
        assert any(said in each for each in Read(page.read_text("utf-8")).text)
    assert command("bench", "tripling", "--html", page).exit_code == 1
    said = "wrong, and not timed: tripling wrong one"
    assert any(said in each for each in Read(page.read_text("utf-8")).text)


def page_of(learner, text, name="mine.py", *, hints=3, **asked):
    answer = learner.check(text, name=name, **asked)
    options = {"solution": False, "test": False} | asked
    return Read(check_page(record(answer, learner.folder / name), hints=hints, **options))


@pytest.mark.parametrize("hints", [1, 2, 3, 4])
def test_a_check_tells_as_much_as_the_terminal(hints, learner):
    answer = learner.check(WRONG_FILE)
    lines = " ".join(" ".join(learner.page(answer, hints=hints)).split())
    page = " ".join(" ".join(page_of(learner, WRONG_FILE, hints=hints).text).split())

    for words in ("factor", "it is 2 times", "left over", "Derivation", "move the mask across"):
        assert (words in page) == (words in lines), words


def test_the_solution_and_the_test_are_shown_where_they_are_asked_for(learner):
    bare = "\n".join(page_of(learner, WRONG_FILE).text)
    whole = "\n".join(page_of(learner, WRONG_FILE, solution=True, test=True).text)
    for words in ("return (x > 0) * grad_out", "def test_grad_x_of_back_relu"):
        assert words not in bare
        assert words in whole


def test_a_command_and_a_line_of_code_in_a_sentence_are_set_as_code(learner):
    page = page_of(learner, "def back_exp(out, grad_out):\n    return -out * grad_out\n")
    assert "manual-backprop explain sign" in page.code
    answer = learner.check("def back_nothing_known(x, grad_out):\n    return grad_out\n")
    refused = record(answer, learner.folder / "mine.py")
    page = Read(check_page(refused, hints=3, solution=False, test=False))
    assert "manual-backprop list" in page.code
    assert "`" not in "".join(page.text)

    fields = copy.deepcopy(reports.judged())
    fields["backwards"][0]["notes"] = [
        {"backward": "back_relu", "code": "not-exercised", "message": "no sample reaches `x < 0`"}
    ]
    assert Read(verify_page(fields)).code.count("x < 0") > 1, "in the evidence and below the table"


@pytest.mark.parametrize(("thorough", "seeds"), [(False, [0]), (True, [0, 1])])
def test_the_seeds_on_the_page_are_those_that_were_drawn(thorough, seeds, learner):
    answer = learner.check(WRONG_FILE.replace("2 * ", ""), thorough=thorough)
    assert [each["seeds"] for each in answer["functions"]] == [seeds]
    found = record(answer, learner.folder / "mine.py")
    text = Read(check_page(found, hints=3, solution=False, test=False)).text
    at = text.index("seeds" if thorough else "seed")
    assert text[at + 1] == " and ".join(map(str, seeds))


def hostile_file():
    return (
        f"H = {reports.HOSTILE!r}\nprint(H)\n"
        "def back_relu(x, grad_out):\n    raise ValueError(H)\n"
        "def back_tanh(out, grad_out):\n    return grad_out\nback_tanh.__name__ = 'back_' + H\n"
    )


def hostile_pages(learner):
    name = 'a "quoted" <b>\'&amp;.py'
    answer = learner.check(hostile_file(), name=name, test=True)
    answer["printed"] = answer.setdefault("skipped", []).append(reports.HOSTILE) or reports.HOSTILE
    yield check_page(record(answer, learner.folder / name), hints=4, solution=True, test=True)
    yield check_page(
        record({"refused": reports.HOSTILE, "printed": reports.HOSTILE}, name),
        hints=3, solution=False, test=False,
    )  # fmt: skip
    yield verify_page(reports.hostile())


def test_text_from_elsewhere_is_text(learner):
    for text in hostile_pages(learner):
        page = Read(text)
        assert len(page.all("script")) == len(page.all("style")) == 1
        assert page.all("img") == []
        assert page.handlers == [], "no handler and no style in an attribute"
        assert any(reports.HOSTILE in said for said in page.text)
        assert all(each.startswith(("#", "data:,")) for each in page.addresses), page.addresses


def test_the_policy_allows_the_page_its_own_style_and_script_and_nothing_else():
    text = verify_page(reports.judged())
    policy = next(each["content"] for each in Read(text).all("meta") if "http-equiv" in each).split(
        "; "
    )
    assert "default-src 'none'" in policy
    for tag in ("style", "script"):
        own = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        sum_of = b64encode(sha256(own.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{sum_of}'" in policy
    assert "unsafe" not in " ".join(policy)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(0.0, "exact"), (1e-9, "< 0.01 %"), (0.0012, "0.12 %"), (0.0351, "3.5 %"), (0.0994, "9.9 %"),
     (0.1008, "10 %"), (1.0, "100 %")],
)  # fmt: skip
def test_a_share_is_told_to_two_digits(ratio, said):
    assert share(ratio) == said
