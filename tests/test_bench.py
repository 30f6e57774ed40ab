"""`manual-backprop bench`: its cases, what is told of them, and of what no speed is ever told."""

import io
import re
from dataclasses import replace

import jsonschema
import pytest
import torch

from manual_backprop.bench.as_json import report, schema
from manual_backprop.bench.case import Opponent, Run, by_hand, in_place
from manual_backprop.bench.cases import CASES
from manual_backprop.bench.measure import Memory, Truth
from manual_backprop.bench.race import Ratio
from manual_backprop.bench.run import bench
from manual_backprop.bench.show import engineering, show, times
from manual_backprop.judge.verdict import reason
from manual_backprop.report.console import Report
from tests.doubling import ALSO, MACHINE, ONCE, RIGHT, WRONG, case_of

OPPONENTS = [
    pytest.param(case, opponent, id=f"{case.name}-{opponent.name}")
    for case in CASES.values()
    for opponent in case.opponents
    if not opponent.compiled
]


def test_the_registry_has_each_case_that_is_promised():
    groups = {case.group for case in CASES.values()}
    assert groups >= {"lin-backward", "relu-backward", "sigmoid-backward", "tanh-backward", "mse",
                      "softmax-vjp", "cross-entropy", "linear-cross-entropy",
                      "mnist-step"}  # fmt: skip
    assert {f"mnist-step-{n}" for n in (1, 8, 32, 200, 2000)} <= CASES.keys()
    assert not groups & {case.name for case in CASES.values() if case.name != case.group}
    for name, case in CASES.items():
        assert name == case.name
        assert case.opponents[0].name == "by hand"
        names = [opponent.name for opponent in case.opponents]
        assert len(set(names)) == len(names) > 1
        assert "autograd" in names
        assert case.sizes.keys() == case.quick.keys() == case.small.keys()
        case.shapes.format(**case.sizes)


@pytest.mark.parametrize(("case", "opponent"), OPPONENTS)
def test_every_opponent_is_right_again_and_again(case, opponent):
    inputs = case.inputs(case.small)
    truth = Truth(case.truth(case.small), inputs, case.rows)
    run = opponent.run([t.clone() for t in inputs])
    for _ in range(3):
        run.fresh()
        assert truth.closeness(run.call()).right
    assert all(map(torch.equal, inputs, case.inputs(case.small)))


@pytest.mark.parametrize("rows", [0, 4, 11])
def test_the_truth_is_the_same_taken_some_rows_at_a_time(rows):
    case = CASES["cross-entropy"]
    inputs = case.inputs(case.small)
    truth = Truth(case.truth(case.small), inputs, rows)
    loss, grad = case.opponents[0].run(inputs).call()
    assert truth.closeness((loss, grad)).right
    assert not truth.closeness((loss * 1.001, grad)).right
    grad[-1, -1] += 1e-3
    assert not truth.closeness((loss, grad)).right


def test_the_best_opponent_is_the_fastest_one():
    record = bench(case_of(RIGHT, ALSO), MACHINE, "cpu", pace=ONCE)
    slow = replace(record.entries[1], name="slow", ratio=Ratio(9.0, 8.0, 10.0))
    fast = replace(record.entries[1], name="fast", ratio=Ratio(0.5, 0.4, 0.6))
    record = replace(record, entries=(record.entries[0], slow, fast))
    assert record.best == fast
    assert record.outcome == "loses"
    ours = replace(fast, ours=True)
    assert replace(record, entries=(record.entries[0], slow, ours)).best == slow


def test_what_is_for_another_device_is_left_out():
    elsewhere = replace(WRONG, only_on="cuda")
    record = bench(case_of(RIGHT, elsewhere, ALSO), MACHINE, "cpu", pace=ONCE)
    assert [entry.name for entry in record.entries] == ["by hand", "autograd"]
    assert record.ok


def shown(record, width=80):
    file = io.StringIO()
    show(Report(file=file, width=width), [record], MACHINE, 1024)
    return file.getvalue()


def test_all_that_is_measured_is_told():
    record = bench(case_of(RIGHT, ALSO), MACHINE, "cpu", pace=ONCE)
    first, second = record.entries
    assert first.seconds > 0
    assert second.memory.peak_extra_bytes == 4 * 11
    assert first.share == max(11 / 1e11, 8 * 11 / 1e10) / first.seconds
    assert first.rounds == second.rounds == 2
    assert first.ratio is None
    text = shown(record)
    for words in ("by hand", "autograd", "44 B", "x (11)", "100 GFLOP/s", "10 GB/s"):
        assert words in text
    jsonschema.validate(report([record], MACHINE, "cpu", quick=True), schema())


def test_of_a_wrong_one_no_speed_is_told():
    record = bench(case_of(RIGHT, WRONG, ALSO), MACHINE, "cpu", pace=ONCE)
    assert not record.ok
    assert record.outcome in {"wins", "parity", "loses"}
    assert record.entries[1].seconds is record.entries[1].ratio is None
    (line,) = (line for line in shown(record).splitlines() if line.startswith("  wrong one"))
    assert "wrong: off by 5.0e-04 where rounding allows" in line
    fields = report([record], MACHINE, "cpu", quick=False)
    jsonschema.validate(fields, schema())
    assert "seconds" not in fields["cases"][0]["opponents"][1]
    fields["cases"][0]["opponents"][1]["seconds"] = 1.0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(fields, schema())


def test_where_the_first_is_wrong_nothing_of_the_case_is_timed():
    record = bench(case_of(WRONG, RIGHT, ALSO), MACHINE, "cpu", pace=ONCE)
    assert record.outcome == "wrong"
    assert all(entry.seconds is None for entry in record.entries)
    assert " µs" not in shown(record)
    jsonschema.validate(report([record], MACHINE, "cpu", quick=False), schema())


def test_a_kernel_that_is_right_once_is_wrong():
    kept = []
    drifting = by_hand(lambda x: kept.append(1) or (1 + len(kept)) * x)
    assert not bench(case_of(drifting, ALSO), MACHINE, "cpu", pace=ONCE).ok


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x * torch.nan,
        lambda x: 2 * x[:1],
        lambda x: torch.cat([2 * x, x[:1]]),
        lambda x: (2 * x, 2 * x),
        lambda x: 2 * x[0],
    ],
    ids=["nan", "a row", "more rows", "two", "a number"],
)
@pytest.mark.parametrize("rows", [0, 4])
def test_a_nan_and_another_shape_are_wrong(wrong, rows):
    record = bench(case_of(RIGHT, by_hand(wrong, "it"), rows=rows), MACHINE, "cpu", pace=ONCE)
    assert not record.ok
    assert re.search("^  it +wrong: ", shown(record), re.MULTILINE)
    jsonschema.validate(report([record], MACHINE, "cpu", quick=False), schema())


def unable(x):
    raise RuntimeError("no compiler\nset MORE to see more")


def test_who_cannot_run_is_missing_with_the_reason_and_the_others_run():
    failing = Opponent("compiled", unable, compiled=True)
    record = bench(case_of(RIGHT, failing, ALSO), MACHINE, "cpu", pace=ONCE)
    assert record.ok
    assert record.entries[2].seconds is not None
    assert "  compiled: missing, RuntimeError: no compiler\n" in shown(record)
    jsonschema.validate(report([record], MACHINE, "cpu", quick=False), schema())
    quick = bench(case_of(RIGHT, failing), MACHINE, "cpu", quick=True, pace=ONCE)
    assert quick.entries[1].missing == "--quick compiles nothing"
    assert quick.outcome == "alone"
    alone = bench(case_of(replace(failing, compiled=False)), MACHINE, "cpu", pace=ONCE)
    assert (alone.ok, alone.outcome) == (False, "missing")


def test_a_reason_is_the_cause_and_not_what_is_wrapped_around_it():
    outer = RuntimeError("backend failed")
    outer.inner_exception = ValueError("\n no compiler\nmore")
    assert reason(outer) == "ValueError: no compiler"
    assert reason(KeyError()) == "KeyError"


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    entry = bench(case_of(RIGHT, ALSO), MACHINE, "cpu", pace=ONCE).entries[1]
    wide = replace(
        entry,
        name="compiled loss",
        seconds=0.999,
        share=9.99,
        memory=Memory(999_000, 999_000),
        ratio=Ratio(12345.0, 1023.4, 20000.0),
    )
    case = CASES["linear-cross-entropy"]
    record = replace(
        bench(case_of(RIGHT, ALSO), MACHINE, "cpu", pace=ONCE), case=case, sizes=case.sizes
    )
    record = replace(record, entries=(record.entries[0], wide))
    assert all(len(line) <= width for line in shown(record, width).splitlines())


def test_numbers_have_three_digits_and_a_prefix():
    told = [engineering(x, "s") for x in (0, 1e-6, 12.34e-6, 0.9999e-3, 0.9996, 3.14, 999.6e6)]
    assert told == ["0 s", "1 µs", "12.3 µs", "1 ms", "1 s", "3.14 s", "1 Gs"]
    assert [times(x) for x in (0.5, 9.99, 9.996, 12.34, 1234.5)] == [
        "0.50",
        "9.99",
        "10.0",
        "12.3",
        "1,234",
    ]


def test_in_place_gives_the_kernel_a_copy_and_puts_it_back():
    x = torch.ones(5)
    run = in_place(lambda t: t.mul_(2), 0).run([x])
    assert run.writes
    assert not Run(lambda: x).writes
    run.fresh()
    assert torch.equal(run.call(), 2 * x)
    run.call()
    run.fresh()
    assert torch.equal(run.call(), 2 * x)
    assert torch.equal(x, torch.ones(5))
