"""What the judge says of every operator, right and wrong, when the site is made.

Each operator is judged as `manual-backprop verify` does, with one draw of every sample (seed 0).
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from manual_backprop.judge.examples import EXAMPLES
from manual_backprop.judge.verdict import dtype_name
from manual_backprop.judge.verify import DTYPES, verify
from manual_backprop.op import Op
from manual_backprop.registry import OPS
from manual_backprop.report.as_code import judged
from scripts.site.cache import digest, keep, kept, of_the_judge
from scripts.site.findings import Contradicted, fields
from scripts.site.wrong import Wrong, wrong_versions

SEED = 0


def all_verdicts() -> dict[str, Any]:
    """Operator or code -> what the judge says, from what was kept or judged now, side by side."""
    here = Path(__file__)
    key = digest([*of_the_judge(), here, *here.parent.glob("wrong*.py")])
    names = [*(f"operator-{name}" for name in OPS), *(f"code-{code}" for code in EXAMPLES)]
    found = {name: value for name in names if (value := kept(name, key)) is not None}
    missing = [name for name in names if name not in found]
    if not missing:
        return found
    missing.sort(key=_long, reverse=True)
    context = get_context("spawn")
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), mp_context=context) as processes:
        for name, value in zip(missing, processes.map(_judge, missing), strict=True):
            found[name] = value
            keep(name, key, value)
    return found


def _long(name: str) -> int:
    """How long it takes, roughly: many backwards first, and codes last."""
    kind, _, rest = name.partition("-")
    return len(OPS[rest].backwards) if kind == "operator" else 0


def _judge(name: str) -> Any:
    torch.set_num_threads(1)
    kind, _, rest = name.partition("-")
    if kind == "code":
        example = EXAMPLES[rest]
        return fields(judged(example.wrong, example.operator).findings[0])
    op = OPS[rest]
    return {"backwards": _backwards(op), "wrong": [_wrong(op, one) for one in wrong_versions(op)]}


def _backwards(op: Op) -> list[dict[str, Any]]:
    verdict = verify(op, seeds=(SEED,))
    if not verdict.ok:
        raise Contradicted(f"the site shows right backwards only: {verdict}")
    return [
        {
            "backward": name,
            "saves": list(saves),
            "cases": verdict.cases(name),
            "dtypes": {
                dtype: {"error": tally.error, "allowed": tally.allowed}
                for dtype in map(dtype_name, DTYPES)
                if (tally := verdict.tallies.get((name, dtype)))
            },
        }
        for name, saves in verdict.saves.items()
    ]


def _wrong(op: Op, one: Wrong) -> dict[str, Any]:
    verdict = judged(one.source, op.name)
    if verdict.ok:
        raise Contradicted(f"{op.name}: the judge lets pass what is shown as wrong:\n{one.source}")
    finding = verdict.findings[0]
    code = finding.cause.code if finding.cause else finding.code
    if code == "unknown":
        raise Contradicted(f"{op.name}: the judge has no name for what is popular:\n{one.source}")
    return {"says": one.says, "source": one.source, "code": code, "finding": fields(finding)}
