"""The Sphinx extension: writes the generated pages, and sets formulas, derivations, live views."""

import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from manual_backprop.registry import OPS
from manual_backprop.report.as_page import docstring
from scripts.site import live, pages
from scripts.site.accessible import mend
from scripts.site.cache import FOLDER, ROOT
from scripts.site.nodes import derivation_block, formula_block
from scripts.site.page_links import on_the_site
from scripts.site.page_text import page_text


class Formula(SphinxDirective):
    """What an operator computes: `{formula} lin`."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """The formula block of its docstring."""
        return [formula_block(page_text(docstring(OPS[self.arguments[0]]), self.arguments[0]))]


class Derivation(SphinxDirective):
    """The lines of an operator's derivation: `{derivation} lin`."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """The derivation of its docstring."""
        return [derivation_block(page_text(docstring(OPS[self.arguments[0]]), self.arguments[0]))]


def write_pages(app: Sphinx) -> None:
    """Write what is generated beside what is written by hand."""
    pages.write(Path(app.srcdir))


def lead_to_pages(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Let links to what pages are made of lead to these."""
    source[0] = on_the_site(source[0])


def finish(app: Sphinx, error: Exception | None) -> None:
    """Lay the one script that sets formulas, and its licence, beside the pages; mend these."""
    if error is None and app.builder.format == "html":
        all(mend(Path(app.outdir)))
        source = files("mathjax") / "static" / "mathjax"
        folder = Path(app.outdir) / "_static" / "mathjax"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("es5/tex-svg.js", "LICENSE"):
            shutil.copyfile(str(source / name), folder / Path(name).name)


class Live(SphinxDirective):
    """An operator's live view: `{live} lin`."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """The place that the page's script fills."""
        return [nodes.raw("", live.place(OPS[self.arguments[0]]), format="html")]


def stage_examples() -> None:
    """Lay the scripts of examples/ apart: what else is there, in folders, is no gallery."""
    folder = FOLDER / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {*(ROOT / "examples").glob("plot_*.py"), ROOT / "examples" / "README.rst"}
    for file in folder.iterdir():
        if file.name not in {one.name for one in wanted}:
            file.unlink()
    for file in wanted:
        shutil.copy2(file, folder)


def escape(
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """Docstrings are Unicode as it is read in an editor: *n and |x| are no markup there."""
    lines[:] = [re.sub(r"(?<![\w`*])(\*|\|)(?=\w)|(?<=\w)\|", r"\\\g<0>", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    stage_examples()
    app.add_directive("formula", Formula)
    app.add_directive("derivation", Derivation)
    app.add_directive("live", Live)
    app.connect("autodoc-process-docstring", escape)
    app.connect("builder-inited", write_pages)
    app.connect("source-read", lead_to_pages)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
