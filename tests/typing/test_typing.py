"""Both type checkers accept the package and `api.py`, and report every line of `wrong.py`."""

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

import parmap
from parmap import _signatures as signatures

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SOURCE = os.path.dirname(parmap.__file__)

#: Seconds for a checker: the first run, without a cache, on a busy machine.
PATIENCE = 280


def parsed(*path: str) -> ast.Module:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return ast.parse(file.read())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command", [["mypy"], ["basedpyright", "--pythonpath", sys.executable]], ids=lambda c: c[0]
)
def test_checker(command: list[str]) -> None:
    # An unused mark in `wrong.py` is an error for both, so that nothing wrong passes unseen.
    if find_spec(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_checkers_see_every_public_name() -> None:
    # `parmap` imports them lazily; what the checkers are told instead must be the same.
    seen: dict[str, str | None] = {}
    for block in parsed(SOURCE, "__init__.py").body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                assert isinstance(line, ast.ImportFrom)
                seen |= {name.asname or name.name: line.module for name in line.names}
    assert sorted(seen) == sorted(parmap.__all__)
    homes = {name: home for home, names in parmap._HOMES.items() for name in names}
    assert seen == homes


def test_every_public_name_is_used_in_the_right_uses() -> None:
    imported: set[str] = set()
    for line in parsed(HERE, "api.py").body:
        if isinstance(line, ast.ImportFrom) and line.module == "parmap":
            imported |= {name.name for name in line.names}
    assert imported == set(parmap.__all__)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (parmap.parallel_map, "Map"),
        (parmap.parallel_starmap, "Map"),
        (parmap.parallel_imap, "Imap"),
        (parmap.spawn_each, "Spawn"),
    ],
)
def test_typed_dicts_are_the_options_that_help_shows(
    function: Callable[..., Any], options: str
) -> None:
    shown = {
        name: parameter.annotation
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert shown.pop("on_error") == "Literal['raise', 'return']"
    modes = {"Raising": "Literal['raise']", "Returning": "Required[Literal['return']]"}
    for mode, value in modes.items():
        typed = annotations(getattr(signatures, options + mode))
        assert typed.pop("on_error") == value
        assert typed == shown


def annotations(typed_dict: Any) -> dict[str, str]:
    """As they are written."""
    found = typed_dict.__annotations__.items()
    return {name: getattr(value, "__forward_arg__", value) for name, value in found}


def imported_by(statements: str) -> str:
    """Which of our typing's modules a fresh interpreter has after these statements."""
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(SOURCE)!r})\n"
        f"import parmap\n{statements}\n"
        "print(sorted({'typing', 'parmap._signatures'} & sys.modules.keys()))\n"
    )
    # -S: what a machine's site-packages import at each start is not ours.
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout.strip() or done.stderr


def test_typing_is_not_imported_with_the_functions() -> None:
    names = [name for name in parmap.__all__ if name != "Pool"]  # whose base imports what it likes
    assert imported_by("; ".join(f"parmap.{name}" for name in names)) == "[]"


def test_typing_is_not_imported_by_a_call() -> None:
    assert imported_by("parmap.parallel_map(abs, [-1, 2], max_workers=1)") == "[]"
