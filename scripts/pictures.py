"""The two pictures of the README, made of what the commands print.

    python -m scripts.pictures

docs/pictures/terminal.svg is `manual-backprop check` of a wrong backward, in a terminal of 80
columns; docs/pictures/report.png the page that `verify --html` writes, where a wrong form of
cross-entropy was put beside the right ones and its evidence is open. The text that the second one
shows is kept in it, under the key Description.
"""

import os
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import click
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.syntax import Syntax
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from torch import Tensor

from manual_backprop.commands import Mistake
from manual_backprop.judge.verdict import dtype_name
from manual_backprop.judge.verify import SEEDS, verify
from manual_backprop.registry import OPS
from manual_backprop.report.as_html import verify_page
from manual_backprop.report.as_json import report
from manual_backprop.report.files import write_text
from scripts import chromium

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
TERMINAL, REPORT = "terminal.svg", "report.png"

COLUMNS = 80
MINE = """\
import torch


def back_cross_entropy(logits, target, grad_out):
    p = torch.softmax(logits, dim=1)
    p[torch.arange(len(target)), target] -= 1
    return grad_out * p
"""
THEME = TerminalTheme(
    (20, 23, 26),
    (228, 231, 234),
    [(20, 23, 26), (255, 123, 114), (111, 207, 151), (229, 181, 103),
     (134, 185, 247), (210, 168, 255), (121, 212, 220), (228, 231, 234)],
    [(110, 118, 129), (255, 123, 114), (111, 207, 151), (229, 181, 103),
     (134, 185, 247), (210, 168, 255), (121, 212, 220), (255, 255, 255)],
)  # fmt: skip
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
        white-space: pre;
    }}
    .{unique_id}-title {{ font-size: 17px; font-family: system-ui, sans-serif; }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})"
       clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""  # rich's own asks another host for its letters

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
BESIDE = ("lin", "relu", "softmax")
COMMAND = "manual-backprop verify lin relu softmax cross_entropy --html verify.html"
VIEW = {"width": 1120, "height": 1400}
SCALE = 1.6  # pixels of the picture for one of the page
MARGIN, ABOVE = 24, 10  # around what is shown; above it there is less room
FRAME = (208, 215, 222)
COLORS = 128


def terminal() -> str:
    """The SVG of a learner's file and what `manual-backprop check` says of it."""
    with TemporaryDirectory() as name:
        (Path(name) / "mine.py").write_text(MINE, "utf-8")
        said = subprocess.run(
            [sys.executable, "-m", "manual_backprop", "check", "mine.py"],
            capture_output=True, text=True, check=False, cwd=name,
            env=os.environ | {"PYTHONPATH": str(ROOT), "FORCE_COLOR": "1", "UV": "uv",
                              "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"},
        )  # fmt: skip
    if said.returncode != 1:
        raise Mistake(f"check says {said.returncode} of a wrong backward: {said.stderr}")
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere, record=True, width=COLUMNS + 2, force_terminal=True)
        console.print("[bold]$ cat mine.py[/]", highlight=False)
        console.print(Syntax(MINE.rstrip(), "python", theme="nord", background_color="default"))
        console.print()
        console.print("[bold]$ uv run manual-backprop check mine.py[/]", highlight=False)
        console.print(Text.from_ansi(said.stdout))
        return console.export_svg(
            title="manual-backprop check", theme=THEME, code_format=SVG, unique_id="terminal"
        )


def text_of(svg: str) -> list[str]:
    """The lines that such a picture shows."""
    lines: dict[int, str] = defaultdict(str)
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if line := re.fullmatch(r"url\(#terminal-line-(\d+)\)", text.get("clip-path", "")):
            start = round(float(text.get("x", "0")) / 12.2)  # the width of rich's letters
            lines[int(line[1])] = lines[int(line[1])].ljust(start) + (text.text or "")
    whole = [lines[number] for number in range(max(lines) + 1)]
    return [line.replace("\N{NO-BREAK SPACE}", " ").rstrip() for line in whole]


def back_cross_entropy_short(logits: Tensor, target: Tensor, grad_out: Tensor) -> Tensor:
    """Wrong, for the picture: the 1 at the target is not subtracted."""
    return grad_out * logits.softmax(1) / len(target)


def report_page() -> str:
    """The page of `verify --html`, with one backward more than there is."""
    whole = OPS["cross_entropy"]
    spoiled = replace(whole, backwards=(*whole.backwards, back_cross_entropy_short))
    torch.set_num_threads(1)
    verdicts = [verify(op, dtypes=DTYPES) for op in (*(OPS[name] for name in BESIDE), spoiled)]
    dtypes = [dtype_name(dtype) for dtype in DTYPES]
    return verify_page(report(verdicts, ("cpu",), dtypes, SEEDS, COMMAND))


def opened(page: Page, html: Path) -> None:
    """Show the report with the evidence of the wrong backward open."""
    page.set_viewport_size(VIEW)  # type: ignore[arg-type]
    page.goto(html.resolve().as_uri())
    page.locator(f"#c-{back_cross_entropy_short.__name__}_float64_cpu").click()
    page.mouse.move(0, 0)


def shown(page: Page) -> str:
    """The text of what the picture shows."""
    return page.locator(".legend").inner_text() + "\n" + page.locator(".split").inner_text()


def picture(browser: Browser) -> bytes:
    """The PNG of the report's matrix and of the evidence beside it."""
    with TemporaryDirectory() as name:
        html = Path(name) / "verify.html"
        html.write_text(report_page(), "utf-8")
        page = browser.new_page(device_scale_factor=SCALE, color_scheme="light")
        opened(page, html)
        top, below = (page.locator(part).bounding_box() for part in (".legend", ".split"))
        assert top is not None
        assert below is not None
        y = top["y"] + page.evaluate("scrollY") - ABOVE
        clip = {
            "x": below["x"] - MARGIN,
            "y": y,
            "width": below["width"] + 2 * MARGIN,
            "height": below["y"] + below["height"] + page.evaluate("scrollY") + MARGIN - y,
        }
        whole = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
        words = PngInfo()
        words.add_itxt("Description", shown(page))
        page.close()
    image = ImageOps.expand(Image.open(BytesIO(whole)).convert("RGB"), 2, FRAME)
    image = image.quantize(COLORS, dither=Image.Dither.NONE)
    made = BytesIO()
    image.save(made, "png", optimize=True, pnginfo=words)
    return made.getvalue()


@click.command()
def main() -> None:
    """Write the two pictures of the README to docs/pictures; needs a Chromium."""
    with sync_playwright() as playwright:
        program = chromium.found(playwright)
        if program is None:
            raise Mistake(chromium.MISSING)
        browser = chromium.started(playwright, program)
        (FOLDER / REPORT).write_bytes(picture(browser))
        browser.close()
    write_text(FOLDER / TERMINAL, terminal())
    for name in (TERMINAL, REPORT):
        print(FOLDER.relative_to(ROOT) / name)


if __name__ == "__main__":
    main()
