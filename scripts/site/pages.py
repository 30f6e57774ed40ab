"""Writes the generated pages: operators, codes, articles. None of them is kept in git."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manual_backprop.registry import learning_order
from scripts.site import articles, codes_page, mesh, operator_page
from scripts.site.verdicts import all_verdicts


def write(docs: Path) -> None:
    """All generated pages, below `docs`; what did not change is not touched."""
    with ThreadPoolExecutor() as beside:
        of_articles = beside.submit(articles.page)  # a process of its own computes its numbers
        verdicts = all_verdicts()
    verdicts["mesh"] = mesh.verdicts()  # its ranks wait for one in vain: nothing beside them
    order = learning_order()
    texts = {f"operators/{op.name}.md": operator_page.page(op, verdicts, order) for op in order}
    texts["operators/index.md"] = operator_page.index(order)
    texts["mistakes.md"] = codes_page.page(verdicts)
    texts["articles.md"] = of_articles.result()
    for name, text in texts.items():
        _write(docs / name, text)
    for file in (docs / "operators").glob("*.md"):
        if f"operators/{file.name}" not in texts:
            file.unlink()


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")
