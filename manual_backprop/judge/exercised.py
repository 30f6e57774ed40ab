"""Which lines and which masks of a backward no call has tried.

While backwards are watched, every call of one that the judge makes by hand or by the engine has its
lines traced until each has run. Masks are watched in further calls, whose gradients nobody uses:
in one dtype, at every point whose values are right.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from manual_backprop.judge.draw import ARTICLE
from manual_backprop.judge.lines import COMPARISONS, FOLLOWED, Lines, written
from manual_backprop.judge.noise import Watch
from manual_backprop.judge.verdict import Finding

if TYPE_CHECKING:
    from manual_backprop.judge.trial import Trial

# What only broken inputs answer otherwise.
BROKEN_INPUTS = re.compile(r"\bis(nan|inf|posinf|neginf|finite)\b|^(.+) [!=]= \2$")

_watching: ContextVar["Exercised | None"] = ContextVar("watching", default=None)


class Exercised:
    """What calls of some backwards have tried.

    Args:
        backwards: by the names that notes call them by.
    """

    def __init__(self, backwards: Mapping[str, Callable[..., Any]]) -> None:
        found = {name: written(backward) for name, backward in backwards.items()}
        self.backwards = {
            name: Lines(main)
            for name, main in found.items()
            if main and str(main.__module__).partition(".")[0] != "torch"
        }
        self.functions = {id(main.codes[0]): main for main in self.backwards.values()}
        self.calls = {name: self._called_by(main) for name, main in self.backwards.items()}
        self.names = {id(code): name for name, f in self.backwards.items() for code in f.codes}
        self.of = {id(code): f for f in self.functions.values() for code in f.codes}
        self.left = {
            id(code): due
            for f in self.functions.values()
            for code in f.codes
            if (due := f.due & {line for *_, line in code.co_lines() if line})
        }
        self.ran: set[tuple[str, int]] = set()
        self.entered: set[int] = set()
        self.overheard = True  # whether no call went by untraced
        self.masks: dict[tuple[int, int], _Mask] = {}
        self.grid: tuple[torch.dtype, str] | None = None

    def _called_by(self, main: Lines) -> list[Lines]:
        """The backward and all of its file that it may call."""
        found = [main]
        for function in found:
            for below, _ in function.below(set()) if len(found) < FOLLOWED else ():
                key = id(below.__code__)
                lines = self.functions.get(key) or Lines(below)
                self.functions[key] = lines
                if all(lines is not known for known in found):
                    found.append(lines)
        return found

    def enter(self, frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG002
        """As `sys.settrace` asks for it."""
        key = id(frame.f_code)
        if key not in self.left:
            return None
        self.entered.add(key)
        return self._step

    def _step(self, frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG002
        key = id(frame.f_code)
        if event == "line" and key in self.left:
            self.ran.add((frame.f_code.co_filename, frame.f_lineno))
            self.left[key].discard(frame.f_lineno)
            if not self.left[key]:
                del self.left[key]
        return self._step

    def look_at(self, trial: "Trial", grad_out: Tensor | None) -> None:
        """Call once more, and look at the masks."""
        here = trial.point.dtype, trial.device
        self.grid = self.grid or here
        main = written(trial.backward)
        name = self.names.get(id(main.__code__)) if main else None
        if name is None or here != self.grid or trial.layout != "contiguous":
            return
        settled = {key for key, mask in self.masks.items() if len(mask.seen) == 2}
        open_ = {key for function in self.calls[name] for key in function.comparisons} - settled
        if any(function.calls_compiled for function in self.calls[name]):
            return  # which would be compiled once more for the mode
        if open_ and trial.point.variant.sample != ARTICLE:
            with suppress(Exception), _Masks(self):
                trial.call(grad_out)

    def notes(self) -> Iterator[Finding]:
        """What was not tried, of each backward that was run."""
        told = set[tuple[str, int]]()
        for name, main in self.backwards.items():
            for function in self._reached(main) if self.overheard else ():
                for first, last, run in self._untried(function):
                    if (function.file, first) not in told:
                        told.add((function.file, first))
                        said = f"no sample reaches `{function.statement(first)}`"
                        if under := function.under(first):
                            said += f", under {under}"
                        them = "it" if run == 1 else "them"
                        yield _note(
                            name,
                            f"{function.at(first, last)} never ran: {said}; add one that does, or "
                            f"leave {them} out",
                        )
            for mask in self.masks.values():
                if mask.backward == name and len(mask.seen) == 1:
                    (side,) = mask.seen
                    yield _note(
                        name,
                        f"the mask `{mask.text}` ({mask.function.at(mask.line, mask.line)}) was "
                        f"{side} at every entry in every call: no sample reaches the other side; "
                        "add one that does, or leave the mask out",
                    )

    def _reached(self, main: Lines) -> list[Lines]:
        """A backward that was run, and what it calls on lines that were."""
        if not self.entered & {id(code) for code in main.codes}:  # compiled, say
            return []
        reached = [main]
        for function in reached:
            idle = {line for line in function.due if (function.file, line) not in self.ran}
            for below, plain in function.below(idle):
                lines = self.functions.get(id(below.__code__))
                if lines is None or any(lines is known for known in reached):
                    continue
                if plain or self.entered & {id(code) for code in lines.codes}:
                    reached.append(lines)
        return reached

    def _untried(self, function: Lines) -> Iterator[tuple[int, int, int]]:
        """First and last of neighbouring lines that never ran, and how many there are."""
        block = list[int]()
        for line in [*sorted(function.due), 0]:
            if line and (function.file, line) not in self.ran:
                block.append(line)
            elif block:
                yield block[0], block[-1], len(block)
                block = []


class _Mask:
    """A comparison in a backward, and the values that it has had."""

    def __init__(self, backward: str, function: Lines, code: CodeType, instruction: int) -> None:
        self.backward = backward
        self.function = function
        self.line, self.text = function.expression(code, instruction)
        self.seen: set[bool] = set()
        if self.line in function.guards or BROKEN_INPUTS.search(self.text):
            self.seen = {True, False}


class _Masks(Watch):
    def __init__(self, exercised: Exercised) -> None:
        super().__init__()
        self.exercised = exercised

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **kwargs or {})
        if isinstance(result, Tensor) and result.dtype is torch.bool and result.numel():
            name = getattr(func, "__name__", "").partition(".")[0]
            if name in COMPARISONS:
                self._look(result, sys._getframe(1))
        return result

    def _look(self, result: Tensor, frame: FrameType) -> None:
        code, key = frame.f_code, (id(frame.f_code), frame.f_lasti)
        function = self.exercised.of.get(id(code))
        if function is None or function.node is None:
            return
        if key not in self.exercised.masks:
            above: FrameType | None = frame
            while above is not None and id(above.f_code) not in self.exercised.names:
                above = above.f_back
            if above is None:  # of the forward, which calls the same function
                return
            backward = self.exercised.names[id(above.f_code)]
            self.exercised.masks[key] = _Mask(backward, function, code, frame.f_lasti)
        seen = self.exercised.masks[key].seen
        if len(seen) < 2:
            seen |= {bool(side) for side in (result.any(), result.all())}


def _note(backward: str, message: str) -> Finding:
    return Finding(backward, "", "not-exercised", message)


@contextmanager
def watched(backwards: Mapping[str, Callable[..., Any]]) -> Iterator[Exercised]:
    """Watch backwards, by the names that notes call them by; the outermost watch sees it all."""
    if _watching.get() is not None:
        yield Exercised({})
        return
    exercised = Exercised(backwards)
    token = _watching.set(exercised)
    try:
        yield exercised
    finally:
        _watching.reset(token)


@contextmanager
def traced() -> Iterator[None]:
    """Where a backward is called: see its lines, unless a debugger or a coverage tool does."""
    exercised = _watching.get()
    before = sys.gettrace()
    if exercised is None or not exercised.left or before == exercised.enter:
        yield
        return
    if before is not None:
        exercised.overheard = False
        yield
        return
    sys.settrace(exercised.enter)
    try:
        yield
    finally:
        if sys.gettrace() == exercised.enter:
            sys.settrace(None)
        else:  # a breakpoint, whose debugger goes on
            exercised.overheard = False


def masks_of(trial: "Trial", grad_out: Tensor | None = None) -> None:
    """Look at the masks of a backward that gave the right values; nothing where none is watched.

    Args:
        trial: whose backward is called once more.
        grad_out: the output's shape; the trial's own by default.
    """
    if (exercised := _watching.get()) is not None:
        exercised.look_at(trial, grad_out)
