"""Lets an event loop wait where a call would."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from ._drive import Drive


class Asking:
    """A task's waiting for the next results, while others that want some of the same iterator wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()

    async def over(self) -> None:
        """Wait for its end.

        Raises:
            ValueError: It is in another event loop, which may have been stopped.
        """
        if asyncio.get_running_loop() is not self._loop:
            msg = (
                "parallel_imap is asked for a result by another event loop, which is waiting for it"
            )
            raise ValueError(msg)
        await self._over.wait()

    def end(self) -> None:
        """End it."""
        self._over.set()


async def advance(drive: Drive) -> None:
    """What `Drive.advance` does, without blocking the event loop."""
    drive.resume()
    drive.blocking = False
    drive.settle()
    if drive.verdict is not None or drive.delivered:
        return
    happened = asyncio.Event()
    descriptors = drive.descriptors()
    watch = _reported(drive, happened) if descriptors is None else _readable(descriptors, happened)
    # Other tasks of this thread may wait for what it holds: it gets on meanwhile.
    drive.awaiting = True
    with watch:
        limit = asyncio.timeout(max(0.0, min(drive.due - time.monotonic(), 3600.0)))
        try:
            async with limit:
                await happened.wait()
        except TimeoutError:
            if not limit.expired():
                raise  # a signal handler's
            # The deadline of the plan: it knows what to do.
    drive.resume()
    drive.wait(0.0)
    drive.settle()


@contextmanager
def _reported(drive: Drive, happened: asyncio.Event) -> Generator[None]:
    """Be told when an executor, in whatever thread, has something to say."""
    loop = asyncio.get_running_loop()

    def notify() -> None:
        try:
            loop.call_soon_threadsafe(happened.set)
        except RuntimeError:
            pass  # the loop has been closed meanwhile

    drive.notify(notify)
    try:
        yield
    finally:
        drive.notify(None)


@contextmanager
def _readable(descriptors: list[tuple[int, bool]], happened: asyncio.Event) -> Generator[None]:
    """Be told when one of the descriptors has something to say."""
    loop = asyncio.get_running_loop()
    for fd, writing in descriptors:
        loop.add_reader(fd, happened.set)
        if writing:
            loop.add_writer(fd, happened.set)
    try:
        yield
    finally:
        for fd, writing in descriptors:
            loop.remove_reader(fd)
            if writing:
                loop.remove_writer(fd)
