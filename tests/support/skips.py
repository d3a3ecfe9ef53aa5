"""Skipped tests are counted, explained, and in continuous integration a failure.

A test may skip for one cause only: a program of ``scripts/debian-packages.txt`` is not on this
machine. :func:`needs_program` skips so; the summary says how to get them all.
"""

import os
import shutil
from collections import Counter

import pytest


def needs_program(*programs: str) -> pytest.MarkDecorator:
    """Skips a test where one of the programs is not on the path."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not on this machine: {', '.join(missing)}")


class SkipReport:
    """Collects skips and their reasons over one session."""

    def __init__(self, *, fail: bool) -> None:
        self.fail = fail
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._collect(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._collect(report)

    def _collect(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure is reported as skipped too, and is none.
        if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.reasons[text.removeprefix("Skipped: ")] += 1

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        clean = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self.fail and self.reasons and exitstatus in clean:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.reasons:
            return
        total = self.reasons.total()
        terminalreporter.section("skipped", red=self.fail, yellow=not self.fail)
        for reason, count in self.reasons.most_common():
            terminalreporter.line(f"{count:5}  {reason}")
        noun = "test was" if total == 1 else "tests were"
        terminalreporter.line(
            f"{total} {noun} skipped. `make test-deps` installs the Debian packages that tests need."
        )
        if self.fail:
            terminalreporter.line("CI=true: a skipped test is a failure.", red=True)


def in_ci() -> bool:
    """Whether this is continuous integration, where everything must run."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest when it loads this module as a plugin."""
    config.pluginmanager.register(SkipReport(fail=in_ci()), "nvr-skips")
