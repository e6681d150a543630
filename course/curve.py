"""A loss curve that grows while a model trains, with the entropy floor under it.

    with Curve(floor=corpus.floor()) as curve:
        for step, loss in ...:
            curve.batch(step, bits)
            curve.held_out(step, bits)      # now and then

In a notebook the picture is drawn again about once a second, in its place; what stays
is the whole curve.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from course.figures import Drawing, drawing

SECONDS = 1.0
"""Between two drawings: to draw takes time that training could have."""


class Curve:
    """Bits per character against steps, on a logarithmic scale."""

    def __init__(self, floor: float | None = None) -> None:
        self.floor = floor
        self.batches: list[tuple[int, float]] = []
        self.measured: list[tuple[int, float]] = []
        self._shown: Any = None
        self._drawn = 0.0

    def __enter__(self) -> Curve:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show all of it, also when the training was stopped."""
        if self.batches or self.measured:
            self._show()

    def batch(self, step: int, bits: float) -> None:
        """The loss of one batch, in bits per character."""
        self.batches.append((step, bits))
        if time.monotonic() - self._drawn >= SECONDS:
            self._show()

    def held_out(self, step: int, bits: float) -> None:
        """The loss on text that is not learned from."""
        self.measured.append((step, bits))

    def picture(self) -> Drawing:
        """The curve as far as it has come."""
        return drawing(self._in_words(), self._plot, size=(4.8, 2.9))

    def _show(self) -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        if self._shown is None:
            self._shown = display(self.picture(), display_id=True)
        else:
            self._shown.update(self.picture())

    def _plot(self, axes: Any) -> None:
        if self.batches:
            axes.semilogy(*zip(*self.batches, strict=True), "C0", linewidth=0.7)
        if self.measured:
            axes.semilogy(*zip(*self.measured, strict=True), "C1o")
        last = max(step for step, _ in self.batches + self.measured)
        if self.floor:
            axes.axhline(self.floor, color="0.5", linestyle=":")
            axes.text(0.02 * last, 1.03 * self.floor, "floor", color="0.4")
        ticks = [0.1, 0.2, 0.5, 1, 2, 5]
        axes.set(xlabel="step", ylabel="bits per character", ylim=(0.1, 6))
        axes.set(xlim=(0, max(1, 1.02 * last)))
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()

    def _in_words(self) -> str:
        points = self.measured or self.batches
        words = (
            f"The loss is {points[0][1]:.2f} bits per character at step {points[0][0]} "
            f"and {points[-1][1]:.2f} at step {points[-1][0]}"
        )
        return words + (f"; the floor is {self.floor:.2f}." if self.floor else ".")
