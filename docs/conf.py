"""How Sphinx makes the site: `uv run --group docs sphinx-build -W -n docs site`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import manual_backprop

project = "manual_backprop"
author = "The manual_backprop developers"
project_copyright = author
version = release = manual_backprop.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "scripts.site.extension",
]
nitpicky = True
nitpick_ignore_regex = [("py:class", r"(torch|collections)\..*")]  # no inventory is fetched

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3

mathjax_path = "mathjax/tex-svg.js"  # which scripts/site/extension.py lays there
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "local"}}

smartquotes_action = "qe"  # -- begins an option, and is no dash
default_role = "code"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "../build/site/examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
}

html_theme = "furo"
html_title = "manual_backprop"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [(name, {"defer": "defer"}) for name in ("live.js", "live_view.js", "scrolled.js")]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # a page on disk may not fetch another
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7db7f5", "color-brand-content": "#7db7f5"},
    "navigation_with_keys": True,
}
