"""Four processes side by side, each with a number of its own."""

from multiprocessing import current_process

from parmap import spawn_each


def show(number):
    print(f"{current_process().name} has number {number}")


spawn_each(show, [10, 20, 30, 40], name="process")
print("all four have ended")
