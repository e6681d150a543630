"""The tokenizer playground: type a text, see its bytes, its merges and its tokens.

    playground({"the stories": ranks}, "She hid the key. 안녕!")

With several vocabularies the reader chooses one. The script encodes as
`solutions.tokens.encode` does, on any text. A browser has its own idea of what a letter
is, another one in each version. So the letters, digits and spaces that Python's `regex`
knows come along, and the script cuts a text where Python cuts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape

import regex

from course.figures import Drawing, live
from solutions.tokens import check_ranks, encode, pre_tokenize

ALT = (
    "A text in three rows: its characters, under each its bytes, and under these the "
    "tokens with their ids. Words stand apart. Merges can be undone and done again."
)
COLUMNS = 16  # bytes in a row: as many as a phone has room for
LABELS = 3  # as many fewer in the first word, which has the labels beside it
SHOWN = 240  # bytes of a text that are drawn; all of it is counted
SIGNS = {" ": "·", "\n": "⏎", "\t": "⇥", "\x7f": "␡"}


def playground(vocabularies: Mapping[str, Mapping[bytes, int]], text: str) -> Drawing:
    """The figure, with `text` in it, encoded by the first of the vocabularies.

    Args:
        vocabularies: what the reader reads, and the ranks. The byte b has the id b.
        text: what stands there at first; at most 240 bytes.

    Raises:
        ValueError: if there is no vocabulary, one is damaged or has other ids for the
            bytes, or the text is too long or no Unicode.
    """
    if not vocabularies:
        raise ValueError("the playground needs a vocabulary, got none")
    for name, ranks in vocabularies.items():
        check_ranks(ranks, f"the vocabulary of {name}")
        if any(ranks[bytes([byte])] != byte for byte in range(256)):
            raise ValueError(f"in the vocabulary of {name} byte b has not the id b")
    words = pre_tokenize(text)
    if (length := len(text.encode())) > SHOWN:
        raise ValueError(f"the text has {length} bytes, expected {SHOWN} at most")
    data = {
        "letters": ranges(r"\p{L}"),
        "numbers": ranges(r"\p{N}"),
        "spaces": ranges(r"\s"),
        "vocabularies": [_merged(ranks) for ranks in vocabularies.values()],
        "columns": COLUMNS,
        "labels": LABELS,
        "shown": SHOWN,
    }
    return live("playground", _picture(vocabularies, text, words), ALT, data)


@cache
def ranges(pattern: str) -> str:
    r"""The code points that match a pattern for one character, as gaps and lengths.

    Numbers to the base of 36, in turn: how far the next range begins after the end of
    the last, and how many more than one it holds. `\s` begins "9 4 j 0": from 9 on 5
    code points, then 19 (j) after their last, at 32, the space alone.
    """
    every = "".join(map(chr, range(0x110000)))
    numbers, last = [], 0
    for found in regex.finditer(f"(?:{pattern})+", every):
        first, end = found.start(), found.end() - 1
        numbers += [first - last, end - first]
        last = end
    return " ".join(map(_to_base_36, numbers))


def _to_base_36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def _merged(ranks: Mapping[bytes, int]) -> str:
    """The merged tokens in hex, in the order of their ids."""
    return " ".join(token.hex() for token in sorted(ranks, key=ranks.get)[256:])


# ---- the first state --------------------------------------------------------------


def _picture(
    vocabularies: Mapping[str, Mapping[bytes, int]], text: str, words: list[bytes]
) -> str:
    ranks = next(iter(vocabularies.values()))
    encoded = [encode(word.decode(), ranks) for word in words]
    ids = [token_id for word in encoded for token_id in word]
    columns = [COLUMNS - LABELS] + [COLUMNS] * len(words)
    drawn = "".join(map(_word, words, encoded, [ranks] * len(words), columns))
    options = "".join(f"<option>{escape(name)}</option>" for name in vocabularies)
    alone = " hidden" if len(vocabularies) == 1 else ""
    counts = (len(text), "character"), (len(text.encode()), "byte"), (len(ids), "token")
    says = ", ".join(f"{n} {name}{'s' * (n != 1)}" for n, name in counts)
    return f"""<div class="fs-controls">
<label class="fs-text">Your text
<textarea rows="2" spellcheck="false" autocapitalize="off">
{escape(text)}</textarea></label>
<label{alone}>Vocabulary <select>{options}</select></label>
<span class="fs-steps"><label><span class="fs-step">Merges</span>
<input type="range" min="0" max="1" value="1"></label>
<button type="button" class="fs-back" aria-label="one merge back">−</button>
<button type="button" class="fs-on" aria-label="one merge on">+</button></span>
</div>
<p class="fs-says" role="status">{says}.</p>
<div class="fs-words" aria-hidden="true"><span class="fs-names">
<span>character</span><span>byte</span><span>token id</span></span>{drawn}</div>
<p class="fs-ids">ids: {" ".join(map(str, ids))}</p>"""


def _word(word: bytes, ids: list[int], ranks: Mapping[bytes, int], columns: int) -> str:
    """One word: rows of `columns` bytes at most, each a grid with a column per byte."""
    lengths = {token_id: len(token) for token, token_id in ranks.items()}
    html, end = "", 0
    while (first := end) < len(word):
        end = min(first + columns, len(word))
        while end < len(word) and word[end] & 0xC0 == 0x80:  # never within a character
            end -= 1
        cells = "".join(
            _cell(_seen(character), len(character.encode()))
            for character in word[first:end].decode()
        )
        cells += "".join(_cell(f"{byte:02X}") for byte in word[first:end])
        begins = 0
        for token_id in ids:
            ends = begins + lengths[token_id]
            if begins < end and ends > first:  # all of it is in this row, or a part
                hue = f" fs-hue{token_id % 6 + 1}" if token_id > 255 else ""
                width = min(ends, end) - max(begins, first)
                cells += _cell(str(token_id), width, f"fs-token{hue}")
            begins = ends
        html += f'<span class="fs-row" style="--n:{end - first}">{cells}</span>'
    return f'<span class="fs-word">{html}</span>'


def _cell(text: str, width: int = 1, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    width = f' style="--w:{width}"' if width > 1 else ""
    return f"<span{kind}{width}>{escape(text)}</span>"


def _seen(character: str) -> str:
    """A character that can be seen: a sign, its number in Unicode, or itself."""
    if character in SIGNS:
        return SIGNS[character]
    if character < " ":
        return chr(0x2400 + ord(character))  # the pictures of the control characters
    if regex.match(r"[\p{C}\p{Z}]", character):
        return f"{ord(character):04X}"
    return "◌" + character if regex.match(r"\p{M}", character) else character
