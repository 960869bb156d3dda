"""Functions, items, results, exceptions and inputs that are hard to carry, or raise."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from parmap import (
    Pool,
    RemoteError,
    SerializationError,
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
