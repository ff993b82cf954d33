from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.e2e.collector import Collector, binary


@pytest.fixture(autouse=True)
def needs_live(live: None) -> None:
    """Everything here watches the real kernel."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def collector(place: Path) -> Iterator[Collector]:
    executable = binary()
    if executable is None:
        missing("e2e", "the Collector is not built (make collector)")
        raise AssertionError
    output = place / "collector"
    output.mkdir()
    found = Collector(executable, output)
    found.start()
    yield found
    found.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.frameworks)
