"""What a first call shows of a function that is to be judged, and what is refused."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from manual_backprop.judge.budget import rounding_budget
from manual_backprop.judge.draw import Rand
from manual_backprop.judge.graph import is_complex
from manual_backprop.judge.memory import memory
from manual_backprop.judge.verdict import Broken, Finding, dtype_name, error_at, first_line
from manual_backprop.judge.view import Pair, is_tensors, row_of
from manual_backprop.op import RESERVED, BadOp

BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
Note = Callable[[Finding], None]


def names_of(functions: tuple[Callable[..., Any], ...], count: int) -> tuple[str, ...]:
    """What the first function that takes so many arguments calls them."""
    for function in functions:
        try:
            parameters = signature(function).parameters.values()
        except (ValueError, TypeError):
            continue
        names = [p.name for p in parameters if p.kind in BY_POSITION]
        if names[:1] == ["ctx"]:
            names = names[1:]
        more = [p.name for p in parameters if p.kind is Parameter.VAR_POSITIONAL]
        if more:
            names += [f"{more[0]}{i}" for i in range(count - len(names))]
        if len(names) >= count:
            return tuple(names[:count])
    return tuple(f"x{i}" for i in range(count))


def probed(pair: Pair, seed: int, wrt: tuple[str, ...] | None, note: Note) -> Pair:
    """The pair with all that its first call shows.

    Raises:
        BadOp: the sample or the reference cannot be used.
        Broken: the function cannot be judged for what it did; with the finding.
    """
    count = len(_drawn(pair, seed, Pair.values)[0])
    told = pair.subject.names[:count]
    names = told or names_of((pair.subject.forward, pair.reference), count)
    pair = replace(pair, names=tuple(f"{name}_" if name in RESERVED else name for name in names))
    arguments = _drawn(pair, seed)
    tensors = tuple(name for name, value in arguments.items() if is_tensors(value))
    floating = tuple(name for name in tensors if _is_floating(arguments[name]))
    if pair.subject.function is not None:  # whose apply looks into no tuple
        floating = tuple(name for name in floating if isinstance(arguments[name], Tensor))
    if not floating:
        raise BadOp(f"{_where(pair)} draws no floating tensor, so there is nothing to derive by")
    for name in (*(wrt or ()), *pair.expected):
        if name not in floating:
            raise BadOp(
                f"{_where(pair)}: {name!r} is no floating tensor of {', '.join(arguments)}; those "
                f"that can get a gradient are {', '.join(floating)}"
            )
    pair = replace(pair, tensors=tensors)
    referred = _referred(pair, arguments)
    given = tree_map(lambda leaf: _moved(leaf, pair.devices[0]), arguments)
    written, call = _first_call(pair, given, floating)
    pair = replace(pair, written=written)
    if len(call.outputs) != len(referred):
        raise _broken(
            pair, "forward", f"returned {len(call.outputs)} outputs, the reference {len(referred)}"
        )
    if is_complex(call.outputs) or is_complex(referred):
        raise BadOp(_refused_complex(pair, "an output"))
    pair = replace(pair, places=_differentiable(pair, call, referred, note))
    _hold_the_others(pair, call, arguments, referred)
    if pair.subject.has_node and call.node is None:
        note(_finding(pair, "not-exercised", "no node of its own stands behind the outputs, so its "
                      "backward is called by the engine only"))  # fmt: skip
        pair = replace(pair, subject=replace(pair.subject, function=None, operator=False))
    if call.node is not None:
        pair = replace(pair, blank=call.handed_over())
    depends = tuple(
        name for name in floating if name in pair.expected or name in _depends(pair, arguments)
    )
    pair = replace(pair, wrt=depends if wrt is None else wrt)
    if not pair.wrt:
        raise BadOp(f"{_where(pair)}: the reference depends on no argument; is it detached?")
    return pair


def wrt_of(pair: Pair, place: int, seed: int) -> tuple[str, ...]:
    """Which of the arguments move one output.

    Raises:
        BadOp: the sample cannot be drawn.
    """
    moving = _depends(replace(pair, places=(place,)), _drawn(pair, seed))
    return tuple(name for name in pair.wrt if name in moving or name in pair.expected)


def _drawn(pair: Pair, seed: int, how: Callable[..., Any] = Pair.drawn) -> Any:
    try:
        arguments = how(pair, Rand(seed, pair.dtypes[0]))
    except ValueError as error:
        raise BadOp(f"{_where(pair)} raised ValueError: {first_line(error)}") from error
    except Exception as error:
        raise BadOp(f"{_where(pair)} raised {error_at(error, pair.draw)}") from error
    if is_complex(tree_leaves(arguments)):
        raise BadOp(_refused_complex(pair, "an argument"))
    return arguments


def _referred(pair: Pair, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    raised = _raised(arguments)
    try:
        first, again = pair.referred(raised), pair.referred(raised)
    except Exception as error:
        raise BadOp(
            f"{_where(pair)}: the reference raised {error_at(error, pair.reference)} in float64 on "
            "the CPU, where the truth is computed"
        ) from error
    if not all(isinstance(out, Tensor) for out in first):
        raise BadOp(f"{_where(pair)}: the reference returned something else than tensors")
    if not all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, again, strict=True)
    ):
        raise BadOp(
            f"{_where(pair)}: the reference gives other numbers when it is called again; "
            "what is random has to be an argument, as a mask that the sample draws"
        )
    return first


def _first_call(pair: Pair, given: dict[str, Any], floating: tuple[str, ...]) -> Any:
    """What the forward writes into and returns, and a call that gives it copies of that."""
    watched = {name: given[name] for name in pair.tensors}
    before = {name: tree_map(memory, value) for name, value in watched.items()}
    kept = {name: tree_map(torch.clone, value) for name, value in watched.items()}
    try:
        with torch.no_grad():
            pair.called(given, ())
        changed = tuple(n for n, v in watched.items() if tree_map(memory, v) != before[n])
        given |= kept
        call = replace(pair, written=changed).called(given, floating)
    except Exception as error:
        said = (
            f"the forward raised {error_at(error, pair.subject.forward)}; mend it, or leave out "
            "what it does not take with dtypes= or devices="
        )
        raise _broken(pair, "raises", said) from error
    returned = [id(out) for out in call.outputs]
    for name in changed:
        if id(call.given[name]) not in returned:
            said = f"the forward writes into {name} without telling autograd"
            remedy = (
                f"call ctx.mark_dirty({name}) and return {name}, or work on a copy"
                if pair.subject.function
                else "work on a copy"
            )
            raise _broken(pair, "mutates", f"{said}; {remedy}")
    if not all(isinstance(out, Tensor) for out in call.outputs):
        what = [type(out).__name__ for out in call.outputs if not isinstance(out, Tensor)]
        raise _broken(pair, "forward", f"the forward returned {what[0]}, not a tensor")
    return changed, call


def _differentiable(pair: Pair, call: Any, referred: tuple[Tensor, ...], note: Note) -> Any:
    """The outputs to judge; what else the reference can differentiate is told."""
    for place, out in enumerate(referred):
        if place in call.differentiable or not _moves(pair, place, call):
            continue
        said = f"output {place} is cut off from the graph"
        if pair.subject.function is not None and call.differentiable:
            note(_finding(pair, "not-exercised", f"output {place} is marked as not differentiable, "
                          "and the reference's is: its gradient is not judged"))  # fmt: skip
        else:
            raise _broken(
                pair,
                "zero",
                f"{said}, so no gradient comes back from it; look for detach, .data, numpy, "
                "torch.no_grad, or a kernel that autograd does not see",
            )
        assert out is not None
    return call.differentiable


def _hold_the_others(
    pair: Pair, call: Any, arguments: dict[str, Any], referred: tuple[Tensor, ...]
) -> None:
    """The outputs that have no gradient are the reference's."""
    for place, (out, true) in enumerate(zip(call.outputs, referred, strict=True)):
        if place in pair.places:
            continue
        right = out.shape == true.shape
        if right and true.is_floating_point() and out.is_floating_point():
            leaves, spec = tree_flatten(_raised(arguments))
            (budget,) = rounding_budget(
                lambda *t, place=place, spec=spec: pair.referred(tree_unflatten(t, spec))[place],
                leaves,
                max(pair.dtypes[0], out.dtype, key=lambda dtype: torch.finfo(dtype).eps),
            )
            right = budget.ratio(out) <= 1
        elif right:
            right = torch.equal(out.cpu().long(), true.long())
        if not right:
            raise _broken(pair, "forward", f"output {place} is not the reference's")


def _moves(pair: Pair, place: int, call: Any) -> bool:
    here = replace(pair, places=(place,), expected={})
    return bool(_depends(here, {**call.given, **call.leaves}))


def _depends(pair: Pair, arguments: Mapping[str, Any]) -> set[str]:
    """The floating arguments of which the reference's outputs, taken together, have a gradient."""
    raised = _raised(arguments)
    names = [name for name in pair.tensors if _is_floating(raised[name])]
    leaves = {n: tree_map(lambda t: t.detach().requires_grad_(), raised[n]) for n in names}
    with torch.enable_grad():
        outputs = pair.referred({**raised, **leaves})
        row = row_of([outputs[place].double() for place in pair.places])
    if not row.requires_grad:
        return set()
    weights = torch.linspace(0.5, 1.5, max(row.numel(), 1), dtype=torch.float64)
    grad_out = weights[: row.numel()].reshape(row.shape)
    flat = tree_leaves(leaves)
    grads = iter(torch.autograd.grad(row, flat, grad_out, allow_unused=True))
    moving = set()
    for name in names:
        found = [next(grads) for _ in tree_leaves(leaves[name])]
        if any(grad is not None and bool(grad.any()) for grad in found):
            moving.add(name)
    return moving


def _raised(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same numbers in float64 on the CPU."""

    def wide(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach().cpu()
        return leaf.double() if leaf.is_floating_point() else leaf

    return {name: tree_map(wide, value) for name, value in arguments.items()}


def _moved(leaf: Any, device: str) -> Any:
    return leaf.to(device) if isinstance(leaf, Tensor) else leaf


def _is_floating(value: Any) -> bool:
    return is_tensors(value) and all(t.is_floating_point() for t in tree_leaves(value))


def _where(pair: Pair) -> str:
    return f"verify_function: {pair.subject.name}: sample {pair.sample!r}"


def _refused_complex(pair: Pair, what: str) -> str:
    return (
        f"{_where(pair)}: {what} is complex; the judge knows real numbers only: judge it as a "
        "function of real and imaginary parts (torch.view_as_real)"
    )


def _finding(pair: Pair, code: str, message: str) -> Finding:
    return Finding(
        pair.subject.name, "", code, message, sample=pair.sample,
        dtype=dtype_name(pair.dtypes[0]), device=pair.devices[0], layout="contiguous",
    )  # fmt: skip


def _broken(pair: Pair, code: str, message: str) -> Broken:
    return Broken(_finding(pair, code, message))
