"""The curve of a training grows in its place, and stays when the training ends."""

from __future__ import annotations

import pytest

from course import curve
from course.curve import Curve


class Shown:
    """What a notebook has shown: the first picture, and each that replaced it."""

    def __init__(self) -> None:
        self.pictures = []

    def display(self, picture, display_id):
        assert display_id
        self.pictures.append(picture)
        return self

    def update(self, picture):
        self.pictures.append(picture)


@pytest.fixture
def shown(monkeypatch):
    shown = Shown()
    monkeypatch.setattr("IPython.display.display", shown.display)
    return shown


def test_the_picture_that_stays_tells_all(shown):
    with Curve(floor=0.117) as grown:
        for step in range(1, 51):
            grown.batch(step, 4 / step)
        grown.held_out(1, 4.1)
        grown.held_out(50, 0.25)
    last = shown.pictures[-1]
    assert last.alt == (
        "The loss is 4.10 bits per character at step 1 and 0.25 at step 50; the floor "
        "is 0.12."
    )
    assert ">floor<" in last.html
    assert last.html.count("<svg") == 1


def test_it_is_drawn_again_no_more_than_once_in_a_while(shown, monkeypatch):
    now = 100.0
    monkeypatch.setattr(curve.time, "monotonic", lambda: now)
    grown = Curve()
    for step in range(40):
        grown.batch(step, 2.0)
        now += 0.1
    assert len(shown.pictures) == 4  # at 0, 1, 2 and 3 seconds


def test_a_training_that_breaks_still_shows_its_curve(shown):
    def broken():
        with Curve() as grown:
            grown.batch(0, 2.0)
            grown.batch(1, 1.5)
            raise ValueError("NaN")

    with pytest.raises(ValueError, match="NaN"):
        broken()
    assert "1.50 at step 1" in shown.pictures[-1].alt


def test_a_curve_without_a_point_shows_nothing(shown):
    with Curve():
        pass
    assert shown.pictures == []
