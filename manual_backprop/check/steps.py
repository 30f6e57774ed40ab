"""A backward step by step: the gradient of each intermediate that it names, held to the truth.

    grad_h = steps("h", grad_h)

hands over the gradient of the loss with respect to what the forward calls `h`, and goes on with the
right one: whatever comes after is judged by itself, and one mistake is one line. An intermediate is
a local variable of the forward, or of a function of the same file that it calls, as it was last
assigned; `hs[0]` is an entry of a list or tuple. Its truth is autograd's, in float64.
"""

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from inspect import signature, unwrap
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from manual_backprop.check.entries import report
from manual_backprop.check.load import Refused
from manual_backprop.check.target import Target
from manual_backprop.judge.budget import Budget, budgets
from manual_backprop.judge.draw import Variant
from manual_backprop.judge.point import Point, Unjudgeable, point
from manual_backprop.judge.result import formed
from manual_backprop.judge.trial import Trial
from manual_backprop.judge.verdict import Broken, error_at
from manual_backprop.judge.witnesses import vjp


def step_reports(
    target: Target, backward: Callable[..., Any], sample: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Step by step, and then gradient by gradient of a call that goes on with right steps.

    Returns:
        A report for each step in the order of the calls, and one for each gradient, as
        `gradient_reports` gives them; both empty where the function takes no `steps`, and the
        latter where it does not come to its end.

    Raises:
        Refused: a step is called what no intermediate of the forward is called.
    """
    if "steps" not in signature(backward).parameters or "steps" in target.op.options:
        return [], []
    try:
        here = point(target.op, Variant(sample), torch.float64, 0)
    except Unjudgeable:
        return [], []
    recorder = Recorder(target, intermediates(target.forward, here))
    trial = Trial(backward, here, "cpu", "contiguous")
    gradients: list[dict[str, Any]] = []
    try:
        got = formed(trial, trial.call(steps=recorder))
        gradients = [report(*pair) for pair in zip(here.labels, got, here.grads, strict=True)]
    except Broken:
        pass  # the verdict has it
    if recorder.unknown:
        raise Refused(recorder.unknown)
    return recorder.reports, gradients


class Recorder:
    """The `steps` of a backward that is watched.

    Attributes:
        reports: one for each call.
        unknown: a sentence, where a name was none of the forward's.
    """

    def __init__(self, target: Target, truths: dict[str, Budget]) -> None:
        self.target = target
        self.truths = truths
        self.reports: list[dict[str, Any]] = []
        self.unknown = ""

    def __call__(self, name: str, gradient: Any) -> Any:
        """The right gradient of the intermediate, of its shape, or what was given where it is."""
        if name not in self.truths:
            self.unknown = self.unknown or self._unknown(name)
            return gradient
        budget = self.truths[name]
        label = f"grad of {name}"
        right = budget.truth.to(torch.float64)
        wrong = {
            "name": label, "shape": [], "right": False, "error": 0.0, "allowed": 0.0,
            "wrong": right.numel(), "entries": right.numel(),
        }  # fmt: skip
        if not isinstance(gradient, Tensor):
            said = f"is a {type(gradient).__name__}, not a tensor"
            self.reports.append({**wrong, "said": said})
        elif gradient.shape != right.shape:
            said = f"has shape {tuple(gradient.shape)}, and {name} has {tuple(right.shape)}"
            self.reports.append({**wrong, "shape": list(gradient.shape), "said": said})
        else:
            self.reports.append(report(label, gradient.detach(), budget))
        return gradient if self.reports[-1]["right"] else right.clone()

    def _unknown(self, name: str) -> str:
        forward = self.target.forward.__name__
        close = get_close_matches(str(name), self.truths, n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]!r}? It" if close else "It"
        return (
            f"{self.target.backward.__name__} has a step {name!r}, and {forward} has no "
            f"intermediate of that name. {hint} has {', '.join(self.truths) or 'none'}"
        )


def intermediates(forward: Callable[..., Any], here: Point) -> dict[str, Budget]:
    """The gradient of each intermediate of a forward by its name, of its shape, with its budget.

    Raises:
        Refused: the forward raises, or does not give what the operator gives.
    """
    leaves, spec = tree_flatten(tuple(here.inputs.values()))
    raised = [t.double() if t.is_floating_point() else t for t in leaves]
    names: list[str] = []

    def gradients(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = list(tensors[:-1])
        for place in here.places:
            given[place] = given[place].detach().requires_grad_()
        with torch.enable_grad(), Locals(forward) as seen:
            out = forward(*tree_unflatten(given, spec), **here.options)
        found = {n: t for n, t in seen.tensors.items() if t.requires_grad}
        names[:] = names or list(found)
        wanted = [found[name] for name in names]
        grads: Sequence[Tensor] = ()
        if wanted:
            grads = vjp(out, wanted, tensors[-1], materialize_grads=True)
        return (out.detach(), *grads)

    try:
        out, *grads = budgets(gradients, [*raised, here.grad_out.double()], torch.float64)
    except Exception as error:
        raise Refused(
            f"{forward.__name__}, whose steps are asked for, raised {error_at(error, forward)}"
        ) from error
    if out.truth.shape != here.out.truth.shape or here.out.ratio(out.truth) > 1:
        raise Refused(
            f"your {forward.__name__} gives something else than the operator {here.op.name}, so "
            "its steps are others; mend it, or leave it out"
        )
    return dict(zip(names, grads, strict=True))


class Locals:
    """While it is entered, keeps the local tensors of a function and of its file's others."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.code = unwrap(function).__code__
        self.tensors: dict[str, Tensor] = {}
        self._own: dict[str, Tensor] = {}

    def __enter__(self) -> "Locals":
        self._before = sys.getprofile()
        sys.setprofile(self._returned)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self._before)
        self.tensors |= self._own  # the function's own names before those of what it calls

    def _returned(self, frame: FrameType, event: str, arg: object) -> None:  # noqa: ARG002
        code = frame.f_code
        if event != "return" or code.co_filename != self.code.co_filename or "<" in code.co_name:
            return
        kept = self._own if code is self.code else self.tensors
        for name, value in frame.f_locals.items():
            if isinstance(value, Tensor):
                kept[name] = value
            elif isinstance(value, list | tuple):
                kept |= {f"{name}[{i}]": t for i, t in enumerate(value) if isinstance(t, Tensor)}
