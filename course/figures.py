"""Figures that follow the page: light or dark, wide or narrow, on screen or on paper.

Every figure is inline SVG or HTML with one text alternative, and is the same bytes on
every run. A plot is shown when its block ends:

    with figure(alt="The loss falls from 4.2 to 1.9 in 500 steps.") as axes:
        axes.plot(steps, losses)
        axes.set(xlabel="step", ylabel="bits per character")

`rows` and `columns` give several axes in one picture, as an array. A plot as an object:

    drawing("Twenty bars, the highest at 'e'.", lambda axes: axes.bar(letters, counts))

A picture made by hand, in `currentColor`, `var(--fs-ground)` and `var(--fs-1)` to
`var(--fs-6)`:

    diagram('<svg viewBox="0 0 340 60"><path stroke="var(--fs-1)" /></svg>', alt="...")

A drawing with controls. Where no kernel is, it stays as it was at the first values:

    controls(draw, temperature=FloatSlider(value=1.0, min=0.1, max=2.0))

A figure that answers to the reader without a kernel, in the page and in JupyterLab; its
script lies in `course/live/`, and without it the picture stands as it is:

    live("sampling", picture, alt="Bars that move.", data={"logits": [1.5, 0.2]})

In a plot, `C0` to `C5` are the six hues of the course. Any grey, from "black" over
"0.7" to "white", is a mix of the page's ink and its ground. The colour map of
`pcolormesh` runs from nothing to `C0`, so it too fits both. `imshow` makes pixels that
cannot: it is refused. Text grows with the width of a picture: a phone can show it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

LIGHT = ("#2563b8", "#bf5507", "#14795a", "#8147b5", "#bd2d5d", "#846a00")
DARK = ("#7db3ff", "#f5a35c", "#57c99b", "#c6a1f2", "#f58cab", "#dcc04e")

matplotlib.colormaps.register(  # settings can name a colour map, not hold one
    LinearSegmentedColormap.from_list(
        "five-sundays", [f"{LIGHT[0]}00", f"{LIGHT[0]}ff"]
    ),
    force=True,
)

PHONE = 358  # px: what a phone of 390 px leaves for a figure
TEXT = 11  # px: the smallest text, at that width
ZOOM = 1.35  # how much wider than its view box a figure may grow

SCRIPTS = Path(__file__).with_name("live")


@dataclass(frozen=True)
class Drawing:
    """A finished figure: HTML for the page, a sentence wherever there is only text."""

    html: str
    alt: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[figure] {self.alt}"


@contextmanager
def figure(
    alt: str, size: tuple[float, float] = (4.8, 2.8), rows: int = 1, columns: int = 1
) -> Iterator[Any]:
    """Draw on matplotlib axes in a `with` block; the figure is shown when it ends.

    Args:
        alt: what the picture shows, in a sentence, for readers who do not see it.
        size: width and height in inches of 72 px; the page may scale it.
        rows, columns: more than one of either gives an array of axes.

    Raises:
        ValueError: if `alt` is empty, or if something drew pixels.
    """
    with _plot(alt, size, rows, columns) as (axes, finish):
        yield axes
        finished = finish()
    _display(finished)


def drawing(
    alt: str,
    plot: Callable[[Any], object],
    size: tuple[float, float] = (4.8, 2.8),
    rows: int = 1,
    columns: int = 1,
) -> Drawing:
    """The figure that `plot(axes)` draws, as an object; arguments as in `figure`."""
    with _plot(alt, size, rows, columns) as (axes, finish):
        plot(axes)
        return finish()


def diagram(svg_or_html: str, alt: str, role: str = "img") -> Drawing:
    """A picture made by hand: inline SVG or HTML, its ids made unique on the page.

    With role "group" a screen reader goes into it, for text and links; with "img" it
    reads the alternative and no more.

    Raises:
        ValueError: if `alt` is empty.
    """
    _require_text(alt)
    return _framed(_own_ids(svg_or_html.strip(), alt), alt, role)


def live(name: str, picture: str, alt: str, data: object = None) -> Drawing:
    """A picture that a small script brings to life, with no kernel and no network.

    `course/live/<name>.js` is one function expression, `(figure, data) => {...}`;
    `course/live/<name>.css`, if there, has its styles. Both travel inside the output,
    so that it lives wherever HTML is shown. `figure` is the element of class
    `fs-<name>` around the picture; one page may hold the same figure twice.

    Args:
        picture: HTML of the whole first state: what paper shows, and a page without
            scripts. What needs the script is of class `fs-controls`, and appears with
            it; `<p class="fs-says" role="status">` says in words what has changed.
        alt: what the figure shows, in a sentence.
        data: what the script needs, as JSON.

    Raises:
        ValueError: if `alt` is empty, or there is no such script, or the script, its
            styles or the data cannot stand inside a page.
    """
    _require_text(alt)
    script = _embedded(name, ".js", "</script")
    styles = (
        _embedded(name, ".css", "</style")
        if (SCRIPTS / f"{name}.css").is_file()
        else ""
    )
    known = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    known = known.replace("<", "\\u003c")  # nothing in it can end the script
    picture = _own_ids(picture.strip(), alt)
    key = hashlib.sha256(f"{script}{known}{picture}".encode()).hexdigest()[:8]
    # Some hosts run the script outside of its figure: there it finds it by its key.
    # JupyterLab would take the arrow keys of a slider for its own, were it not told.
    run = f"""((figure,data)=>{{if(!figure)return
for(const part of figure.querySelectorAll("button,input,select"))
part.dataset.lmSuppressShortcuts="";
({script})(figure,data)
figure.dataset.alive=""}})(document.currentScript?.closest(".fs-figure")
??document.querySelector('[data-key="{key}"]:not([data-alive])'),{known})"""
    content = f"<style>{LIVE}{styles}</style>{picture}<script>{run}</script>"
    return _framed(content, alt, "group", f"fs-live fs-{name}", f' data-key="{key}"')


def _embedded(name: str, ending: str, forbidden: str) -> str:
    """A file of `course/live`, without the comments that stand on lines of their own.

    Raises:
        ValueError: if it does not exist, or would end the element that it stands in.
    """
    path = SCRIPTS / f"{name}{ending}"
    if not path.is_file():
        raise ValueError(f"no figure of this name: {path.name} is not in course/live")
    text = path.read_text("utf-8")
    if forbidden in text:
        raise ValueError(
            f"{path.name} holds {forbidden!r}, which would end it: split it"
        )
    text = re.sub(r"(?m)^\s*//.*\n|^\s*/\*.*?\*/\s*\n", "", text)
    return text.strip().removesuffix(";")


def controls(draw: Callable[..., Drawing], **widgets: Any) -> None:
    """Show `draw(**values)` under ipywidgets; it is drawn again when a value changes.

    A widget without a description is labelled with its name. One display bundle holds
    the living widgets and, for the page and for text, the drawing at the first values.
    What `make notebooks` keeps has no widgets: without a kernel they would only fail.
    """
    from ipywidgets import HTML, Layout, VBox

    for name, widget in widgets.items():
        widget.description = widget.description or name.replace("_", " ")
        widget.style.description_width = "initial"
        widget.layout.max_width = "100%"

    def current() -> Drawing:
        return draw(**{name: widget.value for name, widget in widgets.items()})

    first = current()
    picture = HTML(first.html)

    def redraw(_change: object) -> None:
        try:
            picture.value = current().html
        except Exception as error:  # in a callback it would vanish in the server's log
            words = f"{type(error).__name__}: {error}"
            picture.value = f'<p role="alert">{escape(words)}</p>'

    for widget in widgets.values():
        widget.observe(redraw, names="value")
    bundle = {"text/plain": repr(first), "text/html": first.html}
    if os.environ.get("FIVE_SUNDAYS_RECORD") != "1":
        box = VBox([*widgets.values(), picture], layout=Layout(max_width="100%"))
        bundle = box._repr_mimebundle_() | bundle
    _display(bundle, raw=True)


# ---- drawing ----------------------------------------------------------------------


@contextmanager
def _plot(
    alt: str, size: tuple[float, float], rows: int, columns: int
) -> Iterator[tuple[Any, Callable[[], Drawing]]]:
    _require_text(alt)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own matplotlibrc must not change figures
        matplotlib.rcParams.update(_style(72 * size[0]))
        canvas = Figure(figsize=size, layout="constrained")
        axes = canvas.subplots(rows, columns)
        yield axes, lambda: _finish(canvas, alt)


def _style(width: float) -> dict[str, Any]:
    text = TEXT * max(1.0, width / PHONE)
    return {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "five-sundays",
        "mathtext.fontset": "dejavusans",
        "figure.dpi": 72,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "savefig.edgecolor": "none",
        "font.size": text,
        "axes.labelsize": text,
        "axes.titlesize": text,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlepad": 8,
        "xtick.labelsize": text,
        "ytick.labelsize": text,
        "legend.fontsize": text,
        "legend.frameon": False,
        "axes.prop_cycle": cycler(color=LIGHT),
        "image.cmap": "five-sundays",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "0.5",
        "axes.linewidth": 0.8,
        "axes.labelcolor": "0.25",
        "xtick.color": "0.5",
        "ytick.color": "0.5",
        "xtick.labelcolor": "0.25",
        "ytick.labelcolor": "0.25",
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": "0.87",
        "grid.linewidth": 0.7,
        "lines.linewidth": 1.8,
        "hatch.linewidth": 0.7,
    }


def _finish(canvas: Figure, alt: str) -> Drawing:
    buffer = io.StringIO()
    empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        # The browser's fonts have the Korean letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasSVG(canvas).print_svg(buffer, metadata=empty)
    svg = buffer.getvalue()
    if "<image" in svg:
        raise ValueError(
            "a figure of pixels cannot follow light and dark: use "
            "axes.pcolormesh(...) in place of axes.imshow(...)"
        )
    width, height = (72 * float(inches) for inches in canvas.get_size_inches())
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    frame = (
        f'<svg viewBox="0 0 {_short(width)} {_short(height)}" '
        f'style="max-width:{width * ZOOM:.0f}px">'
    )
    return _framed(_own_ids(frame + _follow_the_page(body) + "</svg>", alt), alt)


def _follow_the_page(svg: str) -> str:
    """Matplotlib's SVG with the page's colours and fonts, without what it need not say.

    Coordinates keep one decimal: machines differ in the last digits of a float.
    """
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    # Its one style rule is for `*`: every element of the page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.S)
    svg = re.sub(r'<path [^>]*style="fill: none"\s*/>', "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"', "", svg)
    svg = re.sub(r'style="([^"]*)"', lambda m: f'style="{_style_text(m[1])}"', svg)
    svg = re.sub(
        r'\b(d|x|y|x1|x2|y1|y2|width|height|transform|points)="([^"]*)"',
        lambda m: f'{m[1]}="{re.sub(NUMBER, lambda n: _short(float(n[0])), m[2])}"',
        svg,
    )
    svg = re.sub(r">\s+<", "><", svg).strip()
    svg = re.sub(r'\s+(?=[\w:]+=")|\s+(?=/>)', " ", svg)
    svg = re.sub(r'(?<= d=")[^"]*', lambda m: " ".join(m[0].split()), svg)
    while svg != (svg := re.sub(r"<(g|defs)( id=\"[^\"]*\")?>\s*</\1>", "", svg)):
        pass
    return svg


NUMBER = r"-?\d+\.\d+(e[-+]?\d+)?"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0").replace("-0", "0", number > -0.05)


def _style_text(style: str) -> str:
    """CSS with colours and fonts that follow the page."""
    style = re.sub(r"#[0-9a-fA-F]{6}\b", lambda m: _colour(m[0]), style)
    style = re.sub(
        r"font-family: ?[^;]*",
        lambda m: f"font-family:var(--fs-{'mono' if 'Mono' in m[0] else 'font'})",
        style,
    )
    return re.sub(r"\s*([;:])\s+", r"\1", style)


def _colour(value: str) -> str:
    """A hue of the course as its variable, a grey as a mix of the page's colours."""
    value = value.lower()
    if value in LIGHT:
        return f"var(--fs-{LIGHT.index(value) + 1})"
    if not value[1:3] == value[3:5] == value[5:7]:
        return value
    ink = round(100 * (1 - int(value[1:3], 16) / 255))
    if ink in (0, 100):
        return "currentColor" if ink else "var(--fs-ground)"
    return f"color-mix(in srgb,currentColor {ink}%,var(--fs-ground))"


# ---- the frame around every figure ------------------------------------------------


def _framed(
    content: str, alt: str, role: str = "img", kinds: str = "", more: str = ""
) -> Drawing:
    label = escape(" ".join(alt.split()))
    kinds = f"fs-figure {kinds}".strip()
    html = (
        f'<div class="{kinds}" role="{role}" aria-label="{label}"{more}>'
        f"<style>{STYLE}</style>{content}</div>"
    )
    return Drawing(html, " ".join(alt.split()))


def _own_ids(content: str, alt: str) -> str:
    """Ids that no other figure has; those that nothing refers to are dropped."""
    used = set(re.findall(r"url\(#([^)\s]+)\)", content))
    used |= set(re.findall(r'href="#([^"]+)"', content))
    digest = hashlib.sha256(f"{alt}\0{content}".encode()).hexdigest()[:8]
    found = re.findall(r'\sid="([^"]+)"', content)
    names = {
        old: f"fs-{digest}-{n}" for n, old in enumerate(i for i in found if i in used)
    }

    def renamed(match: re.Match[str]) -> str:
        return match[1] + names.get(match[2], match[2]) + match[3]

    content = re.sub(
        r'\sid="([^"]+)"',
        lambda m: f' id="{names[m[1]]}"' if m[1] in names else "",
        content,
    )
    content = re.sub(r"(url\(#)([^)\s]+)(\))", renamed, content)
    return re.sub(r'(href="#)([^"]+)(")', renamed, content)


def _require_text(alt: str) -> None:
    if not alt.strip():
        raise ValueError(
            "a figure needs alt=...: one sentence that says what the picture shows"
        )


def _display(what: object, **options: Any) -> None:
    from IPython.display import display

    display(what, **options)


def _hues(colours: tuple[str, ...]) -> str:
    return "".join(f"--fs-{n}:{c};" for n, c in enumerate(colours, start=1))


# The page around a figure is the book, JupyterLab or VS Code: each has variables of its
# own, and each says in its own way that it is dark. Paper is always light.
STYLE = (
    ".fs-figure{"
    + _hues(LIGHT)
    + """--fs-ground:var(--pst-color-background,
var(--jp-layout-color0,var(--vscode-editor-background,Canvas)));
--fs-font:var(--pst-font-family-base,var(--jp-ui-font-family,system-ui,sans-serif));
--fs-mono:var(--pst-font-family-monospace,var(--jp-code-font-family,monospace));
color:var(--pst-color-text-base,var(--jp-content-font-color1,
var(--vscode-editor-foreground,inherit)));font-family:var(--fs-font);
max-width:100%;margin:.6em 0;break-inside:avoid}
.fs-figure svg{display:block;width:100%;height:auto;overflow:visible;
fill:currentColor;stroke-linejoin:round}
html[data-theme=dark] .fs-figure,body[data-jp-theme-light=false] .fs-figure,
body.vscode-dark .fs-figure,body.vscode-high-contrast .fs-figure{"""
    + _hues(DARK)
    + """}
@media print{html .fs-figure,html[data-theme=dark] .fs-figure{"""
    + _hues(LIGHT)
    + "--fs-ground:Canvas;color:CanvasText}}"
).replace("\n", "")

# What every live figure shares. Controls that no script answers would only mislead.
LIVE = """
.fs-live .fs-controls{display:none}
.fs-live[data-alive] .fs-controls{display:flex;flex-wrap:wrap;gap:.5em 1.2em;
align-items:center;margin:.5em 0}
.fs-live label{display:inline-flex;flex-wrap:wrap;gap:.2em .6em;align-items:center}
.fs-live :is(button,select,textarea,input[type=text]){font:inherit;color:inherit;
min-height:36px;padding:.2em .8em;border-radius:.4em;background:transparent;
border:1px solid color-mix(in srgb,currentColor 55%,var(--fs-ground))}
.fs-live select option{color:CanvasText;background:Canvas}
.fs-live button{cursor:pointer}
.fs-live button:hover{background:color-mix(in srgb,currentColor 8%,transparent)}
.fs-live button[aria-pressed=true]{border-color:var(--fs-1);
box-shadow:inset 0 0 0 1px var(--fs-1)}
.fs-live input[type=range]{min-height:36px;accent-color:var(--fs-1);flex:1 1 9em}
.fs-live :is(button,select,textarea,input):focus-visible{outline:2px solid var(--fs-1);
outline-offset:2px}
.fs-live .fs-says{margin:.4em 0;font-size:.92em}
@media print{.fs-live[data-alive] .fs-controls{display:none}}
""".replace("\n", "")
