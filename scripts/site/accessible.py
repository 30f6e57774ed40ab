"""What the theme and the gallery leave for people who do not see the page, mended in its HTML."""

import re
from collections.abc import Iterator
from pathlib import Path

MENDED = (
    (r'role="heading">', 'role="heading" aria-level="2">'),
    (r'<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Site">'),
    (r'<aside class="toc-drawer">', '<aside class="toc-drawer" aria-label="On this page">'),
    (r'<th class="([^"]*)"><p></p></th>', r'<td class="\1"></td>'),
    (
        r'<a class="reference internal" (href="[^"]*")><span class="doc">([^<]*)</span></a>',
        r'<a class="reference internal" aria-label="\2" \1><span class="doc">\2</span></a>',
    ),
    (r'(?<!</h1>)(<div id="search-results")', r"<h1>Search</h1>\1"),
)


def mended(html: str) -> str:
    """The page; what was mended before stays as it is."""
    for wrong, right in MENDED:
        html = re.sub(wrong, right, html)
    return html


def mend(folder: Path) -> Iterator[Path]:
    """All pages of a folder; yields those that changed."""
    for file in folder.rglob("*.html"):
        html = file.read_text("utf-8")
        if (better := mended(html)) != html:
            file.write_text(better, "utf-8")
            yield file
