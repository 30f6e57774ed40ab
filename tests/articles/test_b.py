"""Article B, gradients and backpropagation: recording, a slope, output gradients, accumulation."""

import torch

from manual_backprop.data import article_numbers
from manual_backprop.ops.add_constant import add_constant, back_add_constant
from manual_backprop.ops.shifted_square import back_shifted_square, shifted_square
from tests.printed import assert_printed


def ones(row):
    return torch.ones(row["shapes"]["x"], requires_grad=True)


def test_b2_recording_is_on_and_off_under_no_grad():
    x = ones(article_numbers()["B2"])
    y = add_constant(x)
    with torch.no_grad():
        z = 3 * x + 2
    assert y.requires_grad
    assert y.grad_fn is not None
    assert not z.requires_grad
    assert z.grad_fn is None
    assert y.equal(torch.full_like(y, 6))
    assert z.equal(torch.full_like(z, 5))


def test_b3_the_derivative_at_1_is_4_and_not_2():
    row = article_numbers()["B3"]
    x = torch.tensor(float(row["inputs"]["x"]), requires_grad=True)
    (true,) = torch.autograd.grad(shifted_square(x), x)
    assert_printed(row, "gradient", true)
    assert_printed(row, "gradient", back_shifted_square(x.detach(), torch.ones(())))


def test_b4_an_output_of_many_numbers_needs_an_output_gradient():
    row = article_numbers()["B4"]
    x = ones(row)
    grad_out = torch.arange(4.0).reshape(row["shapes"]["grad_out"])
    jacobian = torch.autograd.functional.jacobian(add_constant, x).reshape(4, 4)
    grad_x = back_add_constant(grad_out)
    assert grad_x.flatten().equal(grad_out.flatten() @ jacobian)
    assert grad_x.equal(torch.autograd.grad(add_constant(x), x, grad_out)[0])


def test_b4_the_gradient_is_a_copy_where_pytorch_hands_on_the_same_memory():
    grad_out = torch.ones(2, 2)
    back_add_constant(grad_out).mul_(2)
    assert grad_out.equal(torch.ones(2, 2))


def test_b5_a_second_backward_without_zeroing_gives_twice_the_gradient():
    row = article_numbers()["B5"]
    x = torch.linspace(-1, 1, 5, requires_grad=True)
    once = back_shifted_square(x.detach(), torch.ones(5))
    for _ in range(2):
        shifted_square(x).sum().backward()
    assert x.grad.equal(row["expected"]["factor"] * once)
    x.grad.zero_()
    shifted_square(x).sum().backward()
    assert x.grad.equal(once)
