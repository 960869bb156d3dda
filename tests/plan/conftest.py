"""One more option for pytest: which worlds to play."""

from __future__ import annotations


def pytest_addoption(parser):
    parser.addoption(
        "--world", type=int, metavar="N", help="play this one world of tests/plan, turn by turn"
    )
