"""Sphinx configuration."""

project = "hidlr"
author = "The hidlr authors"
copyright = "The hidlr authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.doctest", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "hidlr"
myst_enable_extensions = ["dollarmath", "colon_fence"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Docstring examples run with the tests (pytest --doctest-modules); here only the pages' own.
doctest_test_doctest_blocks = ""
