"""An operator is a value: a forward, the backwards written for it, and the inputs that try them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any

RESERVED = ("grad_out", "out", "needs", "into", "steps")
WORDS = {  # that others use for what is called grad_out and out here
    "grad_out": ("g", "dy", "dout", "dz", "grad", "grad_output", "grad_y", "upstream", "grad_loss"),
    "out": ("y", "output", "outputs", "result", "probs", "p"),
}


class BadOp(TypeError):  # noqa: N818 -- says what it is of
    """An operator that cannot be judged as it is written; the message says what to mend."""


@dataclass(frozen=True, eq=False)
class Op:
    """All that the house knows about an operator.

    A backward names the tensors that it needs: any argument of the forward, `out` (the forward's
    result) and `grad_out` (the gradient of the loss with respect to `out`). Its parameter list is
    therefore what a forward pass has to save for it. It returns one gradient per name in `wrt`, in
    that order; a bare tensor where there is one. A backward that takes `needs`, a tuple of bools,
    returns None where `needs` is False and does no work for it. A backward whose name ends in an
    underscore gets a dense `grad_out` of its own, overwrites it with the gradient and returns it.
    One that takes `into`, a tuple of as many tensors or Nones, by default of Nones, writes each
    gradient into the tensor given for it and returns that. One whose name ends in `_and_grad` is
    fused: it returns `(out, grads)`, where grads is what any backward returns; if it ends in
    `_and_grad_`, it overwrites the arguments in `wrt` with their gradients.
    A backward that takes `steps` hands it the gradient of an intermediate of the forward by its
    name, as in `grad_h = steps("h", grad_h)`, and goes on with what it gets back: the same tensor,
    unless `manual-backprop check` looks on.

    Keyword-only parameters are options; they have the same default wherever they appear.

    Attributes:
        forward: tensors -> one tensor; its name is the operator's name.
        backwards: the first is the one that the derivation ends in.
        samples: name -> function of `rand` and axis sizes (parameters with int defaults) that
            returns the forward's arguments, or `(arguments, options)`. `rand(*shape)` draws
            normal numbers, `rand.integers(k, *shape)` draws class indices below k.
        wrt: the arguments that get a gradient.
        oracle: PyTorch's own forward with the forward's parameters, or None: then the reference is
            autograd of `forward` itself, and differences of `forward` the only independent witness.

    Raises:
        BadOp: a field contradicts another, or names what is not there.

    >>> Op(
    ...     forward=relu,
    ...     backwards=(back_relu,),
    ...     samples={"rows": lambda rand, n=11, i=7: (rand(n, i),)},
    ...     wrt=("x",),
    ...     oracle=F.relu,
    ... )
    """

    forward: Callable[..., Any]
    backwards: tuple[Callable[..., Any], ...]
    samples: Mapping[str, Callable[..., Any]]
    wrt: tuple[str, ...]
    oracle: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.forward) or not hasattr(self.forward, "__name__"):
            raise BadOp(f"Op: forward is {self.forward!r}; give the function itself")
        _readable(self.forward, self.name)
        _check_oracle(self)
        _check_wrt(self)
        _check_backwards(self)
        _check_samples(self)

    @property
    def name(self) -> str:
        """The forward's name."""
        return str(getattr(self.forward, "__name__", self.forward))

    @property
    def arguments(self) -> tuple[str, ...]:
        """The forward's tensor arguments, in order."""
        return tuple(
            name
            for name, parameter in signature(self.forward).parameters.items()
            if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
        )

    @property
    def options(self) -> dict[str, Any]:
        """The forward's keyword-only parameters with their defaults."""
        return _options(self.forward)

    def saves(self, backward: Callable[..., Any]) -> tuple[str, ...]:
        """What a forward pass has to keep for this backward, read from its parameter list.

        Raises:
            TypeError, ValueError: it is no function, or does not tell its parameters.
        """
        if is_fused(backward):
            return ()
        asked = set(signature(backward).parameters)
        return tuple(name for name in (*self.arguments, "out") if name in asked)

    def __repr__(self) -> str:
        return f"<Op {self.name}>"


def is_fused(backward: Callable[..., Any]) -> bool:
    """Whether it computes the forward as well, and returns `(out, grads)`: its name says so."""
    return getattr(backward, "__name__", "").rstrip("_").endswith("_and_grad")


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }


def _check_oracle(op: Op) -> None:
    if op.oracle is not None and not callable(op.oracle):
        raise BadOp(
            f"{op.name}: oracle is {op.oracle!r}; "
            "give PyTorch's function, or None where it has none"
        )
    for name, parameter in signature(op.forward).parameters.items():
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise BadOp(
                f"{op.name}: the forward takes *{name}; name each argument, "
                "and pass weights of any number as one tuple"
            )


def _check_wrt(op: Op) -> None:
    if not isinstance(op.wrt, tuple) or not op.wrt:
        raise BadOp(
            f"{op.name}: wrt is {op.wrt!r}; "
            'list the arguments that get a gradient, as in wrt=("x",)'
        )
    if reserved := set(RESERVED) & set(op.arguments):
        raise BadOp(
            f"{op.name}: an argument is called {sorted(reserved)[0]!r}, which for a backward means "
            "something else; give it another name"
        )
    if len(set(op.wrt)) < len(op.wrt):
        raise BadOp(f"{op.name}: wrt is {op.wrt!r}, which names an argument twice")
    for name in op.wrt:
        if name not in op.arguments:
            raise BadOp(
                f"{op.name}: wrt names {name!r}, which is no argument of {op.name}"
                f"({', '.join(op.arguments)}){_did_you_mean([str(name)], op.arguments)}"
            )


def _check_backwards(op: Op) -> None:
    if not isinstance(op.backwards, tuple) or not op.backwards:
        raise BadOp(
            f"{op.name}: backwards is {op.backwards!r}; "
            f"give a tuple of functions, as in backwards=(back_{op.name},)"
        )
    seen: set[str] = set()
    for backward in op.backwards:
        check_backward(op, backward)
        name = backward.__name__
        if name in seen:
            raise BadOp(f"{op.name}: two backwards are called {name}; give each a name of its own")
        seen.add(name)


def check_backward(op: Op, backward: Callable[..., Any]) -> None:
    """Refuse a backward that asks for what no forward pass can give it.

    Raises:
        BadOp: it is no function, or names a parameter that the operator does not have.
    """
    if "ctx" in _parameters(backward) or hasattr(backward, "save_for_backward"):
        raise BadOp(
            f"{op.name}: {getattr(backward, '__qualname__', backward)} belongs to a "
            "torch.autograd.Function; give the class to verify_function, or judge its body: a "
            "function of your own that takes what forward saved in ctx by name, and grad_out, and "
            "returns the gradients of wrt"
        )
    if not callable(backward) or not hasattr(backward, "__name__"):
        raise BadOp(f"{op.name}: {backward!r} in backwards is not a function with a name")
    name = backward.__name__
    _readable(backward, op.name)
    known = (*op.arguments, *op.options, *RESERVED)
    many = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    strange = [
        p for p in signature(backward).parameters.values() if p.name not in known or p.kind in many
    ]
    if strange:
        shown = (repr(str(p).split(":")[0].split("=")[0]) for p in strange)
        raise BadOp(
            f"{op.name}: {name} asks for {' and '.join(shown)}; it can ask for "
            f"{', '.join(known)}{_did_you_mean([p.name for p in strange], known)}"
        )
    if not _takes_names(backward):
        raise BadOp(
            f"{op.name}: {name} is given its arguments by name, and does not take them so; leave "
            "out the / in its parameters, and let a decorator around it pass on **kwargs"
        )
    for option, default in _options(backward).items():
        if option in op.options and repr(default) != repr(op.options[option]):
            raise BadOp(
                f"{op.name}: {name} has {option}={default!r} and the forward has "
                f"{option}={op.options[option]!r}; give both the same default"
            )


def _takes_names(function: Any) -> bool:
    """Whether it, and every decorator around it, takes its arguments by name."""
    while function is not None:
        kinds = set[Any]()
        with suppress(ValueError):  # of compiled code
            own = signature(function, follow_wrapped=False).parameters.values()
            kinds = {parameter.kind for parameter in own}
        if Parameter.POSITIONAL_ONLY in kinds:
            return False
        if Parameter.VAR_POSITIONAL in kinds and Parameter.VAR_KEYWORD not in kinds:
            return False
        function = getattr(function, "__wrapped__", None)
    return True


def _parameters(function: Any) -> tuple[str, ...]:
    with suppress(ValueError, TypeError):
        return tuple(signature(function).parameters)
    return ()


def _check_samples(op: Op) -> None:
    if not isinstance(op.samples, Mapping) or not op.samples:
        raise BadOp(
            f"{op.name}: samples is empty; give at least one, "
            'as in samples={"rows": lambda rand, n=11, i=7: (rand(n, i),)}'
        )
    for name, sample in op.samples.items():
        if callable(sample):
            _readable(sample, f"{op.name}: sample {name!r}")
        if not callable(sample) or not signature(sample).parameters:
            raise BadOp(
                f"{op.name}: sample {name!r} is {sample!r}; "
                "give a function of rand, as in lambda rand, n=11: (rand(n),)"
            )
        for parameter in list(signature(sample).parameters.values())[1:]:
            if not isinstance(parameter.default, int):
                raise BadOp(
                    f"{op.name}: sample {name!r} has a parameter {parameter.name!r} without a "
                    f"size; after rand come axis sizes, as in {parameter.name}=7"
                )


def _readable(function: Callable[..., Any], owner: str) -> None:
    try:
        signature(function)
    except (ValueError, TypeError) as error:
        raise BadOp(
            f"{owner}: {function!r} does not tell its parameters; wrap it in a function of your own"
        ) from error


def _did_you_mean(names: list[str], known: tuple[str, ...]) -> str:
    close = [repr(found) for name in names if (found := _meant(name, known))]
    return f". Did you mean {' and '.join(close)}?" if close else ""


def _meant(name: str, known: tuple[str, ...]) -> str | None:
    """The known name that a strange one stands for: another word, nearly it, or its beginning."""
    for word, others in WORDS.items():
        if name in others and word in known:
            return word
    begin = [other for other in known if name.startswith(other) or other.startswith(name)]
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.5) or begin), None)
