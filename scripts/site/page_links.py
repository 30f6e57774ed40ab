"""Links of the pages by hand, which lead to files in the repository and, on the site, to its pages.

A forge shows the same Markdown, and has none of the pages that are generated.
"""

import re
from functools import cache

from manual_backprop.registry import OPS

TARGET = re.compile(r"(?<=\]\()\.\./[^)\s]+(?=\))")


@cache
def pages() -> dict[str, str]:
    """What a page by hand links to -> the page that is generated of it; both seen from docs/."""
    of_operators = {
        f"../{op.forward.__module__.replace('.', '/')}.py": f"operators/{op.name}.md"
        for op in OPS.values()
    }
    return of_operators | {
        "../manual_backprop/ops": "operators/index.md",
        "../manual_backprop/judge/codes.py": "mistakes.md",
        "../data/README.md#the-articles-numbers": "articles.md",
        "../examples/README.rst": "gallery/index.rst",
    }


def on_the_site(text: str) -> str:
    """A page by hand, its links leading to generated pages where there are such."""
    return TARGET.sub(lambda link: pages().get(link[0], link[0]), text)
