"""Configuration of the documentation."""

import http.client
import os
import sys
import urllib.request

os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "_extensions"))

import citations  # noqa: F401 (it registers its styles)

import skot
from skot.base import ComponentParamsMixin

project = "skot"
author = "The skot developers"
copyright = "2026, The skot developers"
version = release = skot.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
    "sphinx-mathjax-offline",  # pages fetch nothing from elsewhere
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "auto_examples/**/*.md5", "auto_examples/**/*.py"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
default_role = "autolink"

# Every name in a docstring has to be found, but those of other libraries, whose inventories may be
# out of reach, and of the pure functions in skot.numerics, which have no pages.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(matplotlib|numpy|scipy|sklearn|skot\.numerics|torch)\..*")]

html_theme = "pydata_sphinx_theme"
html_title = "skot"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["skot.css"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo.svg", "text": "skot"},
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
# Pages without siblings need no list of them.
html_sidebars = {
    name: [] for name in ("index", "choosing", "benchmarks", "glossary", "references", "whats_new")
}

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "author_year"  # of the bibliography; both are in citations.py
bibtex_reference_style = "author_year_round"  # of citations

autosummary_generate = True
autodoc_typehints = "none"  # the numpydoc sections say it
numpydoc_show_class_members = False  # the template of a class lists them

# Diagrams of estimators in the gallery link to the pages of this build.
ComponentParamsMixin._doc_link_template = "../../generated/{public_module}.{name}.html"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[/\\]plot_",
    "ignore_pattern": r"^(?!plot_)",  # of the name alone
    "subsection_order": [
        f"../examples/{section}"
        for section in (
            "basics",
            "adaptation",
            "model_selection",
            "neural",
            "images",
            "colors",
            "meta",
            "lagrangian",
        )
    ],
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skot",),
    "download_all_examples": False,
    "ignore_repr_types": "matplotlib",  # "<Legend object at ...>" tells nobody anything
    "image_srcset": ["2x"],  # for sharp screens
    "matplotlib_animations": True,
    "remove_config_comments": True,
    "show_memory": False,
}

INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
}


def reachable(address):
    """Tell whether an inventory can be read; Sphinx would warn, and a warning is an error."""
    try:
        with urllib.request.urlopen(address + "objects.inv", timeout=5) as answer:
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


intersphinx_mapping = {
    name: (address, None) for name, address in INVENTORIES.items() if reachable(address)
}
intersphinx_timeout = 10


def plain_text_for_inherited_labels(app, env, node, contnode):
    """Show labels of scikit-learn's documentation as text where they cannot be looked up.

    Methods inherited from scikit-learn bring docstrings that point into its own pages.
    """
    inherited = "sklearn" not in intersphinx_mapping and node.get("reftype") in ("ref", "term")
    ours = node.get("reftarget", "").startswith("skot")
    return contnode if inherited and not ours else None


def setup(app):
    app.connect("missing-reference", plain_text_for_inherited_labels, priority=900)
