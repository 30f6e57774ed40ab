"""Normalisations: seen by their values, and their formulas with one of the terms wrong."""

from collections.abc import Iterator
from functools import partial
from itertools import chain, combinations
from math import prod

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.edges import Fault, Place

SEEN = 1e-12


def normalise(x: Tensor, *, axes: tuple[int, ...], eps: float, correction: int) -> Tensor:
    """x̂ = (x - mean) / √(variance + ε), with a variance over n - correction."""
    return (x - x.mean(axes, keepdim=True)) / _sigma(x, axes, eps, correction)


def unit(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """u = x / |x|."""
    out: Tensor = x / torch.linalg.vector_norm(x, dim=axes, keepdim=True)
    return out


def seen(value: Tensor, x: Tensor) -> "partial[Tensor] | None":
    """Which of the two, along which axes, has this value of x, of its shape; None if neither."""
    for axes in subsets(x.dim()):
        if prod(x.shape[axis] for axis in axes) < 2:
            continue
        norm = torch.linalg.vector_norm(x, dim=axes, keepdim=True)
        if equal(value * norm, x):
            return partial(unit, axes=axes)
        for correction in (0, 1):
            eps = _standardised(value, x, axes, correction)
            if eps is not None:
                return partial(normalise, axes=axes, eps=eps, correction=correction)
    return None


def equal(a: Tensor, b: Tensor) -> bool:
    """To rounding."""
    return float((a - b).abs().max()) <= SEEN * float(b.abs().max())


def subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Every choice of axes but none."""
    sizes = range(1, count + 1)
    return chain.from_iterable(combinations(range(count), size) for size in sizes)


def _sigma(x: Tensor, axes: tuple[int, ...], eps: float, correction: int) -> Tensor:
    return (x.var(axes, keepdim=True, correction=correction) + eps).sqrt()


def _standardised(value: Tensor, x: Tensor, axes: tuple[int, ...], correction: int) -> float | None:
    """The ε with which the value is `normalise`; None where there is none."""
    if float(value.sum(axes).abs().max()) > 1e-9 * value.numel():
        return None
    centred = x - x.mean(axes, keepdim=True)
    size = (value * value).sum(axes, keepdim=True)
    if not bool((size > 0).all()):
        return None
    sigma = (centred * value).sum(axes, keepdim=True) / size
    eps = sigma * sigma - x.var(axes, keepdim=True, correction=correction)
    if not equal(value * sigma, centred) or not bool((sigma > 0).all()):
        return None
    if equal(sigma, torch.ones_like(sigma)) or float(eps.min()) < -1e-9:
        return None  # centred and no more
    return float(eps.mean()) if float((eps - eps.mean()).abs().max()) < 1e-9 else None


def normalise_terms(place: Place) -> Iterator[Fault]:
    """Of (g - mean g - x̂ mean(g x̂)) / σ."""
    if place.name != "normalise":
        return
    x, hat, g, known = place.inputs[0], place.out, place.grad, place.keywords()
    axes: tuple[int, ...] = known["axes"]
    size = prod(x.shape[axis] for axis in axes)
    less = size - known["correction"]
    sigma = _sigma(x, axes, known["eps"], known["correction"])

    def mean(t: Tensor, along: tuple[int, ...] = axes) -> Tensor:
        return t.mean(along, keepdim=True)

    through = hat * mean(g * hat) * (size / less)
    for code, kind, what, flows in (
        ("missing-branch", "no mean", "the way through the mean is not followed",
         (g - through) / sigma),
        ("missing-branch", "no var", "the way through the variance is not followed",
         (g - mean(g)) / sigma),
        ("missing-branch", "neither", "mean and variance are taken for constants", g / sigma),
        ("missing-factor", "no sigma", "the factor 1/σ is missing", g - mean(g) - through),
        ("extra-factor", "variance", "it is divided by the variance, where σ is due",
         (g - mean(g) - through) / sigma**2),
        ("sum-for-mean", "sums", "both means are sums", (g - size * (mean(g) + through)) / sigma),
        ("sum-for-mean", "sum mean", "the mean of g is a sum",
         (g - size * mean(g) - through) / sigma),
        ("sum-for-mean", "sum var", "the mean of g x̂ is a sum",
         (g - mean(g) - less * through) / sigma),
        ("missing-factor", "no hat", "x̂ does not multiply the mean of g x̂",
         (g - mean(g) - mean(g * hat)) / sigma),
        ("missing-factor", "no hat inside", "x̂ is missing under the mean of g x̂",
         (g - mean(g) - hat * mean(g)) / sigma),
        ("sign", "plus mean", "the mean of g is added", (g + mean(g) - through) / sigma),
        ("sign", "plus var", "x̂ times the mean of g x̂ is added", (g - mean(g) + through) / sigma),
        ("wrong-argument", "raw", "x stands where x̂ belongs",
         (g - mean(g) - x * mean(g * x)) / sigma),
        ("convention", "n - 1", "the mean of g x̂ is taken over n - 1",
         (g - mean(g) - hat * mean(g * hat) * size / (size - 1)) / sigma),
        ("convention", "n", "the mean of g x̂ is taken over n",
         (g - mean(g) - hat * mean(g * hat)) / sigma),
    ):  # fmt: skip
        yield from place.fault(code, 8, ("normalise", kind), what, flows)
    variance = x.var(axes, keepdim=True, correction=known["correction"])
    turned = x.var(axes, keepdim=True, correction=1 - known["correction"])
    unlike = over(1 - known["correction"])
    for code, kind, what, off in (
        ("convention", "turned", f"σ has {unlike}", (turned + known["eps"]).sqrt()),
        ("convention", "turned, no eps", f"σ has {unlike}, and no ε", turned.sqrt()),
        ("missing-term", "no eps", "ε is left out of σ", variance.sqrt()),
        ("wrong-argument", "eps outside", "ε is added to σ, and belongs under the root",
         variance.sqrt() + known["eps"]),
    ):  # fmt: skip
        by = (x - mean(x)) / off
        flows = (g - mean(g) - by * mean(g * by)) / off
        yield from place.fault(code, 8, ("sigma", kind), what, flows)
    for other in subsets(x.dim()):
        for kind, said, flows in (
            ("both", "the means run", (g - mean(g, other) - hat * mean(g * hat, other)) / sigma),
            ("first", "the mean of g runs", (g - mean(g, other) - through) / sigma),
            ("second", "the mean of g x̂ runs",
             (g - mean(g) - hat * mean(g * hat, other)) / sigma),
        ):  # fmt: skip
            what = f"{said} over axis {_listed(other)}, and in the forward over {_listed(axes)}"
            yield from place.fault("wrong-axis", 8, ("normalise axis", kind, other), what, flows)
    for gamma, before in _scales(place):
        flows = gamma * (before - mean(before) - hat * mean(before * hat) * (size / less)) / sigma
        what = "the scale multiplies after the means, and belongs under them"
        yield from place.fault("wrong-argument", 8, "scale after", what, flows)


def over(correction: int) -> str:
    """What a variance with another correction than the forward's is called."""
    here, there = ("n - 1", "n") if correction else ("n", "n - 1")
    return f"a variance over {here}, where the forward has one over {there}"


def unit_terms(place: Place) -> Iterator[Fault]:
    """Of (g - u Σ u g) / |x|."""
    if place.name != "unit":
        return
    x, u, g = place.inputs[0], place.out, place.grad
    axes: tuple[int, ...] = place.keywords()["axes"]
    norm = torch.linalg.vector_norm(x, dim=axes, keepdim=True)

    def total(t: Tensor, along: tuple[int, ...] = axes) -> Tensor:
        return t.sum(along, keepdim=True)

    right = g - u * total(u * g)
    for code, kind, what, flows in (
        ("missing-branch", "no norm", "the way through the norm is not followed", g / norm),
        ("missing-factor", "no 1/norm", "the factor 1/|x| is missing", right),
        ("extra-factor", "twice", "it is divided by |x|², where |x| is due", right / norm**2),
        ("sign", "plus", "u Σ u g is added, where it is subtracted",
         (g + u * total(u * g)) / norm),
        ("wrong-argument", "raw", "x stands where x / |x| belongs", (g - x * total(x * g)) / norm),
        ("wrong-argument", "raw inside", "x stands under the sum where x / |x| belongs",
         (g - u * total(x * g)) / norm),
        ("missing-factor", "no u", "x / |x| does not multiply the sum", (g - total(u * g)) / norm),
        ("mean-for-sum", "mean", "the sum Σ u g is a mean",
         (g - u * (u * g).mean(axes, keepdim=True)) / norm),
    ):  # fmt: skip
        yield from place.fault(code, 8, ("unit", kind), what, flows)
    for other in subsets(x.dim()):
        whole = torch.linalg.vector_norm(x, dim=other, keepdim=True)
        for kind, said, flows in (
            ("sum", "the sum runs", (g - u * total(u * g, other)) / norm),
            ("both", "the norm is taken", (g - x / whole * total(x / whole * g, other)) / whole),
        ):
            what = f"{said} over axis {_listed(other)}, and in the forward over {_listed(axes)}"
            yield from place.fault("wrong-axis", 8, ("unit axis", kind, other), what, flows)


def _scales(place: Place) -> Iterator[tuple[Tensor, Tensor]]:
    """What multiplies the normalised value afterwards, and the gradient before that product."""
    tape = place.tape
    for edge in tape.sent:
        if tape.source(edge) == place.edge.step and tape.steps[edge.step].name == "mul":
            for source in tape.steps[edge.step].sources:
                if source in tape.wrt:
                    yield tape.steps[source].value, tape.adjoints[edge.step]


def _listed(axes: tuple[int, ...]) -> str:
    return " and ".join(map(str, axes))
