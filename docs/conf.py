"""Configuration of the documentation."""

import os
import urllib.request

os.environ.setdefault("MPLBACKEND", "Agg")

import skot

project = "skot"
author = "The skot developers"
copyright = "2026, The skot developers"
version = release = skot.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "auto_examples/**/*.md5", "auto_examples/**/*.py"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
default_role = "autolink"
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "skot"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_sidebars = {"whats_new": [], "references": [], "benchmarks": []}

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the numpydoc sections say it
numpydoc_show_class_members = False  # the template of a class lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[/\\]plot_",
    "ignore_pattern": r"^(?!plot_)",  # of the name alone
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skot",),
    "download_all_examples": False,
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
    except OSError:
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
