"""What a backward promises to autograd, beyond what every backward promises.

Each promise is a function of a view and of a trial of one of its backwards, called once and right;
it yields findings, each with whether it is wrong (else a note).
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from manual_backprop.judge.draw import each
from manual_backprop.judge.graph import Call
from manual_backprop.judge.memory import memory
from manual_backprop.judge.repeats import differs, same_bits
from manual_backprop.judge.result import flat_named
from manual_backprop.judge.trial import Trial
from manual_backprop.judge.verdict import Finding, error_at
from manual_backprop.judge.view import CONSTANTS, View

Told = Iterator[tuple[Finding, bool]]
MANY = 5  # up to so many arguments, every subset of them is tried


def arguments_of(view: View, trial: Trial) -> dict[str, Any]:
    """All arguments of the trial by name, tensors of its own and constants, in order."""
    known = {**trial.point.options[CONSTANTS], **trial.given}
    return {name: known[name] for name in (*view.pair.names, "**") if name in known}


def second_backward(view: View, trial: Trial) -> Told:
    """A graph that is kept can be gone back through again, and gives the same to the bit."""
    call = view.pair.called(arguments_of(view, trial), view.wrt)
    saved = _saved(call)
    before = [memory(tensor) for tensor in saved]
    first = [_kept(grad) for grad in _gradients(view, call, trial.grad_out)]
    if [memory(tensor) for tensor in saved] != before:
        said = "a saved tensor was written to; work on a copy"
        yield trial.finding("mutates", said), True
        return
    when = "through the same graph once more (retain_graph=True)"
    try:
        again = _gradients(view, call, trial.grad_out)
    except Exception as error:
        said = f"called {when}, it raised {error_at(error, trial.backward)}"
        yield trial.finding("stateful", f"{said}; leave ctx as it is"), True
        return
    for label, a, b in zip(trial.point.labels, first, again, strict=True):
        if not same_bits(a, b):
            broken = f"called {when}, it is another gradient; leave ctx and what it holds as it is"
            found = differs(trial, label, a, b, "from one backward to the next", broken)
            yield found, found.code == "stateful"
            return


def notices_changes(view: View, trial: Trial) -> Told:
    """Where an argument or an output is changed after the forward, the backward does not use it.

    What is saved by `ctx.save_for_backward` is watched by autograd, which refuses to use what has
    been written to since; what is kept in another way is not.
    """
    arguments = arguments_of(view, trial)
    given = {n: arguments[n] for n in view.pair.tensors if n not in view.pair.written}
    watched = {name: t for name, t in flat_named(given) if t.is_floating_point()}
    for name in (*watched, *(f"output {place}" for place in view.places)):
        call = view.pair.called(arguments, view.wrt)
        changed = watched.get(name)
        if changed is None:
            changed = call.outputs[int(name.removeprefix("output "))].detach()
        before = changed.clone()
        try:
            with torch.no_grad():
                changed.neg_().add_(1)
            grads = _by_engine(view, call, trial.grad_out)
        except RuntimeError:  # as autograd says that it has been modified
            continue
        finally:
            with torch.no_grad():
                changed.copy_(before)
        for label, new, budget in zip(trial.point.labels, grads, trial.point.grads, strict=True):
            if budget.ratio(new) > 1:
                said = (
                    f"is another gradient, without a word, where {name} is changed in place "
                    "between forward and backward; keep it by ctx.save_for_backward, "
                    "through which autograd notices, and not as an attribute of ctx"
                )
                yield trial.finding("stale-weights", said, label), True
                return


def bears_no_grad_out(view: View, trial: Trial) -> Told:
    """Where no output has a grad_out, no gradient comes, or zeros."""
    call = view.pair.called(arguments_of(view, trial), view.wrt)
    try:
        grads = call.by_engine(dict.fromkeys(view.places))
    except Exception as error:
        said = f"raised {error_at(error, trial.backward)}, where no output has a grad_out"
        none = view.pair.blank and view.pair.blank[view.places[0]] is None
        asked = "; ctx.set_materialize_grads(False) asks for None: test for it" if none else ""
        yield trial.finding("raises", said + asked), True
        return
    for label, grad in zip(trial.point.labels, tree_leaves(tuple(grads.values())), strict=True):
        if bool(grad.any()):
            said = "is not 0, where no output has a grad_out"
            yield trial.finding("zero", said, label), True
            return


def every_subset(view: View, trial: Trial) -> Told:
    """Whatever needs a gradient gets the same one, whichever others need one too."""
    whole = dict(zip(trial.point.labels, trial.grads, strict=True))
    arguments = arguments_of(view, trial)
    idle = False
    for needs in _subsets(view.wrt):
        call = view.pair.called(arguments, needs)
        if not set(view.places) <= set(call.differentiable):
            continue  # of another output there is no gradient by these
        asked = "needs_input_grad" if call.node is not None else "requires_grad"
        where = f"where only {', '.join(needs)} needs a gradient ({asked})"
        try:
            if call.node is None:
                grads = call.by_engine(view.grad_outs(call.outputs, trial.grad_out))
            else:
                every = view.every_grad_out(call.outputs, trial.grad_out)
                returned = call.returned(every)
                idle |= sum(grad is not None for grad in returned) > _count(call, needs)
                grads = call.named(returned)
        except Exception as error:
            said = f"raised {error_at(error, trial.backward)}, {where}"
            yield trial.finding("raises", said), True
            return
        for label, grad in _labelled(grads):
            if not isinstance(grad, Tensor):
                yield trial.finding("not-a-tensor", f"is {grad}, {where}", label), True
                return
            if grad.shape == whole[label].shape and same_bits(grad, whole[label]):
                continue
            budget = trial.point.grads[trial.point.labels.index(label)]
            if grad.shape != budget.truth.shape or budget.ratio(grad) > 1:
                said = f"is another gradient {where} than where {', '.join(view.wrt)} do"
                yield trial.finding("stateful", said, label), True
                return
    if idle:
        yield (
            trial.finding(
                "extra-term",
                "returns gradients that nobody needs; ask ctx.needs_input_grad and do no work for "
                "them",
            ),
            False,
        )


def right_number(view: View, trial: Trial) -> Told:
    """One gradient for each argument of the forward; None where there is none."""
    call = view.pair.called(arguments_of(view, trial), view.wrt)
    try:
        returned = call.returned(view.every_grad_out(call.outputs, trial.grad_out))
    except Exception:  # which is told where its values are judged
        return
    places = call.places()
    if len(returned) < places or any(extra is not None for extra in returned[places:]):
        said = (
            f"returned {len(returned)} gradient{'' if len(returned) == 1 else 's'}, and the "
            f"forward takes {places} arguments: return one for each, None where there is none"
        )
        yield trial.finding("arity", said), True


def nothing_where_nothing_is_due(view: View, trial: Trial) -> Told:
    """An argument on which the reference does not depend gets no gradient, or zeros."""
    arguments = arguments_of(view, trial)
    others = tuple(
        name
        for name in view.pair.tensors
        if name not in view.wrt and all(t.is_floating_point() for t in tree_leaves(arguments[name]))
    )
    if not others:
        return
    call = view.pair.called(arguments, (*view.wrt, *others))
    try:
        grads = call.by_engine(view.grad_outs(call.outputs, trial.grad_out))
    except Exception as error:
        said = f"raised {error_at(error, trial.backward)}, where {', '.join(others)} need one too"
        yield trial.finding("raises", said), True
        return
    for name in others:
        if any(bool(grad.any()) for grad in tree_leaves(grads[name])):
            said = "is not 0, and the reference does not depend on it"
            yield trial.finding("extra-term", said, f"grad_{name}"), True


def _subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    sizes = range(1, len(names)) if len(names) <= MANY else (1, len(names) - 1)
    for size in sizes:
        yield from combinations(names, size)


def _gradients(view: View, call: Call, grad_out: Tensor) -> list[Any]:
    if call.node is not None:
        return tree_leaves(view.returned(call, grad_out))
    return _by_engine(view, call, grad_out, retain_graph=True)


def _by_engine(
    view: View, call: Call, grad_out: Tensor, *, retain_graph: bool = False
) -> list[Any]:
    grad_outs = view.grad_outs(call.outputs, grad_out)
    grads = call.by_engine(grad_outs, retain_graph=retain_graph)
    return tree_leaves(tuple(grads[name] for name in view.wrt))


def _saved(call: Call) -> list[Tensor]:
    saved = () if call.node is None else call.node.saved_tensors
    return [tensor for tensor in saved if isinstance(tensor, Tensor)]


def _count(call: Call, needs: tuple[str, ...]) -> int:
    return sum(len(tree_leaves(call.leaves[name])) for name in needs)


def _labelled(grads: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(f"grad_{name}", grad) for name, grad in flat_named(grads)]


def _kept(grad: Any) -> Any:
    return each(grad, lambda t: t.detach().clone())
