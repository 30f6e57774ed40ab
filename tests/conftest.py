"""`learner`: a learner's file, checked in this process, and the page that says what was found."""

import io
import json
import sys
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from manual_backprop.check.command import record, schema
from manual_backprop.check.show import show


class Learner:
    def __init__(self, folder):
        self.folder = folder
        self.told = []

    def file(self, text, name="mine.py"):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def check(self, text, function=None, *, of=None, name="mine.py", **asked):
        """What `manual-backprop check` finds in a file of this text."""
        from manual_backprop.check import child  # operators are imported when the hook is there

        request = {"file": str(self.file(text, name)), "function": function, "of": of}
        request |= {"thorough": False, "solution": False, "test": False} | asked
        answer = json.loads(json.dumps(child.main(request, self.told.append)))
        answer["printed"] = ""
        jsonschema.validate(record(answer, self.folder / name), schema())
        return answer

    def only(self, text, *words, **asked):
        """The record of the only function that is judged."""
        answer = self.check(text, *words, **asked)
        assert "refused" not in answer, answer
        (found,) = answer["functions"]
        return found

    def refused(self, text, *words, **asked):
        """The sentence that says why nothing can be judged."""
        return self.check(text, *words, **asked)["refused"]

    def page(self, answer, name="mine.py", **asked):
        """The lines that a pipe gets."""
        said = io.StringIO()
        console = Console(file=said, highlight=False)
        show(
            answer, name if isinstance(name, Path) else self.folder / name, console=console, **asked
        )
        lines = said.getvalue().splitlines()
        assert all(line == line.rstrip() for line in lines), lines
        return lines


@pytest.fixture
def learner(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield Learner(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def uncompiled(monkeypatch):
    """Compiling takes seconds for each size; the formulas are the same without."""
    monkeypatch.setattr("torch.compile", lambda function, **_: function)
