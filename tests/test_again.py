"""The command under each cell of the page of `verify`, and the seeds that the page names."""

import html
import json
import re
import shlex

import jsonschema
import pytest
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.judge.sharded import start
from manual_backprop.judge.verdict import Finding, Verdict
from manual_backprop.report.as_html import verify_page
from manual_backprop.report.as_json import schema
from tests import reports

CELL = re.compile(
    r'<article class="ev".*?<h3><code>(.*?)</code><small>(.*?) on (.*?)</small></h3>'
    r'.*<div class="command"><code>(.*?)</code></div>',
    re.DOTALL,
)


def cells(page):
    """Backward, dtype, device and command of each cell that can be opened."""
    parts = re.findall(r'<article class="ev".*?</article>', page, re.DOTALL)
    assert parts
    return [[html.unescape(word) for word in CELL.match(part).groups()] for part in parts]


def parsed(line):
    """What the command line makes of a command, which has to be `verify`; nothing is run."""
    program, *words = shlex.split(line)
    assert program == "manual-backprop"
    with main.make_context(program, list(words)) as context:
        name, command, rest = main.resolve_command(context, words)
        assert name == "verify"
        return command.make_context(name, rest, parent=context).params


def shown(tmp_path, *words):
    """The report and the page of a command."""
    files = tmp_path / "out.json", tmp_path / "out.html"
    done = CliRunner().invoke(
        main, ["verify", *words, "--json", str(files[0]), "--html", str(files[1])]
    )
    assert isinstance(done.exception, SystemExit), done.output
    report = json.loads(files[0].read_text("utf-8"))
    jsonschema.validate(report, schema())
    return report, files[1].read_text("utf-8")


@pytest.fixture
def drawn(monkeypatch):
    """Seeds that the judge was asked for; its verdict of relu is made up."""
    seen = []
    verdict = Verdict("relu", {"back_relu": ("x",)}, axes={"back_relu": ("n", "i")})
    wrong = Finding("back_relu", "grad_x", "sign", "is wrong", dtype="float16", device="cpu")
    verdict.findings.append(wrong)
    verdict.cells["back_relu", "float64", "cpu"] = reports.one_case(0)

    def judged(*_, seeds, **__):
        seen.extend(seeds)
        return verdict

    monkeypatch.setattr("manual_backprop.judge.verify.verify", judged)
    monkeypatch.setattr(start, "judged", lambda *jobs, **asked: [judged(*jobs, **asked)])
    return seen


@pytest.mark.parametrize("mesh", [(), ("--mesh", "2"), ("--mesh", "3")])
@pytest.mark.parametrize("seed", [(), ("--seed", "5")])
def test_a_cell_s_command_asks_for_that_cell_again(mesh, seed, drawn, tmp_path):
    _, page = shown(tmp_path, "relu", "--device", "cpu", *mesh, *seed)
    found = cells(page)
    assert {tuple(each[:3]) for each in found} == {
        ("back_relu", "float64", "cpu"), ("back_relu", "float16", "cpu"),
    }  # fmt: skip
    for backward, dtype, device, line in found:
        assert parsed(line) == {
            "names": (backward,), "dtypes": (dtype,), "devices": (device,),
            "ranks": int(mesh[1]) if mesh else None, "seed": int(seed[1]) if seed else 0,
            "json_file": None, "html_file": None,
        }  # fmt: skip


def test_every_cell_of_the_whole_house_has_its_own_command():
    found = cells(verify_page(reports.whole_house(("cpu", "cuda:1"))))
    assert len(found) > 600
    for backward, dtype, device, line in found:
        asked = parsed(line)
        assert (asked["names"], asked["dtypes"], asked["devices"]) == (
            (backward,), (dtype,), (device,)
        )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "seeds"),
    [((), [0, 1]), (("--seed", "5"), [5, 6]), (("--mesh", "2"), [0]),
     (("--mesh", "2", "--seed", "5"), [5])],
)  # fmt: skip
def test_the_seeds_that_are_told_are_those_that_were_drawn(words, seeds, drawn, tmp_path):
    report, page = shown(tmp_path, "relu", "--device", "cpu", *words)
    assert report["seeds"] == drawn == seeds
    assert report["seed"] == seeds[0]
    said = re.search(r"<dt>seed(s?)</dt><dd>(.*?)</dd>", page)
    assert said.groups() == ("s" if len(seeds) > 1 else "", " and ".join(map(str, seeds)))
