"""The formulas of softmax and log-softmax with a term or a factor of them wrong."""

from collections.abc import Iterator

from manual_backprop.judge.diagnose.edges import Fault, Place


def softmax_terms(place: Place) -> Iterator[Fault]:
    """Softmax's derivative p (g - Σ p g) with a term or a factor of it wrong."""
    if place.name != "_softmax":
        return
    p, g = place.out, place.grad
    dim = place.tape.steps[place.edge.step].flat[1]
    total = (p * g).sum(dim, keepdim=True)
    for code, kind, what, flows in (
        ("missing-term", "diagonal", "only the diagonal p (1 - p) of softmax's Jacobian is used; "
         "every logit moves every probability", p * (1 - p) * g),
        ("missing-term", "no sum", "the sum Σ p g over the row is missing", p * g),
        ("missing-factor", "no p", "the factor p before the bracket is missing", g - total),
        ("missing-factor", "sum of g", "the sum is Σ g, where it is Σ p g", p * (g - g.sum(dim, keepdim=True))),
        ("sign", "plus", "the sum is added, where it is subtracted", p * (g + total)),
        ("missing-term", "off", "only the part -p Σ p g is there", -p * total),
        ("mean-for-sum", "mean", "the sum Σ p g is a mean", p * (g - total / p.shape[dim])),
    ):  # fmt: skip
        yield from place.fault(code, 9, ("softmax", kind), what, flows)
    for axis in range(p.dim()):
        what = f"the sum runs over axis {axis}, and softmax over axis {dim % p.dim()}"
        flows = p * (g - (p * g).sum(axis, keepdim=True))
        yield from place.fault("wrong-axis", 9, ("softmax axis", axis), what, flows)
    what = "the sum runs over all entries, and softmax over its axis"
    yield from place.fault("wrong-axis", 9, "softmax all", what, p * (g - (p * g).sum()))


def log_softmax_terms(place: Place) -> Iterator[Fault]:
    """Log-softmax's derivative g - p Σ g with a term or a factor of it wrong."""
    if place.name != "_log_softmax":
        return
    p, g = place.out.exp(), place.grad
    dim = place.tape.steps[place.edge.step].flat[1]
    total = g.sum(dim, keepdim=True)
    for code, kind, what, flows in (
        ("missing-term", "no sum", "the term -p Σ g is missing", g),
        ("missing-term", "no g", "the term g is missing: 1 is not subtracted at the target", -p * total),
        ("missing-factor", "no total", "Σ g, the gradient that arrives, does not multiply p", g - p),
        ("missing-factor", "no p", "p does not multiply Σ g", g - total),
        ("sign", "plus", "p Σ g is added, where it is subtracted", g + p * total),
        ("wrong-argument", "log p", "log p stands where p belongs", g - place.out * total),
        ("missing-term", "diagonal", "only the diagonal is used; every logit moves every entry",
         g * (1 - p)),
    ):  # fmt: skip
        yield from place.fault(code, 9, ("log_softmax", kind), what, flows)
    for axis in range(p.dim()):
        what = f"the sum runs over axis {axis}, and log-softmax over axis {dim % p.dim()}"
        flows = g - p * g.sum(axis, keepdim=True)
        yield from place.fault("wrong-axis", 9, ("log_softmax axis", axis), what, flows)
