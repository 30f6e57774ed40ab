"""A console that pipes may close early; imports no torch."""

import os
from typing import IO

from rich.console import Console


class Report(Console):
    """A console for which a pipe that is closed early, as by `head`, is no failure.

    Whoever read it has seen enough; the exit status still tells what was found.
    """

    def on_broken_pipe(self) -> None:
        """Go on in silence; rich calls this since 13.8."""
        self.quiet = True
        nobody_reads(self.file)


def nobody_reads(stream: IO[str]) -> None:
    """Send the rest nowhere, with what Python still writes when it ends.

    Raises:
        OSError: the stream is no file of the system's.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
