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

from typing import overload

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
H1 = Float[Tensor, "n h"]
H2 = Float[Tensor, "n j"]
Grads = tuple[X | None, W1 | None, B1 | None, W2 | None, B2 | None, W3 | None, B3 | None]
Needs = tuple[bool, bool, bool, bool, bool, bool, bool]
ALL = (True, True, True, True, True, True, True)


def classifier(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3, target: Target,
    *, relu_logits: bool = False,
) -> Loss:  # fmt: skip
    """L, the mean cross-entropy of n rows: (n, i) and (n) class indices to one number."""
    *_, logits = classifier_layers(x, w1, b1, w2, b2, w3, b3, relu_logits=relu_logits)
    return cross_entropy(logits, target)


def classifier_layers(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3, *, relu_logits: bool = False
) -> tuple[H1, H2, Logits]:
    """h1 (n, h), h2 (n, j), and z (n, k) or, with relu_logits, relu(z)."""
    h1 = relu(lin(x, w1.T, b1))
    h2 = relu(lin(h1, w2.T, b2))
    z = lin(h2, w3.T, b3)
    return h1, h2, relu(z) if relu_logits else z


@overload
def back_classifier(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3, target: Target,
    grad_out: Loss | float = 1.0, *, relu_logits: bool = False,
) -> tuple[X, W1, B1, W2, B2, W3, B3]: ...  # fmt: skip
@overload
def back_classifier(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3, target: Target,
    grad_out: Loss | float = 1.0, needs: Needs = ALL, *, relu_logits: bool = False,
) -> Grads: ...  # fmt: skip
def back_classifier(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, w3: W3, b3: B3, target: Target,
    grad_out: Loss | float = 1.0, needs: Needs = ALL, *, relu_logits: bool = False,
) -> Grads:  # fmt: skip
    """The forward computed again and read from its end; None where `needs` says nobody asks."""
    if not any(needs):
        return (None,) * 7
    layers = classifier_layers(x, w1, b1, w2, b2, w3, b3, relu_logits=relu_logits)
    return back_classifier_layers(
        x, w1, w2, w3, layers, target, grad_out, needs, relu_logits=relu_logits
    )


def back_classifier_layers(
    x: X, w1: W1, w2: W2, w3: W3, layers: tuple[H1, H2, Logits], target: Target,
    grad_out: Loss | float = 1.0, needs: Needs = ALL, *, relu_logits: bool = False,
) -> Grads:  # fmt: skip
    """The same of what `classifier_layers` gave, each step by the operator's own backward."""
    h1, h2, logits = layers
    grad_z = back_cross_entropy(logits, target, grad_out)
    if relu_logits:
        grad_z = back_relu(logits, grad_z)
    grad_x = grad_w1 = grad_b1 = grad_w2 = grad_b2 = None
    grad_h2, grad_w3, grad_b3 = back_lin(h2, w3.T, grad_z, (any(needs[:5]), *needs[5:]))
    if grad_h2 is not None:
        grad_z2 = back_relu(h2, grad_h2)
        grad_h1, grad_w2, grad_b2 = back_lin(h1, w2.T, grad_z2, (any(needs[:3]), *needs[3:5]))
        if grad_h1 is not None:
            grad_z1 = back_relu(h1, grad_h1)
            grad_x, grad_w1, grad_b1 = back_lin(x, w1.T, grad_z1, needs[:3])
    return (
        grad_x,
        _transposed(grad_w1),
        grad_b1,
        _transposed(grad_w2),
        grad_b2,
        _transposed(grad_w3),
        grad_b3,
    )


def _transposed(grad: Tensor | None) -> Tensor | None:
    return None if grad is None else grad.T


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
