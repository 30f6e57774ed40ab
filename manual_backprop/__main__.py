"""`python -m manual_backprop` is `manual-backprop`."""

from manual_backprop.cli import main

main(prog_name="manual-backprop")
