"""Everything of this process that must not outlive it: all workers, and the clean servers."""

from __future__ import annotations

import _thread
import atexit
import os

from . import _launch, _lifeline, _modules, _process, _tracker
from ._handlers import let_pass
from ._lock import careful

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._stock import Stock


#: What the clean server of the default workers has imported: nothing.
_PLAIN: tuple[int, tuple[str, ...]] = (0, ())


class Registry:
    """All stocks and clean servers of this process, so that its end and its forks find them."""

    def __init__(self) -> None:
        self._lock = careful(_thread.allocate_lock())
        self._stocks: list[Stock] = []
        # By the modules that they hold, and their generation; one that still has workers stays.
        self._servers: dict[tuple[int, tuple[str, ...]], _process.Server] = {}
        self._hooked = False

    @property
    def busy(self) -> bool:
        """As that of a stock."""
        return self._lock.locked()

    def remember(self, stock: Stock) -> None:
        with self._lock:
            self._stocks = _lasting(self._stocks)
            if stock not in self._stocks:
                self._stocks.append(stock)
            if not self._hooked:
                self._hooked = True
                os.register_at_fork(after_in_child=self._abandon)
                # At exit nobody waits for a server: it ends by itself, and has no workers left.
                atexit.register(self.end, wait=False)

    def forget_ended(self) -> None:
        """Forget the stocks that have been shut down and have no worker left; calls may go on in others."""
        with self._lock:
            self._stocks = _lasting(self._stocks)

    def server(self, held: tuple[int, tuple[str, ...]]) -> _process.Server:
        """The clean server that has imported these modules, of this generation."""
        with self._lock:
            found = self._servers.get(held)
            if found is None or found.gone:
                if found is not None:
                    found.close(wait=True)
                found = _launch.undisturbed(lambda: self._new_server(held))
            return found

    def _new_server(self, held: tuple[int, tuple[str, ...]]) -> _process.Server:
        made = self._servers[held] = _process.Server(held[1])
        return made

    def end(self, *, wait: bool) -> None:
        """End all workers that nobody uses; then the servers, unless some are in use."""
        for stock in list(self._stocks):
            stock.close()
        if _launch.has_begun():
            try:
                self.server(_PLAIN)  # so that it is among those to be ended
            except OSError as error:
                let_pass(error)  # else there is none
        with self._lock:
            if self._in_use():
                if not wait:
                    _tracker.let_go()
                return
            servers = dict(self._servers)
        for held, server in servers.items():
            server.close(wait=wait)
            with self._lock:  # not before: who was interrupted must find it again
                if self._servers.get(held) is server:
                    del self._servers[held]
        with self._lock:
            # Another thread may have begun anew meanwhile: what it starts hangs on the same lifeline.
            if not (self._servers or self._in_use() or _launch.has_begun()):
                _launch.undisturbed(lambda: _lifeline.cut(here=False))

    def _in_use(self) -> bool:
        return any(stock.in_use for stock in self._stocks)

    def _abandon(self) -> None:
        self._lock = careful(_thread.allocate_lock())
        for stock in self._stocks:
            stock.abandon()
        for server in self._servers.values():
            server.abandon()
        self._servers = {}
        _launch.forget()
        _modules.abandon()
        _process.abandon()


# By itself: see `Drive.run`.
def _lasting(stocks: list[Stock]) -> list[Stock]:
    return [stock for stock in stocks if stock.in_use or not stock.closed]


registry = Registry()


def shutdown() -> None:
    """End the warm workers; the next call starts new ones.

    They end in order: their `atexit` handlers run. It is done at the exit of the program as well, so
    there is seldom a need to call it. Workers that run something for another thread are left alone.

    Example:
        >>> import parmap
        >>> parmap.parallel_map(abs, [-1, 2])
        [1, 2]
        >>> parmap.shutdown()
    """
    registry.end(wait=True)


shutdown.__module__ = "parmap"
