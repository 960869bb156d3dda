"""A pool: workers of one's own that prepare themselves once and then run many items."""

import functools
import os

from parmap import Pool, parallel_map


@functools.cache
def dictionary():
    """Something costly to load: each worker does it once, when it first needs it."""
    return {"one": 1, "two": 2, "three": 3}


def look_up(word):
    return dictionary()[word], os.getpid(), os.nice(0)


# The initializer runs in each worker as it starts: here it gives way to other programs.
with Pool(2, initializer=os.nice, initargs=(5,)) as pool:
    answers = parallel_map(look_up, ["one", "two", "three"] * 100, executor=pool)
    future = pool.submit(pow, 2, 10)  # a pool is an executor of concurrent.futures, too
    print("two to the tenth:", future.result())

print("the first answers:", [number for number, _, _ in answers[:3]])
print("processes, at most two:", len({pid for _, pid, _ in answers}) <= 2)
print("nicer than this one:", all(nice > os.nice(0) for _, _, nice in answers))
