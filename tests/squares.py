"""The operator that tests of the judge take when any will do: x squared."""

import torch

from manual_backprop.op import Op


def square(x):
    return x * x


def back_square(x, grad_out):
    return 2 * x * grad_out


def op(**changed):
    """A good operator, with some of its fields changed."""
    good = {
        "forward": square,
        "backwards": (back_square,),
        "samples": {"rows": lambda rand, n=11, i=7: (rand(n, i),)},
        "wrt": ("x",),
        "oracle": torch.square,
    }
    return Op(**{**good, **changed})
