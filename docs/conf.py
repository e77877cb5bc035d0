"""How Sphinx builds the site: ``make docs``.

The source directory is the whole project, so that a link from one file to another means the same on
the site as where the project is hosted. Notebooks are shown as they were saved, never run.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mlclassify import __version__  # noqa: E402

project = "mlclassify"
author = "the authors of mlclassify"
release = version = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "myst_nb"]

# --- what is read

FOLDERS = ("docs", "notebooks", "benchmarks")
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "notebooks/*.ipynb", "benchmarks/results/*.md"]
exclude_patterns = ["docs/_build", *(f.name for f in ROOT.iterdir()
                                     if f.is_dir() and f.name not in FOLDERS)]  # fmt: skip

# --- Markdown and notebooks

nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_output_stderr = "show"

# --- docstrings: NumPy's sections; a name between backticks is a link where there is something

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types, and shapes besides
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # types are words here, not names to be looked up
napoleon_custom_sections = [("Attributes", "params_style")]
add_module_names = False
python_use_unqualified_type_names = True

# --- the site

html_theme = "furo"
html_title = f"mlclassify {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_site"]  # index.html, which leads to root_doc
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}

# --- external links, where there is a network: make docs-links

linkcheck_anchors = False
linkcheck_timeout = 20

# --- formulas: MathML, which browsers draw themselves, so that pages need no script from elsewhere

html_math_renderer = "mathml"


def _math(display):
    def visit(translator, node):
        translator.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode

    return visit, None


def named_defaults(app, what, name, obj, options, signature, returns):
    """Defaults of a signature by their names, not as ``<class 'mlclassify.optim.Adam'>``."""
    named = re.sub(r"<(?:class|function) '?(?:\w+\.)*(\w+)[^>]*>", r"\1", signature or "")
    return named or signature, returns


def no_field_numbers(app, what, name, obj, skip, options):
    """Leave out fields of named tuples, which say only their number: the class describes them."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field") else None


def setup(app):
    app.connect("autodoc-process-signature", named_defaults)
    app.connect("autodoc-skip-member", no_field_numbers)
    app.add_html_math_renderer("mathml", _math("inline"), _math("block"))
