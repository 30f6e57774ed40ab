"""computational_graph: the one of J = 3 (a + b c), drawn out node by node.

    J = 3 u,  u = a + v,  v = b c          a, b, c of one shape, any

Derivation
    dJ = 3 du,  du = da + dv,  dv = c db + b dc        a small change at every node
    dL = ⟨J̄, dJ⟩                                       is felt by the loss;
       = ⟨3 J̄, da⟩ + ⟨3 c J̄, db⟩ + ⟨3 b J̄, dc⟩         follow each edge back to where it began,
    ā = 3 J̄      b̄ = 3 c J̄      c̄ = 3 b J̄              and read off the gradients.

Edge by edge the local derivatives are ∂J/∂u = 3, ∂u/∂a = 1, ∂u/∂v = 1, ∂v/∂b = c, ∂v/∂c = b.

Read first: chain
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.5.1
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def computational_graph(a: X, b: X, c: X) -> X:
    """J = 3 (a + b c), of any one shape."""
    v = b * c
    u = a + v
    return 3 * u


def computational_graph_edges(b: X, c: X) -> dict[str, X]:
    """The local derivative of every edge, by name: "v/b" is ∂v/∂b, of the inputs' shape."""
    one = torch.ones_like(b)
    return {"J/u": 3 * one, "u/a": one, "u/v": one, "v/b": c, "v/c": b}


def back_computational_graph(b: X, c: X, grad_out: X) -> tuple[X, X, X]:
    """ā = 3 J̄, b̄ = c ā, c̄ = b ā: what reaches u reaches a and v alike."""
    grad_a = 3 * grad_out
    return grad_a, c * grad_a, b * grad_a


OP = Op(
    forward=computational_graph,
    backwards=(back_computational_graph,),
    samples={"vector": lambda rand, n=11: (rand(n), rand(n), rand(n))},
    wrt=("a", "b", "c"),
    oracle=lambda a, b, c: torch.addcmul(a, b, c).mul(3),
)
