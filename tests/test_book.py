"""The files of the built book: complete, and without a request to the outside."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from course import build_book
from course.notebooks import ROOT, chapters
from tests.browser import PAGES


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
