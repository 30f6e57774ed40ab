"""The page `docs/ranks.md`: filled in between its marks, with its picture."""

from collections.abc import Iterator
from pathlib import Path

from scripts.ranks.kept import Kept
from scripts.ranks.tables import TABLES, number
from scripts.speed.pages import filled_from, written

PAGE = "docs/ranks.md"


def filled(text: str, kept: Kept) -> str:
    """The page with what stands between its marks written anew.

    Raises:
        Mistake: a mark asks for what there is not.
    """
    return filled_from(text, kept, TABLES, number)


def render(root: Path) -> Iterator[Path]:
    """Write the page and its picture of the numbers in root/docs/ranks, and name each file.

    Raises:
        Mistake: nothing was measured, or a file cannot be written.
    """
    from scripts.ranks.picture import PICTURES

    kept = Kept(root)
    yield from written(root, (PAGE,), lambda text: filled(text, kept), PICTURES, kept)
