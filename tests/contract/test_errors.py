"""Exceptions arrive as themselves."""

from __future__ import annotations

import asyncio
import builtins
import copy
import errno
import gc
import itertools
import multiprocessing
import os
import pickle
import re
import sqlite3
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from fractions import Fraction
from functools import partial
from urllib.error import HTTPError

import pytest

import parmap
from parmap import (
    CallTimeout,
    ParmapError,
    Pool,
    RemoteError,
    SerializationError,
    _failure,
    parallel_imap,
    parallel_map,
    parallel_starmap,
    run_in_process,
    spawn_each,
)
from parmap._drive import Drive


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


VALUES = [None, True, 1, 1.0, -0.0, 0.0, 1j, "1", b"1", "b'1'", Fraction(1), (), (1,), (1.0,), [1]]


@pytest.mark.parametrize("one", VALUES, ids=repr)
def test_two_that_show_the_same(one):
    for other in [*VALUES, copy.deepcopy(one)]:
        for its, others in ((one, other), ((one, 2), (other, 2)), ((one,), (other, 2))):
            assert _failure._same(its, others) == (repr(its) == repr(others)), (its, others)


def test_slots():
    error = caught(Alive(Slotted), [3])
    assert type(error) is Slotted
    assert error.args == (3,)


def fields(error):
    """All that an exception shows beside its methods, but for what is added to it on its way."""
    added = {"add_note", "with_traceback", "parmap_index", "obj"}
    names = [name for name in dir(error) if not name.startswith("__") and name not in added]
    shown = {name: getattr(error, name, "empty") for name in names}
    said = {name: repr(value) for name, value in shown.items() if not callable(value)}
    return {name: text for name, text in said.items() if " at 0x" not in text}


def with_fields(error, **given):
    for name, value in given.items():
        setattr(error, name, value)
    return error


class Missing(FileNotFoundError):
    def __init__(self, path):
        super().__init__(errno.ENOENT, "no such record", path)


class MovedTwice(OSError):
    def __init__(self, *, source, target):
        super().__init__(errno.EXDEV, "not across", source, None, target)


class Full(BlockingIOError):
    def __init__(self, written):
        super().__init__(errno.EAGAIN, "full", written)


class SaysLittle(OSError):
    """Leaves it to `OSError.__new__` to read the arguments."""

    def __new__(cls, *args):
        return super().__new__(cls, *args)


class BadText(UnicodeDecodeError):
    def __init__(self, reason):
        super().__init__("utf8", b"ab", 0, 1, reason)


class BadCharacter(UnicodeEncodeError):
    def __init__(self, *, at):
        super().__init__("ascii", "a\u1234", at, at + 1, "odd")


class BadTranslation(UnicodeTranslateError):
    def __init__(self, *, at):
        super().__init__("a\u1234", at, at + 1, "odd")


class NotInstalled(ImportError):
    def __init__(self, module):
        super().__init__(f"install {module}", name=module, path="/p")


class Unparsed(SyntaxError):
    def __init__(self, line):
        super().__init__("cannot parse", ("file", line, 2, "text", line, 4))


class Ended(SystemExit):
    def __init__(self, *, code):
        super().__init__(code)


class NotThere(LookupError, OSError):
    """`OSError.__new__` alone can make it, and comes second."""

    def __init__(self, *, path):
        super().__init__(errno.ENOENT, "not there", path)


class Slots(Exception):
    __slots__ = ("empty", "one", "other")

    def __init__(self, *, one):
        self.one = one
        self.other = None


@pytest.mark.parametrize(
    "make",
    [
        lambda: OSError(2, "No such file", "f"),
        lambda: FileNotFoundError(2, "No such file", "a", None, "b"),
        lambda: BlockingIOError(11, "later", 5),
        lambda: OSError("one argument"),
        lambda: with_fields(OSError(2, "No such file"), filename="later"),
        lambda: with_fields(OSError(), errno=2, strerror="late"),
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "reason"),
        lambda: UnicodeEncodeError("utf-8", "x", 0, 1, "reason"),
        lambda: UnicodeTranslateError("x", 0, 1, "reason"),
        lambda: KeyError("k"),
        lambda: SyntaxError("msg", ("file", 1, 2, "text")),
        lambda: with_fields(SyntaxError("msg"), filename="file", lineno=3),
        lambda: IndentationError("msg", ("file", 1, 2, "text", 1, 4)),
        lambda: ImportError("m", name="n", path="p"),
        lambda: ModuleNotFoundError("m", name="n"),
        lambda: AttributeError("m"),
        lambda: AttributeError("m", name="n", obj=3),
        lambda: NameError("m", name="n"),
        lambda: UnboundLocalError("m", name="n"),
        lambda: SystemExit(4),
        lambda: with_fields(SystemExit("text"), code=5),
        lambda: __import__("subprocess").CalledProcessError(3, ["a"], b"out", b"err"),
        lambda: __import__("json").JSONDecodeError("m", "doc", 1),
        lambda: parmap.WorkerDied("m", index=3, signal="SIGKILL", pid=7),
        lambda: BaseException("base"),
        lambda: GeneratorExit("g"),
        lambda: Missing("/a/b"),
        lambda: MovedTwice(source="a", target="b"),
        lambda: Full(5),
        lambda: SaysLittle(2, "No such file", "a", None, "b"),
        lambda: BadText("odd"),
        lambda: BadCharacter(at=1),
        lambda: BadTranslation(at=1),
        lambda: NotInstalled("module"),
        lambda: Unparsed(7),
        lambda: Ended(code=3),
        lambda: NotThere(path="/a"),
        lambda: Slots(one=1),
    ],
    ids=lambda make: type(make()).__name__,
)
def test_what_classes_keep_of_their_own(make):
    error = make()
    again = caught(Alive(lambda _: make()))
    assert type(again) is type(error)
    assert again.args == error.args
    assert str(again) == str(error)
    assert fields(again) == fields(error)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_that_says_so_when_nobody_closes_it():
    def fail(_):
        raise HTTPError("http://u", 404, "no", None, None)  # type: ignore[arg-type]

    again = caught(Alive(fail))
    assert (type(again), str(again)) == (HTTPError, "HTTP Error 404: no")
    assert (again.code, again.filename, again.url) == (404, "http://u", "http://u")
    del again
    gc.collect()


def raise_name_error():
    return no_such_name  # noqa: F821


def from_import():
    from json import no_such_name  # noqa: F401


@pytest.mark.parametrize(
    "fail",
    [
        raise_name_error,
        from_import,
        lambda: (1).no_such_name,
        lambda: int.no_such_name,
        lambda: __import__("json.no_such_name"),
        lambda: compile("a b\n c", "file", "exec"),
        lambda: open("/no/such/file"),  # noqa: SIM115
        b"\xff".decode,
        lambda: next(iter(())),
    ],
)
def test_what_the_interpreter_says(fail):
    with pytest.raises(Exception) as info:
        fail()
    again = caught(lambda _: fail())
    if type(info.value) is StopIteration:
        again = again.__cause__
    assert type(again) is type(info.value)
    assert str(again) == str(info.value)
    assert fields(again) == fields(info.value)


class NewNeedsMore(Exception):
    """Its `__new__` does not take its `args`."""

    def __new__(cls, *, status):
        return super().__new__(cls)

    def __init__(self, *, status):
        self.status = status
        super().__init__(f"status {status}")


def test_new_with_required_arguments():
    error = caught(Alive(lambda x: NewNeedsMore(status=x)), [503])
    assert type(error) is NewNeedsMore
    assert (error.args, error.status) == (("status 503",), 503)


def test_bases_in_c():
    """lxml's have a `__new__` of their own, which does not make what is a `SyntaxError`, too."""
    etree = pytest.importorskip("lxml.etree")
    with pytest.raises(etree.XMLSyntaxError) as info:
        etree.fromstring("<a>")
    again = caught(lambda _: etree.fromstring("<a>"))
    assert type(again) is etree.XMLSyntaxError
    assert str(again) == str(info.value)
    assert (again.args, again.position) == (info.value.args, info.value.position)
    assert fields(again).keys() >= {"lineno", "code"}


def sealed(base):
    """A class that can be carried neither by name nor by value."""

    class Sealed(base):
        lock = threading.Lock()

        def __reduce__(self):
            return make_sealed, (self.title,)

    return Sealed


SealedError = sealed(Exception)


def make_sealed(title):
    error = SealedError("called with", "something else")
    error.title = title
    return error


def test_pickle_knows_better_than_args():
    """As with pydantic's `ValidationError`, which nothing but its `__reduce__` can make again."""

    def fail(x):
        error = make_sealed("title")
        error.args = ()
        error.add_note("noted")
        raise error

    error = caught(fail)
    assert type(error) is SealedError
    assert (error.title, error.args) == ("title", ())
    assert error.__notes__[0] == "noted"


@pytest.mark.parametrize("outcome", [pytest.skip, pytest.fail, pytest.xfail, pytest.exit])
def test_outcomes_of_pytest(outcome):
    """Two of their classes say that they are built in."""

    def end(x):
        outcome("no")

    error = caught(end)
    assert type(error) is outcome.Exception
    assert "no" in str(error)


class Sent:
    """Cannot be unpickled by whom it names."""

    def __init__(self, by):
        self.by = by

    def __repr__(self):
        return "what was sent"

    def __reduce__(self):
        return unless_it_is, (self.by,)


def unless_it_is(process):
    if os.getpid() == process:
        raise LookupError("not here")
    return Sent(process)


def test_one_that_only_the_caller_cannot_unpickle():
    def fail(caller):
        error = ValueError("said", Sent(caller))
        error.add_note("noted")
        raise error

    error = caught(fail, [os.getpid()])
    assert type(error) is RemoteError
    assert error.type_name == "builtins.ValueError"
    assert error.message == "('said', what was sent)"
    assert str(error) == "builtins.ValueError: ('said', what was sent)"
    assert "raise error\nbuiltins.ValueError: ('said'" in error.traceback
    assert any("LookupError: not here" in note for note in error.__notes__)


class SaysItsLock(Exception):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self):
        return f"locked: {self.lock.locked()}"


def test_what_it_said_is_told_though_what_it_told_of_is_lost():
    error = caught(Alive(lambda _: SaysItsLock()))
    assert type(error) is SaysItsLock
    assert "parmap: where it was raised, it said: locked: False" in error.__notes__


class Hostile(Exception):
    def __str__(self):
        raise KeyboardInterrupt

    __repr__ = __eq__ = __bool__ = __hash__ = __str__


def test_a_hostile_one():
    first, error, last = parallel_map(
        lambda x: Alive(Hostile)(Hostile()) if x == 1 else x, range(3), on_error="return"
    )
    assert (first, last) == (0, 2)
    assert type(error) is Hostile
    assert type(error.args[0]) is Hostile


class CodedGroup(ExceptionGroup):
    def __new__(cls, message, members, code):
        made = super().__new__(cls, message, members)
        made.code = code
        return made

    def __init__(self, message, members, code):
        pass


def test_groups_of_other_classes():
    def members():
        return [ValueError(1), NeedsMore(2, where="in")]

    error = caught(Alive(lambda _: CodedGroup("coded", members(), 7)))
    assert type(error) is CodedGroup
    assert (error.message, error.code) == ("coded", 7)
    assert [type(one) for one in error.exceptions] == [ValueError, NeedsMore]
    error = caught(Alive(lambda _: sealed(ExceptionGroup)("sealed", members())))
    assert type(error) is ExceptionGroup
    assert [type(one) for one in error.exceptions] == [ValueError, NeedsMore]
    assert "Sealed cannot be carried" in error.__notes__[0]


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


def builtin_errors():
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type)]
    for kind in kinds:
        # StopIteration would end the caller's own iterators: see below.
        if issubclass(kind, Exception) and kind not in (ExceptionGroup, StopIteration):
            for args in [(), ("x",), (1, 2.5), ("utf-8", b"x", 0, 1, "why"), ([1],)]:
                try:
                    yield kind(*args)
                except TypeError:
                    pass  # it takes others


class Impostor(KeyError):
    """It seems to be built in."""


Impostor.__module__, Impostor.__qualname__, Impostor.__name__ = "builtins", "KeyError", "KeyError"


def test_every_built_in_error():
    errors = [*builtin_errors(), Impostor("x")]
    errors[0].extra = 1
    errors[1].add_note("by the way")
    got = parallel_map(raise_one, errors, on_error="return")
    for error, one in zip(errors, got, strict=True):
        assert type(one) is type(error)
        assert (one.args, str(one)) == (error.args, str(error))
    assert got[0].extra == 1
    assert got[1].__notes__[0] == "by the way"


def raise_one(error):
    raise error


def test_a_remote_frame_leads_nowhere():
    """They once led to those that had received the error, and these to all results of the call."""
    kept = parallel_map(middle, [0, 1], on_error="return")[1]
    frame = kept.__traceback__.tb_next.tb_frame
    assert frame.f_code.co_name == "innermost"
    assert frame.f_back is None
    assert not frame.f_locals


def raising_input():
    yield 0
    raise ValueError("the input")


async def take_all():
    async for _ in parallel_imap(innermost, range(3)):
        pass


@pytest.fixture
def new_drives():
    """Answers the calls that have not been let go of since, while the collector waits."""

    def drives():
        return {id(one) for one in gc.get_objects() if isinstance(one, Drive)}

    gc.collect()
    gc.disable()
    before = drives()
    yield lambda: drives() - before
    gc.enable()


@pytest.mark.parametrize(
    "call",
    [
        lambda: parallel_map(abs, raising_input()),
        lambda: [*parallel_imap(abs, raising_input())],
    ],
)
def test_a_call_whose_input_raises_is_no_garbage(call, new_drives):
    with pytest.raises(ValueError, match="the input"):
        call()
    assert not new_drives()


@pytest.mark.parametrize(
    "call",
    [
        lambda: parallel_map(innermost, range(3)),
        lambda: [*parallel_imap(innermost, range(3))],
        lambda: asyncio.run(take_all()),
        lambda: spawn_each(innermost, range(3)),
        lambda: run_in_process(innermost, 1),
        lambda: parallel_map(time.sleep, [60], timeout=0.2),
        lambda: innermost(parallel_map(middle, range(3), on_error="return")),
    ],
)
def test_an_error_that_is_kept_keeps_nothing_else(call, new_drives):
    """Nor is the call garbage that waits for the collector, which counts objects and no bytes."""
    with pytest.raises((ValueError, CallTimeout)) as kept:
        call()
    assert not new_drives()
    del kept


class Watched(Exception):
    """One to which there may be weak references, and that can be told from others."""


def fail_watched(x):
    raise Watched(x)


def living():
    return sum(type(one) is Watched for one in gc.get_objects())


def test_a_pool_keeps_no_errors_of_tasks():
    with Pool(1) as pool:
        for x in range(50):
            assert pool.submit(fail_watched, x).exception(30).args == (x,)
        gc.collect()
        assert living() < 5


def test_a_lazy_call_keeps_no_errors_that_it_has_handed_out():
    with closing(
        parallel_imap(fail_watched, itertools.count(), on_error="return", buffersize=10)
    ) as results:
        for x, error in zip(range(100), results, strict=False):
            assert error.args == (x,)
        del error
        gc.collect()
        assert living() < 30


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_items_that_all_fail_travel_together(executor, monkeypatch, capsys):
    monkeypatch.setenv("PARMAP_DEBUG", "1")
    results = parallel_map(innermost, range(2_000), executor=executor, on_error="return")
    assert [error.parmap_index for error in results] == [*range(2_000)]
    (chunks,) = re.findall(r"2000 items in (\d+) chunks", capsys.readouterr().err)
    assert int(chunks) < 500


@pytest.mark.parametrize("executor", ["process", "thread"])
@pytest.mark.parametrize("kind", [int, str, complex, Fraction])
def test_failures_among_results_of_any_kind(kind, executor):
    results = parallel_map(
        partial(odd_ones, kind), range(300), executor=executor, on_error="return"
    )
    assert results[1::2] == [*map(kind, range(1, 300, 2))]
    assert [error.args for error in results[::2]] == [(x,) for x in range(0, 300, 2)]
    assert [error.parmap_index for error in results[::2]] == [*range(0, 300, 2)]


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
@pytest.mark.parametrize("ordered", [True, False])
def test_many_failures_handed_out_one_by_one(ordered, executor):
    calls = parallel_imap(
        partial(odd_ones, int), range(10_000), ordered=ordered, executor=executor, on_error="return"
    )
    got = [one.args[0] if isinstance(one, KeyError) else one for one in calls]
    assert (got if ordered else sorted(got)) == [*range(10_000)]


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
@pytest.mark.parametrize("ordered", [True, False])
def test_what_comes_before_an_exit(ordered, executor):
    calls = parallel_imap(
        exit_at_50, range(100), ordered=ordered, executor=executor, on_error="return", chunksize=100
    )
    got = []
    with pytest.raises(SystemExit):
        got.extend(calls)
    assert [one.args[0] if isinstance(one, KeyError) else one for one in got] == [*range(50)]


def exit_at_50(x):
    if x == 50:
        raise SystemExit(3)
    return odd_ones(int, x)


def odd_ones(kind, x):
    if x % 2 == 0:
        raise KeyError(x)
    return kind(x)


def test_a_result_beside_a_failure_is_made_once():
    for _ in range(3):
        MADE.clear()
        failed, made = parallel_map(counted_or_not, [0, 1], on_error="return")
        assert isinstance(failed, ValueError)
        assert isinstance(made, Counted)
        assert len(MADE) == 1


MADE = []


class Counted:
    """Notes in the caller that it was unpickled."""

    def __setstate__(self, state):
        MADE.append(state)

    def __getstate__(self):
        return 1


def counted_or_not(x):
    return Counted() if x else innermost(x)


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
