"""Sums of products: a hidden weight's gradient built from the wrong output terms."""

import torch

from manual_backprop.op import Op
from tests.mistakes import mistake

PAIRS = ("w5", "w6", "w7", "w8")


def hidden_pair(h1, h2, w5, w6, w7, w8):  # two hidden units, two outputs, weight by weight
    return torch.tanh(w5 * h1 + w7 * h2) + torch.sigmoid(w6 * h1 + w8 * h2)


def _arriving(h1, h2, w5, w6, w7, w8, grad_out):
    tanh, sigmoid = torch.tanh(w5 * h1 + w7 * h2), torch.sigmoid(w6 * h1 + w8 * h2)
    return grad_out * (1 - tanh * tanh), grad_out * sigmoid * (1 - sigmoid)


def back_hidden_pair(h1, h2, w5, w6, w7, w8, grad_out):
    d1, d2 = _arriving(h1, h2, w5, w6, w7, w8, grad_out)
    return w5 * d1 + w6 * d2, w7 * d1 + w8 * d2, h1 * d1, h1 * d2, h2 * d1, h2 * d2


PAIR = Op(
    forward=hidden_pair,
    backwards=(back_hidden_pair,),
    samples={"numbers": lambda rand, n=11: tuple(rand(n) for _ in range(6))},
    wrt=("h1", "h2", *PAIRS),
)


@mistake(PAIR, "wrong-argument", of="T6", seen="article E2")
def back_hidden_pair_gradients_exchanged(h1, h2, w5, w6, w7, w8, grad_out):
    d1, d2 = _arriving(h1, h2, w5, w6, w7, w8, grad_out)
    return w5 * d2 + w6 * d1, w7 * d1 + w8 * d2, h1 * d1, h1 * d2, h2 * d1, h2 * d2


@mistake(PAIR, "wrong-argument", of="T6", seen="article E2")
def back_hidden_pair_weights_that_arrive(h1, h2, w5, w6, w7, w8, grad_out):
    d1, d2 = _arriving(h1, h2, w5, w6, w7, w8, grad_out)
    return w5 * d1 + w7 * d1, w7 * d1 + w8 * d2, h1 * d1, h1 * d2, h2 * d1, h2 * d2


@mistake(PAIR, "wrong-argument", of="T6", seen="article E2")
def back_hidden_pair_second_unit_twice(h1, h2, w5, w6, w7, w8, grad_out):
    d1, d2 = _arriving(h1, h2, w5, w6, w7, w8, grad_out)
    return w6 * d1 + w8 * d2, w7 * d1 + w8 * d2, h1 * d1, h1 * d2, h2 * d1, h2 * d2


@mistake(PAIR, "missing-branch", of="T8", seen="article E2")
def back_hidden_pair_one_output_each(h1, h2, w5, w6, w7, w8, grad_out):
    d1, d2 = _arriving(h1, h2, w5, w6, w7, w8, grad_out)
    return w5 * d1, w8 * d2, h1 * d1, h1 * d2, h2 * d1, h2 * d2


@mistake(PAIR, "extra-term", of="T6", seen="article E2")
def back_hidden_pair_every_product(h1, h2, w5, w6, w7, w8, grad_out):
    d1, d2 = _arriving(h1, h2, w5, w6, w7, w8, grad_out)
    grad_h1 = (w5 + w6) * (d1 + d2)
    return grad_h1, w7 * d1 + w8 * d2, h1 * d1, h1 * d2, h2 * d1, h2 * d2


def hidden_layer(x, w1, w2):  # x (n, i), w1 (i, h), w2 (h, o)
    return torch.sigmoid(x @ w1) @ w2


def _hidden_layer(x, w1, w2, grad_out, back_to_h):
    h = torch.sigmoid(x @ w1)
    grad_z = back_to_h(grad_out, w2) * h * (1 - h)
    return grad_z @ w1.T, x.T @ grad_z, h.T @ grad_out


def back_hidden_layer(x, w1, w2, grad_out):
    return _hidden_layer(x, w1, w2, grad_out, lambda grad, w: grad @ w.T)


LAYER = Op(
    forward=hidden_layer,
    backwards=(back_hidden_layer,),
    samples={"rows": lambda rand, n=11, i=7, h=5, o=3: (rand(n, i), rand(i, h), rand(h, o))},
    wrt=("x", "w1", "w2"),
)


@mistake(LAYER, "missing-term", "missing-branch", of="T8", seen="article E2")
def back_hidden_layer_loop_ends_early(x, w1, w2, grad_out):
    def early(grad, w):
        return sum(grad[:, k : k + 1] * w[:, k] for k in range(w.shape[1] - 1))

    return _hidden_layer(x, w1, w2, grad_out, early)


@mistake(LAYER, "overwritten", of="T8", seen="article E2")
def back_hidden_layer_last_output_stays(x, w1, w2, grad_out):
    def last(grad, w):
        for k in range(w.shape[1]):
            felt = grad[:, k : k + 1] * w[:, k]
        return felt

    return _hidden_layer(x, w1, w2, grad_out, last)


@mistake(LAYER, "flipped", of="T6", seen="article E2")
def back_hidden_layer_outputs_from_the_end(x, w1, w2, grad_out):
    return _hidden_layer(x, w1, w2, grad_out, lambda grad, w: grad.flip(1) @ w.T)


@mistake(LAYER, "wrong-argument", of="T6", seen="article E2")
def back_hidden_layer_index_off_by_one(x, w1, w2, grad_out):
    def shifted(grad, w):
        return sum(grad[:, k : k + 1] * w[:, k - 1] for k in range(w.shape[1]))

    return _hidden_layer(x, w1, w2, grad_out, shifted)


@mistake(LAYER, "wrong-argument", of="T6", seen="article E2")
def back_hidden_layer_sums_multiplied(x, w1, w2, grad_out):
    return _hidden_layer(x, w1, w2, grad_out, lambda grad, w: grad.sum(1, True) * w.sum(1))
