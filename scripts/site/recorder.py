"""A pytest plugin that writes down the numbers which tests/articles computes.

python -m pytest tests/articles -p scripts.site.recorder
"""

import json
import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

TO = "ARTICLE_NUMBERS"  # the environment variable that names the file
printed: Any = import_module("tests.printed")
cases: Any = import_module("tests.articles.case")
computed: dict[str, dict[str, Any]] = {}
absent: dict[str, dict[str, str]] = {}


def _recording(compare: Callable[..., None]) -> Callable[..., None]:
    def recorded(row: Any, name: str, got: Any) -> None:
        case = re.search(r"[\[-]([A-E]\d+)-", os.environ["PYTEST_CURRENT_TEST"])
        compare(row, name, got)
        if case:
            numbers = torch.as_tensor(got).detach().double().tolist()
            computed.setdefault(case[1], {}).setdefault(name, numbers)

    return recorded


printed.assert_printed = _recording(printed.assert_printed)  # before any test imports it
printed.assert_between = _recording(printed.assert_between)


@pytest.hookimpl(tryfirst=True)  # before -m deselects any
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note which numbers the long tests alone compute."""
    for item in items:
        if item.get_closest_marker("slow"):
            _absent(item.nodeid, "by the long tests")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note which numbers are not computed here, and why."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _absent(report.nodeid, f"not here: {report.longrepr[2].removeprefix('Skipped: ')}")


def _absent(nodeid: str, why: str) -> None:
    case = re.search(r"\[([^]]+)\]$", nodeid)
    if case and case[1] in cases.CASES:
        for name in cases.CASES[case[1]]:
            absent.setdefault(case[1].partition("-")[0], {})[name] = why


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was computed, and why what was not, if all of it was right."""
    if session.testsfailed == 0:
        numbers = {row: absent.get(row, {}) | computed.get(row, {}) for row in (*computed, *absent)}
        Path(os.environ[TO]).write_text(json.dumps(numbers), "utf-8")
