"""What a reader sees after running an exercise: one card, as HTML and as plain text."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

from course.case import Exercise
from course.judge import Finding

Status = Literal["not started", "not yet", "passed"]

MARKS: dict[Status, str] = {"not started": "○", "not yet": "◐", "passed": "●"}


@dataclass(frozen=True)
class Verdict:
    """The outcome of one exercise cell."""

    exercise: Exercise
    status: Status
    finding: Finding | None = None
    note: str = ""

    def __repr__(self) -> str:
        """The card as text, for terminals and editors that show no HTML."""
        exercise, finding = self.exercise, self.finding
        lines = [
            f"{MARKS[self.status]} {exercise.name}: {self.status}  "
            f"(difficulty {exercise.difficulty} of 3, {exercise.minutes} minutes)"
        ]
        if finding is not None:
            lines += [f"  Case: {finding.case}", f"  {finding.complaint}"]
            for label, value in self._details():
                lines += [f"  {label}:", *(f"    {row}" for row in value.splitlines())]
            if finding.hint:
                lines.append(f"  Likely: {finding.hint}")
        if self.note:
            lines.append(f"  {self.note}")
        if self.status != "passed":
            lines.append(f'  Stuck? hint("{exercise.name}") gives one hint at a time.')
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The card for notebooks and for the page: follows light and dark by itself."""
        exercise, finding = self.exercise, self.finding
        dots = "●" * exercise.difficulty + "○" * (3 - exercise.difficulty)
        parts = [
            f'<div class="fs-verdict fs-{self.status.replace(" ", "-")}">{STYLE}',
            f'<p class="fs-head"><strong>{MARKS[self.status]} '
            f"<code>{exercise.name}</code> {self.status}</strong>"
            f'<span><span role="img" aria-label="difficulty {exercise.difficulty} '
            f'of 3">{dots}</span> {exercise.minutes} min</span></p>',
        ]
        if finding is not None:
            parts.append(f"<p>In the case “{escape(finding.case)}”:</p>")
            parts.append(f"<p><strong>{_prose(finding.complaint)}</strong></p>")
            rows = "".join(
                f'<div class="fs-{label.replace(" ", "-")}"><dt>{label}</dt>'
                f"<dd><pre>{escape(value)}</pre></dd></div>"
                for label, value in self._details()
            )
            parts.append(f"<dl>{rows}</dl>" if rows else "")
            if finding.hint:
                parts.append(
                    f'<p class="fs-likely"><em>Likely:</em> {_prose(finding.hint)}</p>'
                )
        parts.append(f"<p>{_prose(self.note)}</p>" if self.note else "")
        if self.status != "passed":
            parts.append(self._hints())
        return "".join(parts) + "</div>"

    def _details(self) -> list[tuple[str, str]]:
        finding = self.finding
        pairs = [
            ("given", finding.inputs),
            ("expected", finding.expected),
            ("got", finding.got),
            ("where", finding.trace),
            ("your code printed", finding.printed),
        ]
        return [(label, value) for label, value in pairs if value]

    def _hints(self) -> str:
        """Three hints, each folded inside the one before."""
        first, second, pseudocode = self.exercise.hints
        folded = ""
        for number, hint in (
            (3, f"<pre>{escape(pseudocode)}</pre>"),
            (2, f"<p>{_prose(second)}</p>"),
            (1, f"<p>{_prose(first)}</p>"),
        ):
            title = f"<summary>Hint {number} of 3</summary>"
            folded = f"<details>{title}{hint}{folded}</details>"
        return folded


def _prose(text: str) -> str:
    """Escaped text in which `code`, *emphasis* and line breaks are shown as meant."""
    pieces = escape(text, quote=False).split("`")
    for index, piece in enumerate(pieces):
        if index % 2:
            pieces[index] = f"<code>{piece}</code>"
        else:
            words = piece.split("*")
            pairs = len(words) % 2 == 1  # an odd star out is a multiplication sign
            pieces[index] = (
                "".join(f"<em>{w}</em>" if i % 2 else w for i, w in enumerate(words))
                if pairs and not any(w != w.strip() for w in words[1::2])
                else piece
            )
    return "".join(pieces).replace("\n", "<br>")


# Colours come from the page around the card (the book, JupyterLab, VS Code); the mark
# at its side is a middle tone that can be told from a light and from a dark ground.
STYLE = """<style>
.fs-verdict{--fs-tone:#8a8f98;border:1px solid color-mix(in srgb,var(--fs-tone) 45%,
transparent);border-left:4px solid var(--fs-tone);border-radius:6px;padding:.6em .9em;
margin:.3em 0;line-height:1.5;max-width:48em;font-family:var(--pst-font-family-base,
var(--jp-ui-font-family,system-ui,sans-serif));color:var(--pst-color-text-base,
var(--jp-content-font-color1,var(--vscode-foreground,inherit)))}
.fs-verdict.fs-passed{--fs-tone:#2f9e63}.fs-verdict.fs-not-yet{--fs-tone:#d9822b}
.fs-verdict p{margin:.35em 0;color:inherit;overflow-wrap:anywhere}
.fs-verdict .fs-head{display:flex;flex-wrap:wrap;justify-content:space-between;
gap:.2em 1.2em;margin-top:0}
.fs-verdict dl{display:flex;flex-wrap:wrap;gap:.4em 2em;margin:.4em 0}
.fs-verdict dl>div{min-width:0}.fs-verdict .fs-given{flex-basis:100%}
.fs-verdict dt{font-size:.85em;font-weight:600;margin:0}.fs-verdict dd{margin:0}
.fs-verdict pre{margin:.2em 0;padding:.4em .6em;overflow-x:auto;font-size:.85em;
color:inherit;border:0;border-radius:4px;
background:color-mix(in srgb,var(--fs-tone) 12%,transparent)}
.fs-verdict code{color:inherit;background:none;border:0;padding:0}
.fs-verdict details{margin:.35em 0 .1em}
.fs-verdict details details{margin-left:1em}
.fs-verdict details pre{white-space:pre-wrap;overflow-wrap:anywhere}
.fs-verdict summary{cursor:pointer;font-weight:600;list-style:disclosure-closed inside}
.fs-verdict details[open]>summary{list-style:disclosure-open inside}
</style>"""
