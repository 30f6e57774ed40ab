"""What a wrong forward or backward is told: one sentence, with names and a code."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.judge.verify import verify
from manual_backprop.op import Op
from tests.squares import back_square, op


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
        (returns_none, "not-a-tensor", "returned None; did you forget return?"),
        (returns_two, "not-a-tensor", "tuple"),
        (returns_a_list, "not-a-tensor", "list"),
        (returns_integers, "dtype", "int64"),
        (returns_a_view_of_x, "aliases", "with x"),
        (raises, "raises", "IndexError: too far"),
        (raises_on_zeros, "raises", "ValueError: nothing to do"),
        (views_grad_out, "layout", "raised RuntimeError"),
        (returns_nan, "nan", "is nan"),
        (back_square_, "aliases", "ends in _"),
        (ignores_grad_out, "ignores-grad-out", "does not change"),
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


def returns_nothing(x, w, grad_out):
    return None


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
    assert "returned 1 gradient, and grad_x and grad_w are due" in finding.message
    finding = verify(two, returns_nothing, dtypes=[torch.float64]).findings[0]
    assert (finding.code, finding.message) == ("arity", "returned None; did you forget return?")


def line_of(function):
    return f"at test_findings.py:{function.__code__.co_firstlineno + 1}"


def misspells(x, grad_out):
    return 2 * x * gard_out  # noqa: F821


def multiplies_what_does_not_fit(x, grad_out):
    return x @ grad_out


def test_what_is_raised_is_told_with_its_file_and_line():
    for wrong in (misspells, multiplies_what_does_not_fit, raises):
        (finding,) = verify(op(), wrong, dtypes=[torch.float64]).findings
        assert finding.code == "raises"
        assert finding.message.endswith(line_of(wrong))

    def square(x):
        return x * misspelt  # noqa: F821

    (finding,) = verify(op(forward=square), dtypes=[torch.float64]).findings
    assert line_of(square) in finding.message
    (finding,) = verify(op(forward=square, oracle=None), dtypes=[torch.float64]).findings
    assert line_of(square) in finding.message


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
    (finding,) = verify(named, dtypes=[torch.float64]).findings
    assert finding.code == "kink"
    assert "turn > into >= or >= into >, or set that entry by torch.where" in finding.message


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))


def back_softplus(x, grad_out):
    return x.sigmoid() * grad_out


def test_an_oracle_that_is_another_function_far_out_is_suspected():
    verdict = verify(
        Op(softplus, (back_softplus,), {"row": lambda rand, n=11: (rand(n),)}, ("x",), F.softplus),
        dtypes=torch.float64,
    )
    (finding, *_) = verdict.findings
    assert "agrees with autograd of the forward itself" in finding.message
    got, expected = finding.message.split("got ")[1].split(": off")[0].split(" at ")
    assert got != expected.split("expected ")[1]


@pytest.mark.parametrize(
    ("shape", "wrong", "said"),
    [
        ((11, 7), 77, "; all 77 entries are wrong"),
        ((11, 7), 76, "; 76 of 77 entries are wrong"),
        ((11, 7), 1, "; 1 of 77 entries is wrong"),
        ((1,), 1, "is allowed"),
        ((), 1, "is allowed"),
    ],
)
def test_how_many_entries_are_wrong_is_said_as_people_say_it(shape, wrong, said):
    def back(x, grad_out):
        grad = back_square(x, grad_out)
        grad.view(-1)[:wrong] *= 1.5
        return grad

    square = op(samples={"one": lambda rand: (rand(*shape),)})
    (finding,) = verify(square, back, dtypes=[torch.float64], parts=["values"], seeds=(0,),
                        layouts=("contiguous",)).findings  # fmt: skip
    assert finding.message.endswith(said)
    assert "[]" not in finding.message
    assert "  " not in finding.message


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [(Tensor.numpy, "torch.from_numpy"), (lambda g: g.sum().item(), ".item()"),
     (lambda g: (g, None), "tensor alone")],
    ids=["array", "number", "tuple"],
)  # fmt: skip
def test_what_is_no_tensor_is_told_how_to_be_one(kind, remedy):
    def back(x, grad_out):
        return kind(back_square(x, grad_out))

    (finding,) = verify(op(), back, dtypes=[torch.float64]).findings
    assert finding.code == "not-a-tensor"
    assert remedy in finding.message
