"""An operator that is written wrongly stops with a sentence that says what to mend."""

import functools

import pytest
import torch
import torch.nn.functional as F

from manual_backprop.judge.verify import verify
from manual_backprop.op import BadOp, Op
from tests.functions import Square
from tests.squares import back_square, op


def test_a_good_one_is_right_without_a_word():
    verdict = verify(op())
    assert verdict.ok, str(verdict)
    assert not verdict.notes
    assert verdict.saves == {"back_square": ("x",)}


def asks_for_weight(weight, grad_out):
    return grad_out


def takes_anything(*args):
    return args[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"forward": 3}, ["forward", "3"]),
        ({"forward": lambda *x: x}, ["*x", "tuple"]),
        ({"oracle": 3}, ["oracle", "None"]),
        ({"wrt": ()}, ["wrt", "square"]),
        ({"wrt": "x"}, ["wrt", "('x',)".replace("'", '"')]),
        ({"wrt": ("X",)}, ["'X'", "square(x)"]),
        ({"backwards": ()}, ["backwards", "back_square"]),
        ({"backwards": (back_square, back_square)}, ["two", "back_square"]),
        ({"backwards": (asks_for_weight,)}, ["asks_for_weight", "'weight'", "x, grad_out, out"]),
        ({"backwards": (takes_anything,)}, ["takes_anything", "*args"]),
        ({"backwards": (3,)}, ["3", "function"]),
        ({"samples": {}}, ["samples"]),
        ({"samples": {"rows": 3}}, ["'rows'", "rand"]),
        ({"samples": {"rows": lambda rand, n: (rand(n),)}}, ["'rows'", "'n'", "size"]),
    ],
)
def test_a_bad_field_is_named_with_its_remedy(changed, words):
    with pytest.raises(BadOp) as caught:
        op(**changed)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"forward": torch.square}, "wrap it"),
        ({"backwards": (torch.mul,)}, "wrap it"),
        ({"samples": {"rows": torch.rand}}, "wrap it"),
        ({"wrt": (3,)}, "wrt names 3"),
        ({"wrt": ("x", "x")}, "twice"),
        ({"forward": lambda out: out, "wrt": ("out",)}, "'out'"),
    ],
)
def test_more_that_is_refused_with_a_sentence(fields, words):
    with pytest.raises(BadOp, match=words):
        op(**fields)


def test_a_misspelt_argument_gets_the_nearest_name():
    def back_mse(pred, targt, grad_out):
        return grad_out

    with pytest.raises(BadOp, match="Did you mean 'target'"):
        op(
            forward=lambda pred, target: (pred - target).pow(2).mean(),
            backwards=(back_mse,),
            wrt=("pred",),
            oracle=F.mse_loss,
        )


def test_an_option_has_one_default():
    def scale(x, *, by=2.0):
        return x * by

    def back_scale(grad_out, *, by=3.0):
        return grad_out * by

    with pytest.raises(BadOp, match=r"by=3\.0.*by=2\.0"):
        op(forward=scale, backwards=(back_scale,), oracle=None)


def test_options_reach_forward_backward_and_oracle():
    def scale(x, *, by=2.0):
        return x * by

    def back_scale(grad_out, *, by=2.0):
        return grad_out * by

    def back_scale_twice(grad_out):
        return grad_out * 2.0

    samples = {
        "plain": lambda rand, n=11: (rand(n),),
        "three": lambda rand, n=7: ((rand(n),), {"by": 3.0}),
    }
    scaled = op(forward=scale, backwards=(back_scale,), oracle=None, samples=samples)
    assert verify(scaled).ok
    assert verify(scaled, back_scale_twice, samples=["plain"]).ok
    assert not verify(scaled, back_scale_twice, samples=["three"]).ok


def test_a_tuple_of_weights_gets_a_tuple_of_gradients():
    def chain(x, weights):
        for w in weights:
            x = x @ w
        return x

    def back_chain(x, weights, grad_out):
        first, second = weights
        grad_second = (x @ first).T @ grad_out
        grad_first = x.T @ (grad_out @ second.T)
        return grad_out @ second.T @ first.T, (grad_first, grad_second)

    def back_chain_swapped(x, weights, grad_out):
        grad_x, (grad_first, grad_second) = back_chain(x, weights, grad_out)
        return grad_x, (grad_second, grad_first)

    def back_chain_short(x, weights, grad_out):
        return back_chain(x, weights, grad_out)[0], ()

    chained = Op(
        forward=chain,
        backwards=(back_chain,),
        samples={"rows": lambda rand, n=11, i=7, h=5, o=3: (rand(n, i), (rand(i, h), rand(h, o)))},
        wrt=("x", "weights"),
        oracle=None,
    )
    assert verify(chained).ok, str(verify(chained))
    found = verify(chained, back_chain_swapped).findings[0]
    assert (found.code, found.gradient) == ("shape", "grad_weights[0]")
    found = verify(chained, back_chain_short).findings[0]
    assert (found.code, found.gradient) == ("arity", "grad_weights")


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (lambda rand: (rand(3), rand(3)), ["one value for each", "square(x)"]),
        (lambda rand: (rand.integers(5, 11),), ["x is torch.int64", "wrt"]),
        (lambda rand: (torch.ones(3),), ["x is torch.float32", "torch.float64", "rand(...)"]),
        (lambda rand: (3.0,), ["x is float", "option"]),
        (lambda rand: (rand(3).to("meta"),), ["x lies on meta", "rand"]),
        (lambda rand: ((rand(3),), {"by": 2}), ["'by'", "keyword-only"]),
        (lambda rand: (rand(-3),), ["raised RuntimeError"]),
        (lambda rand: (rand(30_000, 30_000),), ["9.0e+08", "smaller"]),
        (lambda rand: (rand(11) * 0,), ["grad_x", "all zero"]),
    ],
    ids=["count", "integer", "dtype", "number", "device", "option", "raises", "large", "zero"],
)
def test_a_sample_that_does_not_fit_is_refused_before_judging(sample, words):
    with pytest.raises(BadOp) as caught:
        verify(op(samples={"odd": sample}))
    message = str(caught.value)
    assert all(word in message for word in ("square", "'odd'", *words)), message
    assert "\n" not in message


def test_a_sample_of_several_devices_is_refused():
    two = Op(
        forward=lambda x, w: x * w,
        backwards=(lambda x, w, grad_out: (w * grad_out, x * grad_out),),
        samples={"mixed": lambda rand, n=11: (rand(n), rand(n).to("meta"))},
        wrt=("x", "w"),
        oracle=None,
    )
    with pytest.raises(BadOp, match="w lies on meta"):
        verify(two)


def back_by_place(x, grad_out, /):
    return 2 * x * grad_out


@functools.wraps(back_square)
def back_decorated(*args):
    return back_square(*args)


@pytest.mark.parametrize("backward", [back_by_place, back_decorated])
def test_a_backward_that_does_not_take_its_arguments_by_name_is_refused(backward):
    with pytest.raises(BadOp, match=r"leave out the / .*pass on \*\*kwargs"):
        op(backwards=(backward,))


def test_a_decorator_that_passes_on_names_is_looked_through():
    @functools.lru_cache
    @functools.wraps(back_square)
    def back_passed_on(*args, **kwargs):
        return back_square(*args, **kwargs)

    assert op(backwards=(back_passed_on,)).saves(back_passed_on) == ("x",)


@pytest.mark.parametrize("backward", [Square, Square.backward], ids=["class", "method"])
def test_a_function_of_autograd_is_answered_with_what_to_write(backward):
    with pytest.raises(
        BadOp, match=r"belongs to a torch\.autograd\.Function; give the class to verify_function"
    ):
        op(backwards=(backward,))
