"""The programs in docs/examples: each runs as a user would run it and prints what it should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"

#: Seconds for one example; all but the demo take about one.
LIMIT = 30

#: What each prints, line by line. Lines whose order is chance are compared sorted.
OUTPUTS = {
    "squares": ["[1, 4, 9, 16, 25]"],
    "one_process": [
        "Hello Ada, this is greeter",
        "it has ended, and was another process: True",
    ],
    "four_processes": [
        "process-0 has number 10",
        "process-1 has number 20",
        "process-2 has number 30",
        "process-3 has number 40",
        "all four have ended",
    ],
    "sharing_queue": ["the consumer counted 15"],
    "sharing_pipe": ["the answer is 42"],
    "sharing_lock": ["counted to 4000"],
    "sharing_value": ["measured 36.6"],
    "sharing_event": ["bang", "lane 1 is off", "lane 2 is off", "lane 3 is off"],
    "lazy": ["the first primes above a million: [1000003, 1000033, 1000037, 1000039, 1000081]"],
    "asynchronous": ["0", "1", "4", "9", "16"],
    "failures": [
        "item 2: division by zero",
        "item 2: its worker was ended by SIGKILL",
        "item 3: longer than 0.5 s",
        "0.25",
        "0.5",
        "ZeroDivisionError('division by zero')",
        "1.0",
    ],
    "pool": [
        "two to the tenth: 1024",
        "the first answers: [1, 2, 3]",
        "processes, at most two: True",
        "nicer than this one: True",
    ],
}
CHANCE = {"four_processes": slice(0, 4)}  # side by side: who prints first is nobody's choice


def run(*arguments, source=None, cwd=EXAMPLES, limit=LIMIT):
    """Run Python with warnings as errors; what it printed, line by line."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=source,
        capture_output=True,
        text=True,
        timeout=limit,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def check(name, lines, errors):
    if name in CHANCE:
        lines[CHANCE[name]] = sorted(lines[CHANCE[name]])
    assert lines == OUTPUTS[name]
    assert errors == ""


@pytest.mark.parametrize("name", OUTPUTS)
class TestEachExample:
    def test_as_a_script(self, name):
        check(name, *run(f"{name}.py"))

    def test_from_standard_input(self, name):
        check(name, *run("-", source=(EXAMPLES / f"{name}.py").read_text("utf-8")))

    def test_has_no_main_guard(self, name):
        assert "__main__" not in (EXAMPLES / f"{name}.py").read_text("utf-8")


@pytest.mark.parametrize("name", ["squares", "four_processes", "sharing_queue"])
class TestOtherWaysToRunIt:
    def test_as_a_command(self, name):
        check(name, *run("-c", (EXAMPLES / f"{name}.py").read_text("utf-8")))

    def test_as_a_module(self, name):
        check(name, *run("-m", name))

    @pytest.mark.parametrize("method", ["spawn", "fork"])
    def test_where_multiprocessing_starts_processes_otherwise(self, name, method):
        program = (EXAMPLES / f"{name}.py").read_text("utf-8")
        # After the docstring, which is all that the examples begin with.
        head, _, rest = program.partition("\n\n")
        setting = f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\n"
        check(name, *run("-", source=f"{head}\n\n{setting}{rest}"))


def test_at_the_interactive_prompt():
    # `-i` reads statement by statement, as from a keyboard; prompts go to standard error.
    source = (
        "from parmap import parallel_map\ndef f(x):\n    return x + 1\n\nparallel_map(f, [1, 2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=source,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    assert done.stdout.splitlines() == ["[2, 3]"]


def test_processes_and_threads_prints_the_table():
    lines, errors = run("processes_and_threads.py")
    assert errors == ""
    assert re.fullmatch(r"Python 3\.\d+\.\S+, \d+ CPUs, 24 items, 4 workers", lines[0])
    assert lines[2].split() == ["serial", "thread", "process"]
    for line, kind in zip(lines[3:], ["CPU-bound", "I/O-bound"], strict=True):
        assert re.fullmatch(rf"{kind}( +\d+\.\d\d s){{3}}", line)
    waiting = [float(number) for number in re.findall(r"\d+\.\d\d", lines[4])]
    assert waiting[1] < waiting[0]  # to wait side by side needs no second processor
    assert waiting[2] < waiting[0]


def test_the_demo_does_the_main_job():
    lines, errors = run("demo.py", limit=55)
    text = "\n".join(lines)
    assert "Both give the same results." in lines
    for what in ("parallel_map", "map", "speed-up"):
        assert re.search(rf"^{what} +\d+\.\d\d", text, re.MULTILINE)
    for total in ("functions", "lines in them", "total complexity"):
        (number,) = re.findall(rf"^{total} +([\d,]+)$", text, re.MULTILINE)
        assert int(number.replace(",", "")) > 1000
    table = lines[lines.index("complexity  lines  function") + 1 :][:10]
    complexities = [int(line.split()[0]) for line in table]
    assert complexities == sorted(complexities, reverse=True)
    assert complexities[-1] > 20
    assert "    ZeroDivisionError: division by zero  (item 2)" in lines
    assert re.search(r"WorkerDied: .* SIGKILL while running item 2$", text, re.MULTILINE)
    assert lines[-3:] == [
        "    0",
        "    ItemTimeout: item 1 ran longer than 0.5 s and was stopped",
        "    2",
    ]
    assert "parallel_map: 100%" in errors  # the bar


@pytest.mark.skipif(sys.platform != "linux", reason="peers.py looks into /proc")
def test_peers_prints_our_row_of_the_table():
    lines, errors = run("peers.py", "parmap")
    assert errors == ""
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    died = "WorkerDied, item 7"
    # The times are the machine's.
    assert [cell.split(", after")[0] for cell in cells[1:]] == [
        died,
        died,
        "SerializationError, item 7",
        died,
    ]


def test_every_example_is_shown_in_a_page():
    pages = "".join(page.read_text("utf-8") for page in DOCS.glob("*.md"))
    shown = set(re.findall(r"\{literalinclude\} examples/(\w+)\.py", pages))
    assert shown == {example.stem for example in EXAMPLES.glob("*.py")}


def test_every_example_is_tested():
    others = {"processes_and_threads", "demo", "peers"}
    assert {example.stem for example in EXAMPLES.glob("*.py")} == OUTPUTS.keys() | others
