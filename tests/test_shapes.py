"""What a gradient's wrong shape is told: no more than the shapes show."""

import pytest
import torch

from manual_backprop.judge.verify import verify
from manual_backprop.op import Op
from tests.squares import op


def affine(x, w, b):
    return x @ w + b


def back_affine(x, w, grad_out):
    return grad_out @ w.T, x.T @ grad_out, grad_out.sum(0)


AFFINE = Op(
    forward=affine,
    backwards=(back_affine,),
    samples={"rows": lambda rand, n=11, i=7, o=5: (rand(n, i), rand(i, o), rand(o))},
    wrt=("x", "w", "b"),
    oracle=None,
)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (
            lambda x, w, b: (w, x, b),
            "shape",
            "has shape (7, 5), not (11, 7): the shapes are right in another order; "
            "return the gradients of x, w, b",
        ),
        (
            lambda x, w, b: (x, x, b),
            "shape",
            "has shape (11, 7), not (7, 5): it has the shape of x; "
            "are the gradients in the order x, w, b?",
        ),
        (lambda x, w, b: (x, w.T, b), "transposed", "it is transposed"),
        (
            lambda x, w, b: (x, w, b.repeat(11, 1)),
            "not-reduced",
            "so its gradient is summed over the rows, axis 0",
        ),
        (
            lambda x, w, b: (x, w, b[None]),
            "shape",
            "axis 0 of 1 is too many; leave out keepdim=True, or squeeze",
        ),
        (
            lambda x, w, b: (x, w.sum(1), b),
            "shape",
            "axis 1 of 5 is missing; was there a sum too many?",
        ),
        (
            lambda x, w, b: (x[:, None].repeat(1, 3, 1), w, b),
            "shape",
            "axis 1 of 3 is too many; is a sum missing?",
        ),
        (
            lambda x, w, b: (x, w, x.sum(1)),
            "shape",
            "has shape (11,), not (5,): it has the shape of grad_out summed over axis 1, "
            "where axis 0 is due",
        ),
        (lambda x, w, b: (x[:5, :3], w, b), "shape", "has shape (5, 3), not (11, 7)"),
    ],
    ids=[
        "order",
        "another",
        "transposed",
        "unreduced",
        "one",
        "missing",
        "extra",
        "axis",
        "unknown",
    ],
)
def test_a_wrong_shape_is_told_with_what_it_shows(change, code, said):
    def back_affine_changed(x, w, grad_out):
        return change(*back_affine(x, w, grad_out))

    (finding,) = verify(AFFINE, back_affine_changed, dtypes=[torch.float64]).findings

    assert finding.code == code
    assert finding.message.endswith(said)


def test_an_axis_of_one_that_was_dropped_is_put_back():
    def scaled(x, by):
        return x * by

    def back_scaled(x, by, grad_out):
        return by * grad_out, (x * grad_out).sum(1)

    rows = {"rows": lambda rand, n=11, i=7: (rand(n, i), rand(n, 1))}
    two = op(
        forward=scaled, backwards=(back_scaled,), samples=rows, wrt=("x", "by"), oracle=torch.mul
    )
    (finding,) = verify(two, dtypes=[torch.float64]).findings
    assert finding.code == "shape"
    assert "axis 1 of 1 is missing; take keepdim=True, or unsqueeze" in finding.message


def back_affine_of_one_number(x, w, grad_out):
    grad_x, grad_w, grad_b = back_affine(x, w, grad_out)
    return grad_x, grad_w, grad_b.sum()


def test_a_sum_over_everything_is_told_as_one():
    (finding,) = verify(AFFINE, back_affine_of_one_number, dtypes=[torch.float64]).findings
    assert (finding.gradient, finding.code) == ("grad_b", "shape")
    assert ".sum(0)" in finding.message


def column_loss(pred, target):
    return (pred - target[:, None]).square().sum()


def row_loss(pred, target):
    return (pred - target[:, 0]).square().sum()


def back_all_pairs(pred, target, grad_out):
    return 2 * grad_out * (pred - target)


@pytest.mark.parametrize(
    ("loss", "shapes", "mended"),
    [(column_loss, ((11, 1), (11,)), "(11, 1)"), (row_loss, ((11,), (11, 1)), "(11,)")],
    ids=["column", "row"],
)
def test_a_gradient_of_all_pairs_is_that_of_a_broadcast_loss(loss, shapes, mended):
    def sample(rand, n=11):
        return tuple(rand(*(n if size == 11 else 1 for size in shape)) for shape in shapes)

    one = Op(loss, (back_all_pairs,), {"column": sample}, ("pred",), None)
    (finding,) = verify(one, dtypes=[torch.float64]).findings
    assert (finding.gradient, finding.code) == ("grad_pred", "broadcast-loss")
    assert f"target.reshape{mended}" in finding.message


def test_a_gradient_that_was_lent_to_a_square_is_none_of_a_loss_over_all_pairs():
    def shifted(x, rows, columns):
        return x + rows + columns

    def back_shifted(grad_out):
        return grad_out, grad_out

    square = {"square": lambda rand, n=11: (rand(n, n), rand(n, 1), rand(n))}
    lent = Op(shifted, (back_shifted,), square, ("rows", "columns"), None)
    (finding,) = verify(lent, dtypes=[torch.float64]).findings
    assert (finding.gradient, finding.code) == ("grad_rows", "not-reduced")


@pytest.mark.parametrize(
    ("local", "gradient", "words"),
    [
        (lambda x, w, grads: (w, x, 1), "grad_x", ["w itself", "(7, 5) and not (11, 7)"]),
        (lambda x, w, grads: (grads[0], x.clone(), 1), "grad_w", ["x itself"]),
        (lambda x, w, grads: (w.T, *grads[1:]), "grad_x", ["w.T itself"]),
        (lambda x, w, grads: (*grads[:2], 1), "grad_b", ["plain number", "b's", "(5,)"]),
        (lambda x, w, grads: (*grads[:2], x), "grad_b", ["x itself"]),
    ],
    ids=["both", "copied", "transposed", "number", "other"],
)
def test_a_local_slope_is_told_to_be_multiplied_by_grad_out(local, gradient, words):
    def back_affine_local(x, w, grad_out):
        return local(x, w, back_affine(x, w, grad_out))

    (finding,) = verify(AFFINE, back_affine_local, dtypes=[torch.float64]).findings
    assert finding.gradient == gradient
    assert all(word in finding.message for word in [*words, "multiply it by grad_out"])
    assert finding.code == ("not-a-tensor" if "number" in words[0] else "ignores-grad-out")
    assert not any(word in finding.message for word in ("order", ".item()"))


@pytest.mark.parametrize(
    ("part", "words"),
    [(lambda w: w, "it is w itself; if that is the local slope, multiply it by grad_out"),
     (lambda w: w[:1].expand_as(w), "return a tensor of its own")],
    ids=["whole", "part"],
)  # fmt: skip
def test_an_argument_that_comes_back_as_it_is_was_not_multiplied(part, words):
    def product(x, w):
        return x * w

    def back_product(x, w, grad_out):
        return part(w), grad_out * x

    rows = {"rows": lambda rand, n=11, i=7: (rand(n, i), rand(n, i))}
    two = Op(product, (back_product,), rows, ("x", "w"), None)
    (finding,) = verify(two, dtypes=[torch.float64]).findings
    assert (finding.gradient, finding.code) == ("grad_x", "aliases")
    assert finding.message == f"shares memory with w{':' if 'itself' in words else ';'} {words}"
