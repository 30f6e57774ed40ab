"""`python -m scripts.speed`."""

import signal

from scripts.speed.command import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped, as by Ctrl-C
    main()
