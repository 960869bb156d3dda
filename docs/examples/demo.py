"""How complicated is Python's own library? Ask all cores, then ask one, and compare.

Run it with `make demo`, or by itself: `python docs/examples/demo.py`. It reads the source files of the
standard library of the Python it runs with, and takes well under a minute.
"""

import ast
import os
import signal
import sys
import sysconfig
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from parmap import ItemTimeout, WorkerDied, available_cpus, parallel_map

# 1. The input: every source file of the standard library, its tests aside. -----------------------

library = Path(sysconfig.get_path("stdlib"))
others = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
files = sorted(path for path in library.rglob("*.py") if not others & set(path.parts))

# 2. The work: an ordinary function of one file. --------------------------------------------------


class Function(NamedTuple):
    """What we want to know about a function."""

    complexity: int
    lines: int
    name: str
    place: str


BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.comprehension,
)
BRANCHES += (ast.Assert, ast.match_case)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def complexity(function):
    """The cyclomatic complexity: one, and one more for each place where the way may part."""
    count = 1
    for node in ast.walk(function):
        if isinstance(node, BRANCHES):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
    return count


def analyse(path):
    """All functions of one file; none where it cannot be parsed (the library has some on purpose)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files with odd escapes
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    place = str(path.relative_to(library))
    return [
        Function(
            complexity(node), node.end_lineno - node.lineno + 1, node.name, f"{place}:{node.lineno}"
        )
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
    ]


# 3. On all cores, with a bar; then the built-in map. ---------------------------------------------

print(f"Analysing {len(files):,} files on {available_cpus()} CPUs, then on one.")

start = time.perf_counter()
parallel = parallel_map(analyse, files, progress="parallel_map")
parallel_seconds = time.perf_counter() - start

start = time.perf_counter()
serial = list(map(analyse, files))
serial_seconds = time.perf_counter() - start

# 4. The same results, sooner. --------------------------------------------------------------------

if parallel != serial:
    sys.exit("The results differ. This must not be.")

print("Both give the same results.\n")
print(f"parallel_map  {parallel_seconds:6.2f} s")
print(f"map           {serial_seconds:6.2f} s")
print(f"speed-up      {serial_seconds / parallel_seconds:6.2f}\n")

functions = [function for found in parallel for function in found]
print(f"functions          {len(functions):9,}")
print(f"lines in them      {sum(function.lines for function in functions):9,}")
print(f"total complexity   {sum(function.complexity for function in functions):9,}\n")

print("The ten most complex functions:\n")
print("complexity  lines  function")
for function in sorted(functions, key=lambda one: (-one.complexity, one.place))[:10]:
    print(f"{function.complexity:10}  {function.lines:5}  {function.name}  ({function.place})")

# 5. What it looks like when things go wrong. -----------------------------------------------------

print("\nAn item that fails raises here what it raised there:")


def invert(x):
    return 1 / x


try:
    parallel_map(invert, [4, 2, 0, 1])
except ZeroDivisionError as error:
    print(f"    {type(error).__name__}: {error}  (item {error.parmap_index})")

print("\nA worker that is killed is an error too, and names the item; nothing waits for it:")


def run_out_of_luck(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory runs out
    return x


try:
    parallel_map(run_out_of_luck, range(5))
except WorkerDied as error:
    print(f"    WorkerDied: {error}")

print("\nAn item that takes too long is stopped, and the others keep their results:")


def dawdle(x):
    if x == 1:
        time.sleep(3600)
    return x


for result in parallel_map(dawdle, range(3), item_timeout=0.5, on_error="return"):
    print(f"    {f'ItemTimeout: {result}' if isinstance(result, ItemTimeout) else result}")
