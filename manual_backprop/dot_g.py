"""dot_g: the article's notation, in which every tensor carries its gradient as `.g`.

    out.g = ...                 the gradient of the loss with respect to out, of out's shape
    back_lin(inp, w, b, out)    sets inp.g, w.g and b.g from out.g

A thin layer over the pure functions of `manual_backprop.ops`: the names are the article's, the
gradients are theirs. Nothing is recorded by autograd. A gradient is set, not added: a tensor that
is used in two places keeps only the one that came last, so give each use a name of its own and add.

Source: Howard, Gugger, Deep Learning for Coders with fastai and PyTorch (2020), chapter 17
"""

import torch
from torch import Tensor

from manual_backprop.ops import lin, mse, relu


def _g(out: Tensor, name: str) -> Tensor:
    """The gradient that a tensor carries.

    Raises:
        AttributeError: it carries none.
        ValueError: it carries one of another shape.
    """
    g = getattr(out, "g", None)
    if g is None:
        raise AttributeError(
            f"{name} has no .g yet: first call the backward of what was computed from {name}, "
            "from the loss towards the input"
        )
    if g.shape != out.shape:
        raise ValueError(
            f"{name}.g is {tuple(g.shape)} and {name} is {tuple(out.shape)}: "
            "a gradient has the shape of what it is the gradient of"
        )
    return g  # type: ignore[no-any-return]


@torch.no_grad()
def back_lin(inp: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    """inp.g = out.g wᵀ, w.g = inpᵀ out.g, b.g = 1ᵀ out.g, for out = inp w + b.

    Shapes: inp (*n, i), w (i, o), b (o), out (*n, o).

    Raises:
        AttributeError: out has no .g yet.
        ValueError: out.g has another shape than out.
    """
    inp.g, w.g, b.g = lin.back_lin(inp, w, _g(out, "out"))  # type: ignore[attr-defined]


@torch.no_grad()
def back_relu(inp: Tensor, out: Tensor) -> None:
    """inp.g = [inp > 0] out.g, for out = relu(inp), of one shape.

    Raises:
        AttributeError: out has no .g yet.
        ValueError: out.g has another shape than out.
    """
    inp.g = relu.back_relu(inp, _g(out, "out"))  # type: ignore[attr-defined]


@torch.no_grad()
def back_mse(pred: Tensor, target: Tensor) -> None:
    """pred.g = 2/n (pred - target), for the loss mse(pred, target) itself.

    Shapes: pred (*n, 1), target (*n).
    """
    pred.g = mse.back_mse(pred, target)  # type: ignore[attr-defined]
