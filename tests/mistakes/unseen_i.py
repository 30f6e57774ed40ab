"""Homework on embeddings, attention, normalisation and networks with kinks."""

import torch

from manual_backprop.op import Op
from tests.mistakes import alternative, mistake


def skip_gram(emb, con, centers, words, negatives):
    """Minus log σ(u v) minus Σ log σ(-u_k v), the mean over n pairs."""
    v = emb[centers]
    pos, neg = _scores(v, con, words, negatives)
    log = torch.nn.functional.logsigmoid
    return -(log(pos) + log(-neg).sum(1)).mean()


def _scores(v, con, words, negatives):
    return (v * con[words]).sum(1), torch.einsum("nd,nkd->nk", v, con[negatives])


def back_skip_gram(emb, con, centers, words, negatives, grad_out):
    v, u, uk = emb[centers], con[words], con[negatives]
    pos, neg = _scores(v, con, words, negatives)
    dpos = ((torch.sigmoid(pos) - 1) * grad_out / len(v))[:, None]
    dneg = (torch.sigmoid(neg) * grad_out / len(v))[:, :, None]
    grad_emb, grad_con = torch.zeros_like(emb), torch.zeros_like(con)
    grad_emb.index_add_(0, centers, dpos * u + (dneg * uk).sum(1))
    grad_con.index_add_(0, words, dpos * v)
    grad_con.index_add_(0, negatives.flatten(), (dneg * v[:, None]).flatten(0, 1))
    return grad_emb, grad_con


SKIP_GRAM = Op(
    forward=skip_gram,
    backwards=(back_skip_gram,),
    samples={
        "rows": lambda rand, n=13, k=3, v=7, d=5: (
            *(rand(v, d), rand(v, d), rand.integers(v, n), rand.integers(v, n)),
            rand.integers(v, n, k),
        )
    },
    wrt=("emb", "con"),
)


@mistake(SKIP_GRAM, "overwritten", of="T8")
def back_skip_gram_rows_assigned(emb, con, centers, words, negatives, grad_out):
    v, u, uk = emb[centers], con[words], con[negatives]
    pos, neg = _scores(v, con, words, negatives)
    dpos = ((torch.sigmoid(pos) - 1) * grad_out / len(v))[:, None]
    dneg = (torch.sigmoid(neg) * grad_out / len(v))[:, :, None]
    grad_emb, grad_con = torch.zeros_like(emb), torch.zeros_like(con)
    for row, add in zip(centers.tolist(), dpos * u + (dneg * uk).sum(1), strict=True):
        grad_emb[row] = add
    grad_con.index_add_(0, words, dpos * v)
    grad_con.index_add_(0, negatives.flatten(), (dneg * v[:, None]).flatten(0, 1))
    return grad_emb, grad_con


@mistake(SKIP_GRAM, "extra-term", "convention", of="T19")
def back_skip_gram_negatives_labelled_one(emb, con, centers, words, negatives, grad_out):
    v, u, uk = emb[centers], con[words], con[negatives]
    pos, neg = _scores(v, con, words, negatives)
    dpos = ((torch.sigmoid(pos) - 1) * grad_out / len(v))[:, None]
    dneg = ((torch.sigmoid(neg) - 1) * grad_out / len(v))[:, :, None]
    grad_emb, grad_con = torch.zeros_like(emb), torch.zeros_like(con)
    grad_emb.index_add_(0, centers, dpos * u + (dneg * uk).sum(1))
    grad_con.index_add_(0, words, dpos * v)
    grad_con.index_add_(0, negatives.flatten(), (dneg * v[:, None]).flatten(0, 1))
    return grad_emb, grad_con


@mistake(SKIP_GRAM, "missing-term", "missing-branch", of="T8")
def back_skip_gram_center_without_negatives(emb, con, centers, words, negatives, grad_out):
    v, u = emb[centers], con[words]
    pos, neg = _scores(v, con, words, negatives)
    dpos = ((torch.sigmoid(pos) - 1) * grad_out / len(v))[:, None]
    dneg = (torch.sigmoid(neg) * grad_out / len(v))[:, :, None]
    grad_emb, grad_con = torch.zeros_like(emb), torch.zeros_like(con)
    grad_emb.index_add_(0, centers, dpos * u)
    grad_con.index_add_(0, words, dpos * v)
    grad_con.index_add_(0, negatives.flatten(), (dneg * v[:, None]).flatten(0, 1))
    return grad_emb, grad_con


@mistake(SKIP_GRAM, "wrong-argument", of="T21")
def back_skip_gram_context_from_context(emb, con, centers, words, negatives, grad_out):
    v, u, uk = emb[centers], con[words], con[negatives]
    pos, neg = _scores(v, con, words, negatives)
    dpos = ((torch.sigmoid(pos) - 1) * grad_out / len(v))[:, None]
    dneg = (torch.sigmoid(neg) * grad_out / len(v))[:, :, None]
    grad_emb, grad_con = torch.zeros_like(emb), torch.zeros_like(con)
    grad_emb.index_add_(0, centers, dpos * u + (dneg * uk).sum(1))
    grad_con.index_add_(0, words, dpos * u)
    grad_con.index_add_(0, negatives.flatten(), (dneg * v[:, None]).flatten(0, 1))
    return grad_emb, grad_con


@alternative(SKIP_GRAM)
def back_skip_gram_pair_by_pair(emb, con, centers, words, negatives, grad_out):
    grad_emb, grad_con = torch.zeros_like(emb), torch.zeros_like(con)
    for c, w, ks in zip(centers.tolist(), words.tolist(), negatives.tolist(), strict=True):
        for o, label in ((w, 1.0), *((k, 0.0) for k in ks)):
            delta = (torch.sigmoid(emb[c] @ con[o]) - label) * grad_out / len(centers)
            grad_emb[c] += delta * con[o]
            grad_con[o] += delta * emb[c]
    return grad_emb, grad_con


def bag_classifier(emb, w, b, words, real, y):
    """The real words' mean vector, a linear layer, cross-entropy; real (n, t) of 0 and 1."""
    logits = _bag(emb, words, real) @ w + b
    return (logits.logsumexp(1) - logits[torch.arange(len(y)), y]).mean()


def _bag(emb, words, real):
    return (emb[words] * _share(real, emb)).sum(1)


def _share(real, emb):
    return (real.to(emb.dtype) / real.sum(1, keepdim=True))[:, :, None]


def _delta(logits, y, grad_out):
    target = torch.nn.functional.one_hot(y, logits.shape[1])
    return (torch.softmax(logits, 1) - target) * grad_out / len(y)


def back_bag_classifier(emb, w, b, words, real, y, grad_out):
    bag = _bag(emb, words, real)
    d = _delta(bag @ w + b, y, grad_out)
    each = (d @ w.T)[:, None] * _share(real, emb)
    grad_emb = torch.zeros_like(emb).index_add_(0, words.flatten(), each.flatten(0, 1))
    return grad_emb, bag.T @ d, d.sum(0)


BAG = Op(
    forward=bag_classifier,
    backwards=(back_bag_classifier,),
    samples={
        "rows": lambda rand, n=7, t=5, v=11, d=3, k=13: (
            *(rand(v, d), rand(d, k), rand(k), rand.integers(v, n, t)),
            *(rand.integers(2, n, t).index_fill(1, torch.tensor([0]), 1), rand.integers(k, n)),
        )
    },
    wrt=("emb", "w", "b"),
)


@mistake(BAG, "mask", of="T17")
def back_bag_padding_counted(emb, w, b, words, real, y, grad_out):
    bag = _bag(emb, words, real)
    d = _delta(bag @ w + b, y, grad_out)
    each = (d @ w.T / real.sum(1, keepdim=True))[:, None].expand(*words.shape, -1)
    grad_emb = torch.zeros_like(emb).index_add_(0, words.flatten(), each.flatten(0, 1))
    return grad_emb, bag.T @ d, d.sum(0)


@mistake(BAG, "missing-factor", "sum-for-mean", of="T1")
def back_bag_of_a_sum(emb, w, b, words, real, y, grad_out):
    bag = _bag(emb, words, real)
    d = _delta(bag @ w + b, y, grad_out)
    each = (d @ w.T)[:, None] * real[:, :, None]
    grad_emb = torch.zeros_like(emb).index_add_(0, words.flatten(), each.flatten(0, 1))
    return grad_emb, bag.T @ d, d.sum(0)


@mistake(BAG, "wrong-axis", of="T3")
def back_bag_softmax_over_rows(emb, w, b, words, real, y, grad_out):
    bag = _bag(emb, words, real)
    p = torch.softmax(bag @ w + b, 0)
    d = (p - torch.nn.functional.one_hot(y, len(b))) * grad_out / len(y)
    each = (d @ w.T)[:, None] * _share(real, emb)
    grad_emb = torch.zeros_like(emb).index_add_(0, words.flatten(), each.flatten(0, 1))
    return grad_emb, bag.T @ d, d.sum(0)


@mistake(BAG, "not-reduced", of="T2")
def back_bag_bias_per_row(emb, w, b, words, real, y, grad_out):
    bag = _bag(emb, words, real)
    d = _delta(bag @ w + b, y, grad_out)
    each = (d @ w.T)[:, None] * _share(real, emb)
    grad_emb = torch.zeros_like(emb).index_add_(0, words.flatten(), each.flatten(0, 1))
    return grad_emb, bag.T @ d, d


def masked_attention(q, k, v, seen):
    return _weights(q, k, seen) @ v


def _weights(q, k, seen):
    scores = q @ k.T / q.shape[1] ** 0.5
    return torch.softmax(scores.masked_fill(seen == 0, -torch.inf), 1)


def back_masked_attention(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    da = grad_out @ v.T
    ds = a * (da - (a * da).sum(1, keepdim=True)) / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, a.T @ grad_out


ATTENTION = Op(
    forward=masked_attention,
    backwards=(back_masked_attention,),
    samples={
        "rows": lambda rand, n=7, m=11, d=5, e=3: (
            *(rand(n, d), rand(m, d), rand(m, e)),
            rand.integers(2, n, m).index_fill(1, torch.tensor([0, 1]), 1),
        )
    },
    wrt=("q", "k", "v"),
)


@mistake(ATTENTION, "missing-term", of="T3")
def back_attention_diagonal_only(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    ds = a * (1 - a) * (grad_out @ v.T) / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, a.T @ grad_out


@mistake(ATTENTION, "wrong-axis", of="T3")
def back_attention_sum_over_queries(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    da = grad_out @ v.T
    ds = a * (da - (a * da).sum(0, keepdim=True)) / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, a.T @ grad_out


@mistake(ATTENTION, "wrong-argument", of="T3")
def back_attention_sum_without_upstream(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    da = grad_out @ v.T
    ds = a * (da - (grad_out.sum(1, keepdim=True) * a).sum(1, keepdim=True))
    ds = ds / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, a.T @ grad_out


@mistake(ATTENTION, "mask", of="T17")
def back_attention_weights_without_mask(q, k, v, seen, grad_out):
    a = _weights(q, k, torch.ones_like(seen))
    da = grad_out @ v.T
    ds = a * (da - (a * da).sum(1, keepdim=True)) / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, a.T @ grad_out


@mistake(ATTENTION, "factor", "missing-factor", of="T1")
def back_attention_keys_unscaled(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    da = grad_out @ v.T
    ds = a * (da - (a * da).sum(1, keepdim=True))
    return ds @ k / q.shape[1] ** 0.5, ds.T @ q, a.T @ grad_out


@mistake(ATTENTION, "transposed", of="T6")
def back_attention_values_transposed(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    da = grad_out @ v.T
    ds = a * (da - (a * da).sum(1, keepdim=True)) / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, grad_out.T @ a


@mistake(ATTENTION, "not-linear", of="T10")
def back_attention_clipped(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    da = (grad_out @ v.T).clamp(-1, 1)
    ds = a * (da - (a * da).sum(1, keepdim=True)) / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, a.T @ grad_out


@alternative(ATTENTION)
def back_attention_by_jacobians(q, k, v, seen, grad_out):
    a = _weights(q, k, seen)
    jacobian = torch.diag_embed(a) - a[:, :, None] * a[:, None]
    ds = torch.einsum("nij,je,ne->ni", jacobian, v, grad_out) * q.shape[1] ** -0.5
    return ds @ k, torch.einsum("nm,nd->md", ds, q), torch.einsum("nm,ne->me", a, grad_out)
