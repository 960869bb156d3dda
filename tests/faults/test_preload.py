"""Modules to preload that cannot be imported, end their process, or never end."""

from __future__ import annotations

import signal

import pytest

from .harness import Program, run, until

#: What is in the module, and what is said about it.
MODULES = {
    "raises": (
        "raise LookupError('not today')",
        "the module 'wanted' of preload cannot be imported: LookupError: not today",
        "LookupError ('not today',)",
    ),
    "says nothing": (
        "class Bad(Exception):\n    def __str__(self): raise Bad\n    __repr__ = __str__\nraise Bad",
        "the module 'wanted' of preload cannot be imported: Bad: <its __str__ raised Bad>",
        "Bad ()",
    ),
    "imports what is not there": (
        "import not_there",
        "the module 'wanted' of preload cannot be imported: ModuleNotFoundError: No module named 'not_there'",
        "ModuleNotFoundError (\"No module named 'not_there'\",)",
    ),
    "sys.exit": (
        "import sys; sys.exit(5)",
        "the module 'wanted' of preload cannot be imported: SystemExit: 5",
        "SystemExit (5,)",
    ),
    "os._exit": (
        "import os; os._exit(3)",
        "the module 'wanted' of preload has ended the process that imported it (exit code 3)",
        "NoneType ()",
    ),
    "dies": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "the module 'wanted' of preload has ended the process that imported it (SIGKILL)",
        "NoneType ()",
    ),
}

BEGIN = """
import os, signal, sys, time
import parmap

open("fine.py", "w").write("here = True")
open("wanted.py", "w").write({text!r})

def ways(pool):
    return {{
        "map": lambda: parmap.parallel_map(abs, [-1, -2], executor=pool),
        "imap": lambda: list(parmap.parallel_imap(abs, [-1, -2], executor=pool)),
        "submit": lambda: pool.submit(abs, -1).result(),
    }}
"""


@pytest.mark.parametrize("kind", MODULES)
def test_module_that_cannot_be_imported(kind: str) -> None:
    """The error names it, with its exception as the cause, and no traceback page is printed."""
    text, said, cause = MODULES[kind]
    program = BEGIN.format(text=text) + (
        """
with parmap.Pool(2, preload=["fine", "wanted"]) as pool:
    for call in ways(pool).values():
        try:
            print(call())
        except parmap.WorkerStartError as error:
            print(error)
            print(type(error.__cause__).__name__, getattr(error.__cause__, "args", ()))
open("wanted.py", "w").write("import fine")  # mended meanwhile
with parmap.Pool(2, preload=["fine", "wanted"]) as pool:
    print(parmap.parallel_map(lambda x: x in sys.modules, ["fine", "wanted"], executor=pool))
"""
    )
    assert run(program) == f"{said}\n{cause}\n" * 3 + "[True, True]\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_without_a_server_each_worker_imports_them(method: str) -> None:
    program = BEGIN.format(text="import os, fine; by = os.getpid()") + (
        f"""
open("bad.py", "w").write("raise LookupError('not today')")

def is_own(name):
    return sys.modules[name].by == os.getpid()

with parmap.Pool(2, preload=["fine", "wanted"], start_method={method!r}) as pool:
    print(parmap.parallel_map(is_own, ["wanted"] * 4, executor=pool))
    print(ways(pool)["submit"]())
with parmap.Pool(2, preload=["fine", "bad"], start_method={method!r}) as pool:
    for call in ways(pool).values():
        try:
            print(call())
        except parmap.WorkerStartError as error:
            print(error, type(error.__cause__).__name__)
"""
    )
    said = "the module 'bad' of preload cannot be imported: LookupError: not today LookupError\n"
    assert run(program) == "[True, True, True, True]\n1\n" + said * 3


def test_module_that_does_not_exist() -> None:
    program = """
        import parmap
        with parmap.Pool(1, preload=["not_there"]) as pool:
            try:
                parmap.parallel_map(abs, [-1], executor=pool)
            except parmap.WorkerStartError as error:
                print(error)
                print(type(error.__cause__).__name__, error.__cause__.name)
        """
    assert run(program) == (
        "the module 'not_there' of preload cannot be imported: "
        "ModuleNotFoundError: No module named 'not_there'\n"
        "ModuleNotFoundError not_there\n"
    )


def test_module_of_the_program() -> None:
    """It is found where the program itself finds it."""
    program = """
        import os, sys
        import parmap

        os.mkdir("elsewhere")
        for place in (".", "elsewhere"):
            name = f"module{len(place)}"
            open(f"{place}/{name}.py", "w").write(f"import os; by = os.getpid()")
        sys.path.append("elsewhere")

        def found(name):
            return sys.modules[name].by != os.getpid()

        with parmap.Pool(1, preload=["module1", "module9"]) as pool:
            print(parmap.parallel_map(found, ["module1", "module9"], executor=pool))
        """
    assert run(program) == "[True, True]\n"


NEVER = "import time; open('begun', 'w').close(); time.sleep(1e6)"


def test_module_that_never_ends_being_imported() -> None:
    """`timeout` bounds that; the program ends, and so does what it has started."""
    program = (
        BEGIN.format(text=NEVER)
        + """
with parmap.Pool(2, preload=["fine", "wanted"]) as pool:
    for _ in range(2):
        try:
            parmap.parallel_map(abs, [-1, -2], executor=pool, timeout=0.5)
        except parmap.CallTimeout:
            print("late")
    print(parmap.parallel_map(abs, [-1, -2], executor=pool, timeout=0.5, on_error="return")[0].done)
print(parmap.parallel_map(abs, [-1, -2]))
"""
    )
    assert run(program) == "late\nlate\n0\n[1, 2]\n"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_end_while_a_module_is_imported(end: int) -> None:
    program = (
        BEGIN.format(text=NEVER)
        + """
pool = parmap.Pool(2, preload=["wanted"])
parmap.parallel_map(abs, [-1, -2], executor=pool)
"""
    )
    with Program(program) as running:
        assert until((running.directory / "begun").exists, 30), running.err
        running.signal(end, group=end == signal.SIGINT)
        running.ends(20)
        assert running.code == -end, running.err
        assert not running.left(), running.left()
        assert running.err.count("Traceback") == (end == signal.SIGINT), running.err


def test_module_that_starts_threads() -> None:
    """The server forks beside them, which may go wrong, but not by itself."""
    text = "import threading, time; threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()"
    program = (
        BEGIN.format(text=text)
        + """
with parmap.Pool(2, preload=["wanted"]) as pool:
    for call in ways(pool).values():
        print(call())
"""
    )
    assert run(program, quiet=False) == "[1, 2]\n[1, 2]\n1\n"
