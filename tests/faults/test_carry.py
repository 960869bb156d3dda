"""Functions, items, results, exceptions and inputs that are hard to carry, or raise."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from parmap import (
    Pool,
    RemoteError,
    SerializationError,
    WorkerStartError,
    parallel_imap,
    parallel_map,
    run_in_process,
    spawn_each,
)

from . import deaths
from .harness import run

CONNECTION = sqlite3.connect(":memory:", check_same_thread=False)
CONNECTION.close()


def test_function_that_cannot_be_pickled() -> None:
    lock = threading.Lock()

    def use(x: int) -> int:
        with lock:
            return x

    with pytest.raises(SerializationError, match="lock"):
        parallel_map(use, range(3))
    with pytest.raises(SerializationError):
        list(parallel_imap(use, range(3)))
    with pytest.raises(SerializationError):
        run_in_process(use, 3)
    with pytest.raises(SerializationError):
        spawn_each(use, range(3))
    with Pool(1) as pool, pytest.raises(SerializationError):
        pool.submit(use, 3).result(20)


@pytest.mark.parametrize("make", [threading.Lock, deaths.RaisesWhenPickled, lambda: CONNECTION])
def test_item_that_cannot_be_pickled(make) -> None:
    items = [0, make(), 2]
    results = parallel_map(deaths.same, items, on_error="return")
    assert isinstance(results[1], SerializationError)
    assert [results[0], results[2]] == [0, 2]
    with pytest.raises(SerializationError) as caught:
        parallel_map(deaths.same, items)
    assert caught.value.parmap_index == 1
    with pytest.raises(SerializationError):
        run_in_process(deaths.same, items[1])
    with pytest.raises(SerializationError):
        spawn_each(deaths.same, items)
    with Pool(1) as pool, pytest.raises(SerializationError):
        pool.submit(deaths.same, items[1]).result(20)


def test_item_too_deep_to_be_pickled() -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    results = parallel_map(len, [[], deep, [1]], on_error="return")
    assert [results[0], results[2]] == [0, 1]
    assert isinstance(results[1], (SerializationError, RecursionError))
    while deep:
        deep = deep.pop()


class Awkward(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Holding(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()
        self.kept = 17


class BadReduce(Exception):
    def __reduce__(self):
        raise LookupError("no")


class BadStr(Exception):
    def __str__(self) -> str:
        raise LookupError("no")


class BadRevival(Exception):
    def __reduce__(self):
        return deaths._raise, ()


def raises(kind: str) -> None:
    if kind == "awkward":
        raise Awkward(3, reason="because")
    if kind == "holding":
        raise Holding("it")
    if kind == "bad reduce":
        raise BadReduce("it")
    if kind == "bad str":
        raise BadStr("it")
    if kind == "bad revival":
        raise BadRevival("it")
    if kind == "unpicklable args":
        raise ValueError(threading.Lock())
    if kind == "large":
        raise ValueError("x" * 20_000_000)
    if kind == "group":
        raise ExceptionGroup("both", [ValueError(1), Awkward(2, reason="two")])
    if kind == "generator exit":
        raise GeneratorExit
    if kind == "stop":
        raise StopIteration(3)


EXPECTED = {
    "awkward": Awkward,
    "holding": Holding,
    "bad reduce": (BadReduce, RemoteError),
    "bad str": BadStr,
    "bad revival": (BadRevival, RemoteError),
    "unpicklable args": RemoteError,
    "large": ValueError,
    "group": ExceptionGroup,
    "generator exit": GeneratorExit,
    "stop": RuntimeError,
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_exception(kind: str) -> None:
    with pytest.raises(EXPECTED[kind]) as caught:
        parallel_map(raises, ["fine", kind, "fine"])
    error = caught.value
    assert error.parmap_index == 1
    assert any("item 1 of parallel_map(raises)" in note for note in error.__notes__)
    if kind == "awkward":
        assert (error.code, error.reason, error.args) == (3, "because", ("3: because",))
    if kind == "holding":
        assert error.kept == 17
    if kind == "large":
        assert len(error.args[0]) == 20_000_000
    if kind == "group":
        assert error.exceptions[1].reason == "two"
    results = parallel_map(raises, ["fine", kind, "fine"], on_error="return")
    assert isinstance(results[1], EXPECTED[kind])
    assert [results[0], results[2]] == [None, None]
    with pytest.raises(EXPECTED[kind]):
        run_in_process(raises, kind)
    with Pool(1) as pool:
        assert isinstance(pool.submit(raises, kind).exception(20), EXPECTED[kind])


class Unspeakable(Exception):
    def __repr__(self) -> str:
        raise LookupError("no")

    __str__ = __repr__


class Unspeakably:
    """Raises the like where it is unpickled."""

    def __reduce__(self):
        return _raise_unspeakable, ()

    def __call__(self, x: int) -> int:
        return x


def _raise_unspeakable(*_: object) -> None:
    raise Unspeakable


def _give_unspeakable(kind: str) -> object:
    if kind == "raised":
        raise Unspeakable
    if kind == "argument":
        raise ValueError(Unspeakably())
    return Unspeakably()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("raised", Unspeakable), ("argument", RemoteError), ("result", SerializationError)],
)
def test_exception_that_says_nothing(kind: str, expected: type[Exception]) -> None:
    """Whatever says what happened must not raise in its turn."""
    with pytest.raises(expected) as caught:
        parallel_map(_give_unspeakable, [kind])
    assert caught.value.parmap_index == 0
    assert parallel_map(abs, [-1]) == [1]


def test_exception_that_says_nothing_elsewhere() -> None:
    name = "Unspeakable: <its __str__ raised LookupError>"
    with pytest.raises(SerializationError, match=name):
        parallel_map(deaths.same, [Unspeakably()])
    with pytest.raises(SerializationError, match=name):
        parallel_map(Unspeakably(), [1])
    with (
        Pool(1, initializer=_raise_unspeakable) as pool,
        pytest.raises(WorkerStartError, match=name),
    ):
        parallel_map(abs, [-1], executor=pool)


class ReduceEnds(Exception):
    """To carry it would end the process."""

    def __init__(self, end: type[BaseException]) -> None:
        super().__init__("it")
        self.end = end

    def __reduce__(self):
        raise self.end


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_exception_whose_reduce_ends_the_process(end: type[BaseException]) -> None:
    with pytest.raises(ReduceEnds) as caught:
        parallel_map(_raise_ending, [end])
    assert (caught.value.args, caught.value.end) == (("it",), end)


def _raise_ending(end: type[BaseException]) -> None:
    raise ReduceEnds(end)


class Uncarried(type):
    def __reduce_ex__(cls, _protocol):
        raise TypeError("no")


class BadGroup(ExceptionGroup, metaclass=Uncarried):
    """Its class cannot be carried."""


def _group(kind: str) -> None:
    members = [ValueError(n) for n in range(60)]
    last = RuntimeError("last")
    last.__cause__ = (BadGroup if kind == "class" else ExceptionGroup)("many", members)
    last.__cause__.__cause__ = members[3]
    last.__context__ = members[59]
    if kind == "deep":  # as deep as anything is carried
        for n in range(47):
            outer = RuntimeError(n)
            outer.__cause__, outer.__context__ = last, members[n]
            last = outer
    raise last


@pytest.mark.parametrize("kind", ["many", "class", "deep"])
def test_references_to_members_of_groups(kind: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        parallel_map(_group, [kind])
    error = caught.value
    if kind == "deep":
        for n in reversed(range(47)):
            assert (error.args, error.__context__.args) == ((n,), (n,))
            error = error.__cause__
    group = error.__cause__
    assert error.args == ("last",)
    assert error.__context__.args == (59,)
    assert group.__cause__.args == (3,)
    if kind != "class":
        assert [member.args for member in group.exceptions] == [(n,) for n in range(60)]
        assert group.__cause__ is group.exceptions[3]
        assert error.__context__ is group.exceptions[59]


def _deep(kind: str) -> object:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    if kind == "result":
        return deep
    error = ValueError("it")
    error.deep = deep
    if kind == "argument":
        error.args = ("it", deep)
    raise error


@pytest.mark.parametrize("kind", ["result", "attribute", "argument"])
def test_too_deep_to_be_pickled_there(kind: str) -> None:
    first, error, last = parallel_map(_deep_or_not, [None, kind, None], on_error="return")
    assert (first, last) == (None, None)
    expected = {"result": SerializationError, "attribute": ValueError, "argument": RemoteError}
    assert type(error) is expected[kind]
    assert error.parmap_index == 1
    assert not hasattr(error, "deep")


def _deep_or_not(kind: str | None) -> object:
    return kind and _deep(kind)


def test_chain_of_causes() -> None:
    with pytest.raises(LookupError) as caught:
        parallel_map(_chain, [1])
    error = caught.value
    assert isinstance(error.__cause__, Awkward)
    assert isinstance(error.__cause__.__context__, ZeroDivisionError)
    assert "a note" in error.__notes__


def _chain(x: int) -> None:
    try:
        try:
            1 / (x - x)
        except ZeroDivisionError:
            raise Awkward(1, reason="context")
    except Awkward as cause:
        error = LookupError("last")
        error.add_note("a note")
        raise error from cause


# --- inputs that raise ------------------------------------------------------------------------------------


class Own(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [AttributeError, StopIteration, LookupError, KeyboardInterrupt, SystemExit, Own, TimeoutError],
)
@pytest.mark.parametrize("at", [0, 1, 5, 500])
def test_input_raises(error: type[BaseException], at: int) -> None:
    class Numbers:
        def __init__(self) -> None:
            self.next = 0

        def __iter__(self):
            return self

        def __next__(self) -> int:
            if self.next >= at:
                raise error("input")
            self.next += 1
            return self.next

    if error is StopIteration:
        assert parallel_map(abs, Numbers()) == list(range(1, at + 1))
        return
    with pytest.raises(error, match="input") as caught:
        parallel_map(abs, Numbers())
    assert not getattr(caught.value, "__notes__", None)  # it is not an item that failed
    with pytest.raises(error, match="input"):
        parallel_map(abs, Numbers(), on_error="return")
    lazy = parallel_imap(abs, Numbers())
    seen = []
    with pytest.raises(error, match="input"):
        for value in lazy:
            seen.append(value)
    assert seen == list(range(1, len(seen) + 1))
    if issubclass(error, Exception):
        assert len(seen) == at
    with pytest.raises(error, match="input"):
        spawn_each(abs, Numbers(), limit=2)


def test_input_that_cannot_be_iterated() -> None:
    class Bad:
        def __iter__(self):
            raise AttributeError("no numbers")

    for call in (parallel_map, spawn_each):
        with pytest.raises(AttributeError, match="no numbers"):
            call(abs, Bad())
    with pytest.raises(AttributeError, match="no numbers"):
        list(parallel_imap(abs, Bad()))


def test_input_that_calls_us() -> None:
    def numbers():
        for x in range(5):
            yield sum(parallel_map(abs, range(x)))

    assert parallel_map(abs, numbers()) == [0, 0, 1, 3, 6]


def test_progress_callback_raises() -> None:
    def bad(_done: int, _total: int | None) -> None:
        raise LookupError("no progress")

    with pytest.raises(LookupError, match="no progress"):
        parallel_map(abs, range(100), progress=bad)
    assert parallel_map(abs, range(3)) == [0, 1, 2]


def test_classes_of_a_script_come_back_as_themselves() -> None:
    program = """
        import parmap

        class Mine(Exception):
            pass

        class Held(Mine):
            def __init__(self, a, b):
                super().__init__(a)
                self.b = b

        def fail(x):
            raise Held(x, x + 1)

        try:
            parmap.parallel_map(fail, [3])
        except Mine as error:
            print(type(error) is Held, error.args, error.b)
        """
    assert run(program) == "True (3,) 4\n"


def test_input_that_raises_is_not_read_again() -> None:
    class Numbers:
        raised = 0

        def __iter__(self):
            return self

        def __next__(self) -> int:
            self.raised += 1
            raise LookupError(self.raised)

    numbers = Numbers()
    with pytest.raises(LookupError) as caught:
        parallel_map(abs, numbers)
    assert caught.value.args == (1,)
    assert numbers.raised == 1
