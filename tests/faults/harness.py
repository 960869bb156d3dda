"""Runs a small program in a process of its own, with a deadline, and counts what is left of it.

Whatever the program starts inherits a mark in its environment, so that it can be found in `/proc` when
the program itself is gone, whoever its parent is by then. Output goes to files, not pipes: a process
that is left behind could hold a pipe open, and its reader would wait for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from textwrap import dedent

from ..conftest import holders_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

#: Seconds after which everything that a program has started must be gone: the two that are promised, and as much again for a machine that has other things to do.
GONE = 4.0

#: Seconds that a program gets unless a test says otherwise.
DEADLINE = 40.0

#: Between two looks.
NAP = 0.02

#: Whether all combinations are asked for, or those that say most.
FULL = os.environ.get("PARMAP_FULL") == "1"

_MARK = "PARMAP_TEST_MARK"
_ROOT = Path(__file__).parents[2]
_OWN_PATH = [*filter(None, [os.environ.get("PYTHONPATH")])]  # where the package under test may be


class Hangs(AssertionError):
    """A program has not ended, or not said something, by its deadline."""


class Left:
    """What a program has left behind."""

    def __init__(self, processes: dict[int, str], files: set[str], shared: set[str]) -> None:
        self.processes = processes  # pid to command line
        self.files = files  # in its temporary directory
        self.shared = shared  # in /dev/shm

    def __bool__(self) -> bool:
        return bool(self.processes or self.files or self.shared)

    def __repr__(self) -> str:
        return f"Left({self.processes}, {self.files}, {self.shared})"


class Program:
    """A running program."""

    def __init__(
        self,
        source: str,
        *,
        arguments: Sequence[str] = (),
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        before: Callable[[], None] | None = None,
        **popen: Any,
    ) -> None:
        self.mark = uuid.uuid4().hex
        self._own = tempfile.TemporaryDirectory(prefix="faults-")
        here = Path(self._own.name)
        self.directory = here / "work"  # its current directory, where it is itself
        self.temporary = here / "tmp"
        self.directory.mkdir()
        self.temporary.mkdir()
        here.chmod(0o755)
        for place in (self.directory, self.temporary):
            place.chmod(0o777)
        file = self.directory / "program.py"
        file.write_text(dedent(source))
        self._out, self._err = here / "out", here / "err"
        self._shared = _shared()
        self.began = time.monotonic()
        try:
            self.process = self._start(file, arguments, flags, environment, before, popen)
        except BaseException:
            self._own.cleanup()
            raise
        self.pid = self.process.pid

    def _start(
        self,
        file: Path,
        arguments: Sequence[str],
        flags: Sequence[str],
        environment: Mapping[str, str] | None,
        before: Callable[[], None] | None,
        popen: dict[str, Any],
    ) -> subprocess.Popen[bytes]:
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            popen = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **popen}
            return subprocess.Popen(
                [sys.executable, *flags, str(file), *arguments],
                cwd=self.directory,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith("PARMAP_")},
                    "PYTHONPATH": os.pathsep.join([str(_ROOT), *_OWN_PATH]),
                    "TMPDIR": str(self.temporary),
                    _MARK: self.mark,
                    **(environment or {}),
                },
                start_new_session=True,
                preexec_fn=before,
                **popen,
            )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()  # does nothing if it has ended
        self.process.wait()
        for pid in self.processes():  # they carry its mark: nobody else's do
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._own.cleanup()

    @property
    def out(self) -> str:
        """What it has written to its standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has written to its standard error so far."""
        return self._err.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code; negative: a signal."""
        return self.process.returncode

    def says(self, text: str, seconds: float = DEADLINE) -> None:
        """Wait until it has written this text to its standard output."""
        until = time.monotonic() + seconds
        while text not in self.out:
            if self.process.poll() is not None and text not in self.out:
                raise AssertionError(f"it ended, {self.code}, without {text!r}\n{self._said()}")
            if time.monotonic() > until:
                raise Hangs(f"nothing of {text!r} in {seconds:g} s\n{self._said()}")
            time.sleep(NAP)

    def signal(self, number: int, *, group: bool = False) -> None:
        """Signal it alone, or its whole process group, as a terminal does at Ctrl-C."""
        if self.process.poll() is None:  # else the number may be somebody else's by now
            (os.killpg if group else os.kill)(self.pid, number)

    def ends(self, seconds: float = DEADLINE) -> float:
        """Wait for its end, and answer how long that took."""
        began = time.monotonic()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Hangs(f"it did not end in {seconds:g} s\n{self._said()}") from None
        return time.monotonic() - began

    def processes(self) -> dict[int, str]:
        """The living processes that carry its mark but for itself, with their command lines."""
        found = {}
        mark = f"{_MARK}={self.mark}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self.pid:
                continue
            try:
                if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    line = Path(f"/proc/{entry}/cmdline").read_bytes()
                    found[int(entry)] = line.replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it has just ended, or is somebody else's
        return found

    def left(self, seconds: float = GONE) -> Left:
        """What is left of it; processes get so many seconds to end, after it has."""
        until = time.monotonic() + seconds
        # Others on this machine use /dev/shm, too, for moments: only what stays counts.
        shared = _shared() - self._shared
        while ((processes := self.processes()) or shared) and time.monotonic() < until:
            time.sleep(NAP)
            shared &= _shared()
        shared = {name for name in shared if not self._is_foreign(name)}
        return Left(processes, {entry.name for entry in self.temporary.iterdir()}, shared)

    def _is_foreign(self, name: str) -> bool:
        """Whether living processes map that file of /dev/shm, none of which this program has started."""
        holders = holders_of(name)
        return bool(holders) and not holders & {self.pid, *self.processes()}

    def _said(self) -> str:
        return f"--- stdout\n{self.out}\n--- stderr\n{self.err}\n--- left\n{self.processes()}"

    def ended_well(self, *, code: int = 0, quiet: bool = True, seconds: float = DEADLINE) -> str:
        """Wait for its end; assert that it is that code and nothing is left; answer what it printed."""
        self.ends(seconds)
        left = self.left()
        assert self.code == code, f"exit code {self.code}\n{self._said()}"
        assert not left, f"{left}\n{self._said()}"
        if quiet:
            assert not self.err, self._said()
        return self.out


def run(
    source: str, *, code: int = 0, quiet: bool = True, seconds: float = DEADLINE, **how: Any
) -> str:
    """Run a program to its end and answer what it printed; assert its exit code, silence on stderr
    unless not `quiet`, and that nothing of it is left."""
    with Program(source, **how) as program:
        return program.ended_well(code=code, quiet=quiet, seconds=seconds)


def _shared() -> set[str]:
    try:
        return set(os.listdir("/dev/shm"))
    except OSError:
        return set()


def most_telling(values: Sequence[Any], count: int) -> Sequence[Any]:
    """All of them where everything is to be tried, else the first few."""
    return values if FULL else values[:count]


def until(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Wait until something is so; whether it came to be."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(NAP)
    return True
