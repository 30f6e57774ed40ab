"""classifier: three linear layers with relu between them, and cross-entropy.

    h1 = relu(x w1ᵀ + b1),  h2 = relu(h1 w2ᵀ + b2),  z = h2 w3ᵀ + b3
    L = cross_entropy(z, t), or of relu(z) with relu_logits
    x (n, i), w1 (h, i), b1 (h), w2 (j, h), b2 (j), w3 (k, j), b3 (k), t (n) class indices

Derivation
    read the forward from its end: back through cross_entropy to the logits, through each linear
    layer to its weight, its bias and what went in, and through relu where there was one;
    each step is the operator's own backward. The weights lie as (out, in), as PyTorch keeps them,
    so lin sees them transposed and their gradients are transposed back.

A relu on the logits lets classes die: where a logit is negative for every image, its gradient is 0
for good, and that class is never predicted.

Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.5.4
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.cross_entropy import back_cross_entropy, cross_entropy
from manual_backprop.ops.lin import back_lin, lin
from manual_backprop.ops.relu import back_relu, relu

X = Float[Tensor, "n i"]
W1 = Float[Tensor, "h i"]
B1 = Float[Tensor, " h"]
W2 = Float[Tensor, "j h"]
B2 = Float[Tensor, " j"]
W3 = Float[Tensor, "k j"]
B3 = Float[Tensor, " k"]
Logits = Float[Tensor, "n k"]
Target = Int[Tensor, " n"]
Loss = Float[Tensor, ""]


def classifier(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3, target: Target,
    *, relu_logits: bool = False,
) -> Loss:  # fmt: skip
    """L, the mean cross-entropy of n rows: (n, i) and (n) class indices to one number."""
    *_, logits = classifier_layers(x, w1, b1, w2, b2, w3, b3)
    return cross_entropy(relu(logits) if relu_logits else logits, target)


def classifier_layers(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3
) -> tuple[Float[Tensor, "n h"], Float[Tensor, "n j"], Logits]:
    """h1 (n, h), h2 (n, j) and the logits (n, k), before any relu of theirs."""
    h1 = relu(lin(x, w1.T, b1))
    h2 = relu(lin(h1, w2.T, b2))
    return h1, h2, lin(h2, w3.T, b3)


def back_classifier(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3, target: Target,
    grad_out: Loss | float = 1.0, *, relu_logits: bool = False,
) -> tuple[X, W1, B1, W2, B2, W3, B3]:  # fmt: skip
    """The forward read from its end, each step by the operator's own backward."""
    h1, h2, logits = classifier_layers(x, w1, b1, w2, b2, w3, b3)
    grad_logits = back_cross_entropy(relu(logits) if relu_logits else logits, target, grad_out)
    if relu_logits:
        grad_logits = back_relu(logits, grad_logits)
    grad_h2, grad_w3, grad_b3 = back_lin(h2, w3.T, grad_logits)
    grad_h1, grad_w2, grad_b2 = back_lin(h1, w2.T, back_relu(h2, grad_h2))
    grad_x, grad_w1, grad_b1 = back_lin(x, w1.T, back_relu(h1, grad_h1))
    return grad_x, grad_w1.T, grad_b1, grad_w2.T, grad_b2, grad_w3.T, grad_b3


def _by_torch(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor,
    target: Tensor, *, relu_logits: bool = False,
) -> Tensor:  # fmt: skip
    hidden = F.relu(F.linear(F.relu(F.linear(x, w1, b1)), w2, b2))
    logits = F.linear(hidden, w3, b3)
    return F.cross_entropy(torch.relu(logits) if relu_logits else logits, target)


OP = Op(
    forward=classifier,
    backwards=(back_classifier,),
    samples={
        "rows": lambda rand, n=11, i=7, h=5, j=13, k=3: (
            *(rand(n, i), rand(h, i), rand(h), rand(j, h), rand(j), rand(k, j), rand(k)),
            rand.integers(k, n),
        ),
        "relu on the logits": lambda rand, n=11, i=7, h=5, j=13, k=3: (
            (
                *(rand(n, i), rand(h, i), rand(h), rand(j, h), rand(j), rand(k, j), rand(k)),
                rand.integers(k, n),
            ),
            {"relu_logits": True},
        ),
    },
    wrt=("x", "w1", "b1", "w2", "b2", "w3", "b3"),
    oracle=_by_torch,
)
