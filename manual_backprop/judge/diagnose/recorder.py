"""Runs a forward and writes down its steps, the compound ones as what they consist of."""

import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from inspect import getsourcefile, unwrap
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from manual_backprop.judge.diagnose.tape import Step, Tape
from manual_backprop.judge.noise import Watch

aten = torch.ops.aten
LONGEST = 400  # steps; a forward of more is a loop, and its replay no longer a matter of a second
CONSTANT = ("detach", "zeros_like", "ones_like", "empty_like", "full_like")


class Unrecordable(Exception):  # noqa: N818 -- not an error of the judge's
    """The forward cannot be replayed from what was recorded; the message says why."""


def record(
    forward: Callable[..., Tensor],
    leaves: Sequence[Tensor],
    names: Sequence[str],
    wrt: Sequence[int],
    grad_out: Tensor,
    file_of: Callable[..., Any] | None,
    *,
    split: int = 0,
) -> Tape:
    """The tape of one forward.

    Args:
        forward: of the leaves.
        leaves: float64 or integer tensors, on the CPU.
        names: one for each leaf.
        wrt: which leaves get a gradient.
        grad_out: float64, of the result's shape.
        file_of: a function, lines of whose file `Step.line` quotes; None to quote none.
        split: 0 records log_softmax, normalisations and losses as the one step that they are; 1
            records the steps that they consist of, softmax being one; 2 softmax too, as
            exponentials and sums without the shift by the largest entry. (With it, whatever is
            left out of the sum leaks into the largest entry, and looks like nobody's mistake.)

    Raises:
        Unrecordable: it writes into views, is too long, or its result is not on the tape.
        Exception: whatever the forward raises.
    """
    recorder = _Recorder(leaves, names, split, _file(file_of) if file_of else "")
    with torch.no_grad(), recorder:
        out = forward(*recorder.leaves)
    if id(out) not in recorder.known:
        raise Unrecordable("the result is no tensor that an operation of PyTorch's gave")
    return Tape(recorder.steps, recorder.known[id(out)], list(wrt), grad_out)


class _Recorder(Watch):
    def __init__(
        self, leaves: Sequence[Tensor], names: Sequence[str], split: int, file: str
    ) -> None:
        super().__init__()
        self.leaves = [leaf.clone() for leaf in leaves]
        self.steps = [
            Step(None, name, leaf.clone()) for name, leaf in zip(names, self.leaves, strict=True)
        ]
        self.known = {id(leaf): i for i, leaf in enumerate(self.leaves)}
        self.alive: list[Any] = [*self.leaves]
        self.split = _STEPS[split]
        self.file = file

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.split:
            with self:
                return self.split[func](*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if func._schema.is_mutable:
            return self._in_place(func, name, args, kwargs)
        result = func(*args, **kwargs)
        many = isinstance(result, (tuple, list))
        for place, value in enumerate(result if many else (result,)):
            if isinstance(value, Tensor):
                self._step(func, name, args, kwargs, value, place if many else None)
        return result

    def _step(
        self, func: Any, name: str, args: Any, kwargs: Any, value: Tensor, place: int | None
    ) -> None:
        if id(value) in self.known:
            return
        flat, spec = tree_flatten((args, kwargs))
        slots = [i for i, leaf in enumerate(flat) if isinstance(leaf, Tensor)]
        sources = tuple(self._source(flat[slot]) for slot in slots)
        if len(self.steps) >= LONGEST:
            raise Unrecordable(f"it takes more than {LONGEST} steps")
        self.known[id(value)] = len(self.steps)
        self.alive.append(value)
        if name in CONSTANT or not sources:
            self.steps.append(Step(None, "", value.clone()))
            return
        held = tuple(None if i in slots else leaf for i, leaf in enumerate(flat))
        self.steps.append(
            Step(
                _picked(func, place),
                name,
                value.clone(),
                held,
                spec,
                tuple(slots),
                sources,
                self._line(),
            )
        )

    def _in_place(self, func: Any, name: str, args: Any, kwargs: Any) -> Tensor:
        """The same step out of place, after which the tensor goes by the new value."""
        written: Tensor = args[0]
        twin = getattr(getattr(aten, name.removesuffix("_"), None), func._overloadname, None)
        place = written.untyped_storage().data_ptr() if isinstance(written, Tensor) else 0
        beside = sum(t.untyped_storage().data_ptr() == place for t in self.alive)
        if twin is None or not name.endswith("_") or beside > 1:
            raise Unrecordable(f"{func} writes into memory that is in use elsewhere")
        before = self._source(written)
        func(*args, **kwargs)
        del self.known[id(written)]
        steps = len(self.steps)
        kept = dict(self.known)
        self.known[id(written)] = before
        self._step(twin, name.removesuffix("_"), args, kwargs, written.clone(), None)
        self.known = {**kept, id(written): steps}
        return written

    def _source(self, tensor: Tensor) -> int:
        if id(tensor) not in self.known:
            self.known[id(tensor)] = len(self.steps)
            self.alive.append(tensor)
            self.steps.append(Step(None, "", tensor.clone()))
        return self.known[id(tensor)]

    def _line(self) -> str:
        for code, number in _callers():
            if code.co_filename == self.file:
                return f"{number}: {linecache.getline(self.file, number).strip()}"
        return ""


def _callers() -> Iterator[tuple[Any, int]]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame.f_code, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]


def _file(function: Callable[..., Any]) -> str:
    try:
        file = getsourcefile(unwrap(function)) or ""
    except TypeError:
        return ""
    return "" if Path(torch.__file__).parent in Path(file).parents else file


def _picked(func: Any, place: int | None) -> Callable[..., Tensor]:
    return func if place is None else lambda *args, **kwargs: func(*args, **kwargs)[place]


def _no_scales(scales: dict[str, Any]) -> Tensor:
    raise Unrecordable(f"a product with {scales}")


def _softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:  # noqa: ARG001
    e = x.exp()
    return e / e.sum(dim, keepdim=True)


def _log_softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:  # noqa: ARG001
    return x - x.exp().sum(dim, keepdim=True).log()


def _logsumexp(x: Tensor, dim: Sequence[int], keepdim: bool = False) -> Tensor:
    return x.exp().sum([*dim], keepdim=keepdim).log()


def _mse_loss(x: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    squares = (x - target) ** 2
    return (squares, squares.mean(), squares.sum())[reduction] if reduction else squares


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = tuple(range(-len(shape), 0))
    out, mean, scale = _normalised(x, axes, eps)
    out = out if weight is None else out * weight
    return (out if bias is None else out + bias), mean, scale


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    eps = rest[-1]
    axes = (0, *range(2, x.dim()))
    wide = (1, -1, *(1,) * (x.dim() - 2))
    out, mean, scale = _normalised(x, axes, eps)
    out = out if weight is None else out * weight.reshape(wide)
    return (out if bias is None else out + bias.reshape(wide)), mean, scale


def _normalised(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    count = prod(x.shape[axis] for axis in axes)
    mean = x.sum(axes, keepdim=True) / count
    centred = x - mean
    scale = ((centred * centred).sum(axes, keepdim=True) / count + eps).rsqrt()
    return centred * scale, mean, scale


_PRODUCTS = {
    aten.addmm.default: lambda b, x, y, **scales: b + x @ y if not scales else _no_scales(scales),
    aten.addmv.default: lambda b, x, y, **scales: b + x @ y if not scales else _no_scales(scales),
    aten.baddbmm.default: lambda b, x, y, **s: b + x @ y if not s else _no_scales(s),
}
_BY_SOFTMAX = {
    aten._log_softmax.default: lambda x, dim, _half: torch.softmax(x, dim).log(),
}
_BY_EXP = {aten._softmax.default: _softmax, aten._log_softmax.default: _log_softmax}
_SPLIT: dict[Any, Callable[..., Any]] = {
    aten.logsumexp.default: _logsumexp,
    aten.mse_loss.default: _mse_loss,
    aten.native_layer_norm.default: _layer_norm,
    aten.native_batch_norm.default: lambda x, w, b, _m, _v, _t, _mom, eps: _batch_norm(
        x, w, b, eps
    ),
}


def place_of(line: str, file: Callable[..., Any]) -> str:
    """As in "my_ops.py:12: h = x @ w"."""
    return f"{Path(_file(file)).name}:{line}" if line else ""


_STEPS: tuple[dict[Any, Callable[..., Any]], ...] = (
    _PRODUCTS,
    {**_PRODUCTS, **_SPLIT, **_BY_SOFTMAX},
    {**_PRODUCTS, **_SPLIT, **_BY_EXP},
)
