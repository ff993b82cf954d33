from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.collector import Collector, running


@pytest.fixture
def collector(live: None, tmp_path: Path) -> Iterator[Collector]:
    with running(tmp_path) as found:
        yield found
