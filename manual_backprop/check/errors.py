"""Where to look for what PyTorch and Python raise in a beginner's function."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from manual_backprop.check.load import remedy


def of_error(said: str, known: Sequence[str]) -> str:
    """Where to look for what a function raised; empty of errors that say it themselves.

    Args:
        said: the error's type and what it says.
        known: the names of the function's parameters and variables.
    """
    if name := re.search(r"NameError: name '(\w+)'", said):
        close = get_close_matches(name[1], known, n=1, cutoff=0.6)
        guess = f"Did you mean {close[0]}?" if close else "Is it misspelt?"
        return remedy(name[1]) or f"{guess} The function knows {', '.join(known)}."
    if "tensors of a single element can be converted to an index" in said:
        return (
            "Python's list times a tensor. [x > 0] in a formula is 1 where the condition holds, "
            "else 0; in code that is the mask itself, (x > 0) * grad_out."
        )
    if "Can't call numpy() on Tensor that requires grad" in said:
        return (
            "Write the forward with torch, torch.tanh for np.tanh: autograd cannot look into "
            "numpy, and .detach() would cut the gradient off."
        )
    if "EOFError" in said:
        return "Leave input() out: nobody is there to answer while the function is judged."
    if "cannot be multiplied" in said:
        return (
            "In a product (a, b) @ (c, d) b and c have to be the same. Is a transpose, .T, "
            "missing, or do the factors stand in the wrong order?"
        )
    if "truth value of a Tensor" in said or "Boolean value of Tensor" in said:
        return (
            "An if asks once, and a tensor holds many answers: take torch.where(condition, a, b), "
            "or multiply by the mask."
        )
    if "one-hot row" in said:
        return (
            "The row of a class is 1 at that class and 0 elsewhere, as F.one_hot(target, classes) "
            "makes it of integers: as many columns as there are classes."
        )
    if "must match the size of tensor b" in said:
        if "matrix product" in said:
            return (
                "Entry by entry, *, the shapes are the same; a matrix product, (a, b) @ (b, c), "
                "sums over the axis that both have. Does one of the two need .T?"
            )
        return (
            "Write the two shapes below each other, aligned at the right: sizes are equal, or one "
            "is 1. Is an axis to be put in by [:, None], or kept by keepdim=True?"
        )
    return ""
