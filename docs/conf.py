"""How Sphinx builds the documentation: `sphinx-build -W -n docs docs/_build`."""

from importlib.metadata import version as installed_version
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

project = "twinrun"
author = "the twinrun authors"
project_copyright = author
release = version = installed_version("twinrun")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"twinrun {release}"
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "code"  # docstrings name code in single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

# Names in signatures that no page here describes: other projects', machinery, type variables.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|contextlib|contextvars|datetime|enum|os|pathlib|types|typing)\..*"),
    ("py:.*", r"(sqlalchemy|structlog|statsd|click)\..*|Engine|StatsClientBase"),
    ("py:.*", r"twinrun\._.*|twinrun\.definition\.Experimental|twinrun\.typing\.Ledger"),
    ("py:.*", r"twinrun\.store\.records\.(TallyIncrement|Mismatch)"),
    ("py:class", r"(.*\.)?[A-Z]|.*\.[PRT]"),
]


def _read_sections(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Read `Args:` and `Raises:`; Napoleon itself takes a colon in an attribute's text for more."""
    what = "method" if what in ("attribute", "data", "property") else what
    lines[:] = GoogleDocstring(lines, Config(), what=what, name=name, obj=obj).lines()


def setup(app: Sphinx) -> None:
    """Let docstrings be read as they are written here."""
    app.connect("autodoc-process-docstring", _read_sections)
