"""The live workers of one kind: started, leased to one call at a time, kept warm, ended.

One lock, held only to look at and change the lists: never while something is sent or awaited for long,
and never while user code runs. A forked child of the caller forgets what is its parent's.
"""

from __future__ import annotations

import _signal
import _socket
import _thread
import os
import select
import time

from . import _ambience, _cell, _cpus, _launch, _lifeline, _memory, _modules, _process, _stdlib
from ._caller import ambience
from ._channel import Channel, Closed
from ._handlers import let_pass
from ._link import Link
from ._lock import careful
from ._output import show_all
from ._registry import registry
from ._wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, NoReturn, Protocol, TypeVar

    T = TypeVar("T")

    class Tenant(Protocol):
        """Who leases workers, and can be told that one has become free."""

        side_by_side: int  # how many workers it wants at once
        suspended: bool  # it holds workers, and nobody runs it
        thread: int  # that it runs in
        blocking: bool  # else an event loop runs it
        awaiting: bool  # that loop goes on meanwhile
        outside: float  # since when it is in its input or its callback; 0: it is not

        @property
        def orphaned(self) -> bool:
            """Whether nobody is there to end it."""
            ...

        def close(self, *, abrupt: bool) -> None:
            """Give up all workers."""

        def offer(self, link: Link) -> None:
            """Take a worker that was waited for; called in any thread."""

        def find_place(self) -> None:
            """Lease again what was waited for; called in any thread."""

        def nudge(self) -> None:
            """Look whether a worker can be spared; called in any thread."""


#: Seconds that workers get to end by themselves, then after SIGTERM.
GRACE = 5.0
GRACE_AFTER_TERM = 1.0

#: Seconds after which a call that is in its input or its callback may be waiting, in whatever thread, for the
#: very workers that it holds.
_LONG = 0.1

#: Seconds after which a warm worker that nobody uses ends.
IDLE = 60.0


class Kind:
    """What all workers of a stock have in common."""

    def __init__(
        self,
        *,
        start_method: str | None = None,
        setup: Sequence[Any] = (),
        preload: Sequence[str] = (),
        memory_limit: int | None = None,
        idle_timeout: float | None = IDLE,
        tasks: int | None = None,
        name: str = "parmap-worker-{}",
        item_name: str = "",
        nested: bool = True,
        ahead: bool = False,
        launch: Callable[[int, int, int, int, str], _process.Child] | None = None,
    ) -> None:
        self.start_method = start_method or default_start_method()
        self.setup = setup  # the initializer and its arguments, packed
        self.preload = preload
        self.memory_limit = memory_limit
        self.idle_timeout = idle_timeout
        self.tasks = tasks  # items after which a worker is replaced
        self.name = name  # with a place for the worker's number
        self.item_name = item_name  # if not empty: renamed by the item, with a place for its index
        self.nested = nested  # calls within them are serial unless they say otherwise
        self.ahead = ahead  # they are started before anybody knows what they will run
        self.launch = launch  # starts a process in a way of its own
        # Its workers are forked from a clean server, which has imported what is to be preloaded.
        self.served = self.start_method == "forkserver" and launch is None


def default_start_method() -> str:
    """Forked from a clean server where the system can fork, else fresh interpreters."""
    return "forkserver" if hasattr(os, "fork") else "spawn"


class NoWorker(Exception):
    """No process can be started; its cause says why."""


class Stock:
    """Workers of one kind, at most `limit` of them."""

    def __init__(self, kind: Kind, limit: int | None = None) -> None:
        self.kind = kind
        self.limit = limit
        self._lock = careful(_thread.allocate_lock())
        # Ctrl-C may come between any two steps of a change, so a worker is put where it belongs before it
        # is struck off where it was, to be in both does no harm, and nothing is counted twice.
        self._idle: dict[Link, None] = {}
        self._leased: dict[Link, Tenant] = {}
        self._starting: dict[int, Tenant] = {}  # by number: what is not leased yet
        self._waiting: list[Tenant] = []
        self._ending: dict[Link, None] = {}  # told to end
        self._parting: dict[Link, None] = {}  # being seen off, in some thread
        self.closed = False  # to calls that have not begun
        self._killed = False  # nobody gets any worker
        self.generation = _modules.generation()  # of the caller's modules, at the latest call
        self._recipe: tuple[object, ...] = ()  # of the worker that was started ahead
        self._server: _process.Server | None = None
        self._serves = 0  # the generation of the modules that it holds
        registry.remember(self)

    # --- leasing ----------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a worker that others hold."""
        return bool(self._waiting)

    @property
    def in_use(self) -> bool:
        """Whether any of its workers lives."""
        return bool(self._starting or self._leased or self._idle or self._ending or self._parting)

    def warm_up(self, func: Callable[..., Any]) -> None:
        """Start the clean server, if there is one and it does not run, without waiting for it.

        It prepares for workers that will run this function. One that was started ahead, and would be another
        now, ends.
        """
        if self.kind.served and (self.kind.ahead or not self._idle):
            try:
                self._clean_server().share(_stdlib.wanted(func))
                if self.kind.ahead and self._idle and self._recipe != self._recipe_now():
                    self.close()
            except OSError as error:
                let_pass(error)  # else who leases a worker will be told

    def start_ahead(self, tenant: Tenant) -> bool:
        """Start a worker for whoever comes after this tenant; whether it was told all that it has to know.

        Raises:
            NoWorker: No process can be started.
        """
        self._recipe = self._recipe_now()
        link = self.lease(tenant)
        assert link is not None  # since there is no limit
        self.give_back(link)
        return not link.channel.sending

    def _recipe_now(self) -> tuple[object, ...]:
        """What workers that are forked now have for life, and others may have otherwise."""
        server = self._clean_server()
        return server.hung_up, server, server.imported, _own(1)

    def admit(self) -> None:
        """Let a call begin, which gets workers until it ends, also if these are shut down meanwhile.

        Raises:
            RuntimeError: They have been.
        """
        if self.closed:
            _refuse()

    def lease(self, tenant: Tenant) -> Link | None:
        """A worker for this tenant, perhaps still starting; None: it will be offered one.

        Raises:
            NoWorker: No process can be started.
            RuntimeError: These workers have been killed.
        """
        while True:
            link = self.lease_idle(tenant)
            if link is not None:
                return link
            with self._lock:
                if self._idle:
                    continue  # it has just come back
                if not self._is_full(tenant):
                    taken = self._numbers()
                    number = next(n for n in range(len(taken) + 1) if n not in taken)
                    self._starting[number] = tenant
                    break
                if not self._ending:
                    self._waiting.append(tenant)
                    for holder in {*self._leased.values()} - {tenant}:
                        holder.nudge()
                    return None
            self.reap(wait=True)  # there are places that come free
        try:
            # If it is, a call goes on that had no worker as it was closed, so that it was forgotten.
            if self.closed:
                registry.remember(self)
            return self._start(number, tenant)
        finally:
            with self._lock:
                self._starting.pop(number, None)

    def lease_idle(self, tenant: Tenant) -> Link | None:
        """A warm worker for this tenant, if there is one.

        Raises:
            RuntimeError: These workers have been killed.
        """
        if self._leased:
            self._end_orphans()
        self._retire(_modules.generation())
        if self._ending:
            self.reap(wait=False)
        while (link := self._pick(tenant)) is not None:
            if _is_live(link):
                return link
            link.bury()
            self.discard(link)
        return None

    def lease_at_once(self, tenant: Tenant) -> Link | None:
        """The same, if nothing is to be put in order before, which may take a while.

        Raises:
            RuntimeError: These workers have been killed.
        """
        if self._ending or _modules.generation() != self.generation:
            return None
        link = self._pick(tenant)
        if link is None or (link.ready and _is_live(link)):
            return link
        self.give_back(link)
        return None

    def _pick(self, tenant: Tenant) -> Link | None:
        with self._lock:
            if self._killed:
                _refuse()
            if not self._idle:
                return None
            link = min(self._idle, key=_number)
            self._leased[link] = tenant
            self._idle.pop(link, None)
        return link

    def _retire(self, generation: int) -> None:
        """End the idle workers that may hold older copies of the caller's modules; see `_modules`.

        They are waited for, so that those who replace them get their numbers.
        """
        if generation == self.generation:
            return
        with self._lock:
            old = _of_others(self._idle, generation)
            for link in old:
                self._ending[link] = None
                self._idle.pop(link, None)
            self.generation = generation  # last: Ctrl-C may come before
        if old:
            self.reap(wait=True)

    def _numbers(self) -> set[int]:
        """The numbers of all workers that there are."""
        links = *self._idle, *self._leased, *self._ending, *self._parting
        return {*self._starting, *(link.number for link in links)}

    def is_crowded(self, tenant: Tenant) -> bool:
        """Whether more workers are in use than there should be, since their holders have come back."""
        if self.limit is None or len(self._leased) <= self.limit:
            return False
        with self._lock:
            holders = [*self._leased.values()]
        count = sum(not (holder.outside or _is_stuck(holder, tenant)) for holder in holders)
        return count > self.limit

    def _is_full(self, tenant: Tenant, but: Link | None = None) -> bool:
        # What suspended calls hold does not count: they can give nothing back, and whoever waits for it
        # may be the one who would have to take them up again. Nor does what a call holds whose input,
        # pickling or callback makes this one; or waits for it, perhaps, if that takes long and the worker
        # has nothing to do.
        if self.limit is None:
            return False
        size = len(self._numbers()) - (but is not None)  # which is about to be nobody's
        if size < self.limit:
            return False
        stuck = sum(
            _is_stuck(holder, tenant) or (_is_away(holder) and link.rests)
            for link, holder in self._leased.items()
            if link is not but
        )
        return size - stuck >= self.limit

    def _is_over_full(self) -> bool:
        return self.limit is not None and len(self._numbers()) > self.limit

    def give_back(self, link: Link) -> None:
        """Take back a worker that owes nothing."""
        with self._lock:
            if link not in self._leased:
                return
            link.channel.lender.rest()
            if link.tasks_left == 0 or link.generation != self.generation:
                self._ending[link] = None
            elif self._waiting and not self._is_full(tenant := _first(self._waiting), but=link):
                self._leased[link] = tenant
                tenant.offer(link)  # under the lock: it cannot leave meanwhile
                self._waiting.remove(tenant)  # last: twice does no harm
                return
            elif self.closed or self._is_over_full():
                self._ending[link] = None
            else:
                self._idle[link] = None
                del self._leased[link]
                return
            del self._leased[link]
        link.end()
        if self._waiting or self.closed:
            self.reap(wait=True)

    def hand_on(self, link: Link, tenant: Tenant) -> None:
        """Let a leased worker be this tenant's."""
        with self._lock:
            if link in self._leased:
                self._leased[link] = tenant

    def _end_orphans(self) -> None:
        with self._lock:
            tenants = set(self._leased.values())
        for tenant in tenants:
            if tenant.orphaned:
                tenant.close(abrupt=True)

    def reap(self, *, wait: bool) -> None:
        """Strike off those of the workers told to end that have; `wait`: all of them."""
        self._see_off(GRACE if wait else None)

    def discard(self, link: Link) -> None:
        """Strike a worker off that has ended or is not to be used again."""
        with self._lock:
            self._leased.pop(link, None)
            for links in (self._idle, self._ending, self._parting):
                links.pop(link, None)
        link.close()
        self.pass_on()

    def pass_on(self) -> None:
        """Tell whoever waits longest that there is a place: it may start a worker."""
        with self._lock:
            if self._waiting:
                tenant = _first(self._waiting)
                tenant.find_place()  # under the lock, as above
                self._waiting.remove(tenant)

    def is_place(self, tenant: Tenant) -> bool:
        """Whether one who waits has a place though nobody has said so; he then waits no more.

        That who holds the workers can give none back is nothing that anybody could hear of; and a word of
        a place may be lost with who was interrupted before he could say it.
        """
        if self._ending:
            self.reap(wait=False)
        with self._lock:
            if tenant not in self._waiting or self._is_full(tenant):
                return False
            self._waiting.remove(tenant)
            return True

    def suspend(self, tenant: Tenant) -> None:
        """Do not count what a tenant holds, since nobody runs it for now."""
        with self._lock:
            tenant.suspended = True
        self.pass_on()

    @property
    def busy(self) -> bool:
        """Whether somebody, perhaps this very thread, is in the middle of a change."""
        server = self._server
        return self._lock.locked() or registry.busy or (server is not None and server.busy)

    def leave(self, tenant: Tenant) -> list[Link]:
        """Forget that a tenant waits; answer what it still holds."""
        with self._lock:
            if self._waiting:
                self._waiting = _all_but(tenant, self._waiting)
            for number in _owned_by(tenant, self._starting):
                del self._starting[number]
            return _owned_by(tenant, self._leased)

    # --- starting ---------------------------------------------------------------------------------

    def _start(self, number: int, tenant: Tenant) -> Link:
        if self.kind.start_method == "fork":
            _process.flush_streams()
        if self.kind.launch is None:
            link = _launch.undisturbed(lambda: self._begin(number, tenant))
        else:  # the user's own reducers run, for who knows how long
            link = self._begin(number, tenant)
        link.tasks_left = self.kind.tasks
        link.generation = self.generation
        hello = {
            "own": {**_own(tenant.side_by_side), "PARMAP_WORKER": str(number)},
            "name": self.kind.name.format(number),
            "idle_timeout": self.kind.idle_timeout,
            "nested": self.kind.nested,
            "item_name": self.kind.item_name,
            "memory_limit": self.kind.memory_limit,
            "preload": () if self.kind.served else tuple(self.kind.preload),
        }
        try:
            link.hello(hello, ambience(), self.kind.setup)
        except BaseException:  # such as Ctrl-C
            # If it is not, this is the end of a child that a signal handler has forked.
            if link in self._leased:
                link.kill("cancelled")
                link.child.wait(_process.NEWS)
                self.discard(link)
            raise
        return link

    def _begin(self, number: int, tenant: Tenant) -> Link:
        try:
            ours, cell, child = self._make(number)
        except OSError as error:
            let_pass(error)
            raise NoWorker from error
        ours.setblocking(False)
        link = Link(number, Channel(ours), cell, child)
        with self._lock:
            self._leased[link] = tenant
        return link

    def _make(self, number: int) -> tuple[_socket.socket, _cell.Cell, _process.Child]:
        ours, theirs = _socket.socketpair()
        cell_fd = -1
        try:
            cell_fd = _memory.anonymous_file(_cell.SIZE)
            cell = _cell.Cell(cell_fd)
            cell.words[_cell.AT] = -1
            child = self._launch(theirs.fileno(), cell_fd, number, ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if cell_fd >= 0:
                os.close(cell_fd)
        return ours, cell, child

    def _launch(self, sock: int, cell: int, number: int, ours: _socket.socket) -> _process.Child:
        lifeline = _lifeline.end()
        if self.kind.launch is not None:
            name = self.kind.name.format(number)
            return self.kind.launch(sock, cell, lifeline, ours.fileno(), name)
        if self.kind.start_method == "spawn":
            return _process.spawn(sock, cell, lifeline)
        if self.kind.start_method == "fork":
            from . import _worker

            def run() -> None:
                ours.close()
                _worker.main(sock, cell, lifeline, forked=True)

            return _process.fork(run)
        try:
            return self._clean_server().fork(sock, cell)
        except OSError as error:
            let_pass(error)
            return self._clean_server().fork(sock, cell)  # it had ended: once more, with another

    def _clean_server(self) -> _process.Server:
        with self._lock:
            preload = tuple(self.kind.preload)
            generation = self.generation if preload else 0  # else it holds nothing of the caller's
            if self._server is None or self._server.gone or generation != self._serves:
                self._server = registry.server((generation, preload))
                self._serves = generation
            return self._server

    # --- ending -----------------------------------------------------------------------------------

    def _see_off(self, grace: float | None, *, idle: bool = False) -> None:
        """Wait for workers that are to end, all that are `idle` among them; None: not at all.

        Those that take too long are asked by SIGTERM, then killed; all side by side.
        """
        links: list[Link] = []
        try:
            with self._lock:
                links += (*self._ending, *self._idle) if idle else self._ending
                self._parting.update(dict.fromkeys(links))
                for link in links:
                    self._ending.pop(link, None)
                    self._idle.pop(link, None)
            for link in links:
                link.end()
            if grace is None:
                _await_ends(links, 0.0, self)
            else:
                self._insist(links, grace)
        finally:  # who was interrupted leaves some of it to others
            with self._lock:
                self._ending.update(dict.fromkeys(link for link in links if link in self._parting))
                for link in links:
                    self._parting.pop(link, None)

    def _insist(self, links: Sequence[Link], grace: float) -> None:
        for link in [link for link in links if not link.ready and link.child.unborn()]:
            link.kill("shutdown")  # should it come to be after all
            self.discard(link)
            links = [other for other in links if other is not link]
        for seconds, signal in ((grace, None), (GRACE_AFTER_TERM, _signal.SIGTERM)):
            if signal is not None:
                for link in links:
                    link.child.kill(signal)
            links = _await_ends(links, seconds, self)
        for link in links:
            link.kill("shutdown")
            link.child.wait(_process.NEWS)
            self.discard(link)

    def close(self, grace: float = GRACE, *, for_good: bool = False) -> None:
        """End all workers that nobody has leased; `for_good`: no more calls may begin."""
        with self._lock:
            self.closed = self.closed or for_good
        self._end_orphans()
        self._see_off(grace, idle=True)
        if for_good:
            registry.forget_ended()

    def kill_all(self) -> None:
        """Kill all workers, leased ones included; their tenants find out, and get no others."""
        with self._lock:
            self._killed = True
            links = [*self._idle, *self._leased, *self._ending, *self._parting]
        for link in links:
            link.kill("shutdown")

    def abandon(self) -> None:
        """In a forked child of the caller: forget everything, touch nobody."""
        self._lock = careful(_thread.allocate_lock())
        for link in (*self._idle, *self._leased, *self._ending, *self._parting):
            link.close()
        self._waiting = []
        self._idle, self._leased, self._starting = {}, {}, {}
        self._ending, self._parting = {}, {}
        self._server = None


def _own(side_by_side: int) -> dict[str, str]:
    """Variables of a worker that the caller does not have."""
    return _ambience.thread_caps(max(1, _cpus.available_cpus() // side_by_side))


def _is_away(holder: Tenant) -> bool:
    """Whether it has been in its input or its callback for long."""
    return holder.outside > 0 and time.monotonic() - holder.outside > _LONG


def _refuse() -> NoReturn:
    msg = "cannot schedule new work: this Pool has been shut down"
    raise RuntimeError(msg)


def _is_stuck(holder: Tenant, tenant: Tenant) -> bool:
    """Whether a holder of workers cannot get on before this tenant does."""
    if holder.suspended:
        return True
    here = holder.thread == tenant.thread and holder is not tenant
    return here and (tenant.blocking or not holder.awaiting)


def _number(link: Link) -> int:
    return link.number


# By themselves: see `Drive.run`.


def _of_others(links: Iterable[Link], generation: int) -> list[Link]:
    """Those of another generation."""
    return [link for link in links if link.generation != generation]


def _all_but(tenant: Tenant, tenants: Iterable[Tenant]) -> list[Tenant]:
    return [other for other in tenants if other is not tenant]


def _first(tenants: Sequence[Tenant]) -> Tenant:
    """The first that somebody runs, if there is one: the others may never be taken up."""
    return next((tenant for tenant in tenants if not tenant.suspended), tenants[0])


def _owned_by(tenant: Tenant, owners: Mapping[T, Tenant]) -> list[T]:
    """What has this owner."""
    return [owned for owned, owner in owners.items() if owner is tenant]


def _is_live(link: Link) -> bool:
    """Whether a warm worker still is there; takes in what it has said meanwhile."""
    try:
        while link.speaks:
            show_all(link.hear())
        return not link.left
    except (Closed, WireError):
        return False


def _await_ends(links: Sequence[Link], seconds: float, stock: Stock) -> list[Link]:
    """Wait for workers to end, taking in what they still say; answer those that have not."""
    until = time.monotonic() + seconds
    left = {link.channel.fileno(): link for link in links}
    poller = select.poll()
    for fd in left:
        poller.register(fd, select.POLLIN)
    remaining = seconds
    while left and remaining >= 0:
        happened = poller.poll(remaining * 1000)
        for fd, _ in happened:
            link = left[fd]
            try:
                show_all(link.hear())
            except (Closed, WireError):
                poller.unregister(fd)
                del left[fd]
                if link.child.wait(max(0.0, until - time.monotonic())):
                    stock.discard(link)
                else:
                    return [link, *left.values()]
        if not happened:
            break
        remaining = until - time.monotonic()
    return list(left.values())


_default: Stock | None = None


def default() -> Stock:
    """The warm workers shared by all calls of this process."""
    global _default  # noqa: PLW0603 -- made on first use
    if _default is None:
        _default = Stock(Kind())
    return _default
