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
computed: dict[str, dict[str, Any]] = {}


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was computed, if all of it was right."""
    if session.testsfailed == 0:
        Path(os.environ[TO]).write_text(json.dumps(computed), "utf-8")
