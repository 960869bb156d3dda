"""System calls that fail: at their nth call, in the caller, its clean server or its workers.

What is to fail stands in the environment, so that every process of a program knows: FAULTY_WHO is
"server" or "worker" (the caller calls `arm` itself), FAULTY_CALL its name, FAULTY_ERROR the error's,
FAULTY_NTH which call it is to be, and FAULTY_ONCE a file that says that it has been, or "" for ever after.
FAULTY_WITHOUT names what the system is not to have at all.
"""

import _socket
import errno
import gc
import mmap
import os
import select
import socket  # noqa: F401 -- it derives from what is replaced here, so it must come before
import sys
import time

#: The documented errors of each call, the likeliest first.
ERRORS = {
    "os.pipe": ("EMFILE", "ENFILE"),
    "_socket.socketpair": ("EMFILE", "ENFILE"),
    "os.memfd_create": ("EMFILE", "ENOMEM", "ENFILE", "ENOSYS", "EPERM"),
    "os.posix_fallocate": ("ENOSPC", "EFBIG", "EINTR", "ENODEV", "EIO"),
    "os.ftruncate": ("EFBIG", "EINTR", "EIO"),
    "os.pwrite": ("ENOSPC", "EFBIG", "EDQUOT", "EIO"),
    "os.preadv": ("EIO",),
    "mmap.mmap": ("ENOMEM", "EAGAIN", "ENFILE"),
    "os.posix_spawn": ("EAGAIN", "ENOMEM", "ENOENT"),
    "os.fork": ("EAGAIN", "ENOMEM"),
    "os.waitpid": ("ECHILD",),
    "os.pidfd_open": ("EMFILE", "ENODEV", "ENOMEM", "ENFILE", "ENOSYS"),
    "sendmsg": ("ENOBUFS", "EPIPE", "ECONNRESET", "ENOMEM", "ETOOMANYREFS", "EAGAIN"),
    "recvmsg_into": ("ENOMEM", "ENOBUFS", "ECONNRESET", "EAGAIN"),
    "poll": ("ENOMEM",),
    "os.read": ("EAGAIN", "EIO"),
    "os.write": ("EAGAIN", "EPIPE"),
    "os.kill": ("ESRCH", "EPERM"),
    "os.killpg": ("ESRCH", "EPERM"),
    "os.setpgid": ("EACCES", "ESRCH", "EPERM"),
    "os.open": ("EMFILE", "ENOENT", "ENFILE", "ENOMEM"),
    "os.dup2": ("EBUSY", "EINTR"),
    "fcntl.fcntl": ("EINVAL", "EPERM"),
    "os.close": ("EIO", "EINTR"),
}

_role = "caller"
_armed: dict = {}


def arm(call: str, error: str, nth: int, once: str | None = None) -> None:
    """Let the nth call from now on fail; `once`: a file that is made then, or "" to fail ever after."""
    _armed.clear()
    _armed.update(call=call, error=getattr(errno, error), left=nth, once=once, fired=False)


def disarm() -> bool:
    """Let all succeed; whether any has failed."""
    fired = _armed.get("fired", False)
    _armed.clear()
    return fired


def _pass(call: str) -> None:
    """Fail, if it is time to."""
    if _armed.get("call") != call:
        return
    _armed["left"] -= 1
    if _armed["left"] > 0 or (_armed["left"] < 0 and _armed["once"] != ""):
        return
    if _armed["once"]:
        try:
            _close(_open(_armed["once"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    _armed["fired"] = True
    raise OSError(_armed["error"], os.strerror(_armed["error"]))


_open, _close = os.open, os.close


class Socket(_socket.socket):
    def sendmsg(self, *arguments):
        _pass("sendmsg")
        return super().sendmsg(*arguments)

    def recvmsg_into(self, *arguments):
        _pass("recvmsg_into")
        return super().recvmsg_into(*arguments)


class Poller:
    def __init__(self, poller):
        self._poller = poller
        self.register, self.unregister = poller.register, poller.unregister

    def poll(self, *arguments):
        _pass("poll")
        return self._poller.poll(*arguments)


def _replaced(module, name: str):
    whole, real = f"{module.__name__}.{name}", getattr(module, name)

    def call(*arguments, **keywords):
        if name == "close":
            try:
                return real(*arguments)  # whatever `close` says, it is closed
            finally:
                _pass(whole)
        _pass(whole)
        return real(*arguments, **keywords)

    return call


def install() -> None:
    """Replace everything that can fail."""
    global _role
    pair, poll = _socket.socketpair, select.poll
    program = " ".join(sys.orig_argv)
    for module, role in (("_server", "server"), ("_worker", "worker")):
        if f"parmap.{module} as" in program:
            _role = role
    _remove(os.environ.get("FAULTY_WITHOUT", "").split())
    import fcntl

    modules = {"os": os, "fcntl": fcntl}
    for call in ERRORS:
        module, _, name = call.partition(".")
        if module in modules and hasattr(modules[module], name):
            setattr(modules[module], name, _replaced(modules[module], name))
    real_map = mmap.mmap

    class Mapping(real_map):
        def __new__(cls, *arguments, **keywords):
            _pass("mmap.mmap")
            return real_map.__new__(cls, *arguments, **keywords)

    def socketpair(*arguments):
        _pass("_socket.socketpair")
        return tuple(Socket(fileno=one.detach()) for one in pair(*arguments))

    mmap.mmap = Mapping
    _socket.socketpair = socketpair
    if hasattr(_socket.socket, "sendmsg"):
        _socket.socket = Socket
    select.poll = lambda: Poller(poll())
    os.register_at_fork(after_in_child=_be_worker)
    _arm_by_environment()


def _be_worker() -> None:
    global _role
    _role = "worker"
    disarm()
    _arm_by_environment()


def _arm_by_environment() -> None:
    if os.environ.get("FAULTY_WHO") == _role:
        call, error, nth, once = (
            os.environ[f"FAULTY_{name}"] for name in ("CALL", "ERROR", "NTH", "ONCE")
        )
        arm(call, error, int(nth), once)


# --- what a system may not have -----------------------------------------------------------------------


def _remove(names) -> None:
    import fcntl

    modules = {"os": os, "fcntl": fcntl, "_socket": _socket}
    for name in names:
        module, _, attribute = name.partition(".")
        if name == "proc":
            _without_proc()
        elif name == "_socket.sendmsg":
            _socket.socket = type("Plain", (_Plain,), {})
        elif hasattr(modules[module], attribute):
            delattr(modules[module], attribute)


class _Hidden:
    def __get__(self, *_anything):
        raise AttributeError


class _Plain(_socket.socket):
    """A socket that can neither pass descriptors nor gather."""

    sendmsg = recvmsg_into = recvmsg = _Hidden()


def _without_proc() -> None:
    real = os.open

    def open_elsewhere(path, *arguments, **keywords):
        if isinstance(path, str) and path.startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return real(path, *arguments, **keywords)

    os.open = open_elsewhere


# --- what the caller does -----------------------------------------------------------------------------


def double(x):
    return x + x


def work(method: str) -> None:
    """Some of everything; asserts that it is right."""
    import parmap

    with parmap.Pool(2, start_method=method) as pool:
        found = parmap.parallel_map(double, range(20), executor=pool, chunksize=3)
        assert found == [2 * x for x in range(20)], found
        items = [bytes([x]) * 2_000_000 for x in range(3)]
        found = parmap.parallel_map(double, map(bytearray, items), executor=pool)
        assert found == [item + item for item in items], "large ones"
        assert pool.submit(double, 3).result() == 6
    assert parmap.run_in_process(double, 3, start_method=method) == 6


def calls(methods) -> None:
    for method in methods:
        work(method)


def here(call: str, errors, most: int, method: str) -> None:
    """Let a call of this process fail, at its first, second, … time, and see what comes of it."""
    import parmap

    work(method)
    parmap.shutdown()
    before = _count()
    for error in errors:
        for nth in range(1, most + 1):
            arm(call, error, nth)
            said = "right"
            try:
                work(method)
            except (OSError, parmap.ParmapError, MemoryError) as failure:
                said = f"{type(failure).__name__}: {failure}"
            fired = disarm()
            print(call, error, nth, said if fired else "not called", flush=True)
            if not fired:
                break
            work(method)
            parmap.shutdown()
            _await(before)


def _count():
    gc.collect()
    return len(_descriptors()), len(os.listdir("/proc/self/task")), len(_children())


def _descriptors() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue  # that of the listing itself
    return found


def _children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


def _await(before) -> None:
    until = time.monotonic() + 10
    while (now := _count()) != before:
        if time.monotonic() > until:
            raise AssertionError(f"{before} before, {now} now: {_descriptors()} {_children()}")
        time.sleep(0.01)


def elsewhere(method: str) -> None:
    """Calls whose server or workers have the fault, and what comes of it."""
    import parmap

    try:
        work(method)
    except (OSError, parmap.ParmapError, MemoryError) as failure:
        print(f"{type(failure).__name__}: {failure}")
    else:
        print("right")
    if os.environ["FAULTY_ONCE"]:
        work(method)
