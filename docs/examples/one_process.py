"""Create one process and wait for it."""

import os
from multiprocessing import current_process

from parmap import run_in_process


def greet(name):
    print(f"Hello {name}, this is {current_process().name}")
    return os.getpid()


pid = run_in_process(greet, "Ada", name="greeter")
print("it has ended, and was another process:", pid != os.getpid())
