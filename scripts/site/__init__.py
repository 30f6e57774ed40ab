"""The site of docs/: operator pages from the operator files, formulas, worked examples.

uv run --group docs sphinx-build -W -n docs site
"""
