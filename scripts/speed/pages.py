"""Pages are filled in between their marks, and pictures drawn.

    <!-- table: NAME -->
    ...
    <!-- end -->

A single number stands in a line, as <!-- number: ADDRESS -->1.38<!-- end -->.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from manual_backprop.commands import Mistake
from manual_backprop.report.files import write_text
from scripts.speed.parts import PARTS
from scripts.speed.results import Results
from scripts.speed.tables import TABLES, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Numbers = TypeVar("Numbers")
MARK = re.compile(r"<!-- (table|number): (.+?) -->(.*?)<!-- end -->", re.DOTALL)
PAGES = (
    "README.md",
    "docs/speed.md",
    "docs/ladder.md",
    "docs/where_autograd_wins.md",
    "docs/training.md",
)


def filled(text: str, results: Results) -> str:
    """A page on speed with what stands between its marks written anew.

    Raises:
        Mistake: a mark asks for what there is not.
    """
    return filled_from(text, results, TABLES, number)


def filled_from(
    text: str,
    numbers: Numbers,
    tables: Mapping[str, Callable[[Numbers], str]],
    number: Callable[[Numbers, str], str],
) -> str:
    """A page with what stands between its marks written anew.

    Args:
        text: of the page.
        numbers: that were measured.
        tables: by name, each made of the numbers.
        number: a single one, by its address.

    Raises:
        Mistake: a mark asks for what there is not.
    """

    def fill(mark: re.Match[str]) -> str:
        kind, name, _ = mark.groups()
        if kind == "table" and name not in tables:
            raise Mistake(f"no table is called {name!r}; there are {', '.join(tables)}")
        if kind == "table":
            return f"<!-- table: {name} -->\n\n{tables[name](numbers)}\n\n<!-- end -->"
        return f"<!-- number: {name} -->{number(numbers, name)}<!-- end -->"

    return MARK.sub(fill, text)


def render(root: Path) -> Iterator[Path]:
    """Write pages and pictures of the numbers in root/docs/speed, and name each file.

    Raises:
        Mistake: a number that is needed was not measured, or a file cannot be written.
    """
    from scripts.speed.pictures import PICTURES

    results = Results(root / "docs/speed", PARTS)
    yield from written(root, PAGES, lambda text: filled(text, results), PICTURES, results)


def written(
    root: Path,
    pages: Sequence[str],
    fill: Callable[[str], str],
    pictures: Mapping[str, Callable[[Numbers], "Figure"]],
    numbers: Numbers,
) -> Iterator[Path]:
    """Fill pages and draw pictures, and name each file.

    Args:
        root: of the repository.
        pages: their addresses in it.
        fill: the text of a page -> the text with its marks filled in.
        pictures: by name, each drawn of the numbers.
        numbers: that were measured.

    Raises:
        Mistake: a file cannot be read or written.
    """
    from scripts.speed.pictures import save

    try:
        for page in pages:
            file = root / page
            text = fill(file.read_text("utf-8"))
            write_text(file, text)
            yield file
        for name, draw in pictures.items():
            file = root / f"docs/pictures/{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            save(draw, numbers, file)
            yield file
    except OSError as error:
        raise Mistake(f"cannot write {error.filename}: {error.strerror}") from error
