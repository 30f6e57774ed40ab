"""The codes of the judge on a device mesh: a backward that has each, judged on two processes.

The backwards are those that the tests judge; as they call each other, what several of them share is
shown once, below the codes.
"""

from collections.abc import Iterator
from importlib import import_module
from inspect import getsource
from pathlib import Path
from typing import Any

import torch

from manual_backprop.judge.sharded.start import judged
from manual_backprop.judge.verdict import Finding
from scripts.site.cache import computed, digest, of_the_judge
from scripts.site.findings import Contradicted, fields

# Not by name: as a test, none of them is annotated.
apart: Any = import_module("tests.ranks_apart")
means: Any = import_module("tests.mean_over_ranks")
ranks: Any = import_module("tests.across_ranks")

# code -> a wrong backward, and the right one of the same operator
EXAMPLES = {
    "not-a-dtensor": (ranks.back_plain_tensor, ranks.back_reduced_once),
    "placement": (ranks.back_part_does_not_fit, ranks.back_reduced_once),
    "collective-mismatch": (apart.back_one_rank_waits, ranks.back_reduced_once),
    "missing-all-reduce": (ranks.back_never_reduced, ranks.back_left_partial),
    "doubled-all-reduce": (ranks.back_reduced_and_partial, ranks.back_left_partial),
    "averaged-all-reduce": (ranks.back_averaged, ranks.back_reduced_once),
    "local-mean": (means.back_mean_over_own, means.back_mean_over_all),
}
SHARED = (ranks.grads, means.mean_grads, means.whole, means.reduced)
FORWARDS = {ranks: "`x @ w`", means: "`(x @ w).square().mean()`"}
TITLE = "What the examples on a mesh share"
ANCHOR = TITLE.lower().replace(" ", "-")
TIMEOUT = 5.0  # seconds that a rank may keep the others waiting


def verdicts() -> dict[str, Any]:
    """Code -> what the judge says of its example on two processes.

    Raises:
        Contradicted: it says something else than the code.
    """
    own = [Path(__file__), *(Path(str(module.__file__)) for module in (ranks, means, apart))]
    found: dict[str, Any] = computed("mesh", digest([*of_the_judge(), *own]), _judged)
    return found


def _judged() -> dict[str, Any]:
    jobs = [(ranks.op_of(wrong), wrong) for wrong, _ in EXAMPLES.values()]
    said = judged(jobs, 2, timeout=TIMEOUT, dtypes=(torch.float64,), seeds=(0,))
    found = dict(zip(EXAMPLES, said, strict=True))
    return {code: _only(code, verdict.findings) for code, verdict in found.items()}


def _only(code: str, findings: list[Finding]) -> Any:
    said = [finding.code for finding in findings]
    if said[:1] != [code]:
        raise Contradicted(f"the example of {code} is called {', '.join(said) or 'right'}")
    return fields(findings[0])


def example(code: str) -> tuple[str, str, str]:
    """Of what, the wrong backward and the right one."""
    wrong, right = EXAMPLES[code]
    home = next(module for module in FORWARDS if module.__name__ == right.__module__)
    return f"{FORWARDS[home]} with the rows of `x` sharded", getsource(wrong), getsource(right)


def shared() -> Iterator[str]:
    """The section with the functions that the examples call."""
    yield from (
        f"## {TITLE}",
        "",
        "Each rank computes with `.to_local()`, its own part of a tensor,",
    )
    yield from ("and says by a placement what of the whole it holds.", "", "```python")
    yield "\n\n".join(getsource(function) for function in SHARED).rstrip()
    yield from ("```", "")
