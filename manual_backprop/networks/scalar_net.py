"""scalar_net: two inputs, two hidden units, two outputs, and every weight by its name.

    z1 = w1 x1 + w3 x2,  z2 = w2 x1 + w4 x2,  h = f(z)
    z3 = w5 h1 + w7 h2,  z4 = w6 h1 + w8 h2,  o = f(z)
    L = 1/2 ((o1 - y1)² + (o2 - y2)²)      loss "half-sum", and "mean", which of two is the same
    L = -(y1 ln p1 + y2 ln p2),  p = softmax(o)      loss "cross-entropy"
    f is sigmoid or relu; all arguments plain numbers, or tensors of one shape, any

Derivation
    dL = ō1 do1 + ō2 do2                               a small change of the outputs
    do = f'(z) dz                                      of every unit
    dz3 = w5 dh1 + w7 dh2 + h1 dw5 + h2 dw7            of what goes into it, and so for all four;
    δ = f'(z) times what a unit feels: unit 3 feels ō1, unit 4 feels ō2,
    unit 1 feels w5 δ3 + w6 δ4, unit 2 feels w7 δ3 + w8 δ4;
    a weight's gradient is δ of the unit it leads to, times the number it is multiplied by.

Both outputs feel a hidden weight: whoever takes only one of w5 δ3 and w6 δ4 has a gradient that
looks right and is not. With cross-entropy ō = (y1 + y2) p - y: only where the targets sum to 1 is
that p - y.

The mean of two squares is half their sum, so half-sum and mean are one number here. Both names are
there because article E has both: 1/2 Σ in E1, and MSELoss in E5, which with more outputs differs.

Read first: sigmoid_mlp
Source: Rumelhart, Hinton, Williams, Learning representations by back-propagating errors (1986)
"""

import math
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"] | float
Activation = Literal["sigmoid", "relu"]
LossName = Literal["half-sum", "mean", "cross-entropy"]


def scalar_net(
    x1: X, x2: X, y1: X, y2: X,
    w1: X, w2: X, w3: X, w4: X, w5: X, w6: X, w7: X, w8: X,
    *, activation: Activation = "sigmoid", loss: LossName = "half-sum",
) -> X:  # fmt: skip
    """The loss L of one example, or of each, of the arguments' shape.

    Raises:
        ValueError: no such activation or loss.
    """
    *_, o1, o2 = scalar_net_units(x1, x2, w1, w2, w3, w4, w5, w6, w7, w8, activation=activation)
    if _checked("loss", loss, LossName) == "cross-entropy":  # ln p1 = -ln(1 + e^(o2 - o1))
        cross: X = y1 * _softplus(o2 - o1) + y2 * _softplus(o1 - o2)
        return cross
    return ((o1 - y1) ** 2 + (o2 - y2) ** 2) / 2


def scalar_net_units(
    x1: X, x2: X, w1: X, w2: X, w3: X, w4: X, w5: X, w6: X, w7: X, w8: X,
    *, activation: Activation = "sigmoid",
) -> tuple[X, X, X, X]:  # fmt: skip
    """What the four units give: h1, h2, o1, o2.

    Raises:
        ValueError: no such activation.
    """
    f = {"sigmoid": _sigmoid, "relu": _relu}[_checked("activation", activation, Activation)]
    h1, h2 = f(w1 * x1 + w3 * x2), f(w2 * x1 + w4 * x2)
    return h1, h2, f(w5 * h1 + w7 * h2), f(w6 * h1 + w8 * h2)


def back_scalar_net(
    x1: X, x2: X, y1: X, y2: X,
    w1: X, w2: X, w3: X, w4: X, w5: X, w6: X, w7: X, w8: X,
    grad_out: X = 1.0,
    *, activation: Activation = "sigmoid", loss: LossName = "half-sum",
) -> tuple[X, X, X, X, X, X, X, X, X, X]:  # fmt: skip
    """One δ for each unit, from the outputs to the inputs: of x1, x2, then of w1 to w8."""
    h1, h2, o1, o2 = scalar_net_units(x1, x2, w1, w2, w3, w4, w5, w6, w7, w8, activation=activation)
    if _checked("loss", loss, LossName) == "cross-entropy":
        p1 = _sigmoid(o1 - o2)
        p2 = _sigmoid(o2 - o1)
        grad_o1, grad_o2 = y2 * p1 - y1 * p2, y1 * p2 - y2 * p1
    else:
        grad_o1, grad_o2 = o1 - y1, o2 - y2
    back = _back_sigmoid if activation == "sigmoid" else _back_relu
    d3, d4 = back(o1, grad_o1 * grad_out), back(o2, grad_o2 * grad_out)
    d1, d2 = back(h1, w5 * d3 + w6 * d4), back(h2, w7 * d3 + w8 * d4)
    return (
        w1 * d1 + w2 * d2, w3 * d1 + w4 * d2,
        d1 * x1, d2 * x1, d1 * x2, d2 * x2,
        d3 * h1, d4 * h1, d3 * h2, d4 * h2,
    )  # fmt: skip


def _sigmoid(z: Any) -> Any:
    e = _exp(-abs(z))
    return ((z >= 0) + (z < 0) * e) / (1 + e)


def _back_sigmoid(out: Any, felt: Any) -> Any:
    return out * (1 - out) * felt


def _relu(z: Any) -> Any:
    return z * (z > 0)


def _back_relu(out: Any, felt: Any) -> Any:
    return (out > 0) * felt


def _softplus(z: Any) -> Any:
    """ln(1 + e^z)."""
    e = _exp(-abs(z))
    return _relu(z) + (e.log1p() if isinstance(e, Tensor) else math.log1p(e))


def _exp(z: Any) -> Any:
    return z.exp() if isinstance(z, Tensor) else math.exp(z)


def _checked(what: str, name: str, names: object) -> str:
    known = get_args(names)
    if name not in known:
        raise ValueError(f"scalar_net: no {what} {name!r}; there are {', '.join(known)}")
    return name


def _by_torch(
    x1: Tensor, x2: Tensor, y1: Tensor, y2: Tensor,
    w1: Tensor, w2: Tensor, w3: Tensor, w4: Tensor, w5: Tensor, w6: Tensor, w7: Tensor, w8: Tensor,
    *, activation: str = "sigmoid", loss: str = "half-sum",
) -> Tensor:  # fmt: skip
    f = torch.sigmoid if activation == "sigmoid" else torch.relu
    x, y = torch.stack((x1, x2), -1), torch.stack((y1, y2), -1)
    w_in = torch.stack((w1, w2, w3, w4), -1).unflatten(-1, (2, 2))
    w_out = torch.stack((w5, w6, w7, w8), -1).unflatten(-1, (2, 2))
    o = f(torch.einsum("...i,...ij->...j", f(torch.einsum("...i,...ij->...j", x, w_in)), w_out))
    if loss == "cross-entropy":
        return -(y * o.log_softmax(-1)).sum(-1)
    return F.mse_loss(o, y, reduction="none").sum(-1) / 2


OP = Op(
    forward=scalar_net,
    backwards=(back_scalar_net,),
    samples={
        "sigmoid, half-sum": lambda rand, n=11: tuple(rand(n) for _ in range(12)),
        "relu, mean": lambda rand, n=11: (
            tuple(rand(n) for _ in range(12)),
            {"activation": "relu", "loss": "mean"},
        ),
        "sigmoid, cross-entropy": lambda rand, n=11: (
            tuple(rand(n) for _ in range(12)),
            {"loss": "cross-entropy"},
        ),
    },
    wrt=("x1", "x2", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"),
    oracle=_by_torch,
)
