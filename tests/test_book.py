"""The files of the built book: complete, and without a request to the outside."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import urljoin, urlsplit

import pytest
import typer

import solutions
from course import build_book, cli
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


@pytest.mark.parametrize("page", PAGES)
def test_a_page_leads_to_the_one_before_and_the_one_after(book, page):
    text = (book / f"{page}.html").read_text("utf-8")
    place = PAGES.index(page)
    for kind, neighbour in ("left-prev", place - 1), ("right-next", place + 1):
        found = re.findall(rf'<a class="{kind}"\s+href="([^"]*)"', text)
        there = [PAGES[neighbour]] if 0 <= neighbour < len(PAGES) else []
        targets = [urljoin(f"{page}.html", address) for address in found]
        assert targets == [f"{name}.html" for name in there]


@pytest.mark.parametrize("page", PAGES)
def test_the_outline_of_a_page_leads_to_its_sections(book, page):
    text = (book / f"{page}.html").read_text("utf-8")
    article = text[text.index("<article") :]
    sections = re.findall(
        r'<section[^>]* id="([^"]*)">\s*(?:<span[^>]*></span>\s*)*<h2', article
    )
    outline = text.partition('<nav id="pst-page-toc-nav"')[2].partition("</nav>")[0]
    assert sections or page.endswith("bibliography")
    for section in sections:
        assert f'href="#{section}"' in outline, section


@pytest.mark.parametrize("page", PAGES)
def test_no_button_promises_a_machine_that_is_not_there(book, page):
    text = (book / f"{page}.html").read_text("utf-8")
    for trace in ("launch-button", "mybinder", "colab.research", "jupyterhub", "thebe"):
        assert trace not in text


# ---- the reference of what can be called ------------------------------------------


def documented(module: ModuleType) -> set[str]:
    """The public functions and classes of a module that say what they are."""
    return {
        f"{module.__name__}.{name}"
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", None) == module.__name__
        and not name.startswith("_")
        and thing.__doc__
    }


@pytest.mark.parametrize(
    "name", [found.name for found in pkgutil.iter_modules(solutions.__path__)]
)
def test_everything_that_is_built_is_in_the_reference(book, name):
    known = documented(importlib.import_module(f"solutions.{name}"))
    missing = known - set(read_page(book / "chapters/reference/api.html").ids)
    assert known
    assert not missing, f"add solutions.{name} to chapters/reference/api.md"


def test_the_reference_names_every_command_as_its_help_does():
    page = (ROOT / "chapters/reference/api.md").read_text("utf-8")
    for name, command in typer.main.get_command(cli.app).commands.items():
        described = " ".join(page.partition(f"\n`sundays {name}`\n: ")[2].split())
        assert described.startswith(" ".join(command.help.split())), name
        for option in command.params:
            given = [*option.opts, *option.secondary_opts]
            assert any(f"`{word}`" in described for word in given), given
