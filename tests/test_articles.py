"""What the source articles print comes out of the house's operators, to the digits printed."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.profiler import profile

from manual_backprop import rounding_budget
from manual_backprop.data import article_numbers
from manual_backprop.ops.lin import back_lin, back_lin_broadcast, back_lin_einsum, lin
from manual_backprop.ops.mse import back_mse, mse
from manual_backprop.ops.relu import back_relu, relu
from manual_backprop.ops.sigmoid import back_sigmoid, sigmoid
from manual_backprop.ops.softmax import softmax, softmax_jacobian
from manual_backprop.ops.tanh import tanh
from tests.printed import assert_printed, half_unit


@pytest.fixture
def article():
    return article_numbers()


def f64(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def outputs(o):
    """The outputs of one row, (1, k), as the column that mse compares, (k, 1)."""
    return o.reshape(-1, 1)


def line(row):
    given = row["inputs"]
    dtype = getattr(torch, given["dtype"])
    return torch.linspace(given["from"], given["to"], given["count"], dtype=dtype)


def test_a2_perceptron_with_two_outputs(article):
    row = article["A2"]
    x, o = f64([row["computed"]["x"]]), f64(row["computed"]["o"])
    w = torch.outer(o.logit(), x[0]) / x.square().sum()
    target = torch.full((2,), row["inputs"]["target"], dtype=torch.float64)

    out = sigmoid(lin(x, w.T, torch.zeros(2, dtype=torch.float64)))
    grad_out = back_mse(outputs(out), target).reshape(out.shape)
    _, grad_w, _ = back_lin(x, w.T, back_sigmoid(out, grad_out))

    assert [*out.shape] == row["shapes"]["o"]
    assert_printed(row, "loss", mse(outputs(out), target))
    assert_printed(row, "gradient", grad_w.T)
    assert torch.linalg.matrix_rank(grad_w) == 1


def test_a2_the_printed_rows_are_proportional(article):
    first, second = f64(article["A2"]["expected"]["gradient"])
    half = half_unit(0, **article["A2"]["digits"]["gradient"])
    for i in range(10):
        minors = (first[i] * second - second[i] * first).abs()
        sizes = first[i].abs() + second.abs() + second[i].abs() + first.abs()
        assert (minors <= half * sizes + 2 * half**2).all()


def chain(x, w1, b1, w2, b2):
    """∂y2/∂y1, ∂y1/∂w1, their product, and ∂y2/∂w1 by both backwards in turn."""
    one = torch.ones(1, 1, dtype=torch.float64)
    y1 = lin(x, w1, b1)
    grad_y1, _, _ = back_lin(y1, w2, one)
    _, step, _ = back_lin(x, w1, one)
    _, at_once, _ = back_lin(x, w1, grad_y1)
    return grad_y1, step, grad_y1 * step, at_once


def test_a3_chain_rule_gives_w2_x_both_ways(article):
    row = article["A3"]
    inputs = [f64([[value]]) for value in (row["expected"]["at_once"], 0.5, -0.25, 1.0, 2.0)]
    inputs[2], inputs[4] = inputs[2][0], inputs[4][0]
    _, _, by_chain, at_once = chain(*inputs)
    assert_printed(row, "by_chain", by_chain[0, 0])
    assert_printed(row, "at_once", at_once[0, 0])


def test_d12_chain_rule_in_whole_numbers(article):
    row = article["D12"]
    given = {name: f64([value]) for name, value in row["inputs"].items()}
    given |= {name: given[name][None] for name in ("x", "w1", "w2")}
    grad_y1, step, by_chain, at_once = chain(**given)
    assert_printed(row, "dy2_dy1", grad_y1[0, 0])
    assert_printed(row, "dy1_dw1", step[0, 0])
    assert_printed(row, "dy2_dw1", by_chain[0, 0])
    assert_printed(row, "dy2_dw1", at_once[0, 0])


def article_lin(article):
    shapes = article["C1"]["shapes"]
    rand = torch.Generator().manual_seed(0)
    return [torch.randn(shapes[name], generator=rand) for name in ("x", "w", "b", "y")]


def test_c1_broadcast_einsum_and_matmul_are_one_gradient(article):
    x, w, b, grad_out = article_lin(article)

    def true(x, w, b, grad_out):
        leaves = [tensor.requires_grad_() for tensor in (x, w, b)]
        return torch.autograd.grad(F.linear(x, w.T, b), leaves, grad_out)

    allowed = rounding_budget(true, (x, w, b, grad_out), torch.float32)
    for backward in (back_lin, back_lin_broadcast, back_lin_einsum):
        for grad, budget in zip(backward(x, w, grad_out), allowed, strict=True):
            assert budget.ratio(grad) <= 1, backward.__name__


def test_c1_broadcast_lays_out_h_gradients_of_x_and_n_of_w(article):
    x, w, b, grad_out = article_lin(article)
    with profile(profile_memory=True, use_kineto=False) as seen:
        back_lin_broadcast(x, w, grad_out)
    n, h = grad_out.shape
    numbers = (h + 1) * x.numel() + (n + 1) * w.numel() + b.numel()
    taken = sum(max(event.self_cpu_memory_usage, 0) for event in seen.function_events)
    assert taken == numbers * x.element_size()


def test_c2_the_slope_of_relu_at_0_depends_on_how_it_is_written(article):
    row = article["C2"]
    zero = f64(row["inputs"]["x"])
    written = {
        "relu": torch.relu,
        "clamp_min": lambda x: x.clamp_min(0),
        "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    }
    slopes = {}
    for name, forward in written.items():
        x = zero.clone().requires_grad_()
        (slopes[name],) = torch.autograd.grad(forward(x), x)
    if torch.__version__ >= "2.14":  # clamp_min took relu's slope
        assert slopes.pop("clamp_min") == row["computed"]["clamp_min_since_torch_2.14"]
    for name, slope in slopes.items():
        assert_printed(row, name, slope)
    assert_printed(row, "relu", back_relu(zero, torch.ones_like(zero)))


def test_c3_without_the_squeeze_the_loss_is_another(article):
    row = article["C3"]
    pred, target = (torch.randn(row["shapes"][name]) for name in ("pred", "target"))
    assert [*(pred - target).shape] == row["shapes"]["without_squeeze"]
    assert back_mse(pred, target).shape == pred.shape
    (budget,) = rounding_budget(
        lambda p, t: (p.squeeze(-1) - t).pow(2).mean(), (pred, target), torch.float32
    )
    assert budget.ratio(mse(pred, target)) <= 1
    assert budget.ratio((pred - target).pow(2).mean()) > 1


def test_c3_the_scale_is_multiplied_out_first_so_that_float16_holds_it(article):
    n = article["C3"]["shapes"]["pred"][0]
    pred = torch.full((n, 1), 40000.0, dtype=torch.float16)
    target = torch.zeros(n, dtype=torch.float16)
    assert (2 * (pred.squeeze(-1) - target)).isinf().all()
    assert back_mse(pred, target).isfinite().all()


def test_d1_sigmoid(article):
    row = article["D1"]
    out = sigmoid(line(row))
    # 3.78e-44 is subnormal in float32; PyTorch's kernel gives 0 for it, which the article prints
    assert 0 <= out[0] < torch.finfo(torch.float32).tiny
    assert_printed(row, "sigmoid", torch.cat([torch.zeros(1), out[1:]]))


def test_d2_tanh(article):
    assert_printed(article["D2"], "tanh", tanh(line(article["D2"])))


def test_d3_relu(article):
    assert_printed(article["D3"], "relu", relu(line(article["D3"])))


def test_d4_the_jacobian_of_softmax(article):
    row = article["D4"]
    p = softmax(f64(row["computed"]["p"]).log())
    jacobian = softmax_jacobian(p)
    assert_printed(row, "d_p1", jacobian[1])
    assert_printed(row, "d_p2", jacobian[2])
    assert jacobian.equal(jacobian.T)
    assert jacobian.sign().equal(2 * torch.eye(3, dtype=torch.float64) - 1)


def test_d4_what_is_printed_is_such_a_jacobian(article):
    row = article["D4"]
    first, second = f64(row["expected"]["d_p1"]), f64(row["expected"]["d_p2"])
    for printed, name in ((first, "d_p1"), (second, "d_p2")):
        assert abs(printed.sum()) <= 3 * half_unit(0, **row["digits"][name])
    assert first[2] == second[1]
    assert first.sign().tolist() == [-1, 1, -1]
    assert second.sign().tolist() == [-1, -1, 1]


def test_d5_mean_squared_error_of_one_weight(article):
    row = article["D5"]
    x, w, target = (f64([row["inputs"][name]]) for name in ("x", "w", "target"))
    pred = lin(x, w[None], torch.zeros_like(w))
    _, grad_w, _ = back_lin(x, w[None], back_mse(pred, target.squeeze()))
    assert_printed(row, "mse", mse(pred, target.squeeze()))
    assert_printed(row, "gradient", grad_w.squeeze())


def plain_network(row, activation, back_activation):
    """The network 2-2-2 of article E: outputs, loss, and the gradients of its eight weights."""
    x, y, w = (f64(row["inputs"][name]) for name in ("x", "y", "w"))
    w_in, w_out = w.reshape(2, 2, 2)
    none = torch.zeros(2, dtype=torch.float64)

    z_h = lin(x, w_in, none)
    h = activation(z_h)
    z_o = lin(h, w_out, none)
    o = activation(z_o)
    # mse means over the two outputs, which is one half of their sum (E5)
    grad_z_o = back_activation(z_o, o, back_mse(outputs(o), y).reshape(o.shape))
    grad_h, grad_w_out, _ = back_lin(h, w_out, grad_z_o)
    _, grad_w_in, _ = back_lin(x, w_in, back_activation(z_h, h, grad_h))
    return o, mse(outputs(o), y), torch.cat([grad_w_in.flatten(), grad_w_out.flatten()])


def test_e1_and_e5_sigmoid_network_by_plain_steps(article):
    row = article["E1"]
    o, loss, grads = plain_network(row, sigmoid, lambda _, out, grad: back_sigmoid(out, grad))
    assert_printed(row, "o", o)
    assert_printed(row, "loss", loss)
    assert_printed(row, "gradients", grads)
    w = f64(row["inputs"]["w"]) - row["inputs"]["lr"] * grads
    assert_printed(row, "w_after_one_step", w)


def test_e3_sigmoid_is_torch_sigmoid():
    x = torch.linspace(-20, 20, 101, dtype=torch.float64)
    (budget,) = rounding_budget(torch.sigmoid, (x,), torch.float64)
    assert budget.ratio(sigmoid(x)) <= 1


def test_e4_relu_network_with_dead_units(article):
    row = article["E4"]
    o, loss, grads = plain_network(row, relu, lambda z, _, grad: back_relu(z, grad))
    assert_printed(row, "o", o)
    assert_printed(row, "loss", loss)
    assert_printed(row, "gradients", grads)
    assert grads.eq(0).tolist() == [value == 0 for value in row["expected"]["gradients"]]
