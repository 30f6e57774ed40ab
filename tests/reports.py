"""Reports to look at: right ones, wrong ones, one as large as the house, and hostile ones."""

import functools

import torch

from manual_backprop.judge.evidence import Closest, picture
from manual_backprop.judge.verdict import Cause, Finding, Tally, Verdict
from manual_backprop.judge.verify import SEEDS, verify
from manual_backprop.op import Op
from manual_backprop.registry import OPS
from manual_backprop.report.as_json import report

DTYPES = ("float64", "float32", "bfloat16", "float16")
HOSTILE = '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">\'&amp;'
COMMAND = f"manual-backprop verify '{HOSTILE}'"


def square(x):
    return x * x


def back_square(x, grad_out):
    return 2 * x * grad_out


def back_square_double(x, grad_out):
    return 4 * x * grad_out


def back_square_one_entry(x, grad_out):
    grad_x = 2 * x * grad_out
    if x.shape == (11, 7):
        grad_x[3, 4] *= 1.5
    return grad_x


ROWS = {"rows": lambda rand, n=11, i=7: (rand(n, i),)}
OP = Op(
    forward=square,
    backwards=(back_square, back_square_double, back_square_one_entry),
    samples=ROWS,
    wrt=("x",),
    oracle=torch.square,
)


@functools.cache
def judged():
    """Of relu, which is right, and of `square`, of whose backwards two are wrong."""
    dtypes = (torch.float64, torch.float32)
    verdicts = [verify(OPS["relu"], dtypes=dtypes), verify(OP, dtypes=dtypes)]
    return report(verdicts, ("cpu",), ("float64", "float32"), SEEDS, "manual-backprop verify relu")


def one_case(seed, *, close=1.0):
    """A tally whose evidence is as long as it can be, and comes so close to its allowance."""
    rand = torch.Generator().manual_seed(seed)
    truth = torch.randn(12, 23, generator=rand, dtype=torch.float64)
    allowed = torch.full_like(truth, 1e-3)
    share = 10 ** (-4 * torch.rand(12, 23, generator=rand, dtype=torch.float64))
    got = truth + allowed * share * close
    seen = picture(got, truth, allowed, allowed.isfinite())
    entry = [float(each[seen.index]) for each in (got, truth)]
    error = abs(entry[0] - entry[1])
    closest = Closest("grad_x", *entry, error, 1e-3, f"rows (k = {seed})", 0, "contiguous", seen)
    return Tally(94, error / 3, 1e-3 / 3, closest)


@functools.cache
def whole_house(devices=("cpu",)):
    """As large as the report of all operators; nothing is judged."""
    verdicts = []
    for op in OPS.values():
        verdict = Verdict(op.name, {back.__name__: op.saves(back) for back in op.backwards})
        for back in op.backwards:
            for dtype in DTYPES:
                tally = one_case(len(verdicts), close=10 ** (-len(verdict.cells) % 5 / 2 - 2))
                verdict.cells[back.__name__, dtype, "cpu"] = tally
        verdicts.append(verdict)
    fields = report(verdicts, ("cpu",), DTYPES, SEEDS, "manual-backprop verify --html report.html")
    fields["environment"]["devices"] = dict.fromkeys(devices, "a device")
    for record in fields["backwards"]:
        for tally in record["dtypes"].values():
            tally["devices"] = dict.fromkeys(devices, tally["devices"]["cpu"])
    return fields


@functools.cache
def hostile():
    """All that comes from files under check is hostile."""
    names = (f"back_{HOSTILE}", "back_a b", "back_a-b")
    verdict = Verdict(HOSTILE, dict.fromkeys(names, (HOSTILE,)))
    for name in names:
        verdict.cells[name, "float64", "cpu"] = one_case(0)
    about = {"sample": HOSTILE, "dtype": "float64", "device": "cpu", "layout": HOSTILE}
    cause = Cause("factor", (HOSTILE,), HOSTILE, HOSTILE, HOSTILE, (HOSTILE,))
    seen = one_case(0).closest.picture
    numbers = {"got": float("nan"), "expected": float("inf"), "error": 1.0, "allowed": 0.5}
    wrong = Finding(
        names[0], HOSTILE, "factor", HOSTILE, **numbers, **about, cause=cause, picture=seen
    )
    verdict.findings += [wrong, Finding(names[0], "", "raises", HOSTILE)]
    verdict.notes.append(Finding(names[1], HOSTILE, "unstable", HOSTILE, **about))
    fields = report([verdict], ("cpu",), ("float64",), SEEDS, COMMAND)
    fields["environment"] |= {"platform": HOSTILE, "devices": {"cpu": HOSTILE}}
    return fields
