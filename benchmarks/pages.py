"""What each page of the built book costs its reader: `python -m benchmarks.pages`.

For each page, in a headless Chromium, served from this machine:

- its weight: bytes of the page and of all that it loads, uncompressed;
- how many requests that takes, and how many of them would go to other machines;
- the time until it answers, the median of five first visits (nothing cached): from the
  start of the navigation to the end of the load event, or of the last task that kept
  the page busy for more than 50 ms, whichever is later; 1440 px wide, light;
- the faults that axe-core finds, by severity, over two widths in light and dark, with
  all that is folded opened.

Times vary by machine and by what else it does; nothing in `tests/` depends on them.
Build the book first, with `make site`.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser

from course.build_book import OUTPUT
from tests.browser import (
    PAGES,
    axe_faults_everywhere,
    launched,
    loaded,
    opened,
    serving,
)

VISITS = 5
SEVERITIES = ("critical", "serious", "moderate", "minor")

INTERACTIVE = """() => new Promise(done => {
  const ends = [performance.getEntriesByType("navigation")[0].loadEventEnd]
  new PerformanceObserver(list => {
    for (const task of list.getEntries()) ends.push(task.startTime + task.duration)
  }).observe({type: "longtask", buffered: true})
  setTimeout(() => done(Math.max(...ends)), 200)
})"""


class Cost(NamedTuple):
    """What one page costs."""

    page: str
    megabytes: float
    requests: int
    outside: int
    milliseconds: float
    faults: Counter[str]


def main() -> None:
    book = Path(os.environ.get("FIVE_SUNDAYS_BOOK", OUTPUT / "_build/html"))
    print(f"{'page':<32}{'MB':>6}{'requests':>10}{'outside':>9}{'ms':>7}  axe")
    costs = []
    with launched() as browser, serving(book, 8700) as (_process, address):
        for page in [*PAGES, "search"]:
            cost = measured(browser, f"{address}{page}.html", page)
            costs.append(cost)
            faults = ", ".join(
                f"{cost.faults[severity]} {severity}" for severity in SEVERITIES
            )
            print(
                f"{page:<32}{cost.megabytes:>6.2f}{cost.requests:>10}{cost.outside:>9}"
                f"{cost.milliseconds:>7.0f}  {faults}",
                flush=True,
            )
        print(f"Chromium {browser.version}, {os.cpu_count()} cores")
    heaviest = max(costs, key=lambda cost: cost.megabytes)
    slowest = max(costs, key=lambda cost: cost.milliseconds)
    print(f"Heaviest: {heaviest.page}, {heaviest.megabytes:.2f} MB.")
    print(f"Slowest: {slowest.page}, {slowest.milliseconds:.0f} ms.")


def measured(browser: Browser, url: str, page: str) -> Cost:
    """One page, visited `VISITS` times for the clock and once for all else."""
    times = [until_it_answers(browser, url) for _ in range(VISITS)]
    with opened(browser, url) as (tab, problems):
        sizes = loaded(tab)
        outside = sum(problem.startswith("asked for") for problem in problems)
        faults = Counter(
            fault.partition(":")[0] for fault in axe_faults_everywhere(tab)
        )
    return Cost(
        page,
        sum(sizes.values()) / 1e6,
        len(sizes),
        outside,
        statistics.median(times),
        faults,
    )


def until_it_answers(browser: Browser, url: str) -> float:
    """Milliseconds of a first visit, as the module says."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    tab.goto(url, wait_until="networkidle")
    milliseconds = tab.evaluate(INTERACTIVE)
    context.close()
    return milliseconds


if __name__ == "__main__":
    main()
