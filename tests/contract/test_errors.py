"""Exceptions arrive as themselves."""

from __future__ import annotations

import multiprocessing
import pickle
import sqlite3
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

import pytest

import parmap
from parmap import (
    ParmapError,
    RemoteError,
    SerializationError,
    parallel_imap,
    parallel_map,
    parallel_starmap,
    run_in_process,
    spawn_each,
)


class NeedsMore(Exception):
    """Its `__init__` does not take its `args`."""

    def __init__(self, code, *, where):
        super().__init__(f"{code} at {where}")
        self.code = code
        self.where = where


class HoldsALock(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()
        self.kept = "kept"


class LockInArgs(Exception):
    def __init__(self, lock):
        super().__init__(lock)


class BadStr(Exception):
    def __str__(self):
        raise RuntimeError("no")


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Alive:
    """Raises what it carries."""

    def __init__(self, make):
        self.make = make

    def __call__(self, x):
        raise self.make(x)


def caught(func, items=(0,), **options):
    with pytest.raises(BaseException) as info:
        parallel_map(func, items, **options)
    return info.value


def test_attributes_and_notes():
    def fail(x):
        error = ValueError("v", x)
        error.extra = {"a": [1]}
        error.add_note("first")
        error.add_note("second")
        raise error

    error = caught(fail, [5, 6])
    assert type(error) is ValueError
    assert error.args == ("v", 5)
    assert error.extra == {"a": [1]}
    assert error.__notes__ == ["first", "second", "parmap: item 0 of parallel_map(fail)"]
    assert error.parmap_index == 0


@pytest.mark.parametrize("function", ["imap", "starmap", "spawn_each"])
def test_the_note_names_the_call(function):
    call = {
        "imap": lambda: list(parallel_imap(fail_at_two, range(5))),
        "starmap": lambda: parallel_starmap(fail_at_two, [(n,) for n in range(5)]),
        "spawn_each": lambda: spawn_each(fail_at_two, range(3)),
    }[function]
    name = function if function == "spawn_each" else f"parallel_{function}"
    with pytest.raises(LookupError) as info:
        call()
    assert info.value.parmap_index == 2
    assert info.value.__notes__ == [f"parmap: item 2 of {name}(fail_at_two)"]


def fail_at_two(x):
    if x == 2:
        raise LookupError(x)
    return x


def test_run_in_process_has_no_item():
    with pytest.raises(LookupError) as info:
        run_in_process(fail_at_two, 2)
    assert not hasattr(info.value, "parmap_index")
    assert not hasattr(info.value, "__notes__")


def test_causes_and_contexts():
    def fail(x):
        try:
            try:
                {}["k"]
            except KeyError as error:
                raise NeedsMore(1, where="here") from error
        except NeedsMore:
            raise ValueError("outer")

    error = caught(fail)
    assert type(error) is ValueError
    assert error.__cause__ is None
    inner = error.__context__
    assert type(inner) is NeedsMore
    assert (inner.code, inner.where) == (1, "here")
    assert type(inner.__cause__) is KeyError
    assert inner.__cause__.args == ("k",)
    assert inner.__context__ is inner.__cause__
    assert inner.__suppress_context__
    assert not error.__suppress_context__
    assert inner.__cause__.__traceback__ is not None


def test_raise_from_none():
    def fail(x):
        try:
            1 / 0
        except ZeroDivisionError:
            raise ValueError from None

    error = caught(fail)
    assert error.__suppress_context__
    assert "ZeroDivisionError" not in "".join(traceback.format_exception(error))


def test_a_cycle_of_causes():
    def fail(x):
        one, other = ValueError(1), ValueError(2)
        one.__cause__ = other
        other.__cause__ = one
        raise one

    error = caught(fail)
    assert error.args == (1,)
    assert error.__cause__.args == (2,)
    assert error.__cause__.__cause__ is error


def test_a_long_chain():
    def fail(x):
        error = None
        for n in range(500):
            new = ValueError(n)
            new.__cause__ = error
            error = new
        raise error

    error = caught(fail)
    assert error.args == (499,)
    assert error.__cause__.args == (498,)


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
def test_init_with_required_arguments(executor):
    error = caught(Alive(lambda x: NeedsMore(x, where="there")), [7], executor=executor)
    assert type(error) is NeedsMore
    assert error.args == ("7 at there",)
    assert (error.code, error.where, error.parmap_index) == (7, "there", 0)


def test_an_attribute_that_cannot_travel():
    error = caught(Alive(HoldsALock), ["m"])
    assert type(error) is HoldsALock
    assert error.args == ("m",)
    assert error.kept == "kept"


def test_slots():
    error = caught(Alive(Slotted), [3])
    assert type(error) is Slotted
    assert error.args == (3,)


@pytest.mark.parametrize(
    "error",
    [
        OSError(2, "No such file", "f"),
        FileNotFoundError(2, "No such file", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "reason"),
        UnicodeEncodeError("utf-8", "x", 0, 1, "reason"),
        KeyError("k"),
        SyntaxError("msg", ("file", 1, 2, "text")),
        ImportError("m", name="n", path="p"),
        AttributeError("m"),
        NameError("m"),
        __import__("subprocess").CalledProcessError(3, ["a"], b"out", b"err"),
        __import__("json").JSONDecodeError("m", "doc", 1),
        parmap.WorkerDied("m", index=3, signal="SIGKILL", pid=7),
        BaseException("base"),
        GeneratorExit("g"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_builtin_errors(error):
    again = caught(Alive(lambda _: error))
    assert type(again) is type(error)
    assert again.args == error.args
    assert str(again) == str(error)
    for name in (
        "errno",
        "filename",
        "filename2",
        "strerror",
        "object",
        "start",
        "reason",
        "lineno",
        "name",
        "path",
        "returncode",
        "stdout",
        "doc",
        "pos",
        "index",
        "signal",
    ):
        if hasattr(error, name) and not callable(getattr(error, name)):
            assert getattr(again, name) == getattr(error, name), name


@pytest.mark.parametrize("outcome", [pytest.skip, pytest.fail, pytest.xfail, pytest.exit])
def test_outcomes_of_pytest(outcome):
    """Two of their classes say that they are built in."""

    def end(x):
        outcome("no")

    error = caught(end)
    assert type(error) is outcome.Exception
    assert "no" in str(error)


def test_local_class():
    class Local(Exception):
        def __init__(self, one, other):
            super().__init__(one)
            self.other = other

    def fail(x):
        raise Local(1, [2])

    with pytest.raises(Local) as info:
        parallel_map(fail, [0])
    assert info.value.other == [2]


def test_groups():
    def fail(x):
        try:
            raise KeyError("inside")
        except KeyError as error:
            raise ExceptionGroup(
                "several", [error, ValueError(2), ExceptionGroup("in", [TypeError(3)])]
            )

    error = caught(fail)
    assert type(error) is ExceptionGroup
    assert error.message == "several"
    assert [type(one) for one in error.exceptions] == [KeyError, ValueError, ExceptionGroup]
    with pytest.raises(ExceptionGroup):
        try:
            parallel_map(fail, [0])
        except* KeyError:
            pass


def innermost(x):
    raise ValueError("deep")  # the line to be seen


def middle(x):
    return innermost(x)


@pytest.mark.parametrize("call", ["map", "imap", "run", "star"])
def test_remote_frames(call):
    with pytest.raises(ValueError) as info:
        if call == "map":
            parallel_map(middle, [0])
        elif call == "imap":
            list(parallel_imap(middle, [0]))
        elif call == "run":
            run_in_process(middle, 0)
        else:
            parallel_starmap(middle, [(0,)])
    frames = traceback.extract_tb(info.value.__traceback__)
    assert [frame.name for frame in frames[-2:]] == ["middle", "innermost"]
    assert frames[-1].filename == __file__
    assert frames[-1].line == 'raise ValueError("deep")  # the line to be seen'
    assert frames[-1].lineno == innermost.__code__.co_firstlineno + 1
    text = "".join(traceback.format_exception(info.value))
    assert 'raise ValueError("deep")  # the line to be seen' in text
    # Between the caller's line and the function's there are frames of parmap, but no worker's.
    assert not any("_worker.py" in frame.filename for frame in frames)


def test_what_cannot_travel_at_all():
    error = caught(Alive(lambda _: LockInArgs(threading.Lock())))
    assert type(error) is RemoteError
    assert isinstance(error, ParmapError)
    assert error.type_name.endswith("LockInArgs")
    assert "lock" in error.message
    assert "test_errors.py" in error.traceback
    assert error.parmap_index == 0
    again = pickle.loads(pickle.dumps(error))
    assert (again.type_name, again.message, again.traceback) == (
        error.type_name,
        error.message,
        error.traceback,
    )


def test_a_raising_str():
    error = caught(Alive(lambda _: BadStr("args")))
    assert type(error) is BadStr
    assert error.args == ("args",)


def test_one_that_cannot_be_unpickled():
    class Trap:
        def __reduce__(self):
            return int, ("no number",)

    error = caught(Alive(lambda _: ValueError(Trap())))
    assert isinstance(error, (ValueError, RemoteError))
    assert error.parmap_index == 0


def stop(x):
    raise StopIteration(x)


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
def test_stop_iteration(executor):
    error = caught(stop, [1, 2], executor=executor)
    assert type(error) is RuntimeError
    assert type(error.__cause__) is StopIteration
    assert error.__cause__.value == 1
    got = parallel_map(stop, [1, 2], executor=executor, on_error="return")
    assert [type(one) for one in got] == [RuntimeError] * 2
    with pytest.raises(RuntimeError):
        list(parallel_imap(stop, [1, 2], executor=executor))


class Leaves:
    def __init__(self, error):
        self.error = error

    def __call__(self, x):
        if x == 3:
            raise self.error
        return x


@pytest.mark.parametrize("mode", ["raise", "return"])
@pytest.mark.parametrize("executor", ["process", "thread"])
@pytest.mark.parametrize("error", [SystemExit(4), SystemExit("msg"), KeyboardInterrupt()])
def test_system_exit_and_interrupt_end_the_call(mode, executor, error):
    got = caught(Leaves(error), range(10), on_error=mode, executor=executor)
    assert type(got) is type(error)
    assert got.args == error.args
    assert parallel_map(abs, [-1]) == [1]


@pytest.mark.parametrize("mode", ["raise", "return"])
def test_system_exit_in_serial(mode):
    assert caught(Leaves(SystemExit(4)), range(10), on_error=mode, executor="serial").code == 4


def test_returned_errors_are_no_failures():
    got = parallel_map(ValueError, [1, 2])
    assert [type(one) for one in got] == [ValueError] * 2
    assert all(not hasattr(one, "parmap_index") for one in got)


def test_the_lowest_of_several():
    for chunksize in (None, 1, 3):
        error = caught(Leaves2(), range(20), chunksize=chunksize, max_workers=3)
        assert error.args == (5,)
        assert error.parmap_index == 5


class Leaves2:
    def __call__(self, x):
        if x >= 5:
            raise ValueError(x)
        return x


# --- what cannot be sent ------------------------------------------------------------------------------


def test_a_function_that_cannot_travel():
    connection = sqlite3.connect(":memory:")

    def load(x):
        return connection.execute("select ?", (x,))

    try:
        with pytest.raises(SerializationError) as info:
            parallel_map(load, [1])
    finally:
        connection.close()
    message = str(info.value)
    assert "sqlite3.Connection" in message
    assert "`connection` used by load()" in message
    assert "open it inside the function" in message
    assert isinstance(info.value, pickle.PicklingError)


async def later(x):
    return x


def test_the_message_says_what_it_was_to_be():
    lock = threading.Lock()
    cases = [
        (
            lambda: parallel_map(lambda _: lock, [1]),
            "(variable `lock` used by <lambda>()) in the function ",
        ),
        (lambda: parallel_map(str, [1, lock]), "_thread.lock object, the item, cannot be sent"),
        (lambda: parallel_map(str, [[lock]]), "(element 0) in the item cannot be sent"),
        (
            lambda: parallel_map(lambda _: [threading.Lock()], [1]),
            "(element 0) in the result cannot be sent",
        ),
        (
            lambda: parallel_map(later, [1]),
            "coroutine object, the result, cannot be sent to another process: the function is an `async def`",
        ),
    ]
    for call, said in cases:
        with pytest.raises(SerializationError) as info:
            call()
        assert said in str(info.value), str(info.value)


def raise_here():
    raise LookupError("not here")


class Unreadable:
    def __reduce__(self):
        return raise_here, ()


@pytest.mark.parametrize("foreign", [False, True])
def test_an_item_that_cannot_be_unpickled(foreign):
    with ExitStack() as stack:
        executor = "process"
        if foreign:
            context = multiprocessing.get_context("forkserver")
            executor = stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
        with pytest.raises(SerializationError) as info:
            parallel_map(str, [1, Unreadable()], executor=executor)
    assert info.value.parmap_index == 1
    assert str(info.value) == "the item cannot be unpickled in the worker: LookupError: not here"


class Carrier:
    def __init__(self):
        self.lock = threading.Lock()


@pytest.mark.parametrize("mode", ["raise", "return"])
def test_an_item_that_cannot_travel(mode):
    items = [1, {"key": [Carrier()]}, 3]
    if mode == "raise":
        with pytest.raises(SerializationError) as info:
            parallel_map(str, items)
        error = info.value
    else:
        first, error, last = parallel_map(str, items, on_error="return")
        assert (first, last) == ("1", "3")
    assert type(error) is SerializationError
    assert error.parmap_index == 1
    assert "_thread.lock" in str(error)
    for step in ("key 'key'", "element 0", "attribute `lock` of Carrier"):
        assert step in str(error)


def make_carrier(x):
    return [x, Carrier()] if x == 1 else x


@pytest.mark.parametrize("mode", ["raise", "return"])
def test_a_result_that_cannot_travel(mode):
    if mode == "raise":
        error = caught(make_carrier, range(3))
    else:
        first, error, last = parallel_map(make_carrier, range(3), on_error="return")
        assert (first, last) == (0, 2)
    assert type(error) is SerializationError
    assert error.parmap_index == 1
    assert "attribute `lock` of Carrier" in str(error)


#: What a reducer may raise: the last two are the failure of one value, too, and end nothing.
REDUCERS_RAISE = [ZeroDivisionError, SystemExit, GeneratorExit]
reducers_raise = pytest.mark.parametrize("kind", REDUCERS_RAISE)


class BadReduce:
    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        raise self.kind("in reduce")


class BadLoad:
    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        return throw, (self.kind,)


def throw(kind):
    raise kind("in load")


@reducers_raise
def test_reducers_that_raise(kind):
    for items in ([BadReduce(kind)], [0, BadReduce(kind), 1]):
        error = caught(type, items)
        assert type(error) is SerializationError
        assert kind.__name__ in str(error)


@reducers_raise
def test_reducers_that_raise_in_the_worker(kind):
    got = parallel_map(lambda x: BadReduce(kind) if x == 1 else x, range(3), on_error="return")
    assert (got[0], got[2]) == (0, 2)
    assert type(got[1]) is SerializationError
    assert kind.__name__ in str(got[1])


@reducers_raise
def test_an_item_that_cannot_be_loaded(kind):
    error = caught(type, [1, BadLoad(kind)])
    assert type(error) is SerializationError
    assert error.parmap_index == 1
    assert type(error.__cause__) is kind


@reducers_raise
def test_a_result_that_cannot_be_loaded(kind):
    def make_bad_load(x):
        return BadLoad(kind) if x == 1 else x

    error = caught(make_bad_load, range(3))
    assert type(error) is SerializationError
    assert error.parmap_index == 1
    assert type(error.__cause__) is kind
    got = parallel_map(make_bad_load, range(3), on_error="return")
    assert (got[0], got[2]) == (0, 2)
    assert type(got[1]) is SerializationError


class BadCall:
    def __reduce__(self):
        return divmod, (1, 0)

    def __call__(self, x):
        return x


def test_a_function_that_cannot_be_loaded():
    for mode in ("raise", "return"):
        error = caught(BadCall(), range(3), on_error=mode)
        assert type(error) is SerializationError
        assert "ZeroDivisionError" in str(error)
