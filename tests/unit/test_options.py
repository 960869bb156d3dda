import decimal
import enum
import fractions
import os
import subprocess
import sys
import textwrap
from collections import OrderedDict, UserList

import pytest

from parmap import _options as options
from parmap._errors import WorkerDied
from parmap._options import MapOptions


class Colour(enum.Enum):
    RED = 1


class Sequential:
    def __getitem__(self, place):
        raise IndexError


class NotIterable(list):
    __iter__ = None


class Unspeakable:
    def __repr__(self):
        raise RuntimeError


class Index:
    def __index__(self):
        return 7


class Untouchable:
    """Iterable, but whoever touches it is caught."""

    def __iter__(self):
        raise AssertionError

    def __len__(self):
        raise AssertionError


def function(*_):
    pass


NOT_COUNTS = [True, False, 2.0, 2.5, "2", b"2", [2], {}, object(), int]
NOT_SECONDS = [True, False, "2", b"2", [2], {}, object(), 2j, float]
BAD_SECONDS = [-1, -0.5, float("nan"), float("inf"), -float("inf"), 10**400, -(10**400)]
BAD_SECONDS += [decimal.Decimal("sNaN"), decimal.Decimal("Infinity")]
NOT_FLAGS = [0, 1, None, "yes", "", [], object()]

#: The options of the map calls: what is taken (as what), the wrong types, the wrong values.
TABLE = {
    "max_workers": (
        [(None, None), (1, 1), (10**6, 10**6), (Index(), 7)],
        NOT_COUNTS,
        [0, -1, -(10**5000)],
    ),
    "chunksize": ([(None, None), (1, 1)], NOT_COUNTS, [0, -1]),
    "buffersize": ([(None, None), (1, 1)], NOT_COUNTS, [0, -1]),
    "timeout": (
        [
            (None, None),
            (1, 1.0),
            (0.001, 0.001),
            (decimal.Decimal("0.5"), 0.5),
            (fractions.Fraction(1, 2), 0.5),
        ],
        NOT_SECONDS,
        [0, 0.0, *BAD_SECONDS],
    ),
    "item_timeout": ([(None, None), (1, 1.0)], NOT_SECONDS, [0, *BAD_SECONDS]),
    "retries": ([(0, 0), (1, 1)], [None, *NOT_COUNTS], [-1]),
    "retry_on": (
        [((), ()), ((OSError,), (OSError,)), ((ValueError, WorkerDied), (ValueError, WorkerDied))],
        [
            None,
            OSError,
            [OSError],
            {OSError},
            OSError(),
            "OSError",
            (OSError, int),
            (OSError(),),
            (1,),
        ],
        [],
    ),
    "on_error": (
        [("raise", "raise"), ("return", "return")],
        [None, True, b"raise", ["raise"], 1, ValueError],
        ["", "ignore", "RAISE", "raise "],
    ),
    "strict": ([(True, True), (False, False)], NOT_FLAGS, []),
    "ordered": ([(True, True), (False, False)], NOT_FLAGS, []),
    "progress": (
        [
            (it, it)
            for it in (True, False, "", "work", {}, {"desc": "x"}, OrderedDict(a=1), function)
        ],
        [None, 1, 0, 1.5, ["desc"], b"x", {1: 2}, {"desc": "x", None: 1}],
        [],
    ),
}
GOOD = [(name, *pair) for name, (good, _, _) in TABLE.items() for pair in good]
WRONG_TYPE = [(name, value) for name, (_, bad, _) in TABLE.items() for value in bad]
WRONG_VALUE = [(name, value) for name, (_, _, bad) in TABLE.items() for value in bad]


def shown(value):
    try:
        return repr(value)[:30]
    except Exception:
        return "unspeakable"


@pytest.mark.parametrize(("name", "value", "result"), GOOD, ids=shown)
def test_option_taken(name, value, result):
    got = getattr(MapOptions.check(**{name: value}), name)
    assert got == result
    assert type(got) is type(result)


@pytest.mark.parametrize(("name", "value"), WRONG_TYPE, ids=shown)
def test_option_of_the_wrong_type(name, value):
    with pytest.raises(TypeError, match=f"^{name} must be .*, got .") as caught:
        MapOptions.check(**{name: value})
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(("name", "value"), WRONG_VALUE, ids=shown)
def test_option_of_a_wrong_value(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*, got .") as caught:
        MapOptions.check(**{name: value})
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_table_holds_every_option():
    assert {*TABLE, "executor"} == set(MapOptions.__slots__)


def test_defaults():
    checked = MapOptions.check()
    assert {name: getattr(checked, name) for name in MapOptions.__slots__} == {
        "max_workers": None,
        "chunksize": None,
        "buffersize": None,
        "timeout": None,
        "item_timeout": None,
        "retries": 0,
        "retry_on": (WorkerDied,),
        "on_error": "raise",
        "strict": False,
        "ordered": True,
        "progress": False,
        "executor": None,
    }


def test_executor_is_kept_as_it_is():
    executor = object()
    assert MapOptions.check(executor=executor).executor is executor


def test_unknown_option():
    with pytest.raises(TypeError, match="processes"):
        MapOptions.check(processes=2)


def test_the_record_takes_nothing_else():
    with pytest.raises(AttributeError):
        MapOptions.check().workers = 2


MESSAGES = [
    (options.check_count, 0, "x must be a whole number of at least 1 or None, got 0"),
    (options.check_count, "4", "x must be a whole number of at least 1 or None, got '4' (str)"),
    (options.check_count, True, "x must be a whole number of at least 1 or None, got True (bool)"),
    (
        options.check_count,
        [],
        "x must be a whole number of at least 1 or None, got an object of type list",
    ),
    (options.check_count, int, "x must be a whole number of at least 1 or None, got the class int"),
    (options.check_seconds, -1, "x must be a finite number of seconds above 0 or None, got -1"),
    (options.check_flag, None, "x must be True or False, got None"),
    (options.check_callable, 3, "x must be callable, got 3 (int)"),
    (
        options.check_iterable,
        Unspeakable(),
        "x must be iterable, got an object of type Unspeakable",
    ),
    (
        options.check_exception_types,
        OSError,
        "x must be a tuple of exception classes, such as (OSError,), got the class OSError",
    ),
    (
        options.check_exception_types,
        (OSError, 1),
        "x must be a tuple of exception classes, got in it 1 (int)",
    ),
    (
        options.check_names,
        "json",
        "x must be a sequence of module names, such as ['json'], got 'json' (str)",
    ),
    (
        options.check_start_method,
        "thread",
        "x must be 'forkserver', 'spawn' or 'fork', or None, got 'thread'",
    ),
    (
        options.check_arguments_tuple,
        "ab",
        "x must be a tuple of arguments, such as ('ab',), got 'ab' (str)",
    ),
]


@pytest.mark.parametrize(("check", "value", "message"), MESSAGES, ids=shown)
def test_message(check, value, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        check("x", value)
    assert str(caught.value) == message


def test_a_message_stays_short():
    with pytest.raises(TypeError) as caught:
        options.check_count("x", "y" * 10**6)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [function, int, len, lambda: 1, "".join], ids=repr)
def test_callable_taken(value):
    assert options.check_callable("func", value) is value


@pytest.mark.parametrize("value", [None, 1, "print", [print], Colour.RED], ids=repr)
def test_not_callable(value):
    with pytest.raises(TypeError, match=r"^func must be callable, got "):
        options.check_callable("func", value)


ITERABLES = [[], (), "", "ab", b"", {}, set(), range(3), iter([]), (x for x in "a"), Sequential()]
ITERABLES += [Untouchable(), UserList(), Colour, memoryview(b"")]


@pytest.mark.parametrize("value", ITERABLES, ids=lambda value: type(value).__name__)
def test_iterable_taken_and_not_touched(value):
    assert options.check_iterable("iterable", value) is value


@pytest.mark.parametrize("value", [None, 1, 1.5, len, int, object(), Colour.RED, NotIterable()])
def test_not_iterable(value):
    with pytest.raises(TypeError, match=r"^iterable must be iterable, got "):
        options.check_iterable("iterable", value)


def test_count_from():
    assert options.check_count("limit", 0, least=0) == 0
    assert options.check_count("limit", 5, least=5, optional=False) == 5
    with pytest.raises(
        ValueError, match=r"^limit must be a whole number of at least 5 or None, got 4$"
    ):
        options.check_count("limit", 4, least=5)
    with pytest.raises(TypeError, match=r"^limit must be a whole number of at least 1, got None$"):
        options.check_count("limit", None, optional=False)


def test_name():
    assert options.check_name("name", None) is None
    assert options.check_name("name", "job") == "job"
    for value in (1, b"job", ["job"], str):
        with pytest.raises(
            TypeError, match=r"^name must be a string that is not empty or None, got "
        ):
            options.check_name("name", value)
    with pytest.raises(
        ValueError, match=r"^name must be a string that is not empty or None, got ''$"
    ):
        options.check_name("name", "")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ((), ()),
        (["json"], ("json",)),
        (("os.path", "re"), ("os.path", "re")),
        (UserList(["a"]), ("a",)),
    ],
)
def test_names_taken(value, names):
    assert options.check_names("preload", value) == names


@pytest.mark.parametrize(
    "value", [None, "json", b"json", 1, {"json"}, iter(["json"]), [1], [os], [b"a"]]
)
def test_names_of_the_wrong_type(value):
    with pytest.raises(TypeError, match=r"^preload must be a sequence of module names.*, got "):
        options.check_names("preload", value)


@pytest.mark.parametrize("value", [[""], [".json"], ["a..b"], ["json", "a."]])
def test_names_of_wrong_values(value):
    with pytest.raises(
        ValueError, match=r"^preload must be a sequence of module names, got in it '"
    ):
        options.check_names("preload", value)


@pytest.mark.parametrize("value", [None, "forkserver", "spawn", "fork"])
def test_start_method_taken(value, monkeypatch):
    monkeypatch.setattr(os, "fork", function, raising=False)
    assert options.check_start_method("start_method", value) == value


def test_start_method_refused(monkeypatch):
    for value in (1, b"spawn", ["spawn"], True):
        with pytest.raises(
            TypeError, match=r"^start_method must be 'forkserver', 'spawn' or 'fork', or"
        ):
            options.check_start_method("start_method", value)
    for value in ("", "Spawn", "thread"):
        with pytest.raises(
            ValueError, match=r"^start_method must be 'forkserver', 'spawn' or 'fork', or"
        ):
            options.check_start_method("start_method", value)


def test_start_method_of_another_system(monkeypatch):
    monkeypatch.delattr(os, "fork", raising=False)
    assert options.check_start_method("start_method", "spawn") == "spawn"
    assert options.check_start_method("start_method", None) is None
    for value in ("fork", "forkserver"):
        with pytest.raises(
            ValueError, match=f"^start_method must be 'spawn' or None .* got '{value}'$"
        ):
            options.check_start_method("start_method", value)


@pytest.mark.parametrize(
    ("value", "arguments"), [((), ()), ([1, 2], (1, 2)), (iter([1]), (1,)), (range(2), (0, 1))]
)
def test_arguments_taken(value, arguments):
    assert options.check_arguments_tuple("initargs", value) == arguments


@pytest.mark.parametrize("value", [None, 1, "ab", b"ab", object()])
def test_arguments_refused(value):
    with pytest.raises(TypeError, match=r"^initargs must be "):
        options.check_arguments_tuple("initargs", value)


@pytest.mark.parametrize(
    ("text", "count"), [(None, None), ("", None), (" ", None), ("1", 1), (" 12 ", 12)]
)
def test_env_max_workers(monkeypatch, text, count):
    set_variable(monkeypatch, "PARMAP_MAX_WORKERS", text)
    assert options.env_max_workers() == count


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "two", "None", "9" * 5000])
def test_env_max_workers_refused(monkeypatch, text):
    set_variable(monkeypatch, "PARMAP_MAX_WORKERS", text)
    with pytest.raises(
        ValueError, match=r"PARMAP_MAX_WORKERS must be a whole number of at least 1, got '"
    ):
        options.env_max_workers()


@pytest.mark.parametrize(
    ("text", "executor"),
    [
        (None, None),
        ("", None),
        *((name, name) for name in ("process", "thread", "interpreter", "serial")),
    ],
)
def test_env_executor(monkeypatch, text, executor):
    set_variable(monkeypatch, "PARMAP_EXECUTOR", text)
    assert options.env_executor() == executor


@pytest.mark.parametrize("text", ["processes", "Thread", "0"])
def test_env_executor_refused(monkeypatch, text):
    set_variable(monkeypatch, "PARMAP_EXECUTOR", text)
    message = "PARMAP_EXECUTOR must be 'process', 'thread', 'interpreter' or 'serial', got '"
    with pytest.raises(ValueError, match=message):
        options.env_executor()


@pytest.mark.parametrize(("text", "debug"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_env_debug(monkeypatch, text, debug):
    set_variable(monkeypatch, "PARMAP_DEBUG", text)
    assert options.env_debug() is debug


def set_variable(monkeypatch, name, text):
    if text is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, text)


def test_numpy():
    """In a process of its own: its threads would stay in that of the tests."""
    fresh("""
        import numpy
        from parmap._options import *

        assert check_count("x", numpy.int64(3)) == 3
        assert type(check_count("x", numpy.uint8(3))) is int
        assert check_count("x", numpy.array(3)) == 3
        assert check_seconds("x", numpy.float32(0.5)) == 0.5
        assert type(check_seconds("x", numpy.float64(2))) is float
        assert check_seconds("x", numpy.int64(2)) == 2.0
        assert check_iterable("x", numpy.zeros(2)).shape == (2,)
        for check, value, error in [
            (check_count, numpy.int8(0), ValueError),
            (check_count, numpy.float64(2), TypeError),
            (check_count, numpy.True_, TypeError),
            (check_count, numpy.array([1, 2]), TypeError),
            (check_seconds, numpy.float64("nan"), ValueError),
            (check_seconds, numpy.float32("inf"), ValueError),
            (check_seconds, numpy.int64(-1), ValueError),
            (check_seconds, numpy.True_, TypeError),
            (check_seconds, numpy.complex128(2), TypeError),
            (check_seconds, numpy.array([1.0, 2.0]), TypeError),
            (check_flag, numpy.True_, TypeError),
        ]:
            try:
                check("x", value)
            except error as caught:
                assert str(caught).startswith("x must be "), caught
            else:
                raise AssertionError(value)
    """)


def test_imports_nothing_dear():
    """What these modules bring along, beyond what the exceptions need, is built in."""
    brought = fresh("""
        import parmap._errors
        before = set(sys.modules)
        import parmap._cpus, parmap._options, parmap._progress
        print(*[name for name in set(sys.modules) - before if not name.startswith("parmap.")])
    """)
    assert set(brought.split()) <= set(sys.builtin_module_names)


def fresh(code):
    """What a fresh interpreter prints when it runs `code`."""
    src = os.path.dirname(os.path.dirname(options.__file__))
    head = f"import sys; sys.path.insert(0, {src!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
