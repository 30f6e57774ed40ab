"""Every operator of the house as an autograd.Function and in torch.library, by PyTorch's checks."""

import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._pytree import tree_flatten, tree_unflatten

from manual_backprop import (
    OPS,
    BadOp,
    Op,
    as_custom_op,
    as_function,
    rounding_budget,
    verify_function,
)
from manual_backprop.judge.draw import ARTICLE
from manual_backprop.op import is_fused
from tests.compiled import drawn, of_leaves

ROOT = Path(__file__).parents[1]
WITHOUT_A_SECOND_DERIVATIVE = {  # PyTorch's kernels that write where they are told have none
    "back_relu_", "back_sigmoid_", "back_tanh_", "back_softmax_",
}  # fmt: skip
EVERY = [
    pytest.param(op, backward, id=backward.__name__) for op in OPS.values()
    for backward in op.backwards if not is_fused(backward)
]  # fmt: skip
SHOWN = {"lin", "nll", "batch_norm", "scalar_net", "sigmoid_mlp"}  # every kind of argument
CHECKED = [
    pytest.param(op, id=name, marks=() if name in SHOWN else pytest.mark.slow)
    for name, op in OPS.items()
]
SOME = [pytest.param(OPS[name], id=name) for name in ("lin", "cross_entropy", "sigmoid_mlp")]


@cache
def registered(op, backward):
    """A name is registered once in a process."""
    return as_custom_op(f"manual_backprop_tests::{backward.__name__}", op, backward)


@pytest.mark.parametrize(("op", "backward"), EVERY)
def test_every_backward_passes_gradcheck_and_gradgradcheck(op, backward):
    leaves, spec, options, _ = drawn(op)
    function = of_leaves(as_function(op, backward), spec, options)

    assert gradcheck(function, leaves, fast_mode=True)
    if backward.__name__ in WITHOUT_A_SECOND_DERIVATIVE:
        with pytest.raises(RuntimeError, match=r"out=\.\.\. arguments don't support automatic"):
            gradgradcheck(function, leaves, fast_mode=True)
    else:
        assert gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.parametrize(("op", "backward"), EVERY)
def test_only_what_the_backward_asks_for_is_saved(op, backward):
    leaves, spec, options, here = drawn(op)
    out = of_leaves(as_function(op, backward), spec, options)(*leaves)

    given = {**here.inputs, "out": out}
    expected = tree_flatten(tuple(given[name] for name in op.saves(backward)))[0]
    saved = out.grad_fn.saved_tensors
    assert [tuple(t.shape) for t in saved] == [tuple(t.shape) for t in expected]


def test_a_wrong_backward_does_not_pass():
    def back_wrong(x, w, grad_out):
        grad_x, grad_w, grad_b = OPS["lin"].backwards[0](x, w, grad_out)
        return grad_x, 2 * grad_w, grad_b

    leaves, spec, options, _ = drawn(OPS["lin"])
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(of_leaves(as_function(OPS["lin"], back_wrong), spec, options), leaves)


@pytest.mark.parametrize("op", CHECKED)
@pytest.mark.filterwarnings("ignore")  # it looks at .grad of what is no leaf
def test_every_operator_passes_opcheck(op):
    leaves, spec, options, _ = drawn(op)
    operator = registered(op, op.backwards[0])

    done = torch.library.opcheck(operator, tree_unflatten(leaves, spec), options)

    assert set(done.values()) == {"SUCCESS"}
    assert len(done) >= 4


@pytest.mark.parametrize("op", SOME)
def test_an_operator_of_torch_library_passes_gradcheck_and_is_batched(op):
    leaves, spec, options, _ = drawn(op)
    function = of_leaves(registered(op, op.backwards[0]), spec, options)
    many = [torch.stack([leaf.detach()] * 3) for leaf in leaves]

    assert gradcheck(function, leaves, fast_mode=True)
    rows = torch.vmap(function)(*many)
    assert torch.equal(rows[2], function(*leaves))


@pytest.mark.parametrize("op", CHECKED)
def test_the_judge_of_functions_has_nothing_to_say_against_it(op):
    (name, sample, *_) = next(item for item in op.samples.items() if item[0] != ARTICLE)
    for function in (as_function(op), registered(op, op.backwards[0])):
        verdict = verify_function(
            function, op.oracle or op.forward, samples={name: sample}, wrt=op.wrt,
            dtypes=(torch.float64, torch.float16), seeds=(0,),
        )  # fmt: skip
        assert verdict.ok, verdict


@pytest.mark.parametrize("op", SOME)
def test_torch_func_goes_through_it(op):
    leaves, spec, options, _ = drawn(op)
    function = of_leaves(as_function(op), spec, options)
    wrt = tuple(i for i, leaf in enumerate(leaves) if leaf.requires_grad)
    others = [drawn(op, seed)[0] for seed in (0, 1, 2)]
    many = [torch.stack([leaf.detach() for leaf in each]) for each in zip(*others, strict=True)]

    rows = torch.vmap(torch.func.grad(lambda *t: function(*t).sin().sum(), wrt))(*many)

    for i, each in enumerate(others):

        def gradients(*t):
            t = [leaf.detach().requires_grad_(i in wrt) for i, leaf in enumerate(t)]
            return torch.autograd.grad(function(*t).sin().sum(), [t[place] for place in wrt])

        budgets = rounding_budget(gradients, each, torch.float64)
        assert all(b.ratio(row[i]) <= 1 for b, row in zip(budgets, rows, strict=True))


def compiled(*names):
    """What is said of each operator compiled, in a process that checks no shapes meanwhile."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.compiled", *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.process
def test_an_operator_compiles_whole_with_its_gradient():
    assert compiled("sigmoid_mlp") == ["sigmoid_mlp: right", "sigmoid_mlp in torch.library: right"]


@pytest.mark.slow
def test_every_operator_compiles_whole_with_its_gradient():
    expected = [f"{name}{how}: right" for name in OPS for how in ("", " in torch.library")]
    assert compiled(*OPS) == expected


def test_it_takes_what_the_forward_takes():
    x, w, b = (torch.randn(shape) for shape in ((11, 7), (7, 5), (5,)))
    lin = as_function(OPS["lin"])
    assert inspect.signature(lin) == inspect.signature(OPS["lin"].forward)
    assert torch.equal(lin(x, w, b), lin(x, b=b, w=w))
    power = as_function(OPS["power"])
    assert torch.equal(power(x, a=2.0), OPS["power"].forward(x, a=2.0))
    with pytest.raises(TypeError, match="lin takes x, w, b; 2 of them are given"):
        lin(x, w)


def test_a_gradient_that_nobody_needs_is_not_computed():
    asked = []

    def back_seen(x, w, grad_out, needs=(True, True, True)):
        asked.append(needs)
        return OPS["lin"].backwards[0](x, w, grad_out, needs)

    x, w, b = torch.randn(11, 7), torch.randn(7, 5).requires_grad_(), torch.randn(5)
    as_function(OPS["lin"], back_seen)(x, w, b).sum().backward()

    assert asked == [(False, True, False)]
    assert w.grad is not None


def test_what_torch_library_cannot_take_is_refused_with_a_sentence():
    def shift(x, *, by=None):
        return x + (by or 0.0)

    def back_shift(grad_out):
        return grad_out.clone()

    op = Op(shift, (back_shift,), {"row": lambda rand, n=11: (rand(n),)}, ("x",))
    with pytest.raises(BadOp, match=r"the option by is None; torch\.library takes"):
        as_custom_op("manual_backprop_tests::shift", op)
    with pytest.raises(BadOp, match="asks for 'z'"):
        as_function(OPS["lin"], lambda z, grad_out: grad_out)
