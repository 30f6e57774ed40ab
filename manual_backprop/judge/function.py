"""The judge's door for what autograd calls: an autograd.Function, an operator, any function."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, Literal

import torch

from manual_backprop.judge import asked
from manual_backprop.judge.exercised import watched
from manual_backprop.judge.function_walk import FunctionWalk
from manual_backprop.judge.graph import subject
from manual_backprop.judge.verdict import Verdict
from manual_backprop.judge.verify import DTYPES, SEEDS, checked_grid, exact_products, fixed_order
from manual_backprop.judge.view import Pair
from manual_backprop.judge.walk import is_pytorchs
from manual_backprop.op import BadOp


def verify_function(
    function: Any,
    reference: Callable[..., Any],
    *,
    samples: Mapping[str, Callable[..., Any]] | Callable[..., Any],
    wrt: Sequence[str] | str | None = None,
    expected_grad: Mapping[str, Callable[..., Any]] | None = None,
    dtypes: Sequence[torch.dtype] | torch.dtype = DTYPES,
    devices: Sequence[str | torch.device] | str | torch.device = ("cpu",),
    seeds: Sequence[int] | int = SEEDS,
    kinks: Literal["note", "reject"] = "note",
) -> Verdict:
    """Hold a function and its gradients to a reference, through autograd and past it.

    The backward of an autograd.Function, and of an operator with a registered one, is called as it
    is written, on a ctx that a real forward made, and held to all that `verify` asks of a backward;
    then once more through the engine. Of any other function autograd's gradient is judged. Several
    outputs are judged together and each alone, the others without a grad_out. Beyond `verify`,
    every subset of what may need a gradient is tried, a second backward through one graph, no
    grad_out at all, and a change in place between forward and backward.

    What the engine mends on the way (it sums what was not reduced, and casts) is a finding of the
    direct call and a note of the engine's.

    Args:
        function: a `torch.autograd.Function` or its `apply`, an operator of `torch.library`, or
            a function of tensors that autograd can differentiate. What is random in it has to be an
            argument. It may write into an argument if it returns it (and calls `ctx.mark_dirty`).
        reference: the same function of the same arguments, made of PyTorch's own. It is run in
            float64 on the CPU, whatever `function` can run in, and writes into nothing.
        samples: name -> function of `rand` and axis sizes that returns the arguments by position,
            or `(arguments, options)` with options by keyword; or one such function. Arguments that
            are no tensors are passed on as they are.
        wrt: names of the arguments that get a gradient, or one; by default those floating tensors
            on which the reference depends. Of the others it is asked that none comes.
        expected_grad: argument -> a function that returns the gradient that is wanted there in
            place of the derivative, as of a straight-through estimator or a gradient reversal. It
            names what it needs: arguments, `out`, `grad_out` (tuples where there are several
            outputs): `{"x": lambda grad_out: -grad_out}`.
        dtypes: floating dtypes that `function` can run in, or one.
        devices: as in "cpu" and "cuda", or one; the truth is always computed on the CPU.
        seeds: each draws every sample anew; or one.
        kinks: what another slope than the reference's exactly on a kink is; where the reference is
            a function of PyTorch, it is wrong in any case.

    Raises:
        BadOp: the function, the reference or a sample cannot be used; with what to mend.
        ValueError: a device or a dtype is not there.

    >>> verify_function(
    ...     Swish, torch.nn.functional.silu, samples=lambda rand, n=11: (rand(n),)
    ... ).raise_if_wrong()
    """
    of = subject(function)
    if not callable(reference):
        raise BadOp(f"verify_function: the reference is {reference!r}; give a function")
    dtypes, devices, seeds = checked_grid("verify_function", dtypes, devices, seeds)
    if wrt is not None:
        wrt = asked.several("verify_function", "wrt", wrt, asked.name)
    named = samples if isinstance(samples, Mapping) else {"sample": samples}
    if not named:
        raise BadOp("verify_function: samples is empty, so there is nothing to judge")
    walk = FunctionWalk(Verdict(of.name, {}), devices, seeds,
                   "reject" if is_pytorchs(reference) else kinks)  # fmt: skip
    own = {f"{of.name}.backward": of.backward} if of.backward is not of.forward else {}
    with watched(own) as exercised, exact_products(), fixed_order(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an empty batch, say, which the author did not ask for
        for name, draw in named.items():
            _check_sample(of.name, name, draw)
            pair = Pair(
                of, reference, name, draw, dict(expected_grad or {}), dtypes,
                tuple(torch.device(device).type for device in devices),
            )  # fmt: skip
            walk.sample(pair, wrt)
    walk.verdict.notes += exercised.notes() if walk.verdict.ok else ()
    return walk.verdict


def _check_sample(name: str, sample: str, draw: Any) -> None:
    if not callable(draw) or not any(
        p.kind is not Parameter.KEYWORD_ONLY for p in signature(draw).parameters.values()
    ):
        raise BadOp(
            f"verify_function: {name}: sample {sample!r} is {draw!r}; "
            "give a function of rand, as in lambda rand, n=11: (rand(n),)"
        )
