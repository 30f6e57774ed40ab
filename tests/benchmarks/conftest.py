"""After timing, one table with what pytest-benchmark's own leaves in its JSON."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from manual_backprop.bench.show import engineering, times
from tests.benchmarks.measure import ROWS, Row


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    terminalreporter.section("time and memory against autograd")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("", "median", "x autograd", "peak memory", "GFLOP/s", "error", "allowed"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for group in dict.fromkeys(row.group for row in ROWS):
        rows = sorted((row for row in ROWS if row.group == group), key=lambda row: row.median)
        table.add_row(f"[bold]{group}[/]")
        for row in rows:
            table.add_row(f"  {row.how}", *cells(row, rows))
    text = io.StringIO()
    colours = terminalreporter.hasmarkup
    Console(file=text, width=110, force_terminal=colours, highlight=False).print(table)
    terminalreporter.write(text.getvalue())
    terminalreporter.write_line(
        "Time and memory of one call; memory is what it takes at once beyond its arguments. "
        "Opponents run one after the other: a ratio near 1 means nothing."
    )


def cells(row: Row, rows: list[Row]) -> list[str]:
    autograd = next((other.median for other in rows if other.how == "autograd"), None)
    return [
        engineering(row.median, "s"),
        times(row.median / autograd) if autograd else "-",
        engineering(row.info["peak_extra_bytes"], "B"),
        f"{row.info['flops'] / row.median / 1e9:.2f}",
        f"{row.info['error']:.1e}",
        f"{row.info['allowed']:.1e}",
    ]
