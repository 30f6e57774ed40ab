"""Which entries a gradient reaches: masks, rows that are added up, indices that are repeated."""

from collections.abc import Iterator

import torch

from manual_backprop.judge.diagnose.edges import MASKS, Fault, Place, widened

INDEXING = frozenset(
    ("index", "index_select", "embedding", "gather", "take", "unfold", "im2col", "as_strided")
)


def mask(place: Place) -> Iterator[Fault]:
    """A mask inverted, one-sided, of another entry, or taken from the gradient."""
    if place.name not in MASKS:
        return
    grad, right, x = place.grad, place.right, place.inputs[place.edge.slot]
    if grad.shape != right.shape:
        spread_out = widened(grad, right)
        if spread_out is None:
            return
        share = spread_out * grad.numel() / max(right.numel(), 1)
        smallest = place.flows(grad, [-t if t is x else t for t in place.inputs])
        for kind, what, flows in (
            ("spread", "the gradient goes to every entry, and only the one that was taken feels it",
             spread_out),
            ("share", "every entry gets its share, and only the one that was taken should", share),
            ("other end", "the gradient goes to the entry at the other end", smallest),
        ):  # fmt: skip
            yield from place.fault("mask", 12, kind, what, flows)
        for axis in range(right.dim()):
            what = f"the largest entries are those along axis {axis}, not along the forward's axis"
            largest = (x == x.amax(axis, keepdim=True)).to(grad.dtype)
            yield from place.fault(
                "wrong-axis", 12, ("mask axis", axis), what, largest * spread_out
            )
        return
    positive = (grad > 0).to(grad.dtype)
    for kind, what, flows in (
        ("inverted", "the mask is inverted", grad - right),
        ("by grad", "the mask asks whether the gradient is positive, not the input",
         grad * positive),
        ("both", "the mask also asks whether the gradient is positive", right * positive),
    ):  # fmt: skip
        yield from place.fault("mask", 13, kind, what, flows)
    for bound in place.tape.steps[place.edge.step].flat[1:3]:
        if isinstance(bound, (int, float)) and place.name in ("clamp", "hardtanh"):
            for kind, inside in (("above", x >= bound), ("below", x <= bound)):
                what = f"the mask has only one side, {kind} {bound:g}"
                yield from place.fault("mask", 13, ("one side", kind, bound), what, grad * inside)


def one_row(place: Place) -> Iterator[Fault]:
    """Of a sum over rows, the last or the first only: written over, not added up."""
    grad = place.grad
    for axis in range(grad.dim()):
        size = grad.shape[axis]
        if size < 3 or (place.right.dim() > axis and place.right.shape == grad.shape):
            continue
        for index, which in ((size - 1, "last"), (0, "first")):
            kept = torch.zeros_like(grad)
            kept.select(axis, index).copy_(grad.select(axis, index))
            what = f"only the {which} of {size} rows arrives: written over, where they are added up"
            yield from place.fault("overwritten", 16, ("row", axis, which), what, place.flows(kept))


def duplicates(place: Place) -> Iterator[Fault]:
    """Where an index occurs twice, one contribution is written over the other."""
    if place.edge.slot != 0 or place.name not in INDEXING:
        return
    counter = torch.arange(1.0, place.right.numel() + 1, dtype=place.right.dtype)
    counter = counter.reshape(place.right.shape)
    took = place.tape.steps[place.edge.step].run([counter, *place.inputs[1:]]).long() - 1
    for which in ("last", "first"):
        flat, grad = took.reshape(-1), place.grad.reshape(-1)
        if which == "first":
            flat, grad = flat.flip(0), grad.flip(0)
        written = torch.zeros(place.right.numel(), dtype=place.right.dtype)
        for at, value in zip(flat.tolist(), grad, strict=True):
            written[at] = value
        what = f"where an index is repeated only the {which} gradient is kept, not their sum"
        yield from place.fault(
            "overwritten", 11, ("duplicates", which), what, written.reshape(place.right.shape)
        )
    times = torch.zeros(place.right.numel(), dtype=place.right.dtype)
    times.index_add_(0, took.reshape(-1), torch.ones(took.numel(), dtype=times.dtype))
    what = "where an index is repeated the gradients are averaged, not added up"
    mean = place.right / times.clamp(min=1).reshape(place.right.shape)
    yield from place.fault("mean-for-sum", 11, "mean of duplicates", what, mean)
