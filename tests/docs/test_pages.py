"""What pages say of the sources, and of each other."""

import re
from pathlib import Path

import parmap

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_reference_shows_everything_public():
    text = (DOCS / "reference.md").read_text("utf-8")
    shown = re.findall(r"^\.\. auto(?:function|class|exception):: (\w+)$", text, re.MULTILINE)
    assert sorted(shown) == sorted(parmap.__all__)


def test_the_design_names_every_module():
    text = (DOCS / "design.md").read_text("utf-8")
    named = set(re.findall(r"`(_\w+)`", text))
    sources = ROOT / "src" / "parmap"
    modules = {path.stem for path in sources.glob("_*") if path.suffix == ".py" or path.is_dir()}
    modules |= {path.stem for path in (sources / "_plan").glob("_*.py")}
    modules -= {"__init__", "__pycache__"}
    assert modules <= named


def test_the_readme_links_to_pages_that_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_why_page_says_of_parmap_what_the_program_prints():
    # test_examples runs the program; here: the row in the page is that one.
    text = (DOCS / "why.md").read_text("utf-8")
    row = re.search(r"^\| parmap [\d.]+ \| (.*) \|$", text, re.MULTILINE)
    assert row is not None
    died = "WorkerDied, item 7"
    assert row[1].split(" | ") == [died, died, "SerializationError, item 7", died]
