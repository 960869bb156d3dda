"""A value that one process sets and its parent reads."""

from multiprocessing import Value

from parmap import run_in_process


def measure(value):
    value.value = 36.6


value = Value("d", 0.0)
run_in_process(measure, value)
print("measured", value.value)
