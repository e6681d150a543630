"""What every test run shares: an import path, and no reader's folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent

# nbval starts a kernel in each notebook's own folder: it finds the packages of the
# course even in a clone that was never installed.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
)
# Nothing here reads or writes what a reader has done.
os.environ["FIVE_SUNDAYS_HOME"] = tempfile.mkdtemp(prefix="five-sundays-test-")
os.environ.pop("FIVE_SUNDAYS_RECORD", None)
# Several kernels run side by side: more threads than cores would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test looks at a clock, and so no example of a property does.
hypothesis.settings.register_profile("without a clock", deadline=None)
hypothesis.settings.load_profile("without a clock")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that was skipped proved nothing: here it counts as failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; what it needs must be installed"
    return report
