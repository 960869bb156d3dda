"""Imports go from a higher rank to a lower one only, and never to the package's own `__init__`."""

from __future__ import annotations

import ast
import pathlib

import pytest

import parmap

PACKAGE = pathlib.Path(parmap.__file__).parent

#: Rank by rank, from what knows nothing of the rest to what users see.
RANKS = (
    "_handlers _lock",
    "_async _cgroups _environ _errors _future _imports _kept _lifeline _memory _modules _nesting _owned _placement _plan _plan._chunks _plan._spans _plan._vocabulary _premises _progress _signatures _wire",
    "_arrays _output _traceback",
    "_fixed",
    "_plain",
    "_globals",
    "_byvalue _named",
    "_classes",
    "_cell _cloud _cpus _early _filters _launch _oom _options _plan._crew _serialization _stdlib _strays",
    "_ambience _segments _culprit _plan._call _tracker",
    "_area _choice _codec",
    "_caller _channel _errands _failure _identity _instances",
    "_intake",
    "_drive _results _runner _streams",
    "_worker",
    "_executors _process _server",
    "_serial",
    "_link _registry",
    "_stock",
    "_loop _standby",
    "_direct _small",
    "_submit",
    "_pool _run",
    "_calls",
    "_lazy _spawn",
    "_map",
    "__init__",
)
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names.split()}
PURE = {"__future__", "bisect", "heapq", "collections", "collections.abc", "enum", "typing", "math"}


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def run(tree):
    """All nodes but those that only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            yield node
            yield from run(node)


def imports(path):
    """What a module imports when it runs, wherever in it: ("own", module) or ("foreign", module)."""
    package = (
        name_of(path).split(".")[:-1] if path.name != "__init__.py" else name_of(path).split(".")
    )
    package = [] if package == ["__init__"] else package
    for node in run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (("foreign", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield "foreign", node.module
                continue
            base = package[: len(package) - node.level + 1]
            if node.module:
                yield "own", ".".join([*base, node.module])
            else:
                yield from (("own", ".".join([*base, alias.name])) for alias in node.names)


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_a_rank():
    assert {name_of(path) for path in MODULES} == RANK.keys()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path):
    for kind, imported in imports(path):
        if kind == "own":
            assert RANK[imported] < RANK[name_of(path)], f"{name_of(path)} imports {imported}"
        else:
            assert imported.partition(".")[0] != "parmap"
            assert not name_of(path).startswith("_plan") or imported in PURE
