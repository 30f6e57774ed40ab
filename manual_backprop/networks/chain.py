"""chain: two lines one behind the other, entry by entry.

    y1 = x w1 + b1,  y2 = y1 w2 + b2       all of one shape, any

Derivation
    dy2 = w2 dy1 + y1 dw2 + db2        a small change of the second line's inputs
    dy1 = w1 dx + x dw1 + db1          and of the first line's
    dL = ⟨ȳ2, dy2⟩                     is felt by the loss; put dy1 into dy2, then collect:
    ȳ1 = w2 ȳ2                         the chain passes ȳ2 on to the first line,
    x̄ = w1 ȳ1   w̄1 = x ȳ1   b̄1 = ȳ1    w̄2 = y1 ȳ2   b̄2 = ȳ2     and read off the gradients.

Every edge of the graph has a local derivative, and a gradient is the product along its path:
∂y2/∂w1 = ∂y2/∂y1 ∂y1/∂w1 = w2 x.

Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.5.2
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def chain(x: X, w1: X, b1: X, w2: X, b2: X) -> X:
    """y2 = (x w1 + b1) w2 + b2, of any one shape."""
    return (x * w1 + b1) * w2 + b2


def chain_edges(x: X, w1: X, b1: X, w2: X) -> dict[str, X]:
    """The local derivative of every edge, by name: "y1/w1" is ∂y1/∂w1, of the inputs' shape."""
    one = torch.ones_like(x)
    return {"y1/x": w1, "y1/w1": x, "y1/b1": one, "y2/y1": w2, "y2/w2": x * w1 + b1, "y2/b2": one}


def back_chain(x: X, w1: X, b1: X, w2: X, grad_out: X) -> tuple[X, X, X, X, X]:
    """From the end to the beginning: ȳ1 = w2 ȳ2 is computed once and serves three."""
    grad_y1 = w2 * grad_out
    y1 = x * w1 + b1
    return w1 * grad_y1, x * grad_y1, grad_y1, y1 * grad_out, grad_out.clone()


def back_chain_paths(x: X, w1: X, b1: X, w2: X, grad_out: X) -> tuple[X, X, X, X, X]:
    """From the beginning to the end: each gradient multiplies the edges of its own path anew."""
    edge = chain_edges(x, w1, b1, w2)
    paths = (
        ("y1/x", "y2/y1"),
        ("y1/w1", "y2/y1"),
        ("y1/b1", "y2/y1"),
        ("y2/w2",),
        ("y2/b2",),
    )
    grads = []
    for path in paths:
        grad = grad_out
        for name in reversed(path):
            grad = grad * edge[name]
        grads.append(grad)
    grad_x, grad_w1, grad_b1, grad_w2, grad_b2 = grads
    return grad_x, grad_w1, grad_b1, grad_w2, grad_b2


OP = Op(
    forward=chain,
    backwards=(back_chain, back_chain_paths),
    samples={
        "vector": lambda rand, n=11: (rand(n), rand(n), rand(n), rand(n), rand(n)),
    },
    wrt=("x", "w1", "b1", "w2", "b2"),
    oracle=lambda x, w1, b1, w2, b2: torch.addcmul(b2, torch.addcmul(b1, x, w1), w2),
)
