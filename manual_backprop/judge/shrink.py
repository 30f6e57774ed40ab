"""A wrong gradient on the smallest shapes and plainest numbers that still show it, as a test.

Axes go first: all of them 1, 2 or 3 long, then each by itself as short as it can be. Then the
numbers: small integers and a grad_out of ones, or what comes next to that and still fails.
"""

import warnings
from dataclasses import replace
from functools import partial
from keyword import iskeyword
from math import inf

import torch
from torch import Tensor

from manual_backprop.judge.draw import Measure, Variant, axes, each, made
from manual_backprop.judge.point import Unjudgeable, point
from manual_backprop.judge.result import flat_named
from manual_backprop.judge.small import Small, name_of
from manual_backprop.judge.trial import Backward, Trial
from manual_backprop.judge.verdict import Broken, Finding
from manual_backprop.op import BadOp, Op

SIZES = (1, 2, 3)
SEEDS = 3
SEEDS_OF_ONE = 6  # at sizes of 1 even a wrong mask is right every other time
KINDS = (  # of inputs and of grad_out, the plainest first
    ("whole", "ones"),
    ("whole", "whole"),
    ("halves", "ones"),
    ("halves", "whole"),
)
LARGEST = 64  # numbers in a test that somebody is to read
NUDGE = 2.0**8  # roundings
LARGEST_START = 2**14  # numbers in a sample that is tried at its own size


def shrink(op: Op, backward: Backward, finding: Finding) -> Small | None:
    """The wrong gradient of a finding on as few and plain numbers as still show it.

    Args:
        op: the operator.
        backward: the function that is wrong.
        finding: as `verify` gives it for that function.

    Returns:
        None where values are not what is wrong, or nothing small fails or can be written down.
    """
    names = (op.name, name_of(backward))
    if not all(name.isidentifier() and not iskeyword(name) for name in names):
        return None
    samples = [name for name in op.samples if f"{finding.sample} (".startswith(f"{name} (")]
    if not finding.gradient or not samples or op.name in op.arguments:
        return None
    sample = max(samples, key=len)
    starts = [Variant(sample)]
    starts += [
        variant
        for variant in made(op, sample)
        if variant.name == finding.sample and not variant.sizes
    ]
    for dtype in dict.fromkeys((torch.float64, getattr(torch, finding.dtype, torch.float64))):
        for start in starts:
            search = _Search(op, backward, finding.gradient, start, dtype)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the variance of one number, say
                found = search.smallest()
                if found and _can_be_written(found):
                    return found
    return None


class _Search:
    """From one variant in one dtype downwards."""

    def __init__(
        self, op: Op, backward: Backward, gradient: str, start: Variant, dtype: torch.dtype
    ) -> None:
        self.op = op
        self.backward = backward
        self.gradient = gradient
        self.start = start
        self.dtype = dtype

    def smallest(self) -> Small | None:
        own = axes(self.op, self.start.sample)
        tried = [{axis: min(size, length) for axis, length in own.items()} for size in SIZES]
        if self._numbers() <= LARGEST_START:
            tried.append(own)
        for sizes in tried:
            if found := self._at(sizes):
                break
        else:
            return None
        for axis in own:
            for size in (size for size in SIZES if size < sizes[axis]):
                if smaller := self._at({**sizes, axis: size}):
                    found, sizes = smaller, {**sizes, axis: size}
                    break
        if sum(tensor.numel() for _, tensor in flat_named(dict(found.inputs))) > LARGEST:
            return None
        own_numbers = self.start.numbers
        for kinds in (*KINDS, (own_numbers, "ones"), (own_numbers, "whole")):
            if plainer := self._at(sizes, *kinds):
                return plainer
        return found

    def _numbers(self) -> int:
        """How many numbers the sample draws."""
        rand = Measure()
        try:
            self.op.samples[self.start.sample](rand)
        except Exception:  # one that does not run without numbers
            return LARGEST_START if rand.count < LARGEST_START else rand.count
        return rand.count

    def _at(self, sizes: dict[str, int], numbers: str = "", grad_out: str = "") -> Small | None:
        """The first draw at which the gradient is wrong."""
        variant = replace(
            self.start,
            change=", ".join(("small", *(f"{axis} = {size}" for axis, size in sizes.items()))),
            sizes=tuple(sizes.items()),
            numbers=numbers or self.start.numbers,
            grad_out=grad_out or self.start.grad_out,
        )
        one = all(size == 1 for size in sizes.values())
        for seed in range(SEEDS_OF_ONE if one else SEEDS):
            try:
                here = point(self.op, variant, self.dtype, seed)
                got = Trial(self.backward, here, "cpu", "contiguous").gradients(copy=True)
            except (Broken, BadOp, Unjudgeable):
                return None
            if self.gradient not in here.labels or not here.out.settled:
                return None  # after as many draws as a point is given
            which = here.labels.index(self.gradient)
            budget = here.grads[which]
            if bool(budget.judged.all()) and not budget.ratio(got[which]) <= 1:
                found = Small(here, self.backward, self.gradient, got[which])
                if _is_wrong_around(found):
                    return found
        return None


def _is_wrong_around(small: Small) -> bool:
    """Whether a nudge moves the truth far less than the gradient is off, on either side.

    Where it does not, the point is a kink, such as two equal numbers under a max, and a right
    backward may be something else than autograd there. A nan that a nudge mends does not count
    either.
    """
    here, which = small.point, small.point.labels.index(small.gradient)
    for step in (NUDGE, -NUDGE):
        generator = torch.Generator().manual_seed(0)
        nudge = partial(_nudged, step, generator)
        nudged = {name: each(value, nudge) for name, value in here.inputs.items()}
        there = replace(here, inputs=nudged)
        try:
            truth = there.reference(here.grad_out, torch.float64)[1 + which]
            got = Trial(small.backward, there, "cpu", "contiguous").gradients(copy=True)[which]
        except (Broken, RuntimeError):
            return False
        error = float((got - truth).abs().nan_to_num(inf).max())
        if not torch.equal(got.isfinite(), small.got.isfinite()):
            return False
        if not float((truth - small.expected).abs().max()) < error / 64:
            return False
    return True


def _nudged(step: float, generator: torch.Generator, value: Tensor) -> Tensor:
    """Each number of a floating tensor moved by as many roundings, or fewer, in its own way."""
    if not value.is_floating_point():
        return value
    move = torch.rand(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
    return value + step * torch.finfo(value.dtype).eps * move * value.abs().clamp_min(1)


def _can_be_written(small: Small) -> bool:
    """Whether autograd of the forward, which a test goes by, gives the right gradient here."""
    here, which = small.point, small.point.labels.index(small.gradient)
    try:
        _, *grads = here.derivative(here.op.forward, here.grad_out, torch.float64)
    except Exception:  # whatever a learner's forward raises
        return False
    return here.grads[which].ratio(grads[which]) <= 1
