"""A model for the browser: as a script that a page loads, or as a page of its own.

    python -m course.browser_model my-gpt.html                # the course's own model
    python -m course.browser_model my-gpt.html --model my-gpt # a folder, as yours

The page is one file that holds the model and the program that runs it. It needs no
server and no network: open it, keep it, send it to a friend.

The weights travel in half precision, two bytes each, as text in base64: a page that is
opened from a disk may load scripts, and no other files. `assets/gpt.js` unpacks them
and computes, `assets/bpe.js` has the tokenizer.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import tiktoken
import torch

from course import pretrained
from course.figures import Drawing
from course.files import write_atomically
from course.live.in_your_browser import in_your_browser
from course.live.playground import ranges
from solutions.gpt_block import GPT

ASSETS = Path(__file__).parents[1] / "assets"
ENGINE = ("gpt.js", "bpe.js")
"""What runs a model: they need nothing, and come before it."""

SCRIPT = "gpt-model.js"
"""The name of the model itself in the book."""

HIDDEN = """\
Mina had a silver key, and she loved it. On a stormy morning a cheeky cat stole it and \
hid it {place}. Only Tom saw it happen. Mina looked under the doormat, but there was \
nothing but an old newspaper. "Where is my key?" shouted Mina. "The cat took it," said \
Tom. "It is"""

BEGINNINGS = {
    **{
        f"a key {place}": HIDDEN.format(place=place)
        for place in ("behind the stove", "inside the piano", "behind the moon")
    },
    "no story": "The capital of France is",
    "Hangul": "안녕",
    "nothing": "",
}
"""What a reader can choose: three times somebody is about to tell where the key is."""

STYLE = """\
html{color-scheme:light}html[data-theme=dark]{color-scheme:dark}
body{margin:0;font:16px/1.6 system-ui,sans-serif;background:Canvas;color:CanvasText}
main{max-width:52rem;margin:0 auto;padding:.5rem 1rem 2rem}h1{font-size:1.5rem}"""


class BrowserModelError(ValueError):
    """A model that no browser can have: says what was wrong and what to do."""


def rounded(model: GPT) -> GPT:
    """A copy with the weights that the browser has: half precision, as float64.

    Raises:
        BrowserModelError: if a weight is too large for it.
    """
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        for name, weight in exact.named_parameters():
            weight.copy_(weight.half())
            if not weight.isfinite().all():
                raise BrowserModelError(
                    f"{name} holds a number over 65,504, the largest in half "
                    "precision: train a model whose weights stay below that"
                )
    return exact


def script(model: GPT, encoding: tiktoken.Encoding) -> str:
    """JavaScript that puts all of the model into one object, `shippedModel`.

    Raises:
        BrowserModelError: if model and encoding do not fit, or there are special
            tokens, or a weight is too large.
    """
    described = {
        "config": vars(model.config),
        "vocabulary": _vocabulary(model, encoding),
        "sizes": {name: p.numel() for name, p in model.named_parameters()},
        "weights": _halves(model),
    }
    return f"globalThis.shippedModel = {json.dumps(described)};\n"


def _vocabulary(model: GPT, encoding: tiktoken.Encoding) -> dict[str, str]:
    if encoding.n_vocab != (size := model.config.vocab_size):
        raise BrowserModelError(
            f"the encoding has {encoding.n_vocab} tokens and the model {size}: take "
            "those that belong together"
        )
    if special := sorted(encoding.special_tokens_set):
        raise BrowserModelError(
            f"the vocabulary has the special token {special[0]}, of which the page "
            "knows nothing: give a model that `sundays train` made"
        )
    tokens = map(encoding.decode_single_token_bytes, range(size))
    return {
        "tokens": " ".join(base64.b64encode(token).decode() for token in tokens),
        "letters": ranges(r"\p{L}"),
        "numbers": ranges(r"\p{N}"),
        "spaces": ranges(r"\s"),
    }


def _halves(model: GPT) -> str:
    weights = (p.detach().half().flatten() for p in rounded(model).parameters())
    return base64.b64encode(torch.cat([*weights]).numpy().astype("<f2")).decode()


def drawn(
    model: GPT,
    encoding: tiktoken.Encoding,
    beginnings: Mapping[str, str] = BEGINNINGS,
    scripts: Sequence[str] = (),
) -> Drawing:
    """The figure for this model; a head of the last layer is shown first.

    Raises:
        BrowserModelError: if a weight is too large for half precision.
        ValueError: if the beginning does not fit the context.
    """
    config = model.config
    layer, head = config.n_layer - 1, min(1, config.n_head - 1)
    exact = rounded(model)
    return in_your_browser(exact, encoding, beginnings, scripts, layer, head)


# ---- a page of its own --------------------------------------------------------------


def page(
    model: GPT,
    encoding: tiktoken.Encoding,
    beginnings: Mapping[str, str] = BEGINNINGS,
) -> str:
    """HTML that needs no other file: the engine, the model, and the figure of the book.

    Raises:
        BrowserModelError: as `script`.
        ValueError: if the beginning does not fit the context of the model.
    """
    model_script = script(model, encoding)
    engine = [(ASSETS / name).read_text("utf-8") for name in ENGINE]
    scripts = "".join(f"<script>{text}</script>" for text in [*engine, model_script])
    figure = drawn(model, encoding, beginnings)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>A GPT in this page</title>
<style>{STYLE}</style>
<script>document.documentElement.dataset.theme =
matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"</script>
{scripts}
<main><h1>A GPT in this page</h1>
{figure.html}</main>
</html>
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes a page that holds a model.")
    parser.add_argument("out", type=Path, help="the file to write, such as my-gpt.html")
    parser.add_argument("--model", help="a folder; without it the course's own model")
    parser.add_argument("--beginning", help="what it begins with, in place of examples")
    options = parser.parse_args()
    try:
        given = options.beginning
        beginnings = BEGINNINGS if given is None else {"yours": given}
        text = page(*pretrained.load(options.model), beginnings)
        write_atomically(options.out, text)
    except (ValueError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    size = f"{len(text) / 1e6:.2f} MB"
    print(f"{options.out} holds the model, {size}: open it in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
