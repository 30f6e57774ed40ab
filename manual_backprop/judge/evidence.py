"""What a verdict rests on: the entry that came closest to its allowance, and a picture of all."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manual_backprop.judge.levels import LEVELS, NOT_FINITE

ROWS, COLUMNS = 12, 24  # blocks; entries beyond share one
NOT_JUDGED = -1
NAMES = "-0123456789"


@dataclass(frozen=True)
class Picture:
    """How much of its allowance each entry of one gradient takes.

    Attributes:
        shape: of the gradient.
        index: of the entry that takes most.
        block: so many rows and columns of entries share a character, that of the worst of them.
            All axes but the last make the rows.
        levels: a string per row of blocks: the first of LEVELS that error over allowance does not
            exceed, by its number, from 0 (exact) to 5 (the whole allowance); 6 to 8 are wrong; 9 is
            nan or infinite; - is not judged.
    """

    shape: tuple[int, ...]
    index: tuple[int, ...]
    block: tuple[int, int]
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Closest:
    """The entry that came closest to its allowance, of all calls of one backward.

    Attributes:
        gradient: as in "grad_w".
        got, expected, error, allowed: at that entry, not relative to anything.
        sample, seed, layout: the call's.
        picture: of the whole gradient.
    """

    gradient: str
    got: float
    expected: float
    error: float
    allowed: float
    sample: str
    seed: int
    layout: str
    picture: Picture


def picture(got: Tensor, truth: Tensor, allowed: Tensor, judged: Tensor) -> Picture:
    """The picture of one gradient.

    Args:
        got: any shape that is not empty, any dtype and device.
        truth: the same shape, float64 on the CPU.
        allowed: likewise.
        judged: the same shape, bool; False where nothing is said.
    """
    error = got.detach().to("cpu", torch.float64).sub(truth).abs_()
    ratio = (error / allowed).masked_fill_(~error.isfinite(), torch.inf)
    place = int(ratio.masked_fill(~judged, -1.0).argmax())
    level = torch.bucketize(ratio, torch.tensor(LEVELS, dtype=torch.float64))
    level.masked_fill_(ratio.isinf(), NOT_FINITE).masked_fill_(~judged, NOT_JUDGED)
    flat = level.reshape(-1, level.shape[-1]) if level.dim() else level.reshape(1, 1)
    block = (-(-flat.shape[0] // ROWS), -(-flat.shape[1] // COLUMNS))
    return Picture(
        tuple(got.shape),
        tuple(int(i) for i in np.unravel_index(place, got.shape)),
        block,
        tuple("".join(NAMES[n + 1] for n in row) for row in _worst(flat, *block).tolist()),
    )


def _worst(level: Tensor, rows: int, columns: int) -> Tensor:
    """The largest of each block, of a matrix; blocks at the end may be smaller."""
    height, width = (-n % size for n, size in zip(level.shape, (rows, columns), strict=True))
    padded = torch.nn.functional.pad(level, (0, width, 0, height), value=NOT_JUDGED)
    m, n = padded.shape
    return padded.reshape(m // rows, rows, n // columns, columns).amax((1, 3))
