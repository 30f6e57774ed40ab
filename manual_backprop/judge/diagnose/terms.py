"""Formulas of several terms, each with one of them wrong: softmax, normalisation, deviation."""

from collections.abc import Iterator

import torch

from manual_backprop.judge.diagnose.edges import Fault, Place, naming, others, widened


def softmax_terms(place: Place) -> Iterator[Fault]:
    """Of p (g - Σ p g)."""
    if place.name != "_softmax":
        return
    x, p, g = place.inputs[0], place.out, place.grad
    dim = place.constant(1) % p.dim()
    total = (p * g).sum(dim, keepdim=True)
    for code, kind, what, flows in (
        ("missing-term", "diagonal",
         "only the diagonal p (1 - p) of softmax's Jacobian is used; every logit moves every "
         "probability", p * (1 - p) * g),
        ("missing-term", "no sum", "the sum Σ p g over the row is missing", p * g),
        ("missing-factor", "no p", "the factor p before the bracket is missing", g - total),
        ("missing-factor", "sum of g", "the sum is Σ g, where it is Σ p g",
         p * (g - g.sum(dim, keepdim=True))),
        ("sign", "plus", "the sum is added, where it is subtracted", p * (g + total)),
        ("missing-term", "off", "only the part -p Σ p g is there", -p * total),
        ("mean-for-sum", "mean", "the sum Σ p g is a mean", p * (g - total / p.shape[dim])),
        ("wrong-axis", "all", "the sum runs over all entries, and softmax over one axis",
         p * (g - (p * g).sum())),
    ):  # fmt: skip
        yield from place.fault(code, 9, ("softmax", kind), what, flows)
    for axis in range(p.dim()):
        other = x.softmax(axis)
        for kind, said, flows in (
            ("sum", "the sum runs", p * (g - (p * g).sum(axis, keepdim=True))),
            ("both", "softmax is taken and summed",
             other * (g - (other * g).sum(axis, keepdim=True))),
            ("p", "softmax is taken", other * (g - (other * g).sum(dim, keepdim=True))),
        ):  # fmt: skip
            what = f"{said} over axis {axis}, and in the forward over axis {dim}"
            yield from place.fault("wrong-axis", 9, ("softmax axis", kind, axis), what, flows)
    for name, tensor in others(place, p):
        what = f"{name} stands where the probabilities belong"
        flows = tensor * (g - (tensor * g).sum(dim, keepdim=True))
        yield from place.fault("wrong-argument", 11, ("softmax of", name), what, flows)


def log_softmax_terms(place: Place) -> Iterator[Fault]:
    """Of g - p Σ g."""
    if place.name != "_log_softmax":
        return
    x, p, g = place.inputs[0], place.out.exp(), place.grad
    dim = place.constant(1) % p.dim()
    total = g.sum(dim, keepdim=True)
    whole = place.edge.step == place.tape.out
    for code, kind, what, flows in (
        ("missing-term" if whole else "", "no sum", "the term -p Σ g is missing", g),
        ("missing-term", "no g", "1 is not subtracted from p at the target of each row",
         -p * total),
        ("missing-factor", "no total", "Σ g, the gradient that arrives, does not multiply p",
         g - p),
        ("missing-factor", "no p", "p does not multiply Σ g", g - total),
        ("sign", "plus", "p Σ g is added, where it is subtracted", g + p * total),
        ("wrong-argument", "log p", "log p stands where p belongs", g - place.out * total),
        ("missing-term", "diagonal", "only the diagonal is used; every logit moves every entry",
         g * (1 - p)),
    ):  # fmt: skip
        if code:
            yield from place.fault(code, 9, ("log_softmax", kind), what, flows)
    for edge, part in place.tape.sent.items():
        if place.tape.source(edge) == place.edge.step and not torch.equal(part, g):
            what = f"what comes through {naming(place.tape, edge.step)} is missing beside p"
            flows = g - part - p * total
            yield from place.fault("missing-term", 10, ("log_softmax use", edge), what, flows)
    for axis in range(p.dim()):
        for kind, said, flows in (
            ("sum", "the sum runs", g - p * g.sum(axis, keepdim=True)),
            ("p", "softmax is taken", g - x.softmax(axis) * total),
        ):
            what = f"{said} over axis {axis}, and in the forward over axis {dim}"
            yield from place.fault("wrong-axis", 9, ("log_softmax axis", kind, axis), what, flows)
    for name, tensor in others(place, total.squeeze(dim)):
        for sign in (1, -1):
            what = f"Σ g is taken for {'-' * (sign < 0)}{name}, as where the targets sum to 1"
            flows = g - sign * p * tensor.unsqueeze(dim)
            yield from place.fault("missing-factor", 17, ("total", name, sign), what, flows)
    for name, tensor in others(place, p):
        what = f"{name} stands where the probabilities belong"
        yield from place.fault(
            "wrong-argument", 17, ("log_softmax of", name), what, g - tensor * total
        )


def logsumexp_terms(place: Place) -> Iterator[Fault]:
    """Of p g."""
    if place.name != "logsumexp":
        return
    g = widened(place.grad, place.right)
    if g is None:
        return
    yield from place.fault("missing-factor", 9, "logsumexp", "the factor p = softmax is missing", g)
    for axis in range(g.dim()):
        what = f"softmax is taken over axis {axis}, where the forward sums over another"
        flows = place.inputs[0].softmax(axis) * g
        yield from place.fault("wrong-axis", 9, ("logsumexp axis", axis), what, flows)


def deviation_terms(place: Place) -> Iterator[Fault]:
    """Of g (x - mean x) / (m σ), a deviation's, and of 2 g (x - mean x) / m, a variance's."""
    if place.name not in ("std", "var"):
        return
    x, g = place.inputs[0], widened(place.grad, place.right)
    out = widened(place.out, place.right)
    ones = place.flows(place.grad.new_ones(place.grad.shape))
    if g is None or out is None or ones is None:
        return
    axes = [axis for axis in range(x.dim()) if place.grad.dim() != x.dim() or
            place.grad.shape[axis] == 1]  # fmt: skip
    for axis in axes:
        centred = x - x.mean(axis, keepdim=True)
        count = float((centred / ones / out).median() if place.name == "std"
                      else (2 * centred / ones).median())  # fmt: skip
        standard = place.name == "std"
        scaled = g / count / (out if standard else 0.5)
        for code, kind, what, flows in (
            ("missing-term", "raw", "the mean is not subtracted from x", scaled * x),
            ("missing-factor", "root", "the root's derivative 1/(2 σ) is missing",
             2 * g * centred / count if standard else None),
            ("missing-factor", "sigma", "the factor 1/σ is missing",
             g * centred / count if standard else None),
        ):  # fmt: skip
            yield from place.fault(code, 9, ("deviation", kind, axis), what, flows)
