import gc
import io
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from parmap import _progress
from parmap._progress import make_progress


def play(option, total, *counts, name=""):
    progress = make_progress(option, total, name)
    for done in counts:
        progress.update(done)
    progress.close()


def last_line(text):
    return text.rstrip("\n").rsplit("\r", 1)[-1].rsplit("\n", 1)[-1]


def fresh(code):
    """What a fresh interpreter prints when it runs `code`; warnings are errors there."""
    src = os.path.dirname(os.path.dirname(_progress.__file__))
    head = f"import sys; sys.path.insert(0, {src!r})\nfrom parmap._progress import make_progress\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_false_does_nothing(capsys):
    play(False, 3, 1, 2, 3)
    assert capsys.readouterr() == ("", "")


def test_true_draws_a_bar(capsys):
    play(True, 3, 1, 2, 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert last_line(err).startswith("100%")
    assert "3/3" in last_line(err)
    assert err.endswith("\n")  # the bar stays, and the next line is free


def test_without_total(capsys):
    play(True, None, 1, 5)
    assert last_line(capsys.readouterr().err).startswith("5it")


def test_an_unfinished_bar_stays_as_it_is(capsys):
    play(True, 4, 1)
    assert "1/4" in last_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "name", "start"),
    [
        ("work", "square", "work: "),
        ("", "square", "100%"),
        (True, "square", "square: "),
        ({}, "square", "square: "),
        ({"desc": "mine"}, "square", "mine: "),
        (True, "", "100%"),
    ],
)
def test_description(capsys, option, name, start):
    play(option, 2, 2, name=name)
    assert last_line(capsys.readouterr().err).startswith(start)


def test_a_mapping_is_keyword_arguments(capsys):
    file = io.StringIO()
    given = {"unit": "files", "total": 8, "file": file}
    play(given, 2, 2)
    assert "2/8" in last_line(file.getvalue())
    assert "files/s" in last_line(file.getvalue())
    assert capsys.readouterr().err == ""
    assert given == {"unit": "files", "total": 8, "file": file}


def test_a_disabled_bar(capsys):
    play({"disable": True}, 2, 1, 2)
    assert capsys.readouterr().err == ""


def test_unknown_keyword_argument(capsys):
    with pytest.raises(
        TypeError, match=r"^progress must hold keyword arguments that tqdm takes: .*colr"
    ):
        make_progress({"colr": "red"}, 3, "")
    gc.collect()
    assert capsys.readouterr().err == ""


def test_a_callable_is_called_when_something_changed():
    calls = []
    play(lambda *arguments: calls.append((*arguments, threading.get_ident())), 5, 0, 1, 1, 4, 4, 5)
    here = threading.get_ident()
    assert calls == [(1, 5, here), (4, 5, here), (5, 5, here)]


def test_a_callable_without_total():
    calls = []
    play(lambda *arguments: calls.append(arguments), None, 2)
    assert calls == [(2, None)]


def test_what_a_callable_raises_arrives():
    def fail(done, total):
        raise LookupError(done)

    with pytest.raises(LookupError):
        play(fail, 5, 1)


def test_close_twice(capsys):
    progress = make_progress(True, 2, "")
    progress.close()
    written = capsys.readouterr().err
    progress.close()
    assert capsys.readouterr().err == ""
    assert written.count("\n") == 1


def test_no_console(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    play(True, 2, 1, 2)
    file = io.StringIO()
    play({"file": file}, 2, 1, 2)
    assert "2/2" in file.getvalue()


def test_a_slow_stretch_after_a_fast_one_is_drawn():
    """tqdm skips thousands of items after a fast beginning, and has a thread to mend that."""
    file = io.StringIO()
    progress = make_progress({"file": file, "mininterval": 0.01}, 10**6, "")
    now = progress._bar.start_t
    progress._bar._time = lambda: now
    for done in range(1, 10_000):
        now += 1e-5
        progress.update(done)
    for done in range(10_000, 10_010):
        now += 1.0
        progress.update(done)
        assert f"{done}/1000000" in last_line(file.getvalue())
    progress.close()


def test_no_thread(capsys):
    before = threading.active_count()
    progress = make_progress(True, 2, "")
    progress.update(1)
    assert threading.active_count() == before
    progress.close()
    assert threading.active_count() == before


def test_nothing_is_left_behind():
    """No thread, no semaphore, no descriptor; not even the import of `multiprocessing`."""
    done = fresh("""
        import os, threading

        def descriptors():
            return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

        before = descriptors()
        progress = make_progress(True, 3, "")
        progress.update(3)
        progress.close()
        assert threading.enumerate() == [threading.main_thread()]
        assert descriptors() == before
        assert not [name for name in sys.modules if "multiprocessing" in name]
        if os.path.exists("/proc/self/maps"):
            with open("/proc/self/maps") as maps:
                assert "sem." not in maps.read()

        import tqdm
        assert not hasattr(tqdm.tqdm, "_lock")
        assert not hasattr(tqdm.std.TqdmDefaultWriteLock, "mp_lock")
        assert tqdm.tqdm.monitor is None
        assert tqdm.tqdm.monitor_interval == 10
        assert not tqdm.tqdm._instances
    """)
    assert "3/3" in done.stderr


def test_tqdm_is_imported_only_for_a_bar():
    fresh("""
        make_progress(False, 3, "").close()
        make_progress(print, 3, "").close()
        assert not [name for name in sys.modules if "tqdm" in name]
        make_progress(True, 3, "").close()
        assert "tqdm.std" in sys.modules
        assert "asyncio" not in sys.modules  # which `tqdm.auto` would bring along
    """)


def test_bars_of_the_program_work_on():
    """One around ours, with its thread and its lock; ours goes below it."""
    fresh("""
        import io, threading
        import tqdm

        file = io.StringIO()
        outer = tqdm.tqdm(total=2, file=file)
        lock, monitor = tqdm.tqdm._lock, tqdm.tqdm.monitor
        progress = make_progress({"file": file}, 3, "")
        assert progress._bar.pos == 1
        assert progress._bar._lock is lock
        progress.update(3)
        progress.close()
        assert tqdm.tqdm._lock is lock
        assert tqdm.tqdm.monitor is monitor and monitor.is_alive()
        assert threading.active_count() == 2
        outer.update(2)
        outer.close()
        monitor.exit()
        assert "3/3" in file.getvalue() and "2/2" in file.getvalue()
    """)


def test_bars_of_the_program_begun_later():
    fresh("""
        import io
        import tqdm

        file = io.StringIO()
        progress = make_progress({"file": file}, 3, "")
        other = tqdm.tqdm(total=2, file=file)
        assert other.pos == 1
        # They exclude each other: both hold tqdm's lock between threads.
        assert progress._bar._lock in tqdm.tqdm._lock.locks
        progress.update(3)
        other.update(2)
        progress.close()
        other.close()
        tqdm.tqdm.monitor.exit()
        assert "3/3" in file.getvalue() and "2/2" in file.getvalue()
    """)


def test_a_lock_of_the_program_is_used():
    fresh("""
        import threading
        import tqdm

        lock = threading.RLock()
        tqdm.tqdm.set_lock(lock)
        progress = make_progress(True, 3, "")
        assert progress._bar._lock is lock
        progress.close()
    """)


def test_many_bars_at_once():
    file = io.StringIO()
    errors = []

    def work():
        try:
            for _ in range(20):
                play({"file": file}, 10, *range(11))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


NOTEBOOK = """
    import types

    class Shell:
        pass

    class Widget:
        def __init__(self, **given):
            self.layout = types.SimpleNamespace()
            self.style = types.SimpleNamespace()
            self.value = self.bar_style = None
            self.__dict__.update(given)

        def close(self):
            pass

    shown = []
    for name, attributes in {
        "ipykernel": {},
        "ipykernel.zmqshell": {},
        "IPython": {"get_ipython": Shell},
        "IPython.display": {"display": shown.append},
    }.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(attributes)
"""


def test_in_a_notebook():
    done = fresh(
        NOTEBOOK
        + """
    import os
    for name in [name for name in os.environ if name == "QT_API" or name.startswith("SPYDER")]:
        del os.environ[name]
    widgets = sys.modules["ipywidgets"] = types.ModuleType("ipywidgets")
    for name in ("HTML", "FloatProgress", "HBox"):
        setattr(widgets, name, type(name, (Widget,), {}))

    progress = make_progress("work", 3, "")
    progress.update(3)
    progress.close()
    [container] = shown
    assert "work" in container.children[0].value
    assert container.children[1].value == 3
    assert container.children[1].bar_style == "success"
    import threading
    assert threading.enumerate() == [threading.main_thread()]
    assert not [name for name in sys.modules if "multiprocessing" in name]
    """
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_in_a_notebook_without_widgets():
    done = fresh(
        NOTEBOOK
        + """
    sys.modules["ipywidgets"] = None  # not installed
    progress = make_progress(True, 3, "")
    progress.update(3)
    progress.close()
    assert not shown
    """
    )
    assert last_line(done.stderr).startswith("100%")
    assert "IProgress" not in done.stderr
