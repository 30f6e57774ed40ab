"""two_layer: linear, relu, linear, mean squared error.

    L = mse(relu(x w1 + b1) w2 + b2, target)
    x (n, i), w1 (i, h), b1 (h), w2 (h, 1), b2 (1), target (n)

Derivation
    z = x w1 + b1,  h = relu(z)
    pred = h w2 + b2,  L = mse(pred, target)
    read the forward from its end: back through mse to pred, through lin to h, w2, b2,
    through relu to z, and through lin to x, w1, b1; each step is the operator's own backward.

Only the inputs are saved; z, h and pred are computed again, which costs one forward and no memory
between the passes.

Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.5
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.lin import back_lin, back_lin_broadcast, lin
from manual_backprop.ops.mse import back_mse, mse
from manual_backprop.ops.relu import back_relu, relu

X = Float[Tensor, "n i"]
W1 = Float[Tensor, "i h"]
B1 = Float[Tensor, " h"]
W2 = Float[Tensor, "h 1"]
B2 = Float[Tensor, "1"]
Target = Float[Tensor, " n"]
Loss = Float[Tensor, ""]


def two_layer(x: X, w1: W1, b1: B1, w2: W2, b2: B2, target: Target) -> Loss:
    """L = mse(relu(x w1 + b1) w2 + b2, target), (n, i) and (n) to one number."""
    return mse(lin(relu(lin(x, w1, b1)), w2, b2), target)


def back_two_layer(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, target: Target, grad_out: Loss | float = 1.0
) -> tuple[X, W1, B1, W2, B2]:
    """The forward read from its end, each linear layer by matrix products."""
    z = lin(x, w1, b1)
    h = relu(z)
    grad_pred = back_mse(lin(h, w2, b2), target, grad_out)
    grad_h, grad_w2, grad_b2 = back_lin(h, w2, grad_pred)
    grad_z = back_relu(z, grad_h)
    grad_x, grad_w1, grad_b1 = back_lin(x, w1, grad_z)
    return grad_x, grad_w1, grad_b1, grad_w2, grad_b2


def back_two_layer_broadcast(
    x: X, w1: W1, b1: B1, w2: W2, b2: B2, target: Target, grad_out: Loss | float = 1.0
) -> tuple[X, W1, B1, W2, B2]:
    """The same with every linear layer broadcasted: n i h numbers at once."""
    z = lin(x, w1, b1)
    h = relu(z)
    grad_pred = back_mse(lin(h, w2, b2), target, grad_out)
    grad_h, grad_w2, grad_b2 = back_lin_broadcast(h, w2, grad_pred)
    grad_z = back_relu(z, grad_h)
    grad_x, grad_w1, grad_b1 = back_lin_broadcast(x, w1, grad_z)
    return grad_x, grad_w1, grad_b1, grad_w2, grad_b2


OP = Op(
    forward=two_layer,
    backwards=(back_two_layer, back_two_layer_broadcast),
    samples={
        "rows": lambda rand, n=11, i=7, h=5: (
            rand(n, i),
            rand(i, h),
            rand(h),
            rand(h, 1),
            rand(1),
            rand(n),
        ),
        "article": lambda rand: (
            rand(1000, 784),
            rand(784, 50),
            rand(50),
            rand(50, 1),
            rand(1),
            rand(1000),
        ),
    },
    wrt=("x", "w1", "b1", "w2", "b2"),
    oracle=lambda x, w1, b1, w2, b2, target: F.mse_loss(
        F.linear(F.relu(F.linear(x, w1.T, b1)), w2.T, b2).squeeze(-1), target
    ),
)
