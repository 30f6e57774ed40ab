"""Pages are filled in between their marks, and pictures drawn.

    <!-- table: NAME -->
    ...
    <!-- end -->

A single number stands in a line, as <!-- number: ADDRESS -->1.38<!-- end -->.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from manual_backprop.commands import Mistake
from manual_backprop.report.files import write_text
from scripts.speed.parts import PARTS
from scripts.speed.results import Results
from scripts.speed.tables import TABLES, number

MARK = re.compile(r"<!-- (table|number): (.+?) -->(.*?)<!-- end -->", re.DOTALL)
PAGES = ("README.md", "docs/speed.md", "docs/ladder.md", "docs/where_autograd_wins.md")


def filled(text: str, results: Results) -> str:
    """The page with what stands between its marks written anew.

    Raises:
        Mistake: a mark asks for what there is not.
    """

    def fill(mark: re.Match[str]) -> str:
        kind, name, _ = mark.groups()
        if kind == "table" and name not in TABLES:
            raise Mistake(f"no table is called {name!r}; there are {', '.join(TABLES)}")
        if kind == "table":
            return f"<!-- table: {name} -->\n\n{TABLES[name](results)}\n\n<!-- end -->"
        return f"<!-- number: {name} -->{number(results, name)}<!-- end -->"

    return MARK.sub(fill, text)


def render(root: Path) -> Iterator[Path]:
    """Write pages and pictures of the numbers in root/docs/speed, and name each file.

    Raises:
        Mistake: a number that is needed was not measured, or a file cannot be written.
    """
    from scripts.speed.pictures import PICTURES, save

    results = Results(root / "docs/speed", PARTS)
    try:
        for page in PAGES:
            file = root / page
            text = filled(file.read_text("utf-8"), results)
            write_text(file, text)
            yield file
        for name, draw in PICTURES.items():
            file = root / f"docs/pictures/{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            save(draw, results, file)
            yield file
    except OSError as error:
        raise Mistake(f"cannot write {error.filename}: {error.strerror}") from error
