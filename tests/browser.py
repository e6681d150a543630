"""What tests in a browser share: Chromium, the server, and a page that has settled.

The fixtures `browser`, `book` and `address` (conftest.py) are made of these.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from course.figures import Drawing
from course.notebooks import ROOT

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
PAGES = [TOC["root"]] + [
    chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]
]

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def chromium() -> str:
    for name in CHROMIUM:
        if found := shutil.which(name):
            return found
    for path in APPLICATIONS:
        if Path(path).is_file():
            return path
    pytest.fail(
        "the browser tests need Chromium: `apt-get install chromium` on Debian and "
        "Ubuntu, `brew install --cask chromium` on macOS",
        pytrace=False,
    )


@contextmanager
def launched() -> Iterator[Browser]:
    """A Chromium of its own, which asks nothing of the network by itself."""
    options = "--no-sandbox --disable-gpu --disable-background-networking "
    options += "--disable-component-update --disable-sync --no-first-run"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium(), args=options.split()
        )
        yield started
        started.close()


@contextmanager
def opened(
    browser: Browser, url: str, width: int = 1440, theme: str = "light"
) -> Iterator[tuple[Page, list[str]]]:
    """A page that has settled, and what went wrong while it loaded.

    Requests to other machines are refused and listed, so that none ever leaves.
    """
    faults: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme
    )

    def guard(route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            faults.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", guard)
    page = context.new_page()
    page.on(
        "console",
        lambda message: (
            faults.append(f"console: {message.text}")
            if message.type == "error"
            else None
        ),
    )
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "response",
        lambda answer: (
            faults.append(f"{answer.status}: {answer.url}")
            if answer.status >= 400
            else None
        ),
    )
    try:
        page.goto(url, wait_until="load")
        page.wait_for_load_state("networkidle")
        yield page, faults
    finally:
        context.close()


@contextmanager
def alive(browser: Browser, drawing: Drawing, **options) -> Iterator[Locator]:
    """A live figure alone on a page as wide as a phone; it must raise no error."""
    options = {"viewport": {"width": 390, "height": 900}} | options
    context = browser.new_context(**options)
    tab = context.new_page()
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    page = "<!doctype html><html data-theme=light><meta charset=utf-8><body>"
    try:
        tab.set_content(page + drawing.html)
        yield tab.locator(".fs-live")
        assert not faults
    finally:
        context.close()


LOADED = """() => performance.getEntries()
    .filter(e => "decodedBodySize" in e)
    .map(e => [e.name, e.decodedBodySize])"""


def loaded(tab: Page) -> dict[str, int]:
    """What the page has asked for so far, itself included: bytes, uncompressed."""
    sizes: dict[str, int] = {}
    for url, size in tab.evaluate(LOADED):
        sizes[url] = max(size, sizes.get(url, 0))
    return sizes


# Marks the first text of each look.
LOOKS = """() => {
  const grounds = new Map([[null, ""]])
  const ground = e => {
    if (!grounds.has(e)) {
      const style = getComputedStyle(e)
      const own = `${style.backgroundColor} ${style.backgroundImage} ${style.opacity}`
      const seen_through = own == "rgba(0, 0, 0, 0) none 1"
      grounds.set(e, ground(e.parentElement) + (seen_through ? "" : "/" + own))
    }
    return grounds.get(e)
  }
  const seen = new Set()
  for (const e of document.querySelectorAll("body *")) {
    const said = [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())
    if (!said || !e.checkVisibility({visibilityProperty: true})) continue
    const style = getComputedStyle(e)
    const large = parseFloat(style.fontSize) > 18 && style.fontSize  // needs less
    const look = [style.color, large, style.fontWeight, ground(e)].join()
    e.toggleAttribute("data-look", !seen.has(look))
    seen.add(look)
  }
}"""


COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules of axe-core that light and dark can break."""


def axe_faults(tab: Page, rules: str = "all") -> list[str]:
    """What axe-core finds on the page as it is shown: severity, rule and place.

    Colours are slow to compare, and thousands of words in code look alike: of all text
    of one colour and size on one ground, the first is tested. `rules="colours"` tests
    nothing else: enough for a page that has only turned dark.
    """
    brief = {"reporter": "no-passes"}  # what passes would be megabytes
    tab.evaluate(LOOKS)
    answers = [Axe().run(tab, "[data-look]", brief | {"runOnly": COLOURS})]
    if rules == "all":
        others = {name: {"enabled": False} for name in COLOURS}
        answers.append(Axe().run(tab, None, brief | {"rules": others}))
    return [
        f"{found['impact']}: {found['id']}: {node['html'][:120]}"
        for answer in answers
        for found in answer.response["violations"]
        for node in found["nodes"]
    ]


FRAMES = """() => new Promise(done =>
  requestAnimationFrame(() => requestAnimationFrame(done)))"""


def axe_faults_everywhere(tab: Page) -> list[str]:
    """The faults of a page, all that is folded opened: wide, narrow, light, dark."""
    tab.emulate_media(reduced_motion="reduce")  # no colour is on its way to another
    tab.locator("details").evaluate_all("all => all.forEach(e => e.open = true)")
    found = []
    for width in (1440, 390):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.evaluate(FRAMES)  # until the page has heard of its new width
        for theme, rules in ("light", "all"), ("dark", "colours"):
            tab.evaluate("name => document.documentElement.dataset.theme = name", theme)
            found += [f"{fault} ({width} {theme})" for fault in axe_faults(tab, rules)]
    return found


@contextmanager
def serving(folder: Path, port: int) -> Iterator[tuple[subprocess.Popen, str]]:
    """The server as a reader starts it, and the address that it printed."""
    command = [sys.executable, "-m", "course.serve_book"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--folder", str(folder)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        address = None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                address = found[0]
                break
        assert address, process.stderr.read()
        yield process, address
    finally:
        process.kill()
        process.communicate()
