"""One function under the judge, in the order in which a learner wants to hear of it.

First the formula: the operator's plainest sample in float64. Then the inputs that the judge makes
itself, and float32. Last, for an operator of the house, what its learner may not have been asked
for: inputs with other numbers of axes, options that the function does not take, an empty batch,
other memory layouts. A function that fails there alone is right, within limits that are told.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from inspect import getsource, getsourcelines, signature, unwrap
from typing import Any

import torch

from manual_backprop.check.entries import gradient_reports
from manual_backprop.check.errors import of_error
from manual_backprop.check.steps import step_reports
from manual_backprop.check.target import Target
from manual_backprop.judge.codes import CODES
from manual_backprop.judge.draw import ARTICLE, BATCH, LAYOUTS, Rand, Variant, axes, draw
from manual_backprop.judge.exercised import watched
from manual_backprop.judge.point import Unjudgeable, point
from manual_backprop.judge.shrink import shrink
from manual_backprop.judge.verdict import Finding, Verdict
from manual_backprop.judge.verify import DTYPES, PARTS, verify
from manual_backprop.op import Op
from manual_backprop.report.as_json import finding_fields
from manual_backprop.report.as_page import docstring, formula

PLAIN: dict[str, Any] = {"dtypes": torch.float64, "seeds": (0,), "layouts": ("contiguous",)}
EMPTY = f"(empty, {BATCH} = 0)"


def header(target: Target, *, solution: bool = False) -> dict[str, Any]:
    """What is known of a function before it is called."""
    op, backward = target.op, target.backward
    house = op.forward.__module__.startswith("manual_backprop.")
    page = docstring(op) if house else ""
    return {
        "function": backward.__name__,
        "line": _line(backward),
        "operator": op.name,
        "arguments": list(op.arguments),
        "wrt": list(op.wrt),
        "formula": formula(op) if house else "",
        "derivation": page.partition("Derivation\n")[2].partition("\n\n")[0],
        "solution": getsource(op.backwards[0]).rstrip() if house and solution else "",
        "test": "",
        "ok": False,
        "cases": 0,
        "seeds": [],
        "sample": "",
        "samples": {},
        "gradients": [],
        "steps": [],
        "findings": [],
        "limits": [],
        "notes": [],
    }


def judged(
    target: Target, backward: Callable[..., Any], *, thorough: bool, solution: bool, test: bool
) -> dict[str, Any]:
    """The record of one function, as `check.schema.json` describes it.

    Args:
        target: what is judged, and by what.
        backward: the target's function, or one that calls it.
        thorough: all dtypes and samples, two seeds; everything counts.
        solution: give the house's own backward as well.
        test: give the smallest test that fails as well.

    Raises:
        BadOp, Refused: it cannot be judged as it is written.
    """
    lenient = not target.own and not thorough
    first, others = _samples(target.op, backward, lenient=lenient)
    op = _asked(target.op, backward, first) if lenient else target.op
    with watched({backward.__name__: backward}) as exercised:
        parts = ("forward", "slopes", "values", "promises")
        verdict = verify(op, backward, samples=first, parts=parts, **PLAIN)
        drawn = PLAIN["seeds"]
        limits: list[Finding] = []
        cases = 0
        if verdict.ok:
            # meta is a note for tracers, and imports all of PyTorch's compiler: half the time
            rest = [part for part in PARTS if part not in ("slopes", "meta")]
            grid: dict[str, Any] = {**PLAIN, "layouts": PLAIN["layouts"] if lenient else LAYOUTS}
            if thorough:
                grid |= {"dtypes": DTYPES, "seeds": (0, 1)}
            verdict = verify(op, backward, samples=first, parts=rest, **grid)
            drawn = grid["seeds"]
            if not thorough:
                other = {**PLAIN, "dtypes": torch.float32, "parts": ("values",)}
                more = verify(op, backward, samples=first, **other)
                verdict.findings += more.findings
                verdict.cells |= more.cells
            if lenient:
                limits, cases = _limits(op, backward, first, verdict)
                if others and verdict.ok:
                    grid = {**PLAIN, "parts": ("values",)}
                    more = verify(target.op, backward, samples=others, **grid)
                    limits = _distinct([*limits, *more.findings])
                    cases += more.cases(backward.__name__)
    verdict.notes += exercised.notes() if verdict.ok else ()
    findings = _distinct(verdict.findings)
    at = findings[0].sample.partition(" (")[0] if findings else first[0]
    at = at if at in op.samples else first[0]
    steps, fed = step_reports(target, backward, first[0])
    wrong_step = any(not step["right"] for step in steps)
    return {
        **header(target, solution=solution),
        "test": _test(target, op, findings) if test else "",
        "ok": verdict.ok and not wrong_step,
        "cases": verdict.cases(backward.__name__) + cases,
        "seeds": list(drawn),
        "sample": at,
        "samples": {name: _about(target.op, name) for name in (*first, *others)},
        "gradients": fed or gradient_reports(op, backward, at),
        "steps": steps,
        "findings": [fields(finding, _names(target.backward)) for finding in findings],
        "limits": [fields(finding) for finding in limits],
        "notes": [finding_fields(note) for note in verdict.notes],
    }


def _test(target: Target, op: Op, findings: Sequence[Finding]) -> str:
    """The first finding on the smallest numbers that show it; empty where none do."""
    for finding in findings:
        if small := shrink(op, target.backward, finding):
            return small.as_test()
    return ""


def fields(finding: Finding, known: Sequence[str] = ()) -> dict[str, Any]:
    """A finding as JSON, with what its code means and where to look.

    Args:
        finding: of a function.
        known: the names of its parameters and variables.
    """
    code = CODES[finding.code]
    advice = code.advice
    if finding.code == "raises":
        advice = of_error(finding.message, known) or advice
    return {**finding_fields(finding), "meaning": code.meaning, "advice": advice}


def _samples(op: Op, backward: Callable[..., Any], *, lenient: bool) -> tuple[list[str], list[str]]:
    """Those that count, and those that only limit what is right: other axes, unknown options,
    tuples of another length.
    """
    names = [name for name in op.samples if name != ARTICLE] or list(op.samples)
    if not lenient:
        return names, []
    taken = set(signature(backward).parameters)
    plain, _ = _drawn(op, names[0])
    first, others = list[str](), list[str]()
    for name in names:
        dims, options = _drawn(op, name)
        (first if dims == plain and options <= taken else others).append(name)
    return (first, others) if first else (names[:1], names[1:])


def _drawn(op: Op, sample: str) -> tuple[dict[str, list[int]], set[str]]:
    """How many axes each tensor of each argument has, and which options are set."""
    inputs, options = draw(op, Variant(sample), Rand(0, torch.float64))
    return {name: [t.dim() for t in _parts(value)] for name, value in inputs.items()}, set(options)


def _about(op: Op, sample: str) -> dict[str, Any]:
    """The shape of each argument, of a tuple of each of its tensors, and of grad_out; options."""
    inputs, options = draw(op, Variant(sample), Rand(0, torch.float64))
    shapes = {
        name: [list(t.shape) for t in value] if isinstance(value, tuple) else list(value.shape)
        for name, value in inputs.items()
    }
    with suppress(Unjudgeable):
        shapes["grad_out"] = list(point(op, Variant(sample), torch.float64, 0).grad_out.shape)
    return {"shapes": shapes, "options": {name: str(value) for name, value in options.items()}}


def _asked(op: Op, backward: Callable[..., Any], samples: list[str]) -> Op:
    """The operator without the options that a function does not take: at their defaults."""
    taken = signature(backward).parameters
    if all(option in taken for option in op.options):
        return op

    @wraps(op.forward)
    def forward(*args: Any, **options: Any) -> Any:
        return op.forward(*args, **options)

    whole = signature(op.forward)
    forward.__signature__ = whole.replace(  # type: ignore[attr-defined]
        parameters=[p for p in whole.parameters.values() if p.name in (*op.arguments, *taken)]
    )
    return replace(
        op, forward=forward, samples={name: op.samples[name] for name in samples},
        backwards=(backward,),
    )  # fmt: skip


def _parts(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


def _limits(
    op: Op, backward: Callable[..., Any], first: list[str], verdict: Verdict
) -> tuple[list[Finding], int]:
    """Moves what is no mistake of a formula out of the verdict, and looks for more of it."""
    limits = [finding for finding in verdict.findings if finding.sample.endswith(EMPTY)]
    for finding in limits:
        verdict.findings.remove(finding)
    if limits and verdict.ok:  # the walk ended there: what comes behind it
        for sample in first:
            for sizes in ({BATCH: 1}, dict.fromkeys(axes(op, sample), 5)):
                more = verify(
                    op, backward, samples=[sample], sizes=sizes, parts=("values",), **PLAIN
                )
                verdict.findings += more.findings
    if not verdict.ok:
        return [], 0
    other = tuple(layout for layout in LAYOUTS if layout != "contiguous")
    grid = {**PLAIN, "parts": ("values",)}
    more = verify(op, backward, samples=first, **{**grid, "layouts": other})
    return [*limits, *more.findings], more.cases(backward.__name__)


def _distinct(findings: Sequence[Finding]) -> list[Finding]:
    """One finding of each kind and gradient, those that tell what to do before others."""
    kept: dict[tuple[str, str], Finding] = {}
    told = "ignores-grad-out"
    for finding in sorted(findings, key=lambda f: f.cause is None and f.code != told):
        kept.setdefault((finding.code, finding.gradient), finding)
    return list(kept.values())


def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Of its parameters and variables."""
    code = getattr(unwrap(function), "__code__", None)
    return code.co_varnames if code else ()


def _line(function: Callable[..., Any]) -> int:
    try:
        return getsourcelines(function)[1]
    except (OSError, TypeError):
        return 0
