"""The forward is the oracle's function: in values and type, and in its slopes."""

from collections.abc import Iterator

import torch

from manual_backprop.judge.draw import Variant, arranged, each
from manual_backprop.judge.memory import memory
from manual_backprop.judge.point import Point
from manual_backprop.judge.result import finite_or_true, flat_named
from manual_backprop.judge.trial import forward_out
from manual_backprop.judge.verdict import Finding, dtype_name, error_at
from manual_backprop.judge.witnesses import disagreement
from manual_backprop.op import Op


def fault(
    op: Op, code: str, message: str, variant: Variant, dtype: torch.dtype, device: str
) -> Finding:
    """A finding against the forward, which condemns all its backwards."""
    return Finding(
        op.name, "", code, message, sample=variant.name, dtype=dtype_name(dtype),
        device=device, layout="contiguous",
    )  # fmt: skip


def unlike_the_oracle(here: Point, device: str) -> Finding | None:
    """What is wrong with the forward's values, type or manners; None where it is the oracle's."""
    given = {
        name: each(value, lambda t: arranged(t.to(device), "contiguous"))
        for name, value in here.inputs.items()
    }
    before = {name: memory(value) for name, value in flat_named(given)}
    truth, code = here.out.truth, "forward"
    try:
        out = forward_out(here, given)
    except Exception as error:
        code = "raises"
        message = (
            f"the forward raised {error_at(error, here.op.forward)}; mend it, or leave out "
            "what it does not take with dtypes= or devices="
        )
    else:
        if not isinstance(out, torch.Tensor):  # a forward of another author
            message = f"the forward returned {type(out).__name__}, not a tensor"
        elif out.shape != truth.shape or out.dtype is not here.dtype:
            message = (
                f"the forward returned {dtype_name(out.dtype)} {tuple(out.shape)}, the oracle "
                f"{dtype_name(here.dtype)} {tuple(truth.shape)}"
            )
        elif any(memory(value) != before[name] for name, value in flat_named(given)):
            code = "mutates"
            message = "the forward writes to what it is given; work on a copy"
        elif (ratio := here.out.ratio(finite_or_true(out, here))) > 1:
            message = (
                f"the forward is off from the oracle by {ratio:.3g} times what rounding explains; "
                "until they agree no gradient can be judged"
            )
        else:
            return None
    return fault(here.op, code, message, here.variant, here.dtype, device)


def unlike_its_slopes(here: Point) -> Iterator[Finding]:
    """Slopes of the forward disagree with autograd of the oracle, or none could be had (a note)."""
    found, silent = disagreement(
        here.own_forward,
        here.raised,
        here.places,
        here.grad_out.double(),
        [budget.truth for budget in here.grads],
        torch.Generator().manual_seed(here.seed),
    )
    if found is not None:
        label = here.labels[here.places.index(found.place)]
        whose, ask = "the oracle", "is the forward the oracle's function?"
        if here.op.oracle is None:
            whose, ask = "the forward", "does it jump there, or detach() what depends on it?"
        message = (
            f"the witnesses disagree about {label}: autograd of {whose} says "
            f"{found.autograd:.12g} along a line, the forward's slope is {found.slope:.12g}, "
            f"and {found.allowed:.1e} is allowed; {ask}"
        )
        yield fault(here.op, "witnesses", message, here.variant, here.dtype, "cpu")
    for place in silent:
        yield Finding(
            here.op.name, here.labels[here.places.index(place)], "not-exercised",
            "no slope could be had to hold autograd to: the forward is too rough here",
            sample=here.variant.name, dtype="float64",
        )  # fmt: skip
