"""An update that is killed, or that finds the disk full, loses nothing."""

from __future__ import annotations

import pytest

from tests import kills
from tests.small_course import FIRST, LATER, publish


@pytest.fixture
def first(tmp_path):
    return publish(tmp_path / "first", FIRST)


@pytest.fixture
def later(tmp_path):
    return publish(tmp_path / "later", LATER)


def test_an_update_that_is_killed_at_every_moment_loses_nothing(first, later, tmp_path):
    moments = kills.at_every_moment(first, later, tmp_path)
    assert moments == 8 * 4  # three files for each old chapter, two for the new one


def test_a_first_run_that_is_killed_at_every_moment_is_finished_by_the_next(
    first, tmp_path
):
    moments = kills.at_every_moment_of_the_first_run(first, tmp_path)
    assert moments == 6 * 4  # two chapters and the README, each with its record


def test_an_update_that_is_killed_again_and_again(first, later, tmp_path):
    assert kills.again_and_again(first, later, tmp_path) > 4


def test_an_update_that_is_killed_at_any_time_loses_nothing(first, later, tmp_path):
    # How many are half done then is up to the clock; the rest is asserted inside.
    assert kills.at_random_times(first, later, tmp_path, times=15) <= 15


def test_a_disk_that_fills_up_at_any_write_loses_nothing(first, later, tmp_path):
    assert kills.at_every_full_disk(first, later, tmp_path) == 8


def test_files_that_may_not_grow_are_one_clear_line(first, later, tmp_path):
    assert kills.at_files_that_may_not_grow(first, later, tmp_path) == 3
