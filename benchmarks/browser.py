"""The shipped model in a browser: how fast, how exact, how small.

    python -m benchmarks.browser

Printed and kept are, for the page `chapters/week5/in-your-browser` of the built book
(build it first, with `make site`), served from this machine, in a headless Chromium:

- the seconds from the start of a first visit (nothing cached) until the model is ready;
- tokens per second that it writes at full speed, drawn on the page, and how many the
  engine alone reads;
- the largest difference of its logits from those of `transformers`, over stories and
  over what is no story: with the same weights in float64 and in float32, and with the
  weights of `course/pretrained`, which are not rounded to half precision;
- what rounding the weights costs: their size as text, and bits per character on 200
  stories that were held out, for float32, half precision and int8.

Times are medians. They vary by machine and by what else it does; nothing in `tests/`
depends on them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from playwright.sync_api import Browser, Page
from torch import Tensor
from transformers import GPT2LMHeadModel

from course import corpus, pretrained, records, small_model
from course.build_book import OUTPUT
from solutions.gpt_block import gpt_parameters
from solutions.local_deployment import quantize
from tests.browser import launched, opened, serving

PAGE = "chapters/week5/in-your-browser.html"
VISITS = 5
SEEDS = range(1, 6)
STORIES = 5
ODD = ("The capital of France is", "안녕하세요, 토큰! 🙂", "def f(x):\n    return", "")

READY = "() => document.querySelector('.fs-machine').textContent.startsWith('Ready')"
WRITTEN = """async seed => {
  const find = kind => document.querySelector(`.fs-in_your_browser .fs-${kind}`)
  find("seed").value = seed
  find("seed").dispatchEvent(new Event("input"))
  const frame = () => new Promise(requestAnimationFrame)
  await frame()
  const count = () => find("text").children.length, before = count()
  const start = performance.now()
  find("write").click()
  do await frame(); while (find("write").textContent == "Pause")
  return [count() - before, (performance.now() - start) / 1000]
}"""
LOGITS = """(figure, ids) => {
  figure.model.length = 0
  return ids.map(id => [...figure.model.read(id).logits])
}"""
ALONE = """(figure, ids) => {
  figure.model.length = 0
  const start = performance.now()
  for (const id of ids) figure.model.read(id)
  return (performance.now() - start) / 1000
}"""


def main() -> None:
    book = Path(os.environ.get("FIVE_SUNDAYS_BOOK", OUTPUT / "_build/html"))
    with launched() as browser, serving(book, 8700) as (_process, address):
        results = {
            "browser": f"Chromium {browser.version}",
            **measured(browser, address + PAGE),
        }
    results["weights"] = weights()
    for name, result in results.items():
        print(f"{name}: {result}")
    print(records.keep("browser", results))


def measured(browser: Browser, url: str) -> dict[str, object]:
    """Times and differences in the page at `url`."""
    seconds = [until_ready(browser, url) for _ in range(VISITS)]
    with opened(browser, url) as (tab, faults):
        figure = tab.locator(".fs-in_your_browser")
        figure.scroll_into_view_if_needed()
        tab.wait_for_function(READY)
        tab.select_option(".fs-pace", "0")
        runs = [tab.evaluate(WRITTEN, seed) for seed in SEEDS]
        ids = longest_story()
        alone = [figure.evaluate(ALONE, ids) for _ in SEEDS]
        differences = differing(lambda ids: figure.evaluate(LOGITS, ids))
        assert not faults, faults
    return {
        "seconds_until_ready": round(median(seconds), 2),
        "tokens_per_second": round(median(n / spent for n, spent in runs)),
        "tokens_read_per_second": round(len(ids) / median(alone)),
        "largest_differences": differences,
    }


def until_ready(browser: Browser, url: str) -> float:
    """Seconds of a first visit."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab: Page = context.new_page()
    tab.goto(url, wait_until="commit")
    tab.locator(".fs-in_your_browser").scroll_into_view_if_needed()
    tab.wait_for_function(READY)
    seconds = tab.evaluate("performance.now()") / 1000
    context.close()
    return seconds


def texts() -> list[list[int]]:
    """Tokens of stories, and of what is none."""
    _, encoding = pretrained.load()
    stories = [story.text for story in islice(corpus.stories(seed=7), STORIES)]
    return [
        encoding.encode_ordinary(small_model.START + text)[:256]
        for text in [*stories, *ODD]
    ]


def longest_story() -> list[int]:
    return max(texts(), key=len)


@torch.no_grad()
def differing(logits: Callable[[list[int]], list[list[float]]]) -> dict[str, float]:
    """How far any logit of the browser is from those of `transformers`, at most."""
    shipped, single, double = (
        GPT2LMHeadModel.from_pretrained(pretrained.FOLDER).eval() for _ in range(3)
    )
    oracles = {
        "float64": double.half().double(),
        "float32": single.half().float(),
        "shipped": shipped,
    }
    largest = dict.fromkeys(oracles, 0.0)
    for ids in texts():
        ours = torch.tensor(logits(ids), dtype=torch.float64)  # (T, V)
        for name, oracle in oracles.items():
            off = (oracle(torch.tensor([ids])).logits[0] - ours).abs().max().item()
            largest[name] = max(largest[name], off)
    return {name: float(f"{off:.1e}") for name, off in largest.items()}


def weights() -> dict[str, dict[str, float]]:
    """Of each way to store the weights: its size in base64, and what it costs."""
    model, encoding = pretrained.load()
    kinds = {
        "float32": (4, lambda weight: weight),
        "half": (2, lambda weight: weight.half().float()),
        "int8": (1, as_int8),
    }
    results = {}
    for name, (size, stored) in kinds.items():
        other = copy.deepcopy(model)
        for weight in other.parameters():
            weight.data = stored(weight.data)
        bits = small_model.bits_per_character(other, encoding, context=256)
        megabytes = size * gpt_parameters(model.config) * 4 / 3 / 1e6
        results[name] = {
            "megabytes": round(megabytes, 2),
            "bits_per_character": round(bits, 6),
        }
    return results


def as_int8(weight: Tensor) -> Tensor:
    """A matrix as week 5 quantizes it; what is no matrix stays as it is."""
    if weight.dim() == 1:
        return weight
    numbers, scale = quantize(weight)
    return numbers * scale


if __name__ == "__main__":
    main()
