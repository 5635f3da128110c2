"""Build the documentation; every warning is an error (``make docs``)."""

import re
import sys
from pathlib import Path

import django
from django.conf import settings

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))
settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "recovery_app"])
django.setup()

project = "django-recovery-app"
author = "the django-recovery-app authors"
project_copyright = f"2026, {author}"
version = release = re.search(  # type: ignore[union-attr]
    r'__version__ = "(.+)"', (TOP / "recovery_app" / "__init__.py").read_text()
)[1]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
# Types of Django, Channels and the standard library have no pages here.
nitpick_ignore_regex = [("py:.*", ".*")]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
exclude_patterns = ["_build", "benchmarks"]

html_theme = "furo"
html_title = f"{project} {release}"
html_show_sourcelink = False
