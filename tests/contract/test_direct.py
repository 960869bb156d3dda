"""Tasks that their submitter sends himself, and whose result he takes in: see `_direct`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import threading
import time

import pytest

from parmap import ParmapError, Pool, WorkerDied, _direct, _future, _submit, parallel_map
from parmap._direct import Direct
from parmap._link import Link

from ..held import HeldUp
from .test_reviewed import wait_for
from .test_small import act

pytestmark = pytest.mark.skipif(
    _future.new is not _future.Future, reason="the standard library's own futures are in use"
)

#: Modules in whose lines a thread is held up.
OURS = {
    f"parmap.{name}" for name in ("_direct", "_submit", "_future", "_link", "_channel", "_stock")
}


@pytest.fixture
def stages(monkeypatch):
    """What becomes of the tasks: "sent", "taken" or "adopted"."""
    seen: list[str] = []
    send, give_back, adopted = Direct.send, Direct._give_back, Direct.adopted

    def note(original, word):
        def spy(direct, *args):
            answer = original(direct, *args)
            if answer or word == "taken":
                seen.append(word)
            return answer

        return spy

    monkeypatch.setattr(Direct, "send", note(send, "sent"))
    monkeypatch.setattr(Direct, "_give_back", note(give_back, "taken"))
    monkeypatch.setattr(Direct, "adopted", note(adopted, "adopted"))
    return seen


@pytest.fixture(params=[1, 2])
def pool(request):
    with Pool(request.param) as pool:
        settle(pool)
        yield pool


def settle(pool):
    """Let it have a warm worker, and a thread that sleeps."""
    pool.submit(abs, 0).result(timeout=60)
    until = time.monotonic() + 60
    while pool._submissions._asleep is None or pool._submissions.direct is not None:
        assert time.monotonic() < until
        time.sleep(0.001)


def is_settled(pool):
    """Whether nothing is left of it all."""
    settle(pool)
    stock = pool._parmap_stock
    return not stock._leased and len(stock._idle) <= pool.size


def test_no_thread_has_a_part_in_it(pool, stages):
    for number in range(300):
        assert pool.submit(abs, -number).result() == number
        if stages[-2:] == ["sent", "taken"]:
            break
        settle(pool)
    assert stages[-2:] == ["sent", "taken"]


LOOKS = {
    "result": lambda future: future.result(),
    "result in time": lambda future: future.result(timeout=60),
    "exception": lambda future: (future.exception(), future.result())[1],
    "wait": lambda future: concurrent.futures.wait([future], 60).done.pop().result(),
    "as_completed": lambda future: next(concurrent.futures.as_completed([future], 60)).result(),
    "asyncio": lambda future: asyncio.run(in_a_loop(future)),
    "done": lambda future: (wait_until(future.done), future.result(timeout=0))[1],
    "repr": lambda future: (wait_until(lambda: "finished" in repr(future)), future.result(0))[1],
    "call back": lambda future: called_back(future).result(),
    "cancel": lambda future: future.cancel() or future.result(),
    "another thread": lambda future: in_threads([future.result, future.result]),
}


async def in_a_loop(future):
    return await asyncio.wrap_future(future)


def wait_until(there):
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until
        time.sleep(0.0005)


def called_back(future):
    heard = []
    future.add_done_callback(heard.append)
    wait_until(lambda: heard)
    assert heard == [future]
    return future


def in_threads(acts):
    """What they all answer."""
    with concurrent.futures.ThreadPoolExecutor(len(acts)) as threads:
        answers = [it.result(60) for it in [threads.submit(act) for act in acts]]
    assert len({*answers}) == 1
    return answers[0]


@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_sees_the_result(pool, look):
    for number in range(30):
        future = pool.submit(abs, -number)
        if number % 3:
            time.sleep(number % 3 * 0.002)  # it may be done by then, or the thread have it
        answer = LOOKS[look](future)
        assert answer == number or (look == "cancel" and future.cancelled())
    assert is_settled(pool)


@pytest.mark.parametrize("seconds", [0, -1, 0.0001, 0.02])
def test_a_timeout_is_one(pool, seconds, tmp_path):
    future = pool.submit(wait_for, tmp_path / "file")
    with pytest.raises(TimeoutError):
        future.result(timeout=seconds)
    (tmp_path / "file").touch()
    assert future.result(timeout=60) == "there"


@pytest.mark.parametrize("how", ["raise", "kill", "lambda", "large", "print", "slow"])
def test_what_is_no_small_result_comes_by_the_thread(pool, how, capfd, stages):
    pool.submit(act, 1).result(timeout=60)  # the worker imports this module
    settle(pool)
    stages.clear()
    future = pool.submit(act, how)
    time.sleep(0.0005)
    try:
        answer = future.result(timeout=60)
    except Exception as error:
        answer = type(error).__name__
    assert (answer[:9] if isinstance(answer, bytes) else answer) == {
        "raise": "KeyError",
        "kill": "WorkerDied",
        "lambda": "SerializationError",
        "large": b"xxxxxxxxx",
    }.get(how, how)
    assert "taken" not in stages
    assert ("from the worker" in capfd.readouterr().out) == (how == "print")
    assert is_settled(pool)


class Once:
    """A result that can be made once."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        self.path.touch()
        return make_once, (self.path,)


def make_once(path):
    time.sleep(0.003)
    path.unlink()
    return path


def test_what_can_be_made_once_is_made_once(pool, tmp_path):
    for number in range(20):
        future = pool.submit(Once, tmp_path / str(number))
        assert in_threads([future.result, future.result]) == tmp_path / str(number)


def test_what_nobody_waits_for_is_done(pool, tmp_path, capfd):
    pool.submit(touch_and_tell, tmp_path / "file")
    wait_until((tmp_path / "file").exists)
    said = ""
    until = time.monotonic() + 60
    while "touched" not in said:
        assert time.monotonic() < until
        time.sleep(0.001)
        said += capfd.readouterr().out
    assert is_settled(pool)


def touch_and_tell(path):
    path.touch()
    print("touched")


def test_a_pool_of_one_has_one_worker():
    """A call in the same thread waits until the task is done."""
    with Pool(1) as pool:
        settle(pool)
        for _ in range(5):
            future = pool.submit(os.getpid)
            assert {future.result(), *parallel_map(pid_of, range(3), executor=pool)} == {
                pool.submit(os.getpid).result()
            }
            slow = pool.submit(clock_after, 0.02)
            begun = parallel_map(clock_after, [0, 0], executor=pool)
            assert min(begun) >= slow.result(timeout=60)
            assert len(pool._parmap_stock._numbers()) == 1


def clock_after(seconds):
    time.sleep(seconds)
    return time.monotonic()


def pid_of(_):
    return os.getpid()


def test_the_death_of_its_worker(pool, tmp_path):
    future = pool.submit(tell_and_wait, tmp_path / "pid")
    wait_until((tmp_path / "pid").exists)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(WorkerDied):
        future.result(timeout=60)
    assert is_settled(pool)


def tell_and_wait(path):
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    time.sleep(1_000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_take_what_is_its_parents(pool):
    future = pool.submit(time.sleep, 0.05)
    child = os.fork()
    if not child:
        code = 1
        try:
            future.done()
            future.result(timeout=0.2)
        except TimeoutError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert future.result(timeout=60) is None
    assert is_settled(pool)


@pytest.mark.parametrize("end", ["shutdown", "terminate", "drop"])
def test_the_end_of_the_pool(end):
    pool = Pool(1)
    settle(pool)
    future = pool.submit(act, "slow")
    if end == "shutdown":
        pool.shutdown()
        assert future.done()
    elif end == "terminate":
        pool.terminate_workers()
        with pytest.raises(ParmapError):
            future.result(timeout=60)
        return
    del pool
    assert future.result(timeout=60) == "slow"


# --- others, while a thread is held up at each line -----------------------------------------------


#: Lines from one at which a thread is held up to the next.
STEP = 1 if os.environ.get("PARMAP_FULL") == "1" else 11


def at_each_line(first, second, patience=0.02):
    """Both of them, for one line after the other."""
    at = 1
    while True:
        both = HeldUp(first, second, at, modules=OURS, patience=patience, raised=repr, seconds=60)
        if not both.where:
            assert at > 30, "nothing was held up"
            return
        yield both
        at += STEP


SECONDS = {
    "another task": lambda pool: pool.submit(abs, -7).result(timeout=60),
    "many tasks": lambda pool: [*pool.map(abs, [-7] * 20)][-1],
    "a map": lambda pool: parallel_map(abs, [-7], executor=pool)[0],
}


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("size", [1, 2])
def test_others_while_one_is_sent_or_taken(second, size):
    with Pool(size) as pool:
        settle(pool)
        for both in at_each_line(
            lambda: pool.submit(abs, -3).result(timeout=60), lambda: SECONDS[second](pool)
        ):
            assert both.results == {"first": 3, "second": 7}, both.where
            assert is_settled(pool), both.where


def test_who_holds_one_up_for_long_holds_up_nobody_else(monkeypatch):
    """As a signal handler does that submits a task, and waits for it, while one is sent or taken."""
    monkeypatch.setattr(_submit, "_PATIENCE", 0.01)
    with Pool(1) as pool:
        settle(pool)
        submissions, stock = pool._submissions, pool._parmap_stock
        locked = []

        def others():
            locked.append(submissions._lock.locked() or stock.busy)
            return [pool.submit(abs, -7).result(timeout=60) for _ in range(3)][-1]

        for both in at_each_line(
            lambda: pool.submit(abs, -3).result(timeout=60), others, patience=2
        ):
            assert both.results == {"first": 3, "second": 7}, both.where
            assert both.meanwhile or locked[-1], both.where
            assert is_settled(pool), both.where


def test_the_end_while_one_is_sent_or_taken(monkeypatch):
    """Its future is answered somehow, or it was refused."""
    monkeypatch.setattr(_submit, "_PATIENCE", 0.01)
    pools = [Pool(1)]
    settle(pools[-1])

    def submit():
        return pools[-1].submit(abs, -3).result(timeout=60)

    for both in at_each_line(submit, lambda: pools[-1].shutdown(), patience=0.2):  # noqa: PLW0108 -- another one each time
        assert both.results["second"] is None, both.where
        said = both.results["first"]
        refused = ("shutdown", "shut down", "ParmapError")
        assert said == 3 or any(word in said for word in refused), (both.where, said)
        pools.append(Pool(1))
        settle(pools[-1])
    pools[-1].shutdown()


def held_up(monkeypatch, owner, name, until, raises=None):
    """Let a method of ours wait before it begins, once; it may then raise something."""
    original = getattr(owner, name)
    reached = threading.Event()

    def wait_first(*args):
        monkeypatch.setattr(owner, name, original)
        reached.set()
        assert until.wait(60)
        if raises is not None:
            raise raises
        return original(*args)

    monkeypatch.setattr(owner, name, wait_first)
    return reached


def test_what_was_held_up_for_long_is_done_at_the_end(monkeypatch):
    """And not killed, though the thread has long gone on to others."""
    monkeypatch.setattr(_submit, "_PATIENCE", 0.01)
    go_on = threading.Event()
    with Pool(1) as pool, concurrent.futures.ThreadPoolExecutor() as threads:
        settle(pool)
        reached = held_up(monkeypatch, Link, "send", go_on)
        held = threads.submit(pool.submit, clock_after, 0.3)
        assert reached.wait(60)
        assert pool.submit(abs, -7).result(timeout=60) == 7
        go_on.set()
        future = held.result(60)
        busy = [pool.submit(clock_after, 0.01) for _ in range(3)]
        pool.shutdown()
        assert future.done()
        assert isinstance(future.result(), float)
        assert all(it.result() for it in busy)


@pytest.fixture
def patient(monkeypatch):
    """Let who waits take the answer in, however busy this machine is."""
    monkeypatch.setattr(_direct, "SPIN", 30.0)
    monkeypatch.setattr(_submit, "_LOOK", 30.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("ended", [True, False])
def test_who_is_interrupted_after_long_has_taken_it_all_the_same(monkeypatch, ended):
    monkeypatch.setattr(_submit, "_PATIENCE", 0.01)
    go_on = threading.Event()
    pool = Pool(1)
    settle(pool)
    stock, thread = pool._parmap_stock, pool._submissions._thread
    with concurrent.futures.ThreadPoolExecutor() as threads:
        reached = held_up(monkeypatch, Direct, "_give_back", go_on, KeyboardInterrupt)
        future = pool.submit(abs, -3)
        held = threads.submit(future.result)
        assert reached.wait(60)
        if ended:
            pool.shutdown()
        else:
            assert pool.submit(abs, -7).result(timeout=60) == 7
        go_on.set()
        assert isinstance(held.exception(60), KeyboardInterrupt)
    assert future.result(timeout=60) == 3
    if not ended:
        assert is_settled(pool)
        assert pool._submissions._thread is thread
    pool.shutdown()
    wait_until(lambda: not stock._leased)


@pytest.mark.usefixtures("patient")
def test_who_is_interrupted_twice_leaves_it_to_the_thread(monkeypatch, pool):
    monkeypatch.setattr(_submit, "_PATIENCE", 0.05)
    at_once = threading.Event()
    at_once.set()
    with monkeypatch.context() as patch:
        held_up(patch, Direct, "_give_back", at_once, KeyboardInterrupt)
        held_up(patch, Direct, "spoil", at_once, KeyboardInterrupt)
        future = pool.submit(abs, -3)
        with pytest.raises(KeyboardInterrupt):
            future.result()
    assert future.result(timeout=60) == 3
    assert is_settled(pool)


@pytest.mark.usefixtures("patient")
def test_who_begins_to_wait_while_it_is_taken_is_told(monkeypatch, pool):
    """By the thread, which Ctrl-C cannot hit."""
    go_on = threading.Event()
    heard = []
    with concurrent.futures.ThreadPoolExecutor() as threads:
        reached = held_up(monkeypatch, _submit.Submitted, "succeed_unseen", go_on)
        future = pool.submit(abs, -3)
        held = threads.submit(future.result)
        assert reached.wait(60)
        future.add_done_callback(lambda _: heard.append(threading.current_thread()))
        go_on.set()
        assert held.result(60) == 3
    wait_until(lambda: heard)
    assert heard == [pool._submissions._thread]
    assert is_settled(pool)


@pytest.mark.usefixtures("patient")
def test_a_handler_may_wait_for_what_is_being_taken(monkeypatch, pool):
    go_on = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as threads:
        reached = held_up(monkeypatch, Direct, "_give_back", go_on)
        future = pool.submit(abs, -3)
        held = threads.submit(future.result)
        assert reached.wait(60)
        assert future.result(timeout=60) == 3
        go_on.set()
        assert held.result(60) == 3
    assert is_settled(pool)


def test_the_end_of_the_pool_in_the_middle_of_a_submission_refuses_it(monkeypatch):
    """As a signal handler does that ends it."""
    monkeypatch.setattr(_submit, "_PATIENCE", 0.01)
    go_on = threading.Event()
    pool = Pool(1)
    settle(pool)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        reached = held_up(monkeypatch, Link, "send", go_on)
        held = threads.submit(pool.submit, clock_after, 0.3)
        assert reached.wait(60)
        pool.shutdown()
        go_on.set()
        with pytest.raises(RuntimeError, match="shutdown"):
            held.result(60)
    wait_until(lambda: not pool._parmap_stock._leased)


def test_who_is_through_just_as_he_is_missed_is_not_mended(monkeypatch):
    """The thread looks at several things, one after the other."""
    monkeypatch.setattr(_submit, "_PATIENCE", 0.01)
    go_on = threading.Event()
    with Pool(1) as pool, concurrent.futures.ThreadPoolExecutor() as threads:
        settle(pool)
        pid = pool.submit(os.getpid).result()
        settle(pool)
        reached = held_up(monkeypatch, Link, "flush", go_on)
        held = threads.submit(pool.submit, os.getpid)
        assert reached.wait(60)

        def through_by_now(direct):
            go_on.set()
            held.result(60)
            return False

        monkeypatch.setattr(Direct, "_in_hand", property(through_by_now))
        other = pool.submit(abs, -7)
        assert held.result(60).result(timeout=60) == pid
        assert other.result(timeout=60) == 7
        assert pool._submissions._thread.is_alive()
