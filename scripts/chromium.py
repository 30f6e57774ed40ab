"""Chromium without a window, for pages of our own; nothing leaves the machine."""

import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = [
    "--no-sandbox",  # which root has none of; the pages are our own
    "--disable-gpu",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",  # nothing leaves the machine
]
MISSING = (
    f"there is no Chromium: none of {', '.join(NAMES)} is a program here; install one "
    "(apt-get install chromium, or playwright install chromium)"
)


def found(playwright: Playwright) -> str | None:
    """The program, the system's or playwright's own; None where there is none."""
    own = playwright.chromium.executable_path
    return next(filter(None, map(shutil.which, (*NAMES, own))), None)


def started(playwright: Playwright, program: str) -> Browser:
    """The browser, from its program."""
    return playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
