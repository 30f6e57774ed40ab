"""From one machine to many: a data-parallel step measured here, and computed for other networks.

    python -m scripts.ranks
    python -m scripts.ranks --plan --gigabits 10 --microseconds 20 --rows 200

The numbers lie as JSON in `docs/ranks`; the page, its picture and what `--plan` prints come from
them.
"""

from scripts.ranks.command import main as main
