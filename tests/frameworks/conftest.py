from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.collector import Collector, running


@pytest.fixture(autouse=True)
def needs_live(live: None) -> None:
    """Everything here watches the real kernel."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def collector(place: Path) -> Iterator[Collector]:
    with running(place) as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.frameworks)
