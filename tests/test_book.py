"""The built book: complete, without a request to the outside, and right in a browser.

With FIVE_SUNDAYS_BOOK set, that built book is tested (`make test` does so, and has just
built it); otherwise the tests build one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

from course import build_book
from course.notebooks import ROOT, chapters

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
PAGES = [TOC["root"]] + [
    chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]
]

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@pytest.fixture(scope="session")
def book(tmp_path_factory) -> Path:
    """The folder of the built pages."""
    given = os.environ.get("FIVE_SUNDAYS_BOOK")
    if given:
        folder = Path(given)
    else:
        # One folder per process: tests may run side by side.
        output = ROOT / ".build" / f"book-test-{os.getpid()}"
        assert build_book.build(output) == 0
        folder = output / "_build/html"
    if not (folder / "index.html").is_file():
        pytest.fail(f"no book in {folder}: build it with `make site`", pytrace=False)
    yield folder
    if not given:
        shutil.rmtree(output)


# ---- the files --------------------------------------------------------------------


def test_every_chapter_and_session_is_in_the_book():
    written = {p.relative_to(ROOT).with_suffix("").as_posix() for p in chapters()}
    for path in (ROOT / "chapters").rglob("*.md"):
        written.add(path.relative_to(ROOT).with_suffix("").as_posix())
    assert written <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_built(book, page):
    assert (book / f"{page}.html").is_file()


def test_a_warning_fails_the_build_each_time(tmp_path, monkeypatch, capfd):
    (tmp_path / "_config.yml").write_text(
        "title: T\nexecute: {execute_notebooks: 'off'}"
    )
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index")
    (tmp_path / "index.md").write_text("# T\n\n[gone](nowhere.md)")
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    for _ in range(2):
        assert build_book.build(tmp_path / ".out") != 0
        assert "nowhere.md" in capfd.readouterr().err


class Resources(HTMLParser):
    """What a page loads: not where its links lead, but what it needs to show itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.styles: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        self._in_style = tag == "style"
        self.ids += [values["id"]] if values.get("id") else []
        self.styles += [values["style"]] if values.get("style") else []
        if tag == "a":
            self.links += [values["href"]] if values.get("href") else []
            return
        for name in ("src", "href", "srcset", "data", "poster", "xlink:href", "action"):
            if values.get(name):
                self.found.append(values[name])

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def html_pages(book: Path) -> list[Path]:
    """All pages; what lies in `_static` are templates that the theme left there."""
    return sorted(p for p in book.rglob("*.html") if "_static" not in p.parts)


@cache
def read_page(path: Path) -> Resources:
    parser = Resources()
    parser.feed(path.read_text("utf-8"))
    return parser


def loaded_by_styles(css: str) -> list[str]:
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    urls = re.findall(r"url\(\s*['\"]?([^'\")]+)", css)
    return urls + re.findall(r"@import\s+(?:url\()?\s*['\"]([^'\"]+)", css)


def is_outside(address: str) -> bool:
    parts = urlsplit(address.strip())
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ws", "wss")


def test_the_scanner_sees_what_it_looks_for():
    page = Resources()
    page.feed(
        '<script src="https://a.org/x.js"></script><img src="//b.org/y.png">'
        '<link href="http://c.org/z.css"><style>@import "https://d.org/q.css";</style>'
        '<p style="background:url(https://e.org/i.png)"><a href="https://f.org">f</a>'
    )
    found = page.found + loaded_by_styles("".join(page.styles))
    outside = sorted(urlsplit(address).netloc for address in found)
    assert outside == ["a.org", "b.org", "c.org", "d.org", "e.org"]


def test_no_page_and_no_style_loads_anything_from_outside(book):
    outside = []
    for path in html_pages(book):
        page = read_page(path)
        needed = page.found + loaded_by_styles("\n".join(page.styles))
        outside += [f"{path.name}: {a}" for a in needed if is_outside(a)]
    for path in sorted(book.rglob("*.css")):
        needed = loaded_by_styles(path.read_text("utf-8"))
        outside += [f"{path.name}: {a}" for a in needed if is_outside(a)]
    assert not outside


def test_everything_a_page_loads_is_there(book):
    missing = []
    for path in html_pages(book):
        base = path.relative_to(book).as_posix()
        for address in read_page(path).found:
            if address.startswith(("data:", "#")):
                continue
            target = urlsplit(urljoin(base, address)).path.lstrip("/")
            if target and not (book / target).exists():
                missing.append(f"{base}: {address}")
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_links_inside_the_book_lead_somewhere(book, page):
    for address in read_page(book / f"{page}.html").links:
        parts = urlsplit(urljoin(f"{page}.html", address))
        if parts.scheme or parts.netloc or address == "#":
            continue
        target = book / parts.path
        assert target.exists(), address
        if parts.fragment and target.suffix == ".html":
            assert parts.fragment in read_page(target).ids, address


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_no_widgets_that_would_need_a_kernel(book, page):
    text = (book / f"{page}.html").read_text("utf-8")
    for trace in ("application/vnd.jupyter.widget", "require.min.js", "embed-amd"):
        assert trace not in text


@pytest.mark.parametrize("page", PAGES)
def test_figures_have_no_colour_of_their_own_where_the_page_has_one(book, page):
    text = (book / f"{page}.html").read_text("utf-8")
    for figure in re.findall(r'<div class="fs-figure".*?</div>', text, re.DOTALL):
        drawn = re.sub(r"<style>.*?</style>", "", figure, flags=re.DOTALL)
        painted = re.findall(r"(?:fill|stroke|color)\s*[:=]\s*\"?([^;\"]+)", drawn)
        fixed = {"black", "white", "#000", "#fff", "#000000", "#ffffff"}
        assert not fixed & {colour.strip().lower() for colour in painted}


@pytest.mark.parametrize("page", PAGES)
def test_ids_are_unique(book, page):
    ids = read_page(book / f"{page}.html").ids
    assert not {name for name in ids if name.startswith("fs-") and ids.count(name) > 1}


# ---- the server -------------------------------------------------------------------


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


@pytest.fixture(scope="session")
def address(book) -> Iterator[str]:
    with serving(book, 8700) as (_process, url):
        yield url


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_server_stops_cleanly(book, name):
    with serving(book, 8750) as (process, _address):
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out.strip(), err) == (0, "Stopped.", "")


def test_a_port_in_use_gets_the_next_free_one(book):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(book, port) as (_process, url):
            assert urlsplit(url).port > port
            with urllib.request.urlopen(url) as answer:
                assert b"<title>Five Sundays" in answer.read()


def test_a_missing_page_gets_the_page_for_that(address):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{address}no/such/page.html")
    assert caught.value.code == 404
    assert b"There is no page here" in caught.value.read()


def test_nothing_outside_the_book_is_served(address):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{address}../../../../_config.yml")
    assert caught.value.code == 404


def test_a_folder_without_a_book_gets_one_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "course.serve_book", "--folder", str(tmp_path)],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert run.returncode == 1
    assert run.stderr == f"no book in {tmp_path}: build it with `make book`\n"


# ---- in a browser -----------------------------------------------------------------


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
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


SHOWN = """() => {
  const grounds = getComputedStyle(document.body).backgroundColor
  const texts = [...document.querySelectorAll(
      '.fs-figure svg text, .fs-figure svg tspan, .fs-ladder li, .fs-verdict p')]
  return [grounds, texts.map(e => [
      e.textContent.trim().slice(0, 40),
      e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color])]
}"""


def lightness(colour: str) -> float:
    """Of a computed colour, `rgb(...)` or `color(srgb ...)`: from 0 to 1."""
    numbers = [float(n) for n in re.findall(r"[\d.]+", colour)[:3]]
    if colour.startswith("rgb"):
        numbers = [n / 255 for n in numbers]
    return sum(w * n for w, n in zip((0.21, 0.72, 0.07), numbers, strict=True))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_right_on_a_phone_in_light_and_dark(browser, address, page):
    with opened(browser, f"{address}{page}.html", width=390) as (tab, faults):
        assert not faults
        wrong = tab.locator("mjx-merror, mjx-mtext[style*='color: red']")
        assert wrong.all_inner_texts() == []
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{page} scrolls sideways: {width} px"
        for theme in ("light", "dark"):
            tab.evaluate("name => document.documentElement.dataset.theme = name", theme)
            ground, texts = tab.evaluate(SHOWN)
            assert (lightness(ground) > 0.5) == (theme == "light")
            for words, colour in texts:
                # White text may stand in a full hue; it is then the ground's colour.
                if colour != ground:
                    far = abs(lightness(colour) - lightness(ground))
                    assert far > 0.3, f"{theme}: {words!r} in {colour} on {ground}"


def test_formulas_are_set_in_fonts_of_the_book(browser, address):
    url = f"{address}chapters/reference/notation.html"
    with opened(browser, url) as (tab, faults):
        tab.wait_for_selector("mjx-container")
        assert tab.evaluate("document.fonts.check('16px MJXTEX')")
        assert tab.locator("mjx-assistive-mml").count() > 10  # for screen readers
        assert not faults


@pytest.mark.parametrize(
    ("words", "page"),
    [("perplexity", "glossary"), ("교차 엔트로피", "glossary"), ("batch", "notation")],
)
def test_search_finds_words_in_both_languages(browser, address, words, page):
    url = f"{address}search.html?q={words.replace(' ', '+')}"
    with opened(browser, url) as (tab, faults):
        tab.wait_for_selector("#search-results li a", timeout=10_000)
        links = tab.eval_on_selector_all(
            "#search-results li a", "all => all.map(a => a.href)"
        )
        assert any(f"{page}.html" in link for link in links)
        assert not faults


def test_the_theme_can_be_switched(browser, address):
    with opened(browser, f"{address}index.html") as (tab, _faults):
        before = tab.evaluate("document.documentElement.dataset.theme")
        button = tab.locator("button.theme-switch-button:visible").first
        seen = {before}
        for _ in range(3):  # light, dark, and as the machine has it
            button.click()
            seen.add(tab.evaluate("document.documentElement.dataset.theme"))
        assert seen == {"light", "dark"}


def test_a_dark_page_is_printed_light(browser, address):
    with opened(browser, f"{address}index.html", theme="dark") as (tab, _faults):
        themes = [
            tab.evaluate(
                "name => { if (name) dispatchEvent(new Event(name));"
                " return document.documentElement.dataset.theme }",
                name,
            )
            for name in (None, "beforeprint", "afterprint")
        ]
        assert themes == ["dark", "light", "dark"]
