"""`parallel_map`, `parallel_starmap`, `parallel_imap` and `using`."""

from __future__ import annotations

from . import _calls
from ._calls import Call
from ._errors import WorkerDied
from ._options import MapOptions, check_callable, check_count, check_iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def parallel_map(func, iterable, /, *iterables, max_workers=None, chunksize=None, timeout=None, item_timeout=None, retries=0, retry_on=(WorkerDied,), on_error="raise", strict=False, progress=False, executor=None):
    """doc"""
    check_callable("func", func)
    for at, one in enumerate((iterable, *iterables)):
        check_iterable(f"iterable {at + 1}", one)
    options = MapOptions.check(max_workers=max_workers, chunksize=chunksize, timeout=timeout, item_timeout=item_timeout, retries=retries, retry_on=retry_on, on_error=on_error, strict=strict, progress=progress, executor=executor)
    return _calls.run(Call("parallel_map", func, (iterable, *iterables), options, star=bool(iterables)))
