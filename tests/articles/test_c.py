"""Article C: the linear layer by broadcasting, relu at 0, and the mean squared error."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.profiler import profile

from manual_backprop import rounding_budget
from manual_backprop.ops.lin import back_lin, back_lin_broadcast, back_lin_einsum, lin
from manual_backprop.ops.mse import back_mse, back_mse_steps, mse
from manual_backprop.ops.relu import back_relu, back_relu_, back_relu_from_out, relu
from tests.articles.case import case, drawn, f64
from tests.printed import assert_printed


def article_lin(row, seed=0):
    return drawn(seed, *(row["shapes"][name] for name in ("x", "w", "b", "y")), dtype=torch.float32)


@case("C1-shapes")
def test_each_gradient_has_the_shape_of_what_it_belongs_to(row):
    x, w, b, grad_out = article_lin(row)
    assert [*lin(x, w, b).shape] == row["shapes"]["y"]
    for backward in (back_lin, back_lin_broadcast, back_lin_einsum):
        assert [g.shape for g in backward(x, w, grad_out)] == [x.shape, w.shape, b.shape]


@case("C1-broadcast-einsum-matmul")
def test_broadcast_einsum_and_matmul_are_one_gradient(row, seed):
    x, w, b, grad_out = article_lin(row, seed)

    def true(x, w, b, grad_out):
        leaves = [tensor.requires_grad_() for tensor in (x, w, b)]
        return torch.autograd.grad(F.linear(x, w.T, b), leaves, grad_out)

    allowed = rounding_budget(true, (x, w, b, grad_out), torch.float32)
    for backward in (back_lin, back_lin_broadcast, back_lin_einsum):
        for grad, budget in zip(backward(x, w, grad_out), allowed, strict=True):
            assert budget.ratio(grad) <= 1, backward.__name__


@case("C1-memory-of-broadcast")
def test_broadcast_lays_out_h_gradients_of_x_and_n_of_w(row):
    x, w, b, grad_out = article_lin(row)
    with profile(profile_memory=True, use_kineto=False) as seen:
        back_lin_broadcast(x, w, grad_out)
    n, h = grad_out.shape
    numbers = (h + 1) * x.numel() + (n + 1) * w.numel() + b.numel()
    taken = sum(max(event.self_cpu_memory_usage, 0) for event in seen.function_events)
    assert taken == numbers * x.element_size()


def slope_at_0(row, forward):
    x = f64(row["inputs"]["x"]).requires_grad_()
    (slope,) = torch.autograd.grad(forward(x), x)
    return slope


@case("C2-relu", "relu")
def test_relu_has_slope_0_at_0(row):
    assert_printed(row, "relu", slope_at_0(row, torch.relu))
    zero, one = f64(row["inputs"]["x"]), f64(1.0)
    assert_printed(row, "relu", back_relu(zero, one))
    assert_printed(row, "relu", back_relu_from_out(relu(zero), one))
    assert_printed(row, "relu", back_relu_(zero, one.clone()))


CLAMP_MIN_AS_RELU = torch.__version__ >= "2.14"


@case("C2-clamp-min", "clamp_min")
@pytest.mark.skipif(CLAMP_MIN_AS_RELU, reason="clamp_min took relu's slope in PyTorch 2.14")
def test_clamp_min_had_slope_1_at_0(row):
    assert_printed(row, "clamp_min", slope_at_0(row, lambda x: x.clamp_min(0)))


@case("C2-clamp-min-since-torch-2.14", "clamp_min_since_torch_2.14")
@pytest.mark.skipif(not CLAMP_MIN_AS_RELU, reason="clamp_min took relu's slope in PyTorch 2.14")
def test_clamp_min_has_slope_0_at_0(row):
    assert_printed(row, "clamp_min_since_torch_2.14", slope_at_0(row, lambda x: x.clamp_min(0)))


def by_maximum(x):
    return torch.maximum(x, torch.zeros_like(x))


@case("C2-maximum", "maximum")
def test_maximum_has_slope_one_half_at_0(row):
    assert_printed(row, "maximum", slope_at_0(row, by_maximum))


@case("C2-slope-at-0-depends-on-the-forward")
def test_forwards_that_agree_everywhere_have_other_slopes_at_0(row):
    x = torch.linspace(-1, 1, 5)
    assert torch.relu(x).equal(by_maximum(x))
    assert torch.relu(x).equal(relu(x))
    assert slope_at_0(row, torch.relu) != slope_at_0(row, by_maximum)


@case("C2-mask")
def test_elsewhere_the_gradient_passes_where_the_input_is_positive(row):
    x, grad_out = f64([-2.0, -1e-300, 1e-300, 2.0]), f64([3.0, 5.0, 7.0, 11.0])
    assert back_relu(x, grad_out).equal(f64([0.0, 0.0, 7.0, 11.0]))


@case("C3-gradient")
def test_the_gradient_is_a_column_of_twice_the_difference_over_n(row, seed):
    pred, target = drawn(seed, row["shapes"]["pred"], row["shapes"]["target"])
    n = len(target)
    (budget,) = rounding_budget(
        lambda p, t: 2 * (p.squeeze(-1) - t).unsqueeze(-1) / n, (pred, target), pred.dtype
    )
    for backward in (back_mse, back_mse_steps):
        assert backward(pred, target).shape == pred.shape
        assert budget.ratio(backward(pred, target)) <= 1


@case("C3-without-the-squeeze")
def test_without_the_squeeze_the_loss_is_another(row, seed):
    pred, target = drawn(seed, row["shapes"]["pred"], row["shapes"]["target"])
    assert [*(pred - target).shape] == row["shapes"]["without_squeeze"]
    (budget,) = rounding_budget(
        lambda p, t: (p.squeeze(-1) - t).pow(2).mean(), (pred, target), pred.dtype
    )
    assert budget.ratio(mse(pred, target)) <= 1
    assert budget.ratio((pred - target).pow(2).mean()) > 1


@case("C3-float16-overflows")
def test_the_scale_is_multiplied_out_first_so_that_float16_holds_it(row):
    n = row["shapes"]["pred"][0]
    pred = torch.full((n, 1), 40000.0, dtype=torch.float16)
    target = torch.zeros(n, dtype=torch.float16)
    assert (2 * (pred.squeeze(-1) - target)).isinf().all()
    (budget,) = rounding_budget(
        lambda p, t: 2 / n * (p.squeeze(-1) - t).unsqueeze(-1), (pred, target), torch.float16
    )
    assert budget.judged.all()
    assert budget.ratio(back_mse(pred, target)) <= 1
