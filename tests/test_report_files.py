"""Where reports are written: links, pipes, full disks, names that clash, and text that is none."""

import json
import os
import resource
import stat
import threading

import jsonschema
import pytest
from click.testing import CliRunner

from manual_backprop.bench.cases import CASES
from manual_backprop.check.command import schema
from manual_backprop.cli import main
from manual_backprop.report.files import write_text
from tests.doubling import MACHINE, RIGHT, case_of

SMALL = ("verify", "back_relu", "--dtype", "float64")
COMMANDS = [SMALL, ("bench", "doubling"), ("check", "mine.py")]
SOURCE = "def back_relu(x, grad_out):\n    return (x > 0) * grad_out\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a learner's file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE, "utf-8")
    return tmp_path


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr("manual_backprop.bench.machine.measured", lambda *_: MACHINE)
    monkeypatch.setitem(CASES, "doubling", case_of(RIGHT, name="doubling", group="doubling"))
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def nothing_runs(monkeypatch):
    monkeypatch.setattr("manual_backprop.judge.verify.verify", pytest.fail)
    monkeypatch.setattr("manual_backprop.check.command.judge", pytest.fail)
    monkeypatch.setattr("manual_backprop.bench.machine.measured", pytest.fail)


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "far").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "far" / "target.json"
    link.symlink_to(target)
    for text in ("new", "again"):
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text("utf-8") == text
    assert [file.name for file in (tmp_path / "far").iterdir()] == ["target.json"]


def test_a_pipe_stays_a_pipe_and_takes_the_text(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text("utf-8")), daemon=True)
    reader.start()
    write_text(pipe, "x̄")
    reader.join(10)
    assert read == ["x̄"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_report_goes_into_a_descriptor_as_a_shell_passes_it(command, folder):
    out, into = os.pipe()
    try:
        done = command(*SMALL, "--json", f"/dev/fd/{into}")
    finally:
        os.close(into)
    with os.fdopen(out, encoding="utf-8") as end:
        assert json.load(end)["ok"]
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_file_that_is_there_keeps_its_mode(mode, tmp_path):
    file = tmp_path / "out.json"
    file.write_text("before", "utf-8")
    file.chmod(mode)
    write_text(file, "after")
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert file.read_text("utf-8") == "after"


def test_a_link_to_itself_is_refused(command, folder, nothing_runs):
    (folder / "loop").symlink_to(folder / "loop")
    done = command(*SMALL, "--json", "loop")
    assert done.exit_code == 2
    assert "loop cannot be looked at" in done.stderr


def test_a_link_into_no_folder_is_refused(command, folder, nothing_runs):
    (folder / "link").symlink_to(folder / "nowhere" / "out.json")
    done = command(*SMALL, "--json", "link")
    assert done.exit_code == 2
    assert f"no folder {folder / 'nowhere'}" in done.stderr


def all_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_disk_that_is_full_leaves_the_folder_as_it_was(tmp_path):
    file = tmp_path / "out.json"
    file.write_text("before", "utf-8")
    before = all_of(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # Python ignores SIGXFSZ
    try:
        with pytest.raises(OSError, match="File too large"):
            write_text(file, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert all_of(tmp_path) == before


@pytest.mark.parametrize("step", ["os.replace", "pathlib.Path.chmod"])
def test_a_last_step_that_fails_leaves_the_folder_as_it_was(step, command, folder, monkeypatch):
    (folder / "report.html").write_text("before", "utf-8")
    before = all_of(folder)

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(step, refused)
    done = command(*SMALL, "--html", "report.html")
    assert done.exit_code == 2
    assert "Operation not permitted" in done.stderr
    assert all_of(folder) == before


@pytest.mark.parametrize("named", ["mine.py", "./mine.py", "link.html", "hard.html"])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_file_under_check_is_not_written_over(named, as_json, command, folder, nothing_runs):
    (folder / "link.html").symlink_to(folder / "mine.py")
    (folder / "hard.html").hardlink_to(folder / "mine.py")
    for target in ("mine.py", "mine.py::back_relu"):
        done = command("check", target, *as_json, "--html", named)
        assert done.exit_code == 2
        assert f"--html {named.removeprefix('./')} is the file under check" in done.output
        if as_json:
            jsonschema.validate(json.loads(done.stdout), schema())
    assert (folder / "mine.py").read_text("utf-8") == SOURCE


@pytest.mark.parametrize("words", COMMANDS[:2], ids=lambda words: words[0])
@pytest.mark.parametrize("other", ["out", "./out", "link"])
def test_two_reports_do_not_share_a_file(words, other, command, folder, nothing_runs):
    (folder / "link").symlink_to(folder / "out")
    done = command(*words, "--json", "out", "--html", other)
    assert done.exit_code == 2
    assert "name one file" in done.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_an_empty_name_is_refused_before_anything_is_computed(words, command, folder, nothing_runs):
    options = ["--html"] if words[0] == "check" else ["--html", "--json"]
    for option in options:
        done = command(*words, option, "")
        assert done.exit_code == 2
        assert option in done.stderr
        assert "empty" in done.stderr


RAISES = "def back_relu(x, grad_out):\n    raise ValueError('{}')\n"


def test_what_is_no_text_in_utf_8_is_escaped_and_ends_as_it_would_have(
    learner, monkeypatch, folder, command
):
    answer = learner.check(RAISES.format(r"\ud800 and \udcff"), name="odd.py")
    monkeypatch.setattr("manual_backprop.check.command.judge", lambda *_: [answer])
    name = os.fsdecode(b"a\xff.py")
    (folder / name).write_text(SOURCE, "utf-8")
    done = command("check", name, "--html", "out.html")
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit), done.exception
    page = (folder / "out.html").read_text("utf-8")
    for text in (done.stdout, page):
        assert r"\ud800 and \udcff" in text
    assert r"a\udcff.py" in page
    done = command("check", name, "--html", "-")
    assert done.exit_code == 1
    assert r"\ud800 and \udcff" in done.stdout
    assert r"\ud800 and \udcff" in done.stderr
    assert {file.name for file in folder.iterdir()} >= {"mine.py", "out.html", name}
