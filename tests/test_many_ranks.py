"""The page on many ranks says what was measured, and `--plan` what follows from it."""

import json
import math
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from manual_backprop.bench.show import engineering
from manual_backprop.commands import Mistake
from manual_backprop.training.place import Alone
from scripts.ranks import command, measure
from scripts.ranks.kept import COMMAND, FILE, NETWORKS, Kept
from scripts.ranks.model import Network
from scripts.ranks.page import PAGE, filled
from scripts.ranks.picture import PICTURES
from scripts.ranks.tables import NUMBERS, TABLES
from scripts.ranks.turns import HAND, ONE, PARTS
from scripts.speed.pages import MARK
from scripts.speed.pictures import drawn
from tests.pictures import can_be_read

ROOT = Path(__file__).parents[1]
LARGEST = 150_000  # bytes of a picture
FREE = Network("free", 0.0, math.inf)


@pytest.fixture(scope="module")
def kept():
    return Kept(ROOT)


def asked(*words):
    return CliRunner().invoke(command.main, [str(word) for word in words])


def test_the_page_says_what_was_measured(kept):
    text = (ROOT / PAGE).read_text("utf-8")
    if filled(text, kept) != text:
        pytest.fail(f"{PAGE} is not what {FILE} says: run `{COMMAND} --pages`")


def test_each_table_and_number_stands_in_the_page():
    marks = MARK.findall((ROOT / PAGE).read_text("utf-8"))
    assert {name for kind, name, _ in marks if kind == "table"} == TABLES.keys()
    assert {name for kind, name, _ in marks if kind == "number"} == NUMBERS.keys()


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_can_be_read_and_is_shown(name, kept):
    can_be_read(drawn(PICTURES[name], kept))
    assert (ROOT / f"docs/pictures/{name}.png").stat().st_size <= LARGEST
    assert f"pictures/{name}.png)" in (ROOT / PAGE).read_text("utf-8")


def test_all_that_is_asked_for_was_measured(kept):
    whole = measure.WHOLE
    assert not kept.fields["quick"]
    assert tuple(kept.at_once) == whole.ranks
    for cases in kept.at_once.values():
        assert tuple(case.sizes["n"] for case in cases) == whole.rows
        assert all(tuple(case.opponents) == PARTS for case in cases)
    assert tuple(kept.loopback) == whole.ranks[1:]
    assert [name.rpartition(" ")[::2] for name in kept.races] == [
        (same, str(rows)) for same, rows in whole.races
    ]
    for cases in kept.races.values():
        assert tuple(case.sizes["ranks"] for case in cases) == whole.ranks


def test_the_model_computes_what_was_computed(kept):
    for case in kept.computed:
        seconds = sum(part.seconds for part in case.timed)
        found = kept.same_rows(case.sizes["n"], 7, FREE)
        assert engineering(found, "s") == engineering(seconds, "s")
    for ranks, cases in kept.at_once.items():
        for case in cases:
            work = kept.work(case.sizes["n"], at_once=ranks)
            assert engineering(work.seconds, "s") == engineering(
                sum(part.seconds for part in case.timed), "s"
            )


def test_more_rows_than_were_measured_take_as_much_longer(kept):
    most = kept.computed[-1].sizes["n"]
    one, ten = (np.array(kept.work(rows).until) for rows in (most, 10 * most))
    assert [engineering(t, "s") for t in ten / 10] == [engineering(t, "s") for t in one]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_no_number_of_ranks_is_faster_than_the_best(kept, network):
    for batch in (1, 200, 2000):
        best = kept.same_batch(batch, kept.best(batch, network), network)
        assert all(best <= kept.same_batch(batch, ranks, network) for ranks in (1, 2, 3, 64, 4097))


def plan(*words):
    """The rows of the table, each a list of its cells, and the sentence below it."""
    done = asked("--plan", *words)
    assert done.exit_code == 0, done.output
    rows = [re.split(r"   +", line.strip()) for line in done.output.splitlines()]
    return [row for row in rows if len(row) == 7 and row[0] != "ranks"], rows[-1][0]


def test_a_plan_for_a_network_that_takes_no_time_loses_nothing():
    rows, _ = plan("--bandwidth-gbit", 1e12, "--latency-us", 0, "--rows", 2000)
    assert [row[0] for row in rows[:4]] == ["1", "2", "4", "8"]
    assert {row[4] for row in rows} == {"100%"}
    assert len({row[2] for row in rows}) == 1


def test_a_plan_says_that_one_rank_is_the_best_where_the_network_is_too_slow():
    rows, said = plan("--bandwidth-gbit", 0.001, "--latency-us", 1000)
    assert "is shortest with 1 rank: " in said
    assert rows[0][-1] == "1.00"
    assert all(float(row[-1]) < 1 for row in rows[1:])


def test_a_plan_for_faster_ranks_computes_faster():
    network = ("--bandwidth-gbit", 10, "--latency-us", 20)
    (one, *slow), _ = plan(*network)
    (ten, *fast), _ = plan(*network, "--speed", 10)
    assert float(ten[3].replace(",", "")) > 9 * float(one[3].replace(",", ""))
    assert [row[1] for row in slow] == [row[1] for row in fast], "the messages stay as they are"
    efficiencies = [[float(row[4].rstrip("%")) for row in rows] for rows in (slow, fast)]
    assert all(f <= s for s, f in zip(*efficiencies, strict=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plan"], "--plan needs the network: --bandwidth-gbit 10 --latency-us 20"),
        (["--plan", "--bandwidth-gbit", "10"], "--plan needs the network"),
        (["--plan", "--bandwidth-gbit", "0", "--latency-us", "1"], "0.0 is not in the range"),
        (["--plan", "--bandwidth-gbit", "1", "--latency-us", "-1"], "-1.0 is not in the range"),
        (["--plan", "--bandwidth-gbit", "nan", "--latency-us", "1"], "nan is no number"),
        (["--plan", "--bandwidth-gbit", "1", "--latency-us", "nan"], "nan is no number"),
        (["--plan", "--bandwidth-gbit", "inf", "--latency-us", "1"], "inf is not in the range"),
        (["--plan", "--rows", "0"], "0 is not in the range"),
        (["--rows", "5"], "--rows is for --plan"),
        (["--speed", "5", "--pages"], "--speed is for --plan"),
        (["--plan", "--pages"], "take one of them"),
        (["--quick"], "say with --to where they should go"),
    ],
)
def test_a_mistake_in_the_command_is_exit_2_with_a_sentence(words, said):
    done = asked(*words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_numbers_that_are_not_there_or_damaged_are_exit_2_with_a_sentence(tmp_path):
    words = ("--plan", "--bandwidth-gbit", 10, "--latency-us", 20, "--to", tmp_path)
    done = asked(*words)
    assert done.exit_code == 2
    assert f"has no {FILE}; `{COMMAND}` measures it" in done.stderr
    (tmp_path / FILE).parent.mkdir(parents=True)
    for text in ("{", "{}", '{"machine": {"cores": 2}, "buckets": [4], "cases": [3]}'):
        (tmp_path / FILE).write_text(text)
        done = asked(*words)
        assert done.exit_code == 2
        assert "is damaged" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: none --><!-- end -->", "no table is called 'none'"),
        ("<!-- number: none --><!-- end -->", "no number is called 'none'"),
    ],
)
def test_a_mark_that_asks_for_nothing_is_refused(text, said, kept):
    with pytest.raises(Mistake, match=said):
        filled(text, kept)


def test_pages_alone_measure_nothing(tmp_path, monkeypatch):
    monkeypatch.delattr(measure, "measure")
    done = asked("--pages", "--to", tmp_path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / PAGE).read_text("utf-8") == (ROOT / PAGE).read_text("utf-8")


class Pool:
    """One rank, in this process."""

    def __init__(self, change=lambda found: found):
        self.world, self.change = Alone(), change

    def run(self, function, *args):
        return [self.change(function(self.world, *args))]


def test_what_learns_something_else_is_not_timed(monkeypatch):
    monkeypatch.setattr(measure, "_engines", lambda _: (ONE,))
    measure.hold_to_the_truth(1, Pool())
    for place in range(7):

        def spoil(found, place=place):
            found[place] = np.asarray(found[place] * np.float32(1.001))
            return found

        with pytest.raises(RuntimeError, match="rank 0 of 1 learns something wrong"):
            measure.hold_to_the_truth(1, Pool(spoil))


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (EOFError(), "one of the ranks has ended"),
        (RuntimeError("a rank is lost"), "a rank is lost"),
        (KeyboardInterrupt(), "stopped; kept: nothing"),
    ],
)
def test_what_ends_early_is_exit_1_with_a_sentence_and_writes_nothing(
    raised, said, tmp_path, monkeypatch
):
    class Ending:
        def run(self, *_):
            raise raised

    @contextmanager
    def pools(_):
        yield {1: Ending()}

    monkeypatch.setattr(measure, "pools", pools)
    (tmp_path / "docs/ranks").mkdir(parents=True)
    shutil.copy(ROOT / FILE, tmp_path / FILE)
    done = asked("--quick", "--to", tmp_path)
    assert done.exit_code == 1, done.output
    assert said in done.stderr
    assert (tmp_path / FILE).read_bytes() == (ROOT / FILE).read_bytes()


@pytest.mark.process
def test_a_quick_run_makes_numbers_page_and_picture_elsewhere(tmp_path):
    before = (ROOT / FILE).read_bytes(), (ROOT / PAGE).read_bytes()
    done = asked("--quick", "--to", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [PAGE, *(f"docs/pictures/{name}.png" for name in PICTURES)]
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["quick"]
    found = Kept(tmp_path)
    assert list(found.loopback) == [2]
    for cases in found.races.values():
        assert all(case.opponents[HAND].seconds > 0 for case in cases)
    text = (tmp_path / PAGE).read_text("utf-8")
    assert filled(text, found) == text != before[1].decode()
    assert ((ROOT / FILE).read_bytes(), (ROOT / PAGE).read_bytes()) == before
