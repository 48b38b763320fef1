"""Runs and pages that several tests look at; made once, never written to."""

from pathlib import Path

import pytest

from apportion.report import write_report
from tests.report.chromium import BINARY, Page
from tests.report.synthetic import write_stage_run, write_training_run


@pytest.fixture(scope="session")
def training_run(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "words_quickstart"
    return write_training_run(path, problems=18, group=3)


@pytest.fixture(scope="session")
def stage_run(tmp_path_factory) -> Path:
    return write_stage_run(tmp_path_factory.mktemp("runs") / "stage", problems=24)


@pytest.fixture(scope="session")
def report(training_run) -> Path:
    return write_report(training_run, max_traces=120)


@pytest.fixture(scope="session")
def browser():
    if BINARY is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    page = Page()
    yield page
    page.close()
