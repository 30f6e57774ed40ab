"""Whole networks and their losses: the way back through several steps, and where it forks."""

import torch

from manual_backprop.op import Op
from tests.mistakes import mistake


def two_layer(
    x, w1, b1, w2, b2, y
):  # x (n, i), w1 (i, h), w2 (h, o), y (n, o); relu, squared error
    h = torch.relu(x @ w1 + b1)
    pred = h @ w2 + b2
    return ((pred - y) ** 2).sum() / len(x)


def _two_layer(x, w1, b1, w2, b2, y, grad_out):
    h = (x @ w1 + b1).clamp(min=0)
    grad_pred = grad_out * 2 * (h @ w2 + b2 - y) / len(x)
    return h, grad_pred


def _two_layer_grads(x, h, grad_z, grad_pred):
    return x.T @ grad_z, grad_z.sum(0), h.T @ grad_pred, grad_pred.sum(0)


def back_two_layer(x, w1, b1, w2, b2, y, grad_out):
    h, grad_pred = _two_layer(x, w1, b1, w2, b2, y, grad_out)
    grad_z = grad_pred @ w2.T * (h > 0)
    return _two_layer_grads(x, h, grad_z, grad_pred)


def _two_layer_sample(rand, m=11, i=7, h=5, o=3):
    return rand(m, i), rand(i, h), rand(h), rand(h, o), rand(o), rand(m, o)


TWO_LAYER = Op(
    forward=two_layer,
    backwards=(back_two_layer,),
    samples={"rows": _two_layer_sample},
    wrt=("w1", "b1", "w2", "b2"),
)


@mistake(TWO_LAYER, "mask", "missing-factor", of="T13", seen="andersy005 PR5")
def back_two_layer_past_the_relu(x, w1, b1, w2, b2, y, grad_out):
    h, grad_pred = _two_layer(x, w1, b1, w2, b2, y, grad_out)
    return _two_layer_grads(x, h, grad_pred @ w2.T, grad_pred)


@mistake(TWO_LAYER, "mask", "not-linear", of="T13", seen="exacity/deeplearningbook-chinese#127")
def back_two_layer_mask_of_the_gradient(x, w1, b1, w2, b2, y, grad_out):
    h, grad_pred = _two_layer(x, w1, b1, w2, b2, y, grad_out)
    grad_h = grad_pred @ w2.T
    return _two_layer_grads(x, h, grad_h * (grad_h > 0), grad_pred)


@mistake(
    TWO_LAYER, "stale-weights", "not-linear", of="T15", seen="joelgrus/data-science-from-scratch#31"
)
def back_two_layer_after_the_update(x, w1, b1, w2, b2, y, grad_out):
    h, grad_pred = _two_layer(x, w1, b1, w2, b2, y, grad_out)
    w2_new = w2 - 0.01 * h.T @ grad_pred
    grad_z = grad_pred @ w2_new.T * (h > 0)
    return _two_layer_grads(x, h, grad_z, grad_pred)


@mistake(TWO_LAYER, "wrong-argument", "not-linear", of="T6", seen="jcjohnson/pytorch-examples#28")
def back_two_layer_through_the_gradient_of_w2(x, w1, b1, w2, b2, y, grad_out):
    h, grad_pred = _two_layer(x, w1, b1, w2, b2, y, grad_out)
    grad_w2 = h.T @ grad_pred
    return _two_layer_grads(x, h, grad_pred @ grad_w2.T * (h > 0), grad_pred)


@mistake(TWO_LAYER, "wrong-argument", of="T6", seen="jcjohnson/pytorch-examples#29")
def back_two_layer_second_weight_before_the_relu(x, w1, b1, w2, b2, y, grad_out):
    h, grad_pred = _two_layer(x, w1, b1, w2, b2, y, grad_out)
    z = x @ w1 + b1
    grad_z = grad_pred @ w2.T * (h > 0)
    return x.T @ grad_z, grad_z.sum(0), z.T @ grad_pred, grad_pred.sum(0)


@mistake(TWO_LAYER, "factor", of="T1", seen="patrickloeber/MLfromscratch#18")
def back_two_layer_without_the_two(x, w1, b1, w2, b2, y, grad_out):
    h, grad_pred = _two_layer(x, w1, b1, w2, b2, y, grad_out / 2)
    return _two_layer_grads(x, h, grad_pred @ w2.T * (h > 0), grad_pred)


@mistake(TWO_LAYER, "mean-for-sum", of="T2", seen="deeplearningzerotoall/PyTorch#40")
def back_two_layer_biases_averaged(x, w1, b1, w2, b2, y, grad_out):
    grad_w1, grad_b1, grad_w2, grad_b2 = back_two_layer(x, w1, b1, w2, b2, y, grad_out)
    return grad_w1, grad_b1 / len(x), grad_w2, grad_b2 / len(x)


@mistake(TWO_LAYER, "ignores-grad-out", of="T10", seen="paiml/aprender PR2182")
def back_two_layer_of_the_loss_alone(x, w1, b1, w2, b2, y):
    return back_two_layer(x, w1, b1, w2, b2, y, 1.0)


def sigmoid_net(x, w1, w2, y):  # x (n, i), w1 (i, h), w2 (h, o), y (n, o); half squared error
    h = torch.sigmoid(x @ w1)
    out = torch.sigmoid(h @ w2)
    return 0.5 * (out - y).pow(2).sum()


def _sigmoid_net(x, w1, w2):
    h = torch.sigmoid(x @ w1)
    return h, torch.sigmoid(h @ w2)


def back_sigmoid_net(x, w1, w2, y, grad_out):
    h, p = _sigmoid_net(x, w1, w2)
    delta2 = grad_out * (p - y) * p * (1 - p)
    delta1 = delta2 @ w2.T * h * (1 - h)
    return x.T @ delta1, h.T @ delta2


SIGMOID_NET = Op(
    forward=sigmoid_net,
    backwards=(back_sigmoid_net,),
    samples={
        "rows": lambda rand, m=11, i=7, h=5, o=3: (rand(m, i), rand(i, h), rand(h, o), rand(m, o))
    },
    wrt=("w1", "w2"),
)


@mistake(SIGMOID_NET, "missing-factor", of="T5", seen="udacity/deep-learning-v2-pytorch#75")
def back_sigmoid_net_output_derivative_forgotten(x, w1, w2, y, grad_out):
    h, p = _sigmoid_net(x, w1, w2)
    delta2 = grad_out * (p - y)
    return x.T @ (delta2 @ w2.T * h * (1 - h)), h.T @ delta2


@mistake(SIGMOID_NET, "missing-factor", of="T4", seen="OpenANN/OpenANN#164")
def back_sigmoid_net_hidden_derivative_forgotten(x, w1, w2, y, grad_out):
    h, p = _sigmoid_net(x, w1, w2)
    delta2 = grad_out * (p - y) * p * (1 - p)
    return x.T @ (delta2 @ w2.T), h.T @ delta2


@mistake(SIGMOID_NET, "wrong-argument", of="T4", seen="jiexunsee/Neural-Network-with-Python#1")
def back_sigmoid_net_derivative_of_the_raw_hidden(x, w1, w2, y, grad_out):
    h, p = _sigmoid_net(x, w1, w2)
    z = x @ w1
    delta2 = grad_out * (p - y) * p * (1 - p)
    return x.T @ (delta2 @ w2.T * z * (1 - z)), h.T @ delta2


@mistake(SIGMOID_NET, "missing-factor", of="T4", seen="OpenANN/OpenANN#164")
def back_sigmoid_net_hidden_from_the_bare_error(x, w1, w2, y, grad_out):
    h, p = _sigmoid_net(x, w1, w2)
    error = grad_out * (p - y)
    return x.T @ (error @ w2.T * h * (1 - h)), h.T @ (error * p * (1 - p))


@mistake(SIGMOID_NET, "sign", of="T7", seen="dennybritz/nn-from-scratch#11")
def back_sigmoid_net_as_the_update(x, w1, w2, y, grad_out):
    h, p = _sigmoid_net(x, w1, w2)
    delta2 = grad_out * (y - p) * p * (1 - p)
    return x.T @ (delta2 @ w2.T * h * (1 - h)), h.T @ delta2


@mistake(SIGMOID_NET, "stale-weights", of="T15", seen="kim-marcel/basic_neural_network#7")
def back_sigmoid_net_after_the_update(x, w1, w2, y, grad_out):
    h, p = _sigmoid_net(x, w1, w2)
    delta2 = grad_out * (p - y) * p * (1 - p)
    moved = w2 - 0.1 * h.T @ ((p - y) * p * (1 - p))
    return x.T @ (delta2 @ moved.T * h * (1 - h)), h.T @ delta2


def ridge(x, w, b, y, *, decay=0.3):  # x (n, i), w (i), b (), y (n)
    return ((x @ w + b - y) ** 2).mean() + decay * (w**2).sum()


def back_ridge(x, w, b, y, grad_out, *, decay=0.3):
    r = grad_out * 2 * (x @ w + b - y) / len(y)
    return r @ x + grad_out * 2 * decay * w, r.sum()


RIDGE = Op(
    forward=ridge,
    backwards=(back_ridge,),
    samples={"rows": lambda rand, m=11, i=7: (rand(m, i), rand(i), rand(), rand(m))},
    wrt=("w", "b"),
)


@mistake(RIDGE, "missing-term", "missing-branch", of="T14", seen="Burton2000#9")
def back_ridge_penalty_forgotten(x, w, b, y, grad_out):
    r = grad_out * 2 * (x @ w + b - y) / len(y)
    return r @ x, r.sum()


@mistake(RIDGE, "factor", "missing-factor", of="T14", seen="bruceoutdoors#9")
def back_ridge_penalty_without_the_two(x, w, b, y, grad_out, *, decay=0.3):
    r = grad_out * 2 * (x @ w + b - y) / len(y)
    return r @ x + grad_out * decay * w, r.sum()


@mistake(RIDGE, "mean-for-sum", of="T14", seen="jingtinghuang#3")
def back_ridge_penalty_averaged(x, w, b, y, grad_out, *, decay=0.3):
    r = grad_out * 2 * (x @ w + b - y) / len(y)
    return r @ x + grad_out * 2 * decay * w / len(y), r.sum()


@mistake(RIDGE, "extra-term", of="T14", seen="JWarmenhoven/Coursera-Machine-Learning#3")
def back_ridge_bias_penalised(x, w, b, y, grad_out, *, decay=0.3):
    r = grad_out * 2 * (x @ w + b - y) / len(y)
    return r @ x + grad_out * 2 * decay * w, r.sum() + grad_out * 2 * decay * b


@mistake(RIDGE, "sign", of="T14", seen="DeepLearnToolbox#32")
def back_ridge_penalty_subtracted(x, w, b, y, grad_out, *, decay=0.3):
    r = grad_out * 2 * (x @ w + b - y) / len(y)
    return r @ x - grad_out * 2 * decay * w, r.sum()


def residual(x, w):  # x (n, k), w (k, k)
    return x + torch.tanh(x @ w)


def back_residual(x, w, grad_out):
    grad_z = grad_out * (1 - torch.tanh(x @ w) ** 2)
    return grad_out + grad_z @ w.T, x.T @ grad_z


RESIDUAL = Op(
    forward=residual,
    backwards=(back_residual,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(k, k))},
    wrt=("x", "w"),
)


@mistake(RESIDUAL, "missing-branch", of="T8", seen="apache/mxnet#9172")
def back_residual_without_the_skip(x, w, grad_out):
    grad_z = grad_out * (1 - torch.tanh(x @ w) ** 2)
    return grad_z @ w.T, x.T @ grad_z


@mistake(RESIDUAL, "missing-branch", of="T8", seen="pytorch/pytorch#1528")
def back_residual_skip_alone(x, w, grad_out):
    grad_z = grad_out * (1 - torch.tanh(x @ w) ** 2)
    return grad_out.clone(), x.T @ grad_z


@mistake(RESIDUAL, "wrong-argument", "transposed", of="T6", seen="DLS 119220")
def back_residual_by_the_weight_as_it_is(x, w, grad_out):
    grad_z = grad_out * (1 - torch.tanh(x @ w) ** 2)
    return grad_out + grad_z @ w, x.T @ grad_z


@mistake(RESIDUAL, "mutates", of="T22", seen="pytorch#9391")
def back_residual_adds_into_grad_out(x, w, grad_out):
    grad_z = grad_out * (1 - torch.tanh(x @ w) ** 2)
    grad_out += grad_z @ w.T
    return grad_out, x.T @ grad_z


def tied(x, w, c):  # x (n, i), w (i, h), c (i): an autoencoder with one weight
    return torch.tanh(x @ w) @ w.T + c


def back_tied(x, w, grad_out):
    h = torch.tanh(x @ w)
    grad_z = grad_out @ w * (1 - h**2)
    return x.T @ grad_z + grad_out.T @ h, grad_out.sum(0)


TIED = Op(
    forward=tied,
    backwards=(back_tied,),
    samples={"rows": lambda rand, n=11, i=7, h=5: (rand(n, i), rand(i, h), rand(i))},
    wrt=("w", "c"),
)


@mistake(TIED, "missing-branch", of="T8", seen="numpygrad post")
def back_tied_as_encoder(x, w, grad_out):
    h = torch.tanh(x @ w)
    return x.T @ (grad_out @ w * (1 - h**2)), grad_out.sum(0)


@mistake(TIED, "missing-branch", of="T8", seen="n0h#52")
def back_tied_as_decoder(x, w, grad_out):
    return grad_out.T @ torch.tanh(x @ w), grad_out.sum(0)


@mistake(TIED, "sign", of="T7", seen="AayushSameerShah/…#1")
def back_tied_decoder_subtracted(x, w, grad_out):
    h = torch.tanh(x @ w)
    grad_z = grad_out @ w * (1 - h**2)
    return x.T @ grad_z - grad_out.T @ h, grad_out.sum(0)
