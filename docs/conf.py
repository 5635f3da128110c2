"""Build the documentation; every warning is an error (``make docs``)."""

import re
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

project = "django-recovery-app"
author = "the django-recovery-app authors"
project_copyright = f"2026, {author}"
version = release = re.search(  # type: ignore[union-attr]
    r'__version__ = "(.+)"', (TOP / "recovery_app" / "__init__.py").read_text()
)[1]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
exclude_patterns = ["_build", "benchmarks"]

html_theme = "furo"
html_title = f"{project} {release}"
html_show_sourcelink = False
