"""What a plan is told (events) and what it answers (commands).

Exceptions are opaque here: a plan passes them on and never looks inside. `worker` is a number that
the plan has chosen in `StartWorker` and never uses again after that worker's last event.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Turn:
    """One event or command: compared and shown by its fields."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__slots__)))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


# --- events: each carries `now`, in seconds, which never goes backwards ---------------------------


class WorkerReady(Turn):
    """A worker can take items; `budget`: how many in its life, where it has not its whole life ahead."""

    __slots__ = ("budget", "now", "worker")

    def __init__(self, now: float, worker: int, budget: int | None = None) -> None:
        self.now = now
        self.worker = worker
        self.budget = budget


class WorkerGone(Turn):
    """A worker has ended: always its last event.

    `running` is the item it was at, where it was at one; `orderly` says that it left of its own
    accord (idle, or over its memory limit between items), which is nobody's fault; `error` is what
    its end looks like to the caller; `again` says whether the error is one that may be retried.
    """

    __slots__ = ("again", "error", "now", "orderly", "running", "worker")

    def __init__(
        self,
        now: float,
        worker: int,
        running: int | None,
        error: object,
        *,
        again: bool = True,
        orderly: bool = False,
    ) -> None:
        self.now = now
        self.worker = worker
        self.running = running
        self.error = error
        self.again = again
        self.orderly = orderly


class InputRead(Turn):
    """The answer to `Read`: `count` items more are there (none is a valid answer); has it ended?

    `nbytes` is what they weigh together, as far as that is known.
    """

    __slots__ = ("count", "ended", "nbytes", "now")

    def __init__(self, now: float, count: int, *, ended: bool, nbytes: int = 0) -> None:
        self.now = now
        self.count = count
        self.ended = ended
        self.nbytes = nbytes


class InputRaised(Turn):
    """The input itself failed where its next item should have been."""

    __slots__ = ("error", "now")

    def __init__(self, now: float, error: object) -> None:
        self.now = now
        self.error = error


class ItemsDone(Turn):
    """A worker has run `[first, stop)`, in `seconds`.

    All but its `failures`, lowest first: each an index, an error, and whether it is one that may be retried.
    """

    __slots__ = ("failures", "first", "now", "seconds", "stop", "worker")

    def __init__(
        self,
        now: float,
        worker: int,
        first: int,
        stop: int,
        seconds: float,
        failures: Sequence[tuple[int, object, bool]] = (),
    ) -> None:
        self.now = now
        self.worker = worker
        self.first = first
        self.stop = stop
        self.seconds = seconds
        self.failures = failures


class ItemFailed(Turn):
    """An item failed, in a worker or (worker None) before it could be sent.

    `again` says whether the error is one that may be retried; `fatal`, that it ends the call
    whatever the call does about failures (SystemExit, KeyboardInterrupt).
    """

    __slots__ = ("again", "error", "fatal", "index", "now", "worker")

    def __init__(
        self,
        now: float,
        worker: int | None,
        index: int,
        error: object,
        *,
        again: bool = False,
        fatal: bool = False,
    ) -> None:
        self.now = now
        self.worker = worker
        self.index = index
        self.error = error
        self.again = again
        self.fatal = fatal


class GaveBack(Turn):
    """A worker will not run these spans of items: it had not begun them."""

    __slots__ = ("now", "spans", "worker")

    def __init__(self, now: float, worker: int, spans: Sequence[tuple[int, int]]) -> None:
        self.now = now
        self.worker = worker
        self.spans = spans


class Running(Turn):
    """The answer to `Look`: the item a worker is at and since when, or None between items."""

    __slots__ = ("index", "now", "since", "worker")

    def __init__(self, now: float, worker: int, index: int | None, since: float) -> None:
        self.now = now
        self.worker = worker
        self.index = index
        self.since = since


class Taken(Turn):
    """The consumer has taken `count` of the results that were delivered."""

    __slots__ = ("count", "now")

    def __init__(self, now: float, count: int) -> None:
        self.now = now
        self.count = count


class Recall(Turn):
    """Another call waits for a worker of the same pool."""

    __slots__ = ("now",)

    def __init__(self, now: float) -> None:
        self.now = now


class Tick(Turn):
    """Time has passed: due whenever `Plan.deadline` is reached."""

    __slots__ = ("now",)

    def __init__(self, now: float) -> None:
        self.now = now


class Stop(Turn):
    """The call must end now, with this error (its function cannot be loaded, say)."""

    __slots__ = ("error", "now")

    def __init__(self, now: float, error: object) -> None:
        self.now = now
        self.error = error


# --- commands: performed in order before the next event is fed ------------------------------------


class StartWorker(Turn):
    """Get a worker; `WorkerReady` or `WorkerGone` follows."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class ReleaseWorker(Turn):
    """The plan needs this worker, which holds nothing, no more."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class KillWorker(Turn):
    """End a worker by force: `overdue` ran too long, or nobody wants its work; its end follows."""

    __slots__ = ("overdue", "worker")

    def __init__(self, worker: int, overdue: int | None) -> None:
        self.worker = worker
        self.overdue = overdue


class Lack(Turn):
    """Say that the call goes on with the workers it has, since no others can be started for now."""

    __slots__ = ("error",)

    def __init__(self, error: object) -> None:
        self.error = error


class Read(Turn):
    """Read up to `count` items of the input; one of its two answers follows.

    More may come where no window bounds a whole call and reading costs nothing.
    """

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


class Send(Turn):
    """Send the items `[first, stop)` to a worker."""

    __slots__ = ("first", "stop", "worker")

    def __init__(self, worker: int, first: int, stop: int) -> None:
        self.worker = worker
        self.first = first
        self.stop = stop


class AskBack(Turn):
    """Ask a worker for what it has not begun; `GaveBack` follows, perhaps with nothing.

    `leave_one`: for all but its first item, so that it gets on; two workers that took everything from
    each other would carry it to and fro for ever.
    """

    __slots__ = ("leave_one", "worker")

    def __init__(self, worker: int, *, leave_one: bool = True) -> None:
        self.worker = worker
        self.leave_one = leave_one


class Look(Turn):
    """Look which item a worker is at; `Running` follows."""

    __slots__ = ("worker",)

    def __init__(self, worker: int) -> None:
        self.worker = worker


class Keep(Turn):
    """An item's failure stands as its result."""

    __slots__ = ("error", "index")

    def __init__(self, index: int, error: object) -> None:
        self.index = index
        self.error = error


class Deliver(Turn):
    """The results of `[first, stop)` may be handed to the consumer."""

    __slots__ = ("first", "stop")

    def __init__(self, first: int, stop: int) -> None:
        self.first = first
        self.stop = stop


class Finish(Turn):
    """The call is over: exactly once, the last.

    Without an error all is done; `index` is the item to blame, where there is one; `late` says that
    the time of the whole call ran out.
    """

    __slots__ = ("error", "index", "late")

    def __init__(
        self, index: int | None = None, error: object = None, *, late: bool = False
    ) -> None:
        self.index = index
        self.error = error
        self.late = late


if TYPE_CHECKING:
    Event = (
        WorkerReady
        | WorkerGone
        | InputRead
        | InputRaised
        | ItemsDone
        | ItemFailed
        | GaveBack
        | Running
        | Taken
        | Recall
        | Tick
        | Stop
    )
    Command = (
        StartWorker
        | ReleaseWorker
        | KillWorker
        | Lack
        | Read
        | Send
        | AskBack
        | Look
        | Keep
        | Deliver
        | Finish
    )
