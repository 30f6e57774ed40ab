"""tanh: squashes every entry into (-1, 1).

    t = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)        x and t of one shape, any

Derivation
    dt = (1 - t²) dx                   since sinh' = cosh and cosh² - sinh² = 1, a small change
    dL = ⟨t̄, dt⟩                       is felt by the loss;
       = ⟨(1 - t²) t̄, dx⟩              move the slope across,
    x̄ = (1 - t²) t̄                     and read off the gradient.

Read first: sigmoid
Source: LeCun, Bottou, Orr, Müller, Efficient BackProp (1998), 4.4
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]
aten = torch.ops.aten


def tanh(x: X) -> X:
    """t = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ), with e^-2|x| - 1, which neither overflows nor cancels."""
    e = torch.expm1(-2 * x.abs())
    return x.sign() * (-e / (2 + e))


def back_tanh(out: X, grad_out: X) -> X:
    """x̄ = (1 - t²) t̄."""
    return grad_out * (1 - out * out)


def back_tanh_from_x(x: X, grad_out: X) -> X:
    """1 - t² = 1 / cosh² x, and nothing cancels: right to the last digits in both tails."""
    sech = x.cosh().reciprocal()
    return grad_out * sech.square()


def back_tanh_(out: X, grad_out: X) -> X:
    """In place, by PyTorch's own kernel: t̄ is read once and written once."""
    aten.tanh_backward.grad_input(grad_out, out, grad_input=grad_out)
    return grad_out


OP = Op(
    forward=tanh,
    backwards=(back_tanh, back_tanh_from_x, back_tanh_),
    samples={
        "vector": lambda rand, n=11: (rand(n),),
        "rows": lambda rand, n=11, i=7: (rand(n, i),),
        "batched": lambda rand, m=3, n=11, i=7: (rand(m, n, i),),
    },
    wrt=("x",),
    oracle=torch.tanh,
)
