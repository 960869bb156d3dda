"""What Ctrl-C raises as a loop begins its next turn must meet the handlers around the loop."""

from __future__ import annotations

import dis
import pathlib
import types

import pytest

import parmap

PACKAGE = pathlib.Path(parmap.__file__).parent

#: What runs where Ctrl-C is ignored; and a loop whose handlers are for other exceptions.
EXEMPT = {"_server.py", "_worker.py", "_stock.py:_is_live"}


def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def unguarded(code):
    """The lines of backward jumps that no handler guards, into a region that a `try` or `with` guards.

    CPython 3.12 and 3.13 compile loops so whose body ends with a condition, and at a backward jump they look
    for signals.
    """
    table = dis._parse_exception_table(code)
    instructions = {one.offset: one for one in dis.get_instructions(code)}

    def guarded(offset, depth=0):
        handlers = [entry.target for entry in table if entry.start <= offset < entry.end]
        return any(
            instructions[handler].opname == "PUSH_EXC_INFO"
            or (depth < 5 and guarded(handler, depth + 1))  # what tidies up after a comprehension
            for handler in handlers
        )

    return [
        one.positions.lineno
        for one in instructions.values()
        if one.opname == "JUMP_BACKWARD"
        and one.positions.lineno  # else it waits for an awaitable
        and guarded(one.argval)
        and not guarded(one.offset)
    ]


@pytest.mark.skipif(not hasattr(dis, "_parse_exception_table"), reason="cannot read the tables")
@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_no_loop_escapes_its_handlers(path):
    found = {}
    for code in codes(compile(path.read_text("utf-8"), str(path), "exec")):
        if not {path.name, f"{path.name}:{code.co_qualname}"} & EXEMPT:
            found[code.co_qualname] = unguarded(code)
    assert not any(found.values()), {name: lines for name, lines in found.items() if lines}
