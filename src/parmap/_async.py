"""Lets an event loop wait where a call would."""

from __future__ import annotations

import asyncio
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._drive import Drive


async def advance(drive: Drive) -> None:
    """What `Drive.advance` does, without blocking the event loop."""
    drive.suspended = False
    descriptors: Any = getattr(drive, "descriptors", None)
    if descriptors is None:
        # An executor's results come through a queue: a thread waits for them.
        await asyncio.shield(asyncio.to_thread(drive.advance))
        return
    drive.settle()
    if drive.verdict is None and not drive.delivered:
        await _readable(descriptors(), drive.due)
        drive.wait(0.0)
        drive.settle()


async def _readable(descriptors: list[tuple[int, bool]], until: float) -> None:
    """Wait until one of these has something to say, no longer than until then."""
    loop = asyncio.get_running_loop()
    happened = asyncio.Event()
    for fd, writing in descriptors:
        loop.add_reader(fd, happened.set)
        if writing:
            loop.add_writer(fd, happened.set)
    try:
        async with asyncio.timeout(max(0.0, min(until - time.monotonic(), 3600.0))):
            await happened.wait()
    except TimeoutError:
        pass  # the deadline of the plan: it knows what to do
    finally:
        for fd, writing in descriptors:
            loop.remove_reader(fd)
            if writing:
                loop.remove_writer(fd)
