"""Commands for those who work on the house itself: `python -m scripts.<name>`."""
