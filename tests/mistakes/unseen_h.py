"""Homework on sequences and words: recurrent cells, skip-gram, factorisation, attention."""

import torch

from manual_backprop.op import Op
from tests.mistakes import alternative, mistake


def rnn_losses(x, h, wx, wh, b, v, y):
    _, es = _rnn(x, h, wx, wh, b, v, y)
    return sum((e**2).mean() for e in es)


def _rnn(x, h, wx, wh, b, v, y):
    hs, es = [h], []
    for t in range(x.shape[1]):
        hs.append(torch.tanh(x[:, t] @ wx + hs[-1] @ wh + b))
        es.append(hs[-1] @ v - y[:, t])
    return hs, es


def back_rnn_losses(x, h, wx, wh, b, v, y, grad_out):
    hs, es = _rnn(x, h, wx, wh, b, v, y)
    gwx, gwh, gb, gv, carry = 0, 0, 0, 0, 0
    for t in reversed(range(len(es))):
        de = 2 * grad_out * es[t] / len(x)
        dz = (torch.outer(de, v) + carry) * (1 - hs[t + 1] ** 2)
        gwx, gwh, gb = gwx + x[:, t].T @ dz, gwh + hs[t].T @ dz, gb + dz.sum(0)
        gv, carry = gv + hs[t + 1].T @ de, dz @ wh.T
    return gwx, gwh, gb, gv


RNN = Op(
    forward=rnn_losses,
    backwards=(back_rnn_losses,),
    samples={
        "rows": lambda rand, n=5, t=3, i=7, h=11: (
            *(rand(n, t, i), rand(n, h), rand(i, h) / 4, rand(h, h) / 4, rand(h), rand(h)),
            rand(n, t),
        )
    },
    wrt=("wx", "wh", "b", "v"),
)


@mistake(RNN, "overwritten", of="T8")
def back_rnn_last_step_kept(x, h, wx, wh, b, v, y, grad_out):
    hs, es = _rnn(x, h, wx, wh, b, v, y)
    gwx, gb, gv, carry = 0, 0, 0, 0
    for t in reversed(range(len(es))):
        de = 2 * grad_out * es[t] / len(x)
        dz = (torch.outer(de, v) + carry) * (1 - hs[t + 1] ** 2)
        gwh = hs[t].T @ dz
        gwx, gb, gv = gwx + x[:, t].T @ dz, gb + dz.sum(0), gv + hs[t + 1].T @ de
        carry = dz @ wh.T
    return gwx, gwh, gb, gv


@mistake(RNN, "missing-branch", "missing-term", of="T8")
def back_rnn_no_carry(x, h, wx, wh, b, v, y, grad_out):
    hs, es = _rnn(x, h, wx, wh, b, v, y)
    gwx, gwh, gb, gv = 0, 0, 0, 0
    for t in reversed(range(len(es))):
        de = 2 * grad_out * es[t] / len(x)
        dz = torch.outer(de, v) * (1 - hs[t + 1] ** 2)
        gwx, gwh, gb = gwx + x[:, t].T @ dz, gwh + hs[t].T @ dz, gb + dz.sum(0)
        gv = gv + hs[t + 1].T @ de
    return gwx, gwh, gb, gv


@mistake(RNN, "wrong-argument", of="T6")
def back_rnn_recurrence_not_transposed(x, h, wx, wh, b, v, y, grad_out):
    hs, es = _rnn(x, h, wx, wh, b, v, y)
    gwx, gwh, gb, gv, carry = 0, 0, 0, 0, 0
    for t in reversed(range(len(es))):
        de = 2 * grad_out * es[t] / len(x)
        dz = (torch.outer(de, v) + carry) * (1 - hs[t + 1] ** 2)
        gwx, gwh, gb = gwx + x[:, t].T @ dz, gwh + hs[t].T @ dz, gb + dz.sum(0)
        gv, carry = gv + hs[t + 1].T @ de, dz @ wh
    return gwx, gwh, gb, gv


@mistake(RNN, "transposed", of="T6")
def back_rnn_recurrent_weights_transposed(x, h, wx, wh, b, v, y, grad_out):
    gwx, gwh, gb, gv = back_rnn_losses(x, h, wx, wh, b, v, y, grad_out)
    return gwx, gwh.T, gb, gv


@mistake(RNN, "wrong-argument", of="T21")
def back_rnn_state_after_for_before(x, h, wx, wh, b, v, y, grad_out):
    hs, es = _rnn(x, h, wx, wh, b, v, y)
    gwx, gwh, gb, gv, carry = 0, 0, 0, 0, 0
    for t in reversed(range(len(es))):
        de = 2 * grad_out * es[t] / len(x)
        dz = (torch.outer(de, v) + carry) * (1 - hs[t + 1] ** 2)
        gwx, gwh, gb = gwx + x[:, t].T @ dz, gwh + hs[t + 1].T @ dz, gb + dz.sum(0)
        gv, carry = gv + hs[t + 1].T @ de, dz @ wh.T
    return gwx, gwh, gb, gv


@mistake(RNN, "missing-branch", "missing-term", of="T20")
def back_rnn_states_done_before_their_children(x, h, wx, wh, b, v, y, grad_out):
    hs, es = _rnn(x, h, wx, wh, b, v, y)
    gwx, gwh, gb, gv, carry = 0, 0, 0, 0, 0
    for t in reversed(range(len(es))):
        de = 2 * grad_out * es[t] / len(x)
        own = torch.outer(de, v) * (1 - hs[t + 1] ** 2)
        dz = own + carry * (1 - hs[t + 1] ** 2)
        gwx, gwh, gb = gwx + x[:, t].T @ dz, gwh + hs[t].T @ dz, gb + dz.sum(0)
        gv, carry = gv + hs[t + 1].T @ de, own @ wh.T  # what comes by way of t + 1 stays here
    return gwx, gwh, gb, gv


_TOTAL = [0, 0, 0, 0]


@mistake(RNN, "stateful", of="T11")
def back_rnn_never_zeroed(x, h, wx, wh, b, v, y, grad_out):
    for k, grad in enumerate(back_rnn_losses(x, h, wx, wh, b, v, y, grad_out)):
        _TOTAL[k] = _TOTAL[k] + grad
    return tuple(_TOTAL)


def lstm_cell(x, h, c, w, u, b):
    _, _, _, o, c2 = _lstm(x, h, c, w, u, b)
    return torch.cat((o * torch.tanh(c2), c2), 1)


def _lstm(x, h, c, w, u, b):
    i, f, g, o = (x @ w + h @ u + b).chunk(4, 1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    return i, f, g, o, f * c + i * g


def back_lstm_cell(x, h, c, w, u, b, grad_out):
    i, f, g, o, c2 = _lstm(x, h, c, w, u, b)
    dh, dc = grad_out.chunk(2, 1)
    dc = dc + dh * o * (1 - torch.tanh(c2) ** 2)
    di, df, dg = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2)
    dz = torch.cat((di, df, dg, dh * torch.tanh(c2) * o * (1 - o)), 1)
    return dz @ u.T, dc * f, x.T @ dz, h.T @ dz, dz.sum(0)


LSTM = Op(
    forward=lstm_cell,
    backwards=(back_lstm_cell,),
    samples={
        "rows": lambda rand, n=7, i=5, h=3: (
            *(rand(n, i), rand(n, h), rand(n, h)),
            *(rand(i, 4 * h), rand(h, 4 * h), rand(4 * h)),
        )
    },
    wrt=("h", "c", "w", "u", "b"),
)


@mistake(LSTM, "missing-branch", "missing-term", of="T8")
def back_lstm_cell_state_only_from_above(x, h, c, w, u, b, grad_out):
    i, f, g, o, c2 = _lstm(x, h, c, w, u, b)
    dh, dc = grad_out.chunk(2, 1)
    di, df, dg = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2)
    dz = torch.cat((di, df, dg, dh * torch.tanh(c2) * o * (1 - o)), 1)
    return dz @ u.T, dc * f, x.T @ dz, h.T @ dz, dz.sum(0)


@mistake(LSTM, "wrong-argument", of="T4")
def back_lstm_tanh_of_raw_cell(x, h, c, w, u, b, grad_out):
    i, f, g, o, c2 = _lstm(x, h, c, w, u, b)
    dh, dc = grad_out.chunk(2, 1)
    dc = dc + dh * o * (1 - c2**2)
    di, df, dg = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2)
    dz = torch.cat((di, df, dg, dh * torch.tanh(c2) * o * (1 - o)), 1)
    return dz @ u.T, dc * f, x.T @ dz, h.T @ dz, dz.sum(0)


@mistake(LSTM, "wrong-argument", of="T21")
def back_lstm_forget_gate_times_new_cell(x, h, c, w, u, b, grad_out):
    i, f, g, o, c2 = _lstm(x, h, c, w, u, b)
    dh, dc = grad_out.chunk(2, 1)
    dc = dc + dh * o * (1 - torch.tanh(c2) ** 2)
    di, df, dg = dc * g * i * (1 - i), dc * c2 * f * (1 - f), dc * i * (1 - g**2)
    dz = torch.cat((di, df, dg, dh * torch.tanh(c2) * o * (1 - o)), 1)
    return dz @ u.T, dc * f, x.T @ dz, h.T @ dz, dz.sum(0)


@mistake(LSTM, "missing-factor", of="T4")
def back_lstm_output_gate_not_derived(x, h, c, w, u, b, grad_out):
    i, f, g, o, c2 = _lstm(x, h, c, w, u, b)
    dh, dc = grad_out.chunk(2, 1)
    dc = dc + dh * o * (1 - torch.tanh(c2) ** 2)
    di, df, dg = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2)
    dz = torch.cat((di, df, dg, dh * torch.tanh(c2)), 1)
    return dz @ u.T, dc * f, x.T @ dz, h.T @ dz, dz.sum(0)


@alternative(LSTM)
def back_lstm_gate_by_gate(x, h, c, w, u, b, grad_out):
    i, f, g, o, c2 = _lstm(x, h, c, w, u, b)
    k = h.shape[1]
    dh, dc2 = grad_out[:, :k], grad_out[:, k:].clone()
    dc2 += dh * o / torch.cosh(c2) ** 2
    grad_h, gw, gu, gb = torch.zeros_like(h), *map(torch.zeros_like, (w, u, b))
    gates = ((i - i * i, dc2 * g), (f - f * f, dc2 * c), (1 - g * g, dc2 * i), (o - o * o, None))
    for place, (slope, above) in enumerate(gates):
        part = slice(place * k, place * k + k)
        dz = slope * (dh * torch.tanh(c2) if above is None else above)
        grad_h += dz @ u[:, part].T
        gw[:, part], gu[:, part], gb[part] = x.T @ dz, h.T @ dz, dz.sum(0)
    return grad_h, f * dc2, gw, gu, gb


def gru_cell(x, h, wz, uz, wr, ur, wn, un):
    z, _, n = _gru(x, h, wz, uz, wr, ur, wn, un)
    return (1 - z) * n + z * h


def _gru(x, h, wz, uz, wr, ur, wn, un):
    z, r = torch.sigmoid(x @ wz + h @ uz), torch.sigmoid(x @ wr + h @ ur)
    return z, r, torch.tanh(x @ wn + (r * h) @ un)


def back_gru_cell(x, h, wz, uz, wr, ur, wn, un, grad_out):
    z, r, n = _gru(x, h, wz, uz, wr, ur, wn, un)
    dn = grad_out * (1 - z) * (1 - n**2)
    dz = grad_out * (h - n) * z * (1 - z)
    drh = dn @ un.T
    dr = drh * h * r * (1 - r)
    grad_h = grad_out * z + drh * r + dz @ uz.T + dr @ ur.T
    return grad_h, h.T @ dz, h.T @ dr, (r * h).T @ dn


GRU = Op(
    forward=gru_cell,
    backwards=(back_gru_cell,),
    samples={
        "rows": lambda rand, n=7, i=3, h=5: (
            *(rand(n, i), rand(n, h)),
            *(rand(i, h), rand(h, h), rand(i, h), rand(h, h), rand(i, h), rand(h, h)),
        )
    },
    wrt=("h", "uz", "ur", "un"),
)


@mistake(GRU, "missing-branch", "missing-term", of="T8")
def back_gru_copied_state_forgotten(x, h, wz, uz, wr, ur, wn, un, grad_out):
    z, r, n = _gru(x, h, wz, uz, wr, ur, wn, un)
    dn = grad_out * (1 - z) * (1 - n**2)
    dz = grad_out * (h - n) * z * (1 - z)
    drh = dn @ un.T
    dr = drh * h * r * (1 - r)
    return drh * r + dz @ uz.T + dr @ ur.T, h.T @ dz, h.T @ dr, (r * h).T @ dn


@mistake(GRU, "sign", of="T7")
def back_gru_update_gate_the_other_way(x, h, wz, uz, wr, ur, wn, un, grad_out):
    z, r, n = _gru(x, h, wz, uz, wr, ur, wn, un)
    dn = grad_out * (1 - z) * (1 - n**2)
    dz = grad_out * (n - h) * z * (1 - z)
    drh = dn @ un.T
    dr = drh * h * r * (1 - r)
    grad_h = grad_out * z + drh * r + dz @ uz.T + dr @ ur.T
    return grad_h, h.T @ dz, h.T @ dr, (r * h).T @ dn


@mistake(GRU, "missing-factor", of="T8")
def back_gru_reset_gate_forgotten(x, h, wz, uz, wr, ur, wn, un, grad_out):
    z, r, n = _gru(x, h, wz, uz, wr, ur, wn, un)
    dn = grad_out * (1 - z) * (1 - n**2)
    dz = grad_out * (h - n) * z * (1 - z)
    drh = dn @ un.T
    dr = drh * h * r * (1 - r)
    grad_h = grad_out * z + drh + dz @ uz.T + dr @ ur.T
    return grad_h, h.T @ dz, h.T @ dr, (r * h).T @ dn


@mistake(GRU, "swapped", of="T21")
def back_gru_gates_out_of_order(x, h, wz, uz, wr, ur, wn, un, grad_out):
    grad_h, guz, gur, gun = back_gru_cell(x, h, wz, uz, wr, ur, wn, un, grad_out)
    return grad_h, gur, guz, gun
