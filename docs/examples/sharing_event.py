"""An event: three runners wait for a starter, all in processes of their own."""

from functools import partial
from multiprocessing import Event, Queue

from parmap import spawn_each


def run(lane, start, ready):
    if lane == 0:  # the starter
        for _ in range(3):
            ready.get()
        start.set()
        return "bang"
    ready.put(lane)
    start.wait()
    return f"lane {lane} is off"


start, ready = Event(), Queue()
for line in spawn_each(partial(run, start=start, ready=ready), range(4)):
    print(line)
