"""The documentation of speed: measured, drawn and written into the pages by one command.

    python -m scripts.speed

The numbers lie as JSON in `docs/speed`, pictures in `docs/pictures`; tables and single numbers
stand in the pages between marks, and nobody types them.
"""

from scripts.speed.command import main as main
