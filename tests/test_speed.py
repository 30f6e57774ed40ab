"""The documentation of speed: its pages say what was measured, and only of what is right."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from manual_backprop.bench.as_json import schema
from manual_backprop.bench.measure import Truth, peak_extra_bytes
from manual_backprop.bench.run import bench
from manual_backprop.bench.show import times
from manual_backprop.commands import Mistake
from scripts.speed import command, ladder, parts, scaling
from scripts.speed.pages import MARK, PAGES, filled
from scripts.speed.parts import PARTS, Part, measure
from scripts.speed.pictures import PICTURES, drawn
from scripts.speed.results import COMMAND, Results
from scripts.speed.tables import TABLES, number
from tests.doubling import ALSO, MACHINE, ONCE, WRONG, case_of
from tests.pictures import can_be_read

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "docs/speed"
LARGEST = 150_000  # bytes of a picture


@pytest.fixture(scope="module")
def results():
    return Results(NUMBERS, PARTS)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_was_measured(page, results):
    text = (ROOT / page).read_text("utf-8")
    assert MARK.search(text), f"{page} has no mark"
    if filled(text, results) != text:
        pytest.fail(f"{page} is not what docs/speed says: run `{COMMAND} --pages`")


def test_each_table_stands_in_a_page():
    text = "".join((ROOT / page).read_text("utf-8") for page in PAGES)
    assert {name for kind, name, _ in MARK.findall(text) if kind == "table"} == TABLES.keys()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_can_be_read_and_is_shown(name, results):
    can_be_read(drawn(PICTURES[name], results))
    assert (ROOT / f"docs/pictures/{name}.png").stat().st_size <= LARGEST
    assert any(f"pictures/{name}.png)" in (ROOT / page).read_text("utf-8") for page in PAGES)


@pytest.mark.parametrize("file", sorted(NUMBERS.glob("*.json")), ids=lambda file: file.stem)
def test_the_numbers_have_the_form_of_the_benchmarks(file):
    fields = json.loads(file.read_text("utf-8"))
    jsonschema.validate(fields, schema())
    assert fields["ok"]
    assert not fields["quick"]
    part, _, threads = file.stem.rpartition("-")
    assert fields["environment"]["threads"] == int(threads)
    names = {case.name for case in PARTS[part].cases(False)}
    measured = {case["case"] for case in fields["cases"]}
    if part != "wall":  # which goes as far as the machine's memory
        assert measured == names, f"run `{COMMAND} {part}`"
    else:
        assert measured


@pytest.mark.parametrize("n", [1, 11])
@pytest.mark.parametrize("name", ladder.NAMES)
def test_every_rung_learns_what_the_step_learns(name, n):
    case = ladder.case(n)
    (rung,) = (opponent for opponent in case.opponents if opponent.name == name)
    inputs = case.inputs(case.small)
    truth = Truth(case.truth(case.small), inputs)
    run = rung.run([t.clone() for t in inputs])
    for _ in range(3):
        run.fresh()
        assert truth.closeness(run.call()).right
    run.call()
    assert not truth.closeness(run.call()).right, "it does not learn"


def test_the_update_inside_saves_memory_and_what_is_kept_asks_for_none():
    case = ladder.case(11)
    inputs = case.inputs(case.small)
    taken = {}
    for opponent in case.opponents:
        if opponent.name in ladder.NAMES:
            run = opponent.run(inputs)
            run.call()
            taken[opponent.name] = peak_extra_bytes(run.call, "cpu")
    assert taken["x̄ skipped"] <= taken["plain"]
    assert taken["update inside"] < taken["relu in place"]
    assert taken[ladder.KEPT] == 0


@pytest.mark.parametrize("sizes", [(1, 7, 5), (11, 7, 5), (31, 13, 3)])
def test_the_formulas_of_memory_are_what_is_taken(sizes):
    sizes = dict(zip("nio", sizes, strict=True))
    (case, *_) = scaling.wall(quick=True)
    record = bench(replace(case, quick=sizes), MACHINE, "cpu", quick=True, pace=ONCE)
    matmul, broadcast = (entry.memory.peak_extra_bytes for entry in record.entries)
    assert matmul == scaling.matmul_bytes(**sizes)
    assert broadcast == scaling.broadcast_bytes(**sizes)


def test_the_broadcast_form_is_not_tried_where_it_does_not_fit(monkeypatch):
    monkeypatch.setattr(scaling, "memory_bytes", lambda: 2**30)
    most = scaling.wall(quick=False)[-1].sizes
    assert scaling.broadcast_bytes(**most) <= 2**30 * scaling.LARGEST_SHARE


@pytest.fixture
def invoke(monkeypatch):
    """The command on tiny cases, in this process, with a machine that need not be measured."""
    few = [case for case in PARTS["bench"].cases(True) if case.group == "lin-backward"]
    monkeypatch.setitem(parts.PARTS, "bench", Part(lambda _: few, ONCE))
    for name in ("BATCHES", "WIDTHS", "CLASSES", "WORDS", "ROWS"):
        sizes = f"QUICK_{name}"
        monkeypatch.setattr(scaling, sizes, getattr(scaling, sizes)[:2])

    def inline(part, threads, *, quick):
        return measure(part, threads, quick=quick, small=True, pace=ONCE, machine=MACHINE)

    monkeypatch.setattr(command, "in_own_process", inline)
    return lambda *words: CliRunner().invoke(command.main, [str(word) for word in words])


@pytest.mark.process
def test_a_quick_run_makes_numbers_pages_and_pictures_elsewhere(invoke, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in ROOT.glob("docs/**/*") if file.is_file()}
    done = invoke("--quick", "--threads", 1, "--to", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [*PAGES, *(f"docs/pictures/{n}.png" for n in PICTURES)]
    for part in PARTS:
        fields = json.loads((tmp_path / f"docs/speed/{part}-1.json").read_text("utf-8"))
        jsonschema.validate(fields, schema())
        assert fields["quick"]
    assert "| **lin-backward-small**<br>x (11, 7)" in (tmp_path / "docs/speed.md").read_text(
        "utf-8"
    )
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())


def test_pages_alone_measure_nothing(invoke, tmp_path, monkeypatch):
    monkeypatch.delattr(command, "in_own_process")
    done = invoke("--pages", "--to", tmp_path)
    assert done.exit_code == 0, done.output
    for page in PAGES:
        assert (tmp_path / page).read_text("utf-8") == (ROOT / page).read_text("utf-8")


@pytest.mark.process
def test_what_was_measured_on_another_machine_gives_way(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "all_threads", lambda: (1,))
    (tmp_path / "docs/speed").mkdir(parents=True)
    shutil.copy(next(NUMBERS.glob("wall-*.json")), tmp_path / "docs/speed/wall-64.json")
    assert invoke("wall", "--quick", "--to", tmp_path).exit_code == 0
    assert [file.name for file in tmp_path.glob("docs/speed/wall-*")] == ["wall-1.json"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["laddr"], "no part 'laddr'; there are bench, ladder"),
        (["--quick"], "say with --to where they should go"),
        (["--threads", "0"], "0 is not in the range"),
    ],
)
def test_a_mistake_in_the_command_is_exit_2_with_a_sentence(invoke, words, said):
    done = invoke(*words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_a_folder_that_cannot_be_is_exit_2_with_a_sentence(invoke, tmp_path):
    (tmp_path / "file").write_text("")
    done = invoke("--pages", "--to", tmp_path / "file/below")
    assert done.exit_code == 2, done.output
    assert "cannot write" in done.stderr


def test_of_what_is_wrong_nothing_is_written(invoke, tmp_path, monkeypatch):
    monkeypatch.setitem(parts.PARTS, "bench", Part(lambda _: [case_of(WRONG, ALSO)], ONCE))
    done = invoke("bench", "--quick", "--threads", 7, "--to", tmp_path)
    assert done.exit_code == 1
    assert "bench: wrong, or not to be timed: doubling" in done.stderr
    assert not (tmp_path / "docs/speed/bench-7.json").exists()


def test_ctrl_c_says_what_is_kept(invoke, tmp_path, monkeypatch):
    first = command.in_own_process

    def stop(part, threads, *, quick):
        if part == "batch":
            raise KeyboardInterrupt
        return first(part, threads, quick=quick)

    monkeypatch.setattr(command, "in_own_process", stop)
    done = invoke("wall", "batch", "--quick", "--threads", 1, "--to", tmp_path)
    assert done.exit_code == 1
    assert "stopped; kept: wall-1.json" in done.stderr


def test_a_part_that_was_not_measured_is_named(tmp_path):
    with pytest.raises(Mistake, match=r"has no bench-\*.json; `uv run .* bench` measures it"):
        Results(tmp_path, PARTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: none --><!-- end -->", "no table is called 'none'"),
        ("<!-- number: bench / most / none / by hand / time --><!-- end -->", "no number has"),
        ("<!-- number: time --><!-- end -->", "no number has"),
    ],
)
def test_a_mark_that_asks_for_nothing_is_refused(text, said, results):
    with pytest.raises(Mistake, match=said):
        filled(text, results)


def test_a_number_is_found_by_its_address(results):
    case = results.most("bench").cases["lin-backward-article"]
    address = "bench / most / lin-backward-article / broadcast / {}"
    assert number(results, address.format("memory")) == "160 MB"
    slow, fast = case.opponents["broadcast"], case.opponents["by hand"]
    assert number(results, address.format("ratio")) == times(slow.ratio.median)
    assert number(results, address.format("over by hand")) == times(fast.times(slow).median)
    with pytest.raises(Mistake):
        number(results, address.format("speed"))
