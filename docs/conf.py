"""Sphinx's settings."""

from __future__ import annotations

import builtins
import collections.abc
import concurrent.futures
import os
import re
import sys
import typing
from importlib.metadata import version as installed_version

project = "parmap"
author = "The parmap authors"
project_copyright = "2026, The parmap authors"
release = version = installed_version("parmap")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "examples"]

html_theme = "furo"
html_title = f"parmap {release}"

# Docstrings write names in single backticks, as the Markdown pages do.
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Copy what the reader types: not the prompts, not the output.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

nitpicky = True

if os.environ.get("PARMAP_DOCS_ONLINE"):
    # Links into Python's own documentation; needs the network at build time.
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {"python": ("https://docs.python.org/3", None)}

# Without those links every reference to something of Python's own is unresolved. What is ours must
# resolve in any case, so only Python's names are let off: dotted ones by their first part, bare
# ones (as annotations have them) by the places they come from, and type variables by their looks.
_modules = "|".join(sorted(map(re.escape, sys.stdlib_module_names)))
_bare = {
    *dir(builtins),
    *typing.__all__,
    *collections.abc.__all__,
    *dir(concurrent.futures),
    "ModuleType",
    "TracebackType",
}
nitpick_ignore_regex = [
    (r"py:.*", rf"({_modules}|typing_extensions)(\..+)?"),
    (r"py:.*", "|".join(sorted(map(re.escape, _bare)))),
    (r"py:.*", r"(parmap\.(_\w+\.)*)?(_?[A-Z][0-9]?|\*?Ts|P\.args|P\.kwargs)"),
    # What the annotations call our own; the descriptions say what they are.
    (r"py:.*", r"(ProgressOption|ExecutorOption|StartMethod|ParallelIterator)"),
]
