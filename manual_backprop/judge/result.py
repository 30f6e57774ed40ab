"""What a backward returned, held to what needs no truth: how many, of what type and shape."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from manual_backprop.judge.memory import overlap
from manual_backprop.judge.shapes import out_of_order, wrong_shape
from manual_backprop.judge.verdict import Broken, Finding, dtype_name

if TYPE_CHECKING:
    from manual_backprop.judge.point import Point
    from manual_backprop.judge.trial import Trial


def formed(trial: "Trial", result: Any) -> tuple[Tensor, ...]:
    """The gradients, one per label of the point, each of the shape of what it is the gradient of.

    Raises:
        Broken: their number, or the type, shape, dtype or device of one of them, is wrong.
    """
    wrt = trial.point.op.wrt
    if result is None:
        code = "arity" if len(wrt) > 1 else "not-a-tensor"
        raise Broken(trial.finding(code, "returned None; did you forget return?"))
    many = len(wrt) > 1 and isinstance(result, (tuple, list))
    results = tuple(result) if many else (result,)
    if len(results) != len(wrt):
        raise Broken(
            trial.finding(
                "arity",
                f"returned {len(results)} gradient{'' if len(results) == 1 else 's'}, "
                f"and {_listed(wrt)} are due",
            )
        )
    flat_results: list[Any] = []
    for name, value in zip(wrt, results, strict=True):
        parts = trial.point.inputs[name]
        if isinstance(parts, tuple):
            if not isinstance(value, (tuple, list)) or len(value) != len(parts):
                raise Broken(
                    trial.finding(
                        "arity",
                        f"is {_kind(value)}, and {name} is a tuple of {len(parts)} tensors: "
                        f"return a tuple of {len(parts)} gradients in its place"
                        + (f"; in order, {_listed(wrt)} are due" if len(wrt) > 1 else ""),
                        f"grad_{name}",
                    )
                )
            flat_results += value
        else:
            flat_results.append(value)
    for label, value, budget in zip(
        trial.point.labels, flat_results, trial.point.grads, strict=True
    ):
        _like(trial, label, value, budget.truth, flat_results)
    return tuple(flat_results)


def grads_of_fused(trial: "Trial", result: Any, given: dict[str, Any]) -> Any:
    """The gradients of a fused kernel's `(out, grads)`, once its out is the forward's.

    Raises:
        Broken: it is no such pair, or out is another than the forward's or shares memory.
    """
    here = trial.point
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], Tensor):
        said = f"returned {_kind(result)}; a fused kernel returns (out, grads), out a tensor"
        raise Broken(trial.finding("arity", said))
    out, grads = result
    truth = here.out.truth
    if out.shape != truth.shape or out.dtype is not here.dtype:
        said = (
            f"out is {dtype_name(out.dtype)} {tuple(out.shape)}, and the forward's "
            f"{dtype_name(here.dtype)} {tuple(truth.shape)}"
        )
        raise Broken(trial.finding("forward", said))
    others = flat_named({name: value for name, value in given.items() if flat(value)})
    for name, other in [*others, *(("its gradient", grad) for grad in flat(grads))]:
        if overlap(out, other):
            said = f"out shares memory with {name}; return a tensor of its own"
            raise Broken(trial.finding("aliases", said))
    if out.is_meta or (ratio := here.out.ratio(finite_or_true(out, here))) <= 1:
        return grads
    said = f"out is off from the oracle by {ratio:.3g} times what rounding explains"
    raise Broken(trial.finding("forward", said))


def finite_or_true(out: Tensor, here: "Point") -> Tensor:
    """An output, with the truth where PyTorch's own overflows in this dtype too."""
    if out.isfinite().all():
        return out
    native = here.reference(here.grad_out, here.dtype)[0]
    return torch.where(native.isfinite(), out.cpu().double(), here.out.truth)


def needed(
    trial: "Trial", result: Any, needs: tuple[bool, ...]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Of a call with `needs`: label, gradient and the first call's of that shape, where needed.

    Raises:
        Broken: it is not one tensor or None for each argument, as `needs` has it.
    """
    wrt = trial.point.op.wrt
    results = result if len(wrt) > 1 else (result,)
    if not isinstance(results, (tuple, list)) or len(results) != len(wrt):
        said = f"did not return {len(wrt)} values for needs={needs}; None where nobody needs it"
        raise Broken(trial.finding("arity", said))
    full = iter(zip(trial.point.labels, trial.grads, trial.point.grads, strict=True))
    for name, need, value in zip(wrt, needs, results, strict=True):
        parts = trial.point.inputs[name]
        values = value if isinstance(parts, tuple) and need else (value,) * len(flat(parts))
        if not need and value is not None:
            raise Broken(trial.finding("arity", f"is not None for needs={needs}", f"grad_{name}"))
        for part, (label, grad, budget) in zip(values, full, strict=False):
            if need:
                _like(trial, label, part, budget.truth)
                yield label, part, grad


def _like(
    trial: "Trial", label: str, value: Any, truth: Tensor, results: Sequence[Any] = ()
) -> None:
    if not isinstance(value, Tensor):
        if isinstance(value, int | float):
            said = _plain_number(label, value, truth)
        else:
            said = f"is {_kind(value)}, not a tensor{_remedy(value)}"
        raise Broken(trial.finding("not-a-tensor", said, label))
    if value.shape != truth.shape:
        raise Broken(_misshapen(trial, label, value, truth, results))
    if value.dtype is not trial.point.dtype:
        raise Broken(
            trial.finding(
                "dtype",
                f"is {dtype_name(value.dtype)}, and what it is the gradient of is "
                f"{dtype_name(trial.point.dtype)}",
                label,
            )
        )
    if value.device.type != torch.device(trial.device).type:
        raise Broken(
            trial.finding("device", f"lies on {value.device}, not on {trial.device}", label)
        )


def _listed(wrt: Sequence[str]) -> str:
    """As in "grad_x, grad_w and grad_b"."""
    *rest, last = (f"grad_{name}" for name in wrt)
    return f"{', '.join(rest)} and {last}" if rest else last


def _kind(value: Any) -> str:
    """What a result is, as in "a tuple of 2"."""
    if value is None:
        return "None"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"


def _remedy(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "; return the tensor alone"
    if isinstance(value, np.ndarray | np.generic):
        return "; compute with torch, without .numpy(), or end in torch.from_numpy(...)"
    return ""


def _plain_number(label: str, value: float, truth: Tensor) -> str:
    made = "; if .item() or float() made it, leave that out" if isinstance(value, float) else ""
    return (
        f"is a plain number, where {label.removeprefix('grad_')}'s gradient is a tensor of shape "
        f"{tuple(truth.shape)}; if it is the local slope, multiply it by grad_out{made}"
    )


def _misshapen(
    trial: "Trial", label: str, value: Tensor, truth: Tensor, results: Sequence[Any]
) -> Finding:
    got, expected = tuple(value.shape), tuple(truth.shape)
    if name := itself(value, trial.given):
        said = (
            f"is {name} itself, of shape {got} and not {expected}: if that is the local slope, "
            "multiply it by grad_out, by * or @ as the shapes ask"
        )
        return trial.finding("ignores-grad-out", said, label)
    given = {**dict(flat_named(trial.given)), "grad_out": trial.grad_out}
    others = {name: tuple(t.shape) for name, t in given.items() if f"grad_{name}" != label}
    code, hint = wrong_shape(got, expected, others, trial.point.op.wrt)
    if code != "transposed":
        wanted = {
            name.removeprefix("grad_"): tuple(budget.truth.shape)
            for name, budget in zip(trial.point.labels, trial.point.grads, strict=True)
        }
        found = [tuple(result.shape) for result in results if isinstance(result, Tensor)]
        if swapped := out_of_order(found, wanted):
            code, hint = "shape", swapped
    return trial.finding(code, f"has shape {got}, not {expected}{hint}", label)


def itself(value: Tensor, given: dict[str, Any]) -> str:
    """What was given and has the very numbers of a gradient, as in "w" and "w.T"; or empty."""
    if value.is_meta or not value.any():
        return ""
    for name, tensor in flat_named(given):
        if (tensor.dtype, tensor.device) == (value.dtype, value.device):
            if torch.equal(value, tensor):
                return name
            if tensor.dim() == 2 and torch.equal(value, tensor.T):
                return f"{name}.T"
    return ""


def flat_named(given: dict[str, Any]) -> list[tuple[str, Tensor]]:
    """Every tensor, of any shape, with its name, those of a tuple as in "weights[0]"."""
    named: list[tuple[str, Tensor]] = []
    for name, value in given.items():
        if isinstance(value, tuple):
            named += [(f"{name}[{i}]", tensor) for i, tensor in enumerate(value)]
        else:
            named.append((name, value))
    return named


def flat(result: Any) -> list[Tensor]:
    """The tensors of a backward's result, of any shapes, in order."""
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
