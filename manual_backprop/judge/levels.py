"""How near an error came to its allowance, in steps; imports no torch."""

LEVELS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 1000.0)  # error over allowance, at most
WRONG = LEVELS.index(1.0) + 1  # the first level that is
NOT_FINITE = len(LEVELS) + 1
SAID = (
    "exact",
    *(f"up to {100 * most:g} %" for most in LEVELS[1:WRONG]),
    *(f"wrong, up to {most:g} times" for most in LEVELS[WRONG:]),
    f"wrong, more than {LEVELS[-1]:g} times",
    "nan or infinite",
)
