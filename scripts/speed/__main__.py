"""`python -m scripts.speed`."""

from scripts.speed.command import main

main()
