"""The workers of one call: what each holds, and who may be given more.

Every question that is asked after each event is answered from a collection kept up to date by
`file`, never by going through all workers: a call may have ten thousand of them.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace

from ._spans import Spans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

INFINITY = float("inf")


class Member:
    """One worker, from `StartWorker` to its last event."""

    __slots__ = (
        "alone",
        "bare",
        "budget",
        "doomed",
        "held",
        "last_sent",
        "leaving",
        "look_at",
        "news",
        "number",
        "place",
        "ready",
        "ready_at",
    )

    def __init__(self, number: int, budget: int | None) -> None:
        self.number = number
        self.place: dict[int, Member] | None = None  # in which of the crew's collections it is
        self.ready_at = 0.0
        self.ready = False  # it has said that it can take items
        self.held = Spans()  # sent and not answered for, running ones included
        self.last_sent = 0  # how many items the newest message took
        self.budget = budget  # items it may still be sent; None: any number
        self.alone = False  # what it holds is a suspect: nothing may be sent after it
        self.leaving = False  # gets nothing more: another call waits for it
        self.doomed = False  # has been killed; only its end is still awaited
        self.bare = False  # was asked for what it has not begun, and had nothing
        self.news = 0.0  # when it last was sent something or said something
        self.look_at = INFINITY  # when its item may have run too long


class Crew:
    """The members by number, and by what can be asked of them.

    `coming`: asked for, not there yet. `idle`: holds nothing, may be sent something. `low`: holds
    no more than its newest message, so something may be sent ahead. `through`: holds nothing and
    gets nothing more. The dictionaries serve as ordered sets.
    """

    __slots__ = ("_givers", "_next", "coming", "idle", "low", "members", "most", "through")

    def __init__(self, most: int) -> None:
        self.most = most
        self.members: dict[int, Member] = {}
        self.coming: dict[int, Member] = {}
        self.idle: dict[int, Member] = {}
        self.low: dict[int, Member] = {}
        self.through: dict[int, Member] = {}
        self._givers: list[tuple[int, int]] = []  # heap of (-held, number); may be out of date
        self._next = 0

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def enlist(self, budget: int | None) -> Member:
        """A new member, still to be started."""
        member = Member(self._next, budget)
        self._next += 1
        self.members[member.number] = member
        self.file(member)
        return member

    def dismiss(self, number: int) -> Member | None:
        """Strike a member off."""
        member = self.members.pop(number, None)
        if member is not None and member.place is not None:
            del member.place[number]
            member.place = None
        return member

    def file(self, member: Member) -> None:
        """Put a member where it belongs now; to be called after each change of it."""
        place = self._place_of(member)
        if place is not member.place:
            number = member.number
            if member.place is not None:
                del member.place[number]
            if place is not None:
                place[number] = member
            member.place = place
        if member.held.count > 1 and not member.bare and not member.doomed:
            heappush(self._givers, (-member.held.count, member.number))
            if len(self._givers) > 4 * len(self.members) + 64:  # an endless call must not pile up
                self._givers = [(-other.held.count, other.number) for other in self]
                heapify(self._givers)

    def _place_of(self, member: Member) -> dict[int, Member] | None:
        if member.doomed:
            return None
        if not member.ready:
            return self.coming
        held = member.held.count
        if member.leaving or member.budget == 0:
            return None if held else self.through
        if held == 0:
            return self.idle
        return None if member.alone or held > member.last_sent else self.low

    @property
    def full(self) -> bool:
        """Whether no further worker may be started."""
        return len(self.members) >= self.most

    @property
    def at_work(self) -> int:
        """How many hold something, or are being killed."""
        return len(self.members) - len(self.coming) - len(self.idle) - len(self.through)

    def hungry(self, *, ahead: bool) -> Member | None:
        """A worker that should be sent something; `ahead`: though it still runs what it has."""
        for pool in (self.idle, self.low) if ahead else (self.idle,):
            for member in pool.values():
                return member
        return None

    def fullest(self) -> Member | None:
        """The worker that holds most and might give something back."""
        givers = self._givers
        while givers:
            count, number = givers[0]
            member = self.members.get(number)
            if member is None or member.doomed or member.bare or member.held.count <= 1:
                heappop(givers)
            elif member.held.count == -count:
                return member
            else:
                heapreplace(givers, (-member.held.count, number))
        return None
