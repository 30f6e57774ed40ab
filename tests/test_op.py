"""An operator that is written wrongly stops with a sentence that says what to mend."""

import pytest
import torch
import torch.nn.functional as F

from manual_backprop.judge.verify import verify
from manual_backprop.op import BadOp, Op


def square(x):
    return x * x


def back_square(x, grad_out):
    return 2 * x * grad_out


GOOD = {
    "forward": square,
    "backwards": (back_square,),
    "samples": {"rows": lambda rand, n=11, i=7: (rand(n, i),)},
    "wrt": ("x",),
    "oracle": torch.square,
}


def op(**changed):
    return Op(**{**GOOD, **changed})


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
        (lambda rand: (3.0,), ["x is float", "option"]),
        (lambda rand: (rand(3).to("meta"),), ["x lies on meta", "rand"]),
        (lambda rand: ((rand(3),), {"by": 2}), ["'by'", "keyword-only"]),
        (lambda rand: (rand(-3),), ["raised RuntimeError"]),
        (lambda rand: (rand(30_000, 30_000),), ["9.0e+08", "smaller"]),
        (lambda rand: (rand(11) * 0,), ["grad_x", "all zero"]),
    ],
    ids=["count", "integer", "number", "device", "option", "raises", "large", "zero"],
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


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"forward": lambda x: 1 / 0}, "raises", "forward raised ZeroDivisionError"),
        ({"forward": lambda x: x[:, 0] * x[:, 0]}, "forward", "(11,)"),
        ({"forward": lambda x: (x * x).double()}, "forward", "float64"),
        ({"forward": lambda x: x * x * 1.1}, "forward", "oracle"),
        ({"forward": lambda x: [x]}, "forward", "list, not a tensor"),
        ({"oracle": lambda x: 1 / 0}, "raises", "ZeroDivisionError: division by zero"),
    ],
    ids=["raises", "shape", "dtype", "values", "type", "oracle"],
)
def test_a_forward_at_fault_condemns_its_backwards(changed, code, words):
    def back(x, grad_out):
        return 2 * x * grad_out

    verdict = verify(op(**changed, backwards=(back,)), dtypes=[torch.float32])

    assert [finding.code for finding in verdict.findings] == [code]
    assert words in verdict.findings[0].message
    assert verdict.of("back")


def returns_none(x, grad_out):
    return None


def returns_two(x, grad_out):
    return back_square(x, grad_out), back_square(x, grad_out)


def returns_a_list(x, grad_out):
    return back_square(x, grad_out).tolist()


def returns_integers(x, grad_out):
    return back_square(x, grad_out).long()


def returns_a_view_of_x(x, grad_out):
    return x.view_as(x)


def raises(x, grad_out):
    raise IndexError("too far")


def raises_on_zeros(x, grad_out):
    if not grad_out.any():
        raise ValueError("nothing to do")
    return back_square(x, grad_out)


def views_grad_out(x, grad_out):
    return (2 * x * grad_out.view(-1).view(x.shape)).contiguous()


def returns_nan(x, grad_out):
    return back_square(x, grad_out) * torch.tensor(torch.nan, dtype=x.dtype)


def back_square_(x, grad_out):
    return 2 * x * grad_out


def ignores_grad_out(x):
    return 2 * x


def transposes(x, grad_out):
    return back_square(x, grad_out).T


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        (returns_none, "not-a-tensor", "None"),
        (returns_two, "not-a-tensor", "tuple"),
        (returns_a_list, "not-a-tensor", "list"),
        (returns_integers, "dtype", "int64"),
        (returns_a_view_of_x, "aliases", "with x"),
        (raises, "raises", "IndexError: too far"),
        (raises_on_zeros, "raises", "ValueError: nothing to do"),
        (views_grad_out, "layout", "raised RuntimeError"),
        (returns_nan, "nan", "is nan"),
        (back_square_, "aliases", "underscore"),
        (ignores_grad_out, "ignores-grad-out", "does not depend"),
        (transposes, "transposed", "(7, 11)"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_promise_is_one_sentence_with_names(wrong, code, words):
    verdict = verify(op(), wrong, dtypes=[torch.float64])

    assert [finding.code for finding in verdict.findings] == [code]
    line = str(verdict.findings[0])
    assert wrong.__name__ in line
    assert words in line
    assert "\n" not in line
    assert wrong.__name__ in str(verdict)


def test_wrong_arity_is_named():
    def product(x, w):
        return x * w

    def back_product(x, w, grad_out):
        return w * grad_out

    two = Op(
        forward=product,
        backwards=(back_product,),
        samples={"row": lambda rand, n=11: (rand(n), rand(n))},
        wrt=("x", "w"),
        oracle=torch.mul,
    )
    finding = verify(two, dtypes=[torch.float64]).findings[0]
    assert finding.code == "arity"
    assert "grad_x, grad_w" in finding.message


def test_gradients_that_share_memory_are_found_and_grad_out_itself_is_a_note():
    def add(x, y):
        return x + y

    def back_add(grad_out):
        return grad_out, grad_out

    def back_add_shared(grad_out):
        grad = grad_out.clone()
        return grad, grad

    added = Op(
        forward=add,
        backwards=(back_add,),
        samples={"row": lambda rand, n=11: (rand(n), rand(n))},
        wrt=("x", "y"),
        oracle=torch.add,
    )
    verdict = verify(added)
    assert verdict.ok
    assert [note.code for note in verdict.notes] == ["aliases"]
    assert verify(added, back_add_shared).findings[0].code == "aliases"


def test_a_backward_that_reads_numbers_to_decide_gets_a_note():
    def back_square_decides(x, grad_out):
        return 2 * x * grad_out if x.sum() > 0 else grad_out * x * 2

    verdict = verify(op(), back_square_decides)
    assert verdict.ok
    assert [note.code for note in verdict.notes] == ["device"]


def test_without_an_oracle_the_verdict_says_so():
    verdict = verify(op(oracle=None))
    assert verdict.ok
    assert [note.code for note in verdict.notes] == ["witnesses"]


def test_a_kink_is_a_note_unless_the_oracle_is_pytorchs():
    def halves(x, grad_out):
        return torch.where(x == 0, 0.5, (x > 0).to(x.dtype)) * grad_out

    def outside(x, grad_out):
        return torch.where(x == 0, 1.5, (x > 0).to(x.dtype)) * grad_out

    def rectify(x):
        return x.clamp(min=0)

    def rectify_oracle(x):
        return torch.where(x > 0, x, 0.0)

    plain = op(forward=rectify, backwards=(halves,), oracle=rectify_oracle)
    verdict = verify(plain)
    assert verdict.ok, str(verdict)
    assert [note.code for note in verdict.notes] == ["kink"]
    assert [f.code for f in verify(plain, dtypes=[torch.float64], kinks="reject").findings] == [
        "kink"
    ]
    assert [f.code for f in verify(plain, outside, dtypes=[torch.float64]).findings] == ["unknown"]
    named = op(forward=rectify, backwards=(halves,), oracle=torch.relu)
    assert [f.code for f in verify(named, dtypes=[torch.float64]).findings] == ["kink"]


def test_wrong_names_in_the_call_are_refused():
    for wrong in (
        {"samples": ["rowz"]},
        {"layouts": ["sideways"]},
        {"parts": ["everything"]},
        {"kinks": "ignore"},
        {"devices": ["cuda:99"]},
    ):
        with pytest.raises(ValueError, match=r"there (is|are)"):
            verify(op(), **wrong)
    with pytest.raises(BadOp, match="not function"):
        verify(square)
    with pytest.raises(BadOp, match="asks for 'weight'"):
        verify(op(), asks_for_weight)


def test_a_wrong_gradient_can_be_raised():
    from manual_backprop import WrongGradient

    with pytest.raises(WrongGradient, match="returns_none"):
        verify(op(), returns_none).raise_if_wrong()
    assert issubclass(WrongGradient, AssertionError)
