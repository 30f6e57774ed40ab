"""Pages in a real browser: Chromium, on this machine alone.

`page` fails its test where the page complains or asks for anything from elsewhere, and
`violations` is what axe-core finds of the accessibility guidelines.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from filelock import FileLock
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    sync_playwright,
)

from scripts import chromium

ROOT = Path(__file__).parents[2]
GUIDELINES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Chromium without a window; skips where there is none, unless --browser names one."""
    with sync_playwright() as playwright:
        program = _program(request.config.getoption("--browser"), playwright)
        started = chromium.started(playwright, program)
        yield started
        started.close()


def _program(asked: str | None, playwright: Playwright) -> str:
    if asked is not None:
        if found := shutil.which(asked):
            return found
        pytest.fail(f"--browser: there is no program {asked}", pytrace=False)
    return chromium.found(playwright) or pytest.skip(
        f"{chromium.MISSING}, or name yours by --browser"
    )


class Watched:
    """What the pages of a context do that they should not.

    Attributes:
        said: errors and warnings on the console, exceptions, requests that failed.
        left: addresses that are not of this machine.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.said: list[str] = []
        self.left: list[str] = []
        context.on("console", self.message)
        context.on("weberror", lambda error: self.said.append(f"exception: {error.error}"))
        context.on("request", self.request)
        context.on("requestfailed", self.failed)

    def message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in (
            "localhost",
            "127.0.0.1",
            "::1",
        ):
            self.left.append(request.url)

    def failed(self, request: Request) -> None:
        self.said.append(f"failed: {request.url} ({request.failure})")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of 1200 x 900 in light mode, with a profile of its own.

    At the end it has said nothing on its console and asked for nothing from elsewhere.
    """
    context = browser.new_context(
        viewport={"width": 1200, "height": 900}, color_scheme="light", locale="en-US"
    )
    context.set_default_timeout(10_000)
    watched = Watched(context)
    yield context.new_page()
    context.close()
    assert watched.said == [], "the page complains"
    assert watched.left == [], "the page asks for something from elsewhere"


@pytest.fixture
def violations(page: Page) -> Callable[..., list[str]]:
    """What axe-core finds: a sentence for each element, of all guidelines or of the rules named.

    `violations("color-contrast")` asks for contrast alone.
    """
    axe = Axe()

    def found(*rules: str) -> list[str]:
        only = (
            {"type": "rule", "values": list(rules)}
            if rules
            else {"type": "tag", "values": GUIDELINES}
        )
        options = {"runOnly": only, "resultTypes": ["violations"], "preload": False}  # no requests
        answer = axe.run(page, options=options)
        return [
            f"{rule['id']} at {' '.join(map(str, node['target']))}: {node['failureSummary']}"
            for rule in answer.response["violations"]
            for node in rule["nodes"]
        ]

    return found


def address(file: Path) -> str:
    """Of a file, as a browser opens it from disk."""
    return file.resolve().as_uri()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The site's folder, made by the command that CONTRIBUTING names; once for all processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with FileLock(shared / "site.lock"):
        if not (shared / "site.made").exists():
            command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "docs", "site"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            (shared / "site.made").touch()
    return ROOT / "site"


@pytest.fixture
def visit(site: Path, page: Page) -> Callable[[str], Page]:
    """Opens a page of the site and waits until its formulas are set."""

    def visited(name: str) -> Page:
        page.goto(address(site / f"{name}.html"))
        page.evaluate("() => window.MathJax?.startup?.promise")
        return page

    return visited
