"""A cause is found wherever one fault was made, and none is named where none explains."""

import inspect

import pytest
import torch

from manual_backprop.judge.codes import CODES
from manual_backprop.judge.diagnose import diagnose
from manual_backprop.judge.diagnose.case import cases
from manual_backprop.judge.diagnose.edges import Place
from manual_backprop.judge.diagnose.faults import faults
from manual_backprop.judge.diagnose.recorder import record
from manual_backprop.judge.diagnose.sizes import plain, readings
from manual_backprop.judge.diagnose.tapes import recordings
from manual_backprop.judge.draw import ARTICLE
from manual_backprop.judge.verify import verify
from manual_backprop.op import Op
from manual_backprop.ops.lin import back_lin
from manual_backprop.registry import OPS

EVERY = [(op, sample) for op in OPS.values() for sample in op.samples if sample != ARTICLE]
every = pytest.mark.parametrize(
    ("op", "sample"), EVERY, ids=[f"{op.name}-{sample}" for op, sample in EVERY]
)
SMALL = ("lin", "relu", "sigmoid", "softmax", "log_softmax", "mse", "norm", "chain", "perceptron")


def first(op):
    return next(sample for sample in op.samples if sample != ARTICLE)


@every
def test_a_forward_is_recorded_with_the_right_gradients(op, sample):
    seen = list(cases(op, op.backwards[0], sample))
    recorded = list(recordings(seen))
    assert recorded
    for recording in recorded:
        for case, tape in zip(recording.cases, recording.tapes, strict=True):
            for budget, grad in zip(case.point.grads, tape.leaf_grads(), strict=True):
                assert budget.ratio(grad) <= 1


@every
def test_what_is_right_has_no_cause(op, sample):
    for backward in op.backwards:
        assert diagnose(op, backward, sample) == ()


def with_fault(op, edge, key):
    """A backward that computes what PyTorch would, with one fault at one edge."""
    parameters = [*op.arguments, *op.options, "grad_out"]

    def wrong(**given):
        options = {name: given[name] for name in op.options if name in given}
        leaves = [given[name] for name in op.arguments]
        wrt = [op.arguments.index(name) for name in op.wrt]
        tape = record(
            lambda *tensors: op.oracle(*tensors, **options),
            leaves, op.arguments, wrt, given["grad_out"], op.oracle,
        )  # fmt: skip
        same = {fault.key: fault for fault in faults(Place(tape, edge))}[key]
        moved = tape.arriving(tape.source(edge), same.flows - tape.sent[edge])
        grads = tuple(g + m for g, m in zip(tape.leaf_grads(), moved, strict=True))
        return grads if len(grads) > 1 else grads[0]

    kinds = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in parameters]
    wrong.__signature__ = inspect.Signature(kinds)
    return wrong


def faults_of(op, seed):
    """Some of the faults that can be made in an operator's backward, two of a kind."""
    case = next(cases(op, op.backwards[0], first(op)))
    recording = next(r for r in recordings([case], (0,)) if r.function is op.oracle)
    tape = record(
        lambda *leaves: case.point._apply(op.oracle, *leaves), case.point.raised,
        op.arguments, case.point.places, case.point.grad_out, op.oracle,
    )  # fmt: skip
    assert recording
    chosen = {}
    for edge in tape.sent:
        for fault in faults(Place(tape, edge)):
            off = (fault.flows - tape.sent[edge]).abs().max()
            if fault.times is None and off > 1e-6 * tape.sent[edge].abs().max():
                chosen.setdefault((fault.code, str(fault.key[1])[:12]), (edge, fault))
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
    return [list(chosen.values())[i] for i in order[:12]]


@pytest.mark.parametrize("name", SMALL)
def test_a_fault_at_any_edge_is_explained(name, seed):
    op = OPS[name]
    for edge, fault in faults_of(op, seed):
        wrong = with_fault(op, edge, fault.key)
        seen = list(cases(op, wrong, first(op)))
        if len(seen) < 3:
            continue  # the fault fits the shapes of one sample by chance
        causes = diagnose(op, wrong, first(op))
        labels = {seen[0].labels[i] for i in seen[0].wrong}
        assert {label for cause in causes for label in cause.gradients} == labels, fault.what
        assert all(cause.code in CODES and cause.what for cause in causes)


def spoiled(change):
    def back_spoiled(x, w, grad_out):
        return change(back_lin(x, w, grad_out), x, w, grad_out)

    return back_spoiled


def in_float32_alone(change):
    """As spoiled, of a kernel that refuses any other dtype."""

    def back_narrow(x, w, grad_out):
        if x.dtype is not torch.float32:
            raise TypeError("the kernel has float32 alone")
        return change(back_lin(x, w, grad_out), x, w, grad_out)

    return back_narrow


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda g, x, *_: (g[0], g[1] * len(x), g[2]), ("sum-for-mean", "grad_w")),
        (lambda g, x, *_: (g[0], g[1], g[2] / len(x)), ("mean-for-sum", "grad_b")),
        (lambda g, *_: (g[0], -g[1], g[2]), ("sign", "grad_w")),
        (lambda g, *_: (g[0], g[1] * 11, g[2]), ("factor", "grad_w")),
        (lambda g, *_: (0 * g[0], g[1], g[2]), ("zero", "grad_x")),
        (lambda g, *_: (g[0].flip(0), g[1], g[2]), ("flipped", "grad_x")),
    ],
    ids=["times-n", "mean", "sign", "eleven", "zero", "flipped"],
)
def test_a_kernel_without_float64_is_told_what_its_gradient_is(change, expected):
    (finding,) = verify(
        OPS["lin"], in_float32_alone(change), samples=["rows"], dtypes=torch.float32,
        parts=["values"], seeds=(0,),
    ).findings  # fmt: skip
    assert (finding.code, finding.gradient) == expected
    assert finding.cause.gradients == (finding.gradient,)


@pytest.mark.parametrize("off", [1e-4, 1e-3, 0.1])
def test_of_numbers_without_a_cause_none_is_named_in_float32_either(off, seed):
    def change(grads, x, w, grad_out):
        noise = torch.rand(w.shape, generator=torch.Generator().manual_seed(seed))
        return grads[0], grads[1] * (1 + off * noise), grads[2]

    (finding,) = verify(
        OPS["lin"], in_float32_alone(change), samples=["rows"], dtypes=torch.float32,
        parts=["values"], seeds=(0,),
    ).findings  # fmt: skip
    assert finding.code == "unknown"


def test_a_factor_is_an_axis_only_where_it_is_at_other_sizes_too():
    def of_the_axis(grads, x, w, grad_out):
        return grads[0], grads[1] * len(x), grads[2]

    def eleven(grads, x, w, grad_out):
        return grads[0], grads[1] * 11, grads[2]

    (cause,) = diagnose(OPS["lin"], spoiled(of_the_axis), "rows")
    assert (cause.code, cause.gradients) == ("sum-for-mean", ("grad_w",))
    assert cause.what.startswith("it is n (here 11) times")
    (cause,) = diagnose(OPS["lin"], spoiled(eleven), "rows")
    assert cause.code == "factor"
    assert cause.what.startswith("it is 11 times")


def test_a_sample_of_fixed_sizes_has_every_reading_listed():
    lin = OPS["lin"]
    fixed = Op(
        lin.forward, lin.backwards, {"rows": lambda rand: (rand(11, 7), rand(7, 5), rand(5))},
        lin.wrt, lin.oracle,
    )  # fmt: skip
    (cause,) = diagnose(fixed, spoiled(lambda g, *_: (g[0], g[1], g[2] / 11)), "rows")
    assert cause.code == "mean-for-sum"
    assert "0.0909091 or 1/grad_out.shape[0]" in cause.what


def test_two_mistakes_are_two_causes():
    causes = diagnose(OPS["lin"], spoiled(lambda g, x, *_: (g[0], -g[1], g[2] / len(x))), "rows")
    assert {(c.code, c.gradients) for c in causes} == {
        ("sign", ("grad_w",)), ("mean-for-sum", ("grad_b",)),
    }  # fmt: skip


def test_one_cause_for_all_that_it_explains():
    (cause,) = diagnose(OPS["lin"], spoiled(lambda g, *_: tuple(-grad for grad in g)), "rows")
    assert cause.code == "sign"
    assert cause.gradients == ("grad_x", "grad_w", "grad_b")


def test_what_changes_from_draw_to_draw_has_no_cause():
    def clipped(grads, x, w, grad_out):
        return grads[0], grads[1] / grads[1].norm(), grads[2]

    assert diagnose(OPS["lin"], spoiled(clipped), "rows") == ()


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_wrong_at_some_sizes_only_is_no_factor(which):
    def at_eleven(grads, x, w, grad_out):
        doubled = [
            2 * grad if i == which and len(x) == 11 else grad for i, grad in enumerate(grads)
        ]
        return tuple(doubled)

    assert diagnose(OPS["lin"], spoiled(at_eleven), "rows") == ()


def test_what_is_nearly_0_is_a_factor_and_not_0():
    (cause,) = diagnose(OPS["lin"], spoiled(lambda g, *_: (g[0] * 1e-30, *g[1:])), "rows")
    assert cause.code == "factor"


def test_all_zeros_are_one_cause():
    (cause,) = diagnose(OPS["lin"], spoiled(lambda g, *_: tuple(0 * grad for grad in g)), "rows")
    assert (cause.code, cause.gradients) == ("zero", ("grad_x", "grad_w", "grad_b"))


def test_a_finding_carries_its_cause_in_every_dtype():
    verdict = verify(OPS["lin"], spoiled(lambda g, *_: (g[0], -g[1], g[2])), samples=["rows"])
    assert {finding.code for finding in verdict.findings} == {"sign"}
    assert {finding.dtype for finding in verdict.findings} == {
        "float64", "float32", "bfloat16", "float16",
    }  # fmt: skip
    for finding in verdict.findings:
        assert finding.cause.gradients == ("grad_w",)
        assert CODES["sign"].advice in str(finding)


@pytest.mark.parametrize(
    ("numbers", "sizes", "expected"),
    [
        ([11, 5], [{"n": 11, "i": 7}, {"n": 5, "i": 13}], "n"),
        ([1 / 77, 1 / 65], [{"n": 11, "i": 7}, {"n": 5, "i": 13}], "1/(n i)"),
        ([2 / 11, 2 / 5], [{"n": 11, "i": 7}, {"n": 5, "i": 13}], "2/n"),
        ([1.1, 1.25], [{"n": 11}, {"n": 5}], "n/(n - 1)"),
        ([7 / 11, 13 / 5], [{"n": 11, "i": 7}, {"n": 5, "i": 13}], "i/n"),
    ],
)
def test_numbers_are_read_as_sizes(numbers, sizes, expected):
    assert readings(numbers, sizes)[0] == expected


def test_a_number_that_no_axis_has_is_not_read():
    assert readings([1.37, 1.37], [{"n": 11}, {"n": 5}]) == []
    assert readings([11, 11], [{"n": 11}, {"n": 5}]) == []
    assert plain(1.37) == "1.37"
    assert plain(1 + 1e-7) == "1.0000001"
    assert plain(2 - 1e-8) == "1.99999999"
    assert plain(1 / 3) == "0.333333"
    assert plain(0.6931471805599453) == "ln 2"


def test_a_search_that_fails_leaves_the_finding(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("of the diagnosis")

    monkeypatch.setattr("manual_backprop.judge.diagnose.diagnose", broken)
    verdict = verify(OPS["lin"], spoiled(lambda g, *_: (g[0], -g[1], g[2])), samples=["rows"])
    assert {finding.code for finding in verdict.findings} == {"unknown"}
    assert "ZeroDivisionError: of the diagnosis" in verdict.findings[0].message


def test_a_cause_that_one_sample_is_too_small_for_is_found_on_the_next():
    def back_relu(x, grad_out):
        return torch.where(x > 0, grad_out, 0.01 * grad_out)

    finding, *_ = verify(OPS["relu"], back_relu, dtypes=torch.float64).findings
    assert (finding.sample, finding.code) == ("vector", "subset")
