"""A process for the next `run_in_process`, started while the one before is at work.

A fork and all that a new process does first take longer than most of the rest of such a call. A program that
has called twice within a minute is taken to call again; a process that nobody has come for within a minute
ends by itself. It has run nothing, and what has changed in the caller meanwhile it adopts with the call, as
warm workers do.
"""

from __future__ import annotations

import time
import warnings

from . import _filters
from ._stock import IDLE, Kind, NoWorker, Stock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._stock import Tenant

#: What a process is called if the caller does not say.
USUAL = "parmap-process"

#: What is the same for all processes that are started ahead.
KIND = Kind(tasks=1, name=USUAL, nested=False, ahead=True)

_waiting: list[Stock] = []  # each with the one process that waits
_called = -IDLE  # when the latest call began


def take(stocks: list[Stock]) -> None:
    """Add to this list where a call gets its process from: one that waits, if there is one."""
    try:
        stocks.extend(map(_waiting.pop, (-1,)))  # in C: whoever is interrupted has it here or there
    except IndexError:
        stocks.append(Stock(KIND))


def lay_in(tenant: Tenant) -> None:
    """Start a process for the call after this tenant's, if there seems to be one."""
    global _called
    before, _called = _called, time.monotonic()
    if _called - before >= IDLE or _waiting or _filters.bring_modules([*warnings.filters]):
        return
    stock = Stock(KIND)
    is_told = False
    try:
        is_told = stock.start_ahead(tenant)
        if is_told:
            _waiting.append(stock)
    except NoWorker:
        pass  # who needs one will be told
    finally:
        if not is_told:
            stock.kill_all()
            for link in stock.leave(tenant):
                stock.give_back(link)
            stock.close(for_good=True)
