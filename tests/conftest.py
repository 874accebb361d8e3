"""What tests share: where the optional real data lies, and a data folder of their own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests on real data where the folder is absent, and those against SAM 2.1's own library where it is not installed."""
    there = {"shared_data": SHARED_DATA.is_dir(), "sam2": importlib.util.find_spec("sam2") is not None}
    absent = [marker for marker, is_there in there.items() if not is_there]
    items[:] = [item for item in items if not any(item.get_closest_marker(marker) for marker in absent)]


@pytest.fixture(scope="session", autouse=True)
def data_folder_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that tests leave behind lies in the working folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERRATUNE_DATA", str(tmp_path_factory.mktemp("terratune_data")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return SHARED_DATA


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int):
    """In CI a skipped test is a failure."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPPED_TESTS") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
