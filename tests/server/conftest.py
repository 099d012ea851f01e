"""Servers in threads, and a real browser to look at their pages with."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an application on a free port, while the block lasts."""
    import uvicorn

    from tgim.server.local import listen, url_of

    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield url_of(listening)
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def serving() -> Iterator[Callable[[Any], str]]:
    """A function that serves an application until the test ends, and returns its address."""
    running = []

    def start(app: Any) -> str:
        context = served(app)
        running.append(context)
        return context.__enter__()

    yield start
    for context in reversed(running):
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium, $CHROMIUM or the system's; the test is skipped where there is none, or no Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing (extra dev)")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no chromium is installed, and CHROMIUM names none")  # a package of Debian, not of PyPI
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def browser_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page; at the end it has asked no other host, and its scripts had no error.

    Its arguments are the address, and those of Playwright's `new_context`; by default a window of 1280 x 800.
    `page.faults` is a list of what was wrong: take out of it what a test expects.
    """
    opened = []

    def open_page(url: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.faults = []
        own = urlsplit(url).netloc

        def asked(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob") and parts.netloc != own:
                page.faults.append(f"asked {request.url}")

        page.on("request", asked)
        page.on("pageerror", lambda error: page.faults.append(f"script: {error}"))
        page.on("console", lambda told: told.type == "error" and page.faults.append(f"console: {told.text}"))
        opened.append((context, page))
        page.goto(url)
        return page

    yield open_page
    faults = [fault for _, page in opened for fault in page.faults]
    for context, _ in opened:
        context.close()
    assert not faults, faults
