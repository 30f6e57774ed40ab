"""Steps in a row: convolution, running sums, recurrent cells."""

import torch

from manual_backprop.op import Op
from tests.mistakes import mistake


def conv1d(x, kernel):  # x (n, l), kernel (w): the same kernel along every row, (n, l - w + 1)
    return x.unfold(1, len(kernel), 1) @ kernel


def _spread(grad_out, kernel):
    padded = torch.nn.functional.pad(grad_out, (len(kernel) - 1, len(kernel) - 1))
    return padded.unfold(1, len(kernel), 1) @ kernel


def back_conv1d(x, kernel, grad_out):
    grad_kernel = torch.einsum("nlw,nl->w", x.unfold(1, len(kernel), 1), grad_out)
    return _spread(grad_out, kernel.flip(0)), grad_kernel


CONV1D = Op(
    forward=conv1d,
    backwards=(back_conv1d,),
    samples={"rows": lambda rand, n=5, l=17, w=3: (rand(n, l), rand(w))},  # noqa: E741
    wrt=("x", "kernel"),
)


@mistake(CONV1D, "flipped", of="T18", seen="ddbourgin/numpy-ml#27")
def back_conv1d_kernel_flipped(x, kernel, grad_out):
    grad_x, grad_kernel = back_conv1d(x, kernel, grad_out)
    return grad_x, grad_kernel.flip(0)


@mistake(CONV1D, "flipped", "wrong-argument", of="T18", seen="DeepLearnToolbox#168")
def back_conv1d_not_turned_for_the_input(x, kernel, grad_out):
    return _spread(grad_out, kernel), back_conv1d(x, kernel, grad_out)[1]


@mistake(CONV1D, "mean-for-sum", of="T1", seen="pytorch/pytorch#3924")
def back_conv1d_kernel_averaged_over_the_batch(x, kernel, grad_out):
    grad_x, grad_kernel = back_conv1d(x, kernel, grad_out)
    return grad_x, grad_kernel / max(len(x), 1)


@mistake(CONV1D, "overwritten", of="T8", seen="ARENA_3.0#127")
def back_conv1d_windows_written_over(x, kernel, grad_out):
    grad_x = torch.zeros_like(x)
    for place in range(grad_out.shape[1]):
        grad_x[:, place : place + len(kernel)] = grad_out[:, place, None] * kernel
    return grad_x, back_conv1d(x, kernel, grad_out)[1]


def cumsum(x):  # x (n, k), along each row
    return x.cumsum(1)


def back_cumsum(grad_out):
    return grad_out.flip(1).cumsum(1).flip(1)


CUMSUM = Op(
    forward=cumsum,
    backwards=(back_cumsum,),
    samples={"rows": lambda rand, n=5, k=11: (rand(n, k),)},
    wrt=("x",),
)


@mistake(CUMSUM, "flipped", of="T18", seen="pytorch#61100")
def back_cumsum_not_turned_back(grad_out):
    return grad_out.flip(1).cumsum(1)


@mistake(CUMSUM, "flipped", "wrong-argument", of="T18", seen="wuziheng/CNN-Numpy#2")
def back_cumsum_forwards(grad_out):
    return grad_out.cumsum(1)


@mistake(CUMSUM, "wrong-axis", of="T3", seen="mlpack/mlpack#2360")
def back_cumsum_along_the_columns(grad_out):
    return grad_out.flip(0).cumsum(0).flip(0)


@mistake(CUMSUM, "missing-branch", "missing-term", of="T8", seen="n0h#52")
def back_cumsum_of_the_entry_itself(grad_out):
    return grad_out.clone()


def rnn(x, h, wx, wh, b):  # x (t, n, i), h (n, k), wx (i, k), wh (k, k), b (k); the last state
    for row in x:
        h = torch.tanh(row @ wx + h @ wh + b)
    return h


def _states(x, h, wx, wh, b):
    states = [h]
    for row in x:
        states.append(torch.tanh(row @ wx + states[-1] @ wh + b))
    return states


def back_rnn(x, h, wx, wh, b, grad_out):
    states = _states(x, h, wx, wh, b)
    grad_x, grad_wx, grad_wh, grad_b = map(torch.zeros_like, (x, wx, wh, b))
    grad_h = grad_out
    for t in reversed(range(len(x))):
        grad_z = grad_h * (1 - states[t + 1] ** 2)
        grad_x[t] = grad_z @ wx.T
        grad_wx += x[t].T @ grad_z
        grad_wh += states[t].T @ grad_z
        grad_b += grad_z.sum(0)
        grad_h = grad_z @ wh.T
    return grad_x, grad_h, grad_wx, grad_wh, grad_b


RNN = Op(
    forward=rnn,
    backwards=(back_rnn,),
    samples={
        "five steps": lambda rand, t=5, n=11, i=7, k=3: (
            rand(t, n, i),
            rand(n, k),
            rand(i, k) / i**0.5,
            rand(k, k) / k**0.5,
            rand(k),
        )
    },
    wrt=("x", "h", "wx", "wh", "b"),
)


@mistake(RNN, "overwritten", "missing-branch", of="T8", seen="DLS 212979")
def back_rnn_bias_of_the_last_turn(x, h, wx, wh, b, grad_out):
    grad_x, grad_h, grad_wx, grad_wh, _ = back_rnn(x, h, wx, wh, b, grad_out)
    states = _states(x, h, wx, wh, b)
    grad = grad_out
    for t in reversed(range(len(x))):
        grad_z = grad * (1 - states[t + 1] ** 2)
        grad_b = grad_z.sum(0)
        grad = grad_z @ wh.T
    return grad_x, grad_h, grad_wx, grad_wh, grad_b


@mistake(RNN, "wrong-argument", of="T4", seen="discuss.pytorch 187917")
def back_rnn_derivative_of_the_raw_state(x, h, wx, wh, b, grad_out):
    states = _states(x, h, wx, wh, b)
    grad_x, grad_wx, grad_wh, grad_b = map(torch.zeros_like, (x, wx, wh, b))
    grad_h = grad_out
    for t in reversed(range(len(x))):
        raw = x[t] @ wx + states[t] @ wh + b
        grad_z = grad_h * (1 - raw**2)
        grad_x[t] = grad_z @ wx.T
        grad_wx += x[t].T @ grad_z
        grad_wh += states[t].T @ grad_z
        grad_b += grad_z.sum(0)
        grad_h = grad_z @ wh.T
    return grad_x, grad_h, grad_wx, grad_wh, grad_b


@mistake(RNN, "wrong-argument", of="T4", seen="DrBigMau/LSTM-from-Scratch-in-Python#1")
def back_rnn_recurrent_weight_by_the_next_state(x, h, wx, wh, b, grad_out):
    grad_x, grad_h, grad_wx, _, grad_b = back_rnn(x, h, wx, wh, b, grad_out)
    states = _states(x, h, wx, wh, b)
    grad_wh = torch.zeros_like(wh)
    grad = grad_out
    for t in reversed(range(len(x))):
        grad_z = grad * (1 - states[t + 1] ** 2)
        grad_wh += states[t + 1].T @ grad_z
        grad = grad_z @ wh.T
    return grad_x, grad_h, grad_wx, grad_wh, grad_b


@mistake(RNN, "transposed", of="T6", seen="jcjohnson/pytorch-examples#29")
def back_rnn_recurrent_weight_transposed(x, h, wx, wh, b, grad_out):
    grad_x, grad_h, grad_wx, grad_wh, grad_b = back_rnn(x, h, wx, wh, b, grad_out)
    return grad_x, grad_h, grad_wx, grad_wh.T.clone(), grad_b


@mistake(RNN, "flipped", of="T18", seen="DeepLearnToolbox#169")
def back_rnn_inputs_in_the_order_of_the_way_back(x, h, wx, wh, b, grad_out):
    grad_x, *others = back_rnn(x, h, wx, wh, b, grad_out)
    return grad_x.flip(0), *others


@mistake(RNN, "missing-branch", "overwritten", of="T8", seen="numpygrad post")
def back_rnn_weight_of_the_last_step_alone(x, h, wx, wh, b, grad_out):
    grad_x, grad_h, _, grad_wh, grad_b = back_rnn(x, h, wx, wh, b, grad_out)
    last = _states(x, h, wx, wh, b)[-1]
    return grad_x, grad_h, x[-1].T @ (grad_out * (1 - last**2)), grad_wh, grad_b


def lstm_cell(z, c):  # z (n, 4 k): input, forget, output gate, candidate; c (n, k); the new state
    i, f, o, g = z.chunk(4, dim=1)
    c_new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c_new)


def _gates(z, c):
    zi, zf, zo, zg = z.chunk(4, dim=1)
    i, f, o, g = zi.sigmoid(), zf.sigmoid(), zo.sigmoid(), zg.tanh()
    return i, f, o, g, f * c + i * g


def _back_gates(i, f, o, g, c, c_new, grad_out, grad_c):
    return (
        grad_c * g * i * (1 - i),
        grad_c * c * f * (1 - f),
        grad_out * c_new.tanh() * o * (1 - o),
        grad_c * i * (1 - g**2),
    )


def back_lstm_cell(z, c, grad_out):
    i, f, o, g, c_new = _gates(z, c)
    grad_c = grad_out * o * (1 - c_new.tanh() ** 2)
    return torch.cat(_back_gates(i, f, o, g, c, c_new, grad_out, grad_c), 1), grad_c * f


LSTM_CELL = Op(
    forward=lstm_cell,
    backwards=(back_lstm_cell,),
    samples={"rows": lambda rand, n=11, k=5: (rand(n, 4 * k), rand(n, k))},
    wrt=("z", "c"),
)


@mistake(LSTM_CELL, "missing-factor", of="T4", seen="DrBigMau/LSTM-from-Scratch-in-Python#1")
def back_lstm_cell_past_the_outer_tanh(z, c, grad_out):
    i, f, o, g, c_new = _gates(z, c)
    grad_c = grad_out * o
    return torch.cat(_back_gates(i, f, o, g, c, c_new, grad_out, grad_c), 1), grad_c * f


@mistake(LSTM_CELL, "wrong-argument", of="T4", seen="DrBigMau/LSTM-from-Scratch-in-Python#1")
def back_lstm_cell_derivative_at_the_raw_state(z, c, grad_out):
    i, f, o, g, c_new = _gates(z, c)
    grad_c = grad_out * o * (1 - c_new**2)
    return torch.cat(_back_gates(i, f, o, g, c, c_new, grad_out, grad_c), 1), grad_c * f


@mistake(LSTM_CELL, "wrong-argument", of="T6", seen="DLS 674897")
def back_lstm_cell_state_by_the_input_gate(z, c, grad_out):
    i, _, o, _, c_new = _gates(z, c)
    grad_c = grad_out * o * (1 - c_new.tanh() ** 2)
    return back_lstm_cell(z, c, grad_out)[0], grad_c * i


@mistake(LSTM_CELL, "swapped", of="T21", seen="DLS 402919")
def back_lstm_cell_gates_in_another_order(z, c, grad_out):
    grad_z, grad_c = back_lstm_cell(z, c, grad_out)
    i, f, o, g = grad_z.chunk(4, 1)
    return torch.cat((f, i, o, g), 1), grad_c
