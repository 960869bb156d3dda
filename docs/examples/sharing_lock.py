"""A lock and a value: four processes count together, and no step is lost."""

from functools import partial
from multiprocessing import Lock, Value

from parmap import spawn_each


def count(steps, lock, value):
    for _ in range(steps):
        with lock:
            value.value += 1


lock, value = Lock(), Value("i", 0, lock=False)
spawn_each(partial(count, lock=lock, value=value), [1000, 1000, 1000, 1000])
print("counted to", value.value)
