"""`python -m scripts.speed`: the command line."""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import click

from manual_backprop.commands import Mistake, stopped

ROOT = Path(__file__).parents[2]


def in_own_process(part: str, threads: int, *, quick: bool) -> dict[str, Any]:
    """`measure`, by an interpreter that ends with it.

    What one part leaves behind, in the allocator and in the compiler's caches, the next does not
    meet; and torch.compile would count another number of threads among the 8 versions of a function
    that it makes at most.
    """
    from scripts.speed.parts import measure

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(measure, part, threads, quick=quick).result()
        except KeyboardInterrupt:
            for child in active_children():  # else it goes on to the end of its part
                child.terminate()
            raise


def all_threads() -> tuple[int, ...]:
    """One, and as many as PyTorch takes on this machine."""
    import torch

    return tuple(sorted({1, torch.get_num_threads()}))


@click.command()
@click.argument("parts", metavar="[PART]...", nargs=-1)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    show_default="1, and as many as PyTorch takes",
    help="Of one operation; may be repeated.",
)
@click.option("--pages", is_flag=True, help="Measure nothing: tables and pictures from the JSON.")
@click.option("--quick", is_flag=True, help="Small sizes and few rounds, for a look; needs --to.")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    show_default="this repository",
    help="Write README.md and docs/ there.",
)
def main(
    parts: tuple[str, ...], threads: tuple[int, ...], to: Path | None, *, pages: bool, quick: bool
) -> None:
    """Measure the PARTs (bench, ladder, batch, scaling, wall; all by default), and write the pages.

    Numbers go to docs/speed, pictures to docs/pictures, tables into README.md and docs/*.md between
    their marks. All of it takes less than 25 minutes on an idle machine with two cores.

    Exit status: 0 written, 1 something was wrong or it was stopped, 2 a mistake in the command.
    """
    root = ROOT if to is None else to.resolve()
    if quick and root == ROOT:
        raise click.UsageError(
            "the numbers of --quick are not for the pages here: say with --to where they should go"
        )
    # else PyTorch's profiler tells of each time that it counts bytes, also in the processes to come
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from scripts.speed.parts import PARTS

    for part in parts:
        if part not in PARTS:
            raise click.BadParameter(
                f"no part {part!r}; there are {', '.join(PARTS)}", param_hint="PART"
            )
    if root != ROOT:
        copy_pages(root)
    folder = root / "docs/speed"
    done: list[str] = []
    with stopped(lambda: f"; kept: {', '.join(done) or 'nothing'}"):
        for part in () if pages else parts or PARTS:
            counts = sorted(set(threads)) or all_threads()
            for count in counts if PARTS[part].every else counts[-1:]:
                click.echo(f"{part}, {count} thread{'s' * (count != 1)}", err=True)
                try:
                    found = in_own_process(part, count, quick=quick)
                except RuntimeError as error:
                    raise click.ClickException(f"{part}: {error}") from error
                write(folder / f"{part}-{count}.json", found)
                done.append(f"{part}-{count}.json")
            if quick or not threads:
                for file in folder.glob(f"{part}-*.json"):  # of other sizes, or of other cores
                    if file.name not in done:
                        file.unlink()
        from scripts.speed.pages import render

        for file in render(root):
            click.echo(file.relative_to(root).as_posix())


def copy_pages(root: Path) -> None:
    """The pages with their marks, and the numbers that there are, to be written over.

    Raises:
        Mistake: a file cannot be written.
    """
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.*"))):
        there = root / file.relative_to(ROOT)
        try:
            there.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix != ".json" or not there.exists():
                shutil.copy(file, there)
        except OSError as error:
            raise Mistake(f"cannot write {there}: {error.strerror}") from error


def write(file: Path, fields: dict[str, Any]) -> None:
    """Write numbers as JSON, a line for each case; whole or not at all.

    Raises:
        Mistake: the file cannot be written.
    """
    from manual_backprop.report.files import write_text

    head = {name: value for name, value in fields.items() if name != "cases"}
    lines = ",\n".join(f"  {json.dumps(case, ensure_ascii=False)}" for case in fields["cases"])
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, f'{text},\n "cases": [\n{lines}\n ]\n}}\n')
    except OSError as error:
        raise Mistake(f"cannot write {file}: {error.strerror}") from error
