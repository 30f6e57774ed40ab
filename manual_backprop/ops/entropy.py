"""entropy: how much surprise to expect of a row of probabilities.

    H = -Σ_i p_i log_b p_i             along the last axis; p (*n, k), H (*n); b a number > 1

Derivation
    dH = -Σ_i (ln p_i + 1) / ln b dp_i     since d(p ln p) = ln p dp + p dp / p, a small change
    dL = ⟨H̄, dH⟩                           is felt by the loss;
       = ⟨-H̄ (ln p + 1) / ln b, dp⟩        collect what stands with dp,
    p̄ = -H̄ (ln p + 1) / ln b               and read off the gradient.

In bits for b = 2, in nats for b = e. The surprise of a result is -log p, larger the rarer it is;
H is its mean: 0 for what is certain, and log k, the most, where all k results are equally likely.
Large entropy is much surprise to come. The numbers need not sum to 1; where they do not, H is no
entropy, and nothing says so.

Domain: p ≥ 0, and nan below. A result of probability 0 adds 0, the limit of p log p; its slope is
infinite, as in PyTorch's entr. In ln p + 1 digits cancel near p = 1/e, where the slope goes
through 0: it has digits enough beside the others of its row.

Read first: log, softmax
Source: Shannon, A mathematical theory of communication (1948), 6
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

P = Float[Tensor, "*n k"]
H = Float[Tensor, "*n"]


def entropy(p: P, *, base: float = 2.0) -> H:
    """H = -Σ p log p along the last axis, (*n, k) to (*n)."""
    return -torch.xlogy(p, p).sum(-1) / math.log(base)


def back_entropy(p: P, grad_out: H, *, base: float = 2.0) -> P:
    """p̄ = -H̄ (ln p + 1) / ln b."""
    return (grad_out / -math.log(base))[..., None] * (p.log() + 1)


OP = Op(
    forward=entropy,
    backwards=(back_entropy,),
    samples={
        "bits": lambda rand, n=11, k=3: (rand(n, k).softmax(-1),),
        "nats": lambda rand, k=7: ((rand(k).abs(),), {"base": math.e}),
    },
    wrt=("p",),
    oracle=lambda p, *, base=2.0: torch.special.entr(p).sum(-1) / math.log(base),
)
