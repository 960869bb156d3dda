"""Each test that the page on reliability names is there."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_the_tests_that_are_named_exist():
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    names = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(files) > 10
    assert len(names) > 10
    assert not [file for file in files if not (ROOT / file).is_file()]
    defined = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*.py"))
    assert not [name for name in names if f"def {name}(" not in defined]
