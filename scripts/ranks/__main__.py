"""`python -m scripts.ranks`."""

import signal

from scripts.ranks.command import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped, as by Ctrl-C
    main()
