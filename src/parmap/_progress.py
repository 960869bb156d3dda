"""A bar, a callable or nothing.

The bars are tqdm's, which is imported only when one is drawn. By default, tqdm starts a thread that
watches over its bars, and makes a lock that processes can share, a POSIX semaphore; we must leave
neither behind. So each of our bars has a class of its own, derived from tqdm's, that needs neither.
The classes and locks of a program that uses tqdm itself stay as they are, and its bars share the
screen with ours.
"""

from __future__ import annotations

import sys
from _collections_abc import Mapping  # `collections.abc`, without importing `collections`

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Progress:
    """What is told how many items are finished. This one keeps it to itself."""

    __slots__ = ()

    def update(self, done: int) -> None:
        """Take in that `done` items are finished, counted from the beginning of the call."""

    def close(self) -> None:
        """Show the last state and let go of the screen. May be called again."""


class _Report(Progress):
    """Calls a function of the caller's."""

    __slots__ = ("_done", "_function", "_total")

    def __init__(self, function: Callable[[int, int | None], object], total: int | None) -> None:
        self._function = function
        self._total = total
        self._done = 0

    def update(self, done: int) -> None:
        if done != self._done:
            self._done = done
            self._function(done, self._total)


class _Bar(Progress):
    """Draws a bar."""

    __slots__ = ("_bar", "_done")

    def __init__(self, keywords: dict[str, Any]) -> None:
        self._bar = _new_bar(keywords)
        self._done = 0

    def update(self, done: int) -> None:
        if done != self._done:
            step = done - self._done
            self._done = done
            self._bar.update(step)

    def close(self) -> None:
        self._bar.close()


def make_progress(option: Any, total: int | None, name: str) -> Progress:
    """What the (checked) option `progress` asks for.

    Args:
        option: False, True, a description, a mapping of tqdm's keyword arguments, or a function.
        total: How many items there are, or None where the input has no length.
        name: The description of a bar where the option has none; "" for no description.

    Raises:
        TypeError: tqdm does not know one of the keyword arguments.
    """
    if option is False:
        return Progress()
    keywords: dict[str, Any] = {"total": total, "desc": name or None}
    if isinstance(option, Mapping):
        given: Any = option  # pyright: ignore[reportUnknownVariableType]
        keywords.update(given)
    elif isinstance(option, str):
        keywords["desc"] = option
    elif option is not True:
        return _Report(option, total)
    if sys.stderr is None and keywords.get("file") is None:
        return Progress()  # a program without a console, such as one run by pythonw
    return _Bar(keywords)


def _new_bar(keywords: dict[str, Any]) -> Any:
    import tqdm.std

    std: Any = tqdm.std  # its stubs do not tell about the lock
    shown = _shown_class()
    # The set of bars on the screen is inherited: ours goes below one that the program has open.
    private: dict[str, Any] = {"monitor_interval": 0}  # no thread
    if not hasattr(shown, "_lock"):
        # tqdm would now make its default lock: a semaphore and this lock between threads. The
        # latter alone is enough for us, and still excludes the bars that the program draws later.
        # (A lock that the program has made by now is inherited.)
        private["_lock"] = std.TqdmDefaultWriteLock.th_lock
    bar_class: Any = type("tqdm", (shown,), private)
    try:
        bar = bar_class(**keywords)
    except (TypeError, std.TqdmKeyError, std.TqdmDeprecationWarning) as error:
        msg = f"progress must hold keyword arguments that tqdm takes: {error}"
        raise TypeError(msg) from error
    if getattr(bar, "dynamic_miniters", False):
        # From the speed so far, tqdm guesses how many items pass before the screen need change,
        # and its thread corrects the guess when items become slow. Without the thread, every update
        # must look at the clock.
        bar.miniters = 0
        bar.dynamic_miniters = False
    return bar


def _shown_class() -> Any:
    """The class of bars that can be shown here."""
    if "ipykernel.zmqshell" in sys.modules:
        import warnings

        with warnings.catch_warnings():
            # It warns that the choice is an experiment, and that ipywidgets are missing.
            warnings.simplefilter("ignore")
            from tqdm.autonotebook import tqdm
    else:
        from tqdm.std import tqdm
    return tqdm
