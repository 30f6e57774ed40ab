"""What `--plan` prints: steps by the number of ranks on a network of the reader's own."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from manual_backprop.bench.show import engineering, times
from manual_backprop.report.as_table import LEAST_WIDTH
from scripts.ranks.kept import MOST, Kept
from scripts.ranks.model import Network, messages

RANKS = tuple(2**p for p in range(11))


def show(root: Path, bandwidth: float, latency: float, rows: int, faster: float) -> None:
    """Print a table, and the number of ranks beyond which a batch takes longer again.

    Args:
        root: of a repository, with the numbers in it.
        bandwidth: bytes per second.
        latency: seconds.
        rows: on each rank, and shared by all.
        faster: how many times as fast a rank computes as the core that was measured.

    Raises:
        Mistake: nothing was measured there.
    """
    kept = Kept(root)
    network = Network("yours", latency, bandwidth)
    each, one = kept.work(rows, faster), kept.same_rows(rows, 1, network, faster)
    console = Console(soft_wrap=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, LEAST_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    alike, shared_by_all = (f"step,\n{rows:,}\nrows {of}" for of in ("each", "in all"))
    words = ("ranks", "messages", alike, "images/s", "efficiency", shared_by_all, "times\nas fast")
    for word in words:
        table.add_column(word, justify="right", no_wrap=True)
    for ranks in RANKS:
        same, shared = (
            ask(rows, ranks, network, faster) for ask in (kept.same_rows, kept.same_batch)
        )
        table.add_row(
            f"{ranks:,}",
            engineering(messages(each, ranks, network), "s"),
            engineering(same, "s"),
            f"{rows * ranks / same:,.0f}",
            f"{one / same:.0%}",
            engineering(shared, "s"),
            times(one / shared),
        )
    console.print(table)
    best = kept.best(rows, network, faster)
    seconds = kept.same_batch(rows, best, network, faster)
    console.print(
        f"\nWith {rows:,} row{'s' * (rows != 1)} in all the step is shortest with {best:,} "
        f"rank{'s' * (best != 1)}"
        f"{' or more' * (best == MOST)}: {engineering(seconds, 's')}, {times(one / seconds)} times "
        f"as fast as one. Computed for {engineering(bandwidth * 8, 'bit/s')} and "
        f"{engineering(latency, 's')} from what one core of "
        f"{kept.fields['environment']['devices']['cpu']} took; the page docs/ranks.md tells how "
        "near that comes.",
        soft_wrap=True,
    )
