"""The cases of the pictures: one size grows, all else stays.

The sizes of `quick` are for a look, those of `small` for tests.
"""

import os
from contextlib import suppress
from dataclasses import replace

from manual_backprop.bench.case import Case, Opponent, Sizes
from manual_backprop.bench.cases import CASES

STEP, SOFTMAX = CASES["mnist-step-1"], CASES["softmax-vjp-10"]
CROSS_ENTROPY, LIN = CASES["cross-entropy"], CASES["lin-backward-article"]
BY_HAND_AND_FUSED = ("by hand", "fused SGD")

BATCHES, QUICK_BATCHES = tuple(2**p for p in range(14)), (1, 8, 64)
WIDTHS, QUICK_WIDTHS = tuple(2**p for p in range(4, 12)), (16, 64)
CLASSES, QUICK_CLASSES = tuple(2**p for p in range(1, 13)), (2, 16, 64)
SOFTMAX_NUMBERS = {"sizes": 2**14, "quick": 2**12, "small": 2**8}
WORDS, QUICK_WORDS = (10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000), (10, 100)
WORD_NUMBERS = {"sizes": 6_400_000, "quick": 64_000, "small": 640}
ROWS, QUICK_ROWS = (1, 10, 100, 1000, 3162, 10_000, 31_623, 100_000), (1, 10, 100)
LARGEST_SHARE = 0.125  # of the machine's memory, for the results of one call
WIDTH_BATCH = 32
KINDS = ("sizes", "quick", "small")  # of a run, as Case calls them


def _some(case: Case, names: tuple[str, ...]) -> tuple[Opponent, ...]:
    known = {opponent.name: opponent for opponent in case.opponents}
    return tuple(known[name] for name in names)


def _case(
    like: Case, group: str, grown: int, changes: dict[str, Sizes], names: tuple[str, ...]
) -> Case:
    """`like` at other sizes; `changes` are those of each kind of run."""
    return replace(
        like,
        name=f"{group}-{grown}",
        group=group,
        sizes={**like.sizes, **changes["sizes"]},
        quick={**like.sizes, **changes["quick"]},
        small={**like.small, **changes["small"]},
        opponents=_some(like, names),
    )


def _always(**sizes: int) -> dict[str, Sizes]:
    """The same in each kind of run."""
    return dict.fromkeys(KINDS, sizes)


def step_by_batch(*, quick: bool) -> list[Case]:
    """The step of the MNIST classifier, 784-200-200-10."""
    return [
        _case(STEP, "step-batch", n, _always(n=n), BY_HAND_AND_FUSED)
        for n in (QUICK_BATCHES if quick else BATCHES)
    ]


def step_by_width(*, quick: bool) -> list[Case]:
    """784-h-h-10 at a batch of 32."""
    return [
        _case(
            STEP,
            "step-width",
            h,
            _always(n=WIDTH_BATCH, h=h, j=h),
            BY_HAND_AND_FUSED,
        )
        for h in (QUICK_WIDTHS if quick else WIDTHS)
    ]


def softmax_by_classes(*, quick: bool) -> list[Case]:
    """As many numbers each time, in fewer and longer rows."""
    return [
        _case(
            SOFTMAX,
            "softmax-classes",
            k,
            {kind: {"n": numbers // k, "k": k} for kind, numbers in SOFTMAX_NUMBERS.items()},
            ("by hand", "Jacobian"),
        )
        for k in (QUICK_CLASSES if quick else CLASSES)
    ]


def cross_entropy_by_classes(*, quick: bool) -> list[Case]:
    """As many logits each time, in fewer and longer rows."""
    return [
        replace(
            _case(
                CROSS_ENTROPY,
                "cross-entropy-classes",
                k,
                {kind: {"n": numbers // k, "k": k} for kind, numbers in WORD_NUMBERS.items()},
                ("by hand", "autograd"),
            ),
            rows=max(1, 2**20 // k),
        )
        for k in (QUICK_WORDS if quick else WORDS)
    ]


def wall(*, quick: bool) -> list[Case]:
    """lin's backward for so many rows; the broadcast form where it fits."""
    most = (memory_bytes() or 2**34) * LARGEST_SHARE
    return [
        _case(
            LIN,
            "wall",
            n,
            _always(n=n),
            ("by hand, allocating", "broadcast"),
        )
        for n in (QUICK_ROWS if quick else ROWS)
        if broadcast_bytes(n=n, i=LIN.sizes["i"], o=LIN.sizes["o"]) <= most
    ]


def broadcast_bytes(n: int, i: int, o: int) -> int:
    """The most that the broadcast form of lin's backward takes at once, in float32.

    x̄ (n, i) is there, and of w̄ (i, o) the products (n, i, o) and their sum.
    """
    return 4 * (n * i + n * i * o + i * o)


def matmul_bytes(n: int, i: int, o: int) -> int:
    """What the products take: the three gradients (n, i), (i, o) and (o)."""
    return 4 * (n * i + i * o + o)


def memory_bytes() -> int | None:
    """Of the machine; None where the system does not say."""
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
