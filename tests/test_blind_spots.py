"""Wrong backwards that `torch.autograd.gradcheck` lets pass are rejected here, and named."""

import warnings

import pytest
import torch

from manual_backprop.judge.verify import verify
from manual_backprop.op import Op
from manual_backprop.ops.lin import OP as LIN
from manual_backprop.ops.lin import back_lin, lin
from manual_backprop.ops.relu import OP as RELU
from manual_backprop.ops.relu import back_relu


def bias_gradient_not_summed(x, w, grad_out):
    grad_x, grad_w, _ = back_lin(x, w, grad_out)
    return grad_x, grad_w, grad_out.clone()


def gradient_in_float32(x, w, grad_out):
    return tuple(grad.float() for grad in back_lin(x, w, grad_out))


def grad_out_written_to(x, w, grad_out):
    grads = back_lin(x, w, grad_out)
    grad_out *= 2
    return grads


def grad_out_taken_for_contiguous(x, w, grad_out):
    return back_lin(x, w, grad_out.as_strided(grad_out.shape, (grad_out.shape[-1], 1)))


def grad_out_squared(x, w, grad_out):
    return back_lin(x, w, grad_out**2)


def grad_out_absolute(x, w, grad_out):
    return back_lin(x, w, grad_out.abs())


def grad_out_rectified(x, w, grad_out):
    return back_lin(x, w, grad_out.relu())


def grad_out_only_a_switch(x, w, grad_out):
    return back_lin(x, w, (grad_out != 0).to(x.dtype))


def kink_on_the_other_side(x, grad_out):
    return back_relu(x, grad_out) + (x == 0) * grad_out


def remembers_by_identity():
    seen = {}

    def weight_remembered_by_identity(x, w, grad_out):
        return back_lin(x, seen.setdefault(id(w), (w, w.clone()))[1], grad_out)

    return weight_remembered_by_identity


def one_buffer_for_every_call():
    buffers = {}

    def result_overwritten_by_the_next_call(x, w, grad_out):
        grads = back_lin(x, w, grad_out)
        kept = buffers.setdefault(x.shape, grads)
        for old, new in zip(kept, grads, strict=True):
            old.copy_(new)
        return kept

    return result_overwritten_by_the_next_call


def one_wrong_entry(x, w, grad_out):
    grad_x, grad_w, grad_b = back_lin(x, w, grad_out)
    grad_w[0, -1] += 3e-4 * grad_w[0, -1]
    return grad_x, grad_w, grad_b


def function_of(forward, backward, arguments):
    """The hand-written pair as an autograd.Function, as gradcheck wants it."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx, grad_out):
            return backward(*ctx.saved_tensors[: len(arguments)], grad_out)

    return Function.apply


@pytest.mark.parametrize(
    ("wrong", "code", "fast_too"),
    [
        (bias_gradient_not_summed, "not-reduced", True),
        (gradient_in_float32, "dtype", True),
        (grad_out_written_to, "mutates", False),
        (grad_out_taken_for_contiguous, "layout", True),
        (grad_out_squared, "not-linear", False),
        (grad_out_absolute, "not-linear", True),
        (grad_out_rectified, "not-linear", True),
        (grad_out_only_a_switch, "ignores-grad-out", False),
        (remembers_by_identity(), "stateful", True),
        (one_wrong_entry, "unknown", True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_gradcheck_passes_it_and_the_judge_does_not(wrong, code, fast_too):
    generator = torch.Generator().manual_seed(0)
    shapes = (11, 7), (7, 5), (5,)
    inputs = [
        torch.randn(s, dtype=torch.float64, generator=generator).requires_grad_() for s in shapes
    ]
    apply = function_of(lin, wrong, ("x", "w"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.autograd.gradcheck(apply, inputs)
        if fast_too:
            assert torch.autograd.gradcheck(apply, inputs, fast_mode=True)

    verdict = verify(LIN, wrong, samples=["rows"], dtypes=[torch.float64])

    assert [finding.code for finding in verdict.findings] == [code]


def test_a_backward_that_keeps_something_is_told_what():
    for wrong, said in (
        (remembers_by_identity(), "other numbers written into the same tensors give another"),
        (one_buffer_for_every_call(), "the first call was overwritten by a later one"),
    ):
        (finding,) = verify(LIN, wrong, samples=["rows"], dtypes=[torch.float64]).findings
        assert finding.code == "stateful"
        assert said in finding.message


def test_gradcheck_never_meets_a_kink():
    x = torch.randn(11, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(function_of(torch.relu, kink_on_the_other_side, ("x",)), (x,))

    verdict = verify(RELU, kink_on_the_other_side, dtypes=[torch.float64])

    assert {finding.code for finding in verdict.findings} == {"kink"}


def test_gradcheck_compares_nothing_on_empty_tensors():
    def wrong_when_empty(x, w, grad_out):
        grad_x, grad_w, grad_b = back_lin(x, w, grad_out)
        return grad_x, grad_w, grad_b if len(x) else grad_out.clone()

    inputs = [torch.randn(s, dtype=torch.float64).requires_grad_() for s in ((0, 7), (7, 5), (5,))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apply = function_of(lin, wrong_when_empty, ("x", "w"))
        assert torch.autograd.gradcheck(apply, inputs)

    verdict = verify(LIN, wrong_when_empty, samples=["rows"], dtypes=[torch.float64])

    assert [finding.code for finding in verdict.findings] == ["not-reduced"]


def test_gradcheck_fast_mode_misses_one_large_wrong_entry():
    def square(x):
        return x * x

    def back_square(x, grad_out):
        return 2 * x * grad_out

    def back_square_spoiled(x, grad_out):
        grad = 2 * x * grad_out
        grad[0] += 0.9 * grad_out[-1]
        return grad

    op = Op(
        forward=square,
        backwards=(back_square,),
        samples={"long": lambda rand, n=997: (rand(n),)},
        wrt=("x",),
        oracle=torch.square,
    )
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(997, dtype=torch.float64, generator=generator).requires_grad_()
    apply = function_of(square, back_square_spoiled, ("x",))
    assert torch.autograd.gradcheck(apply, (x,), fast_mode=True)

    assert verify(op, dtypes=[torch.float64]).ok
    assert not verify(op, back_square_spoiled, dtypes=[torch.float64]).ok
