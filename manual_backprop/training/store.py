"""The key-value store through which processes meet, and time limits for what may never answer."""

from collections.abc import Callable
from datetime import timedelta
from queue import Empty, Queue
from threading import Thread
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from manual_backprop.judge.verdict import first_line
from manual_backprop.training.place import BadWorld, Place

GRACE = 1.0  # seconds that a limit may be late


def within(seconds: float, act: Callable[[], Any]) -> Any:
    """What a call returns or raises; a store that stands still would keep it for ever.

    Raises:
        RuntimeError: it took longer.
    """
    box: Queue[tuple[Any, Exception | None]] = Queue()

    def run() -> None:
        try:
            box.put((act(), None))
        except Exception as error:
            box.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        value, error = box.get(timeout=seconds)
    except Empty:
        raise RuntimeError("nobody answers") from None
    if error is not None:
        raise error
    return value


def open_store(place: Place, timeout: float) -> TCPStore:
    """The store of a place, which rank 0 keeps where torchrun does not.

    Raises:
        BadWorld: nobody keeps one at the place's address in so many seconds, or it cannot be kept.
    """
    keeps = place.rank == 0 and not place.kept_by_agent
    limit = timedelta(seconds=timeout)
    try:  # a stranger at that port may keep it for ever
        store: TCPStore = within(
            timeout + GRACE,
            lambda: TCPStore(
                place.address, place.port, is_master=keeps, timeout=limit, wait_for_workers=False
            ),
        )
        return store
    except RuntimeError as error:
        why = error
    if keeps:
        raise BadWorld(
            f"rank 0 cannot listen on MASTER_PORT {place.port}: {first_line(why)}; where "
            "another program has it, take another port, the same for all ranks"
        )
    raise BadWorld(
        f"rank 0 does not answer at {place.address}:{place.port} within {timeout:g} s: start it, "
        "and see that MASTER_ADDR and MASTER_PORT are of its machine, the same for all ranks"
    )
