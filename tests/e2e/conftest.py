from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.e2e.collector import Collector, binary


@pytest.fixture
def collector(live: None, tmp_path: Path) -> Iterator[Collector]:
    executable = binary()
    if executable is None:
        missing("e2e", "the Collector is not built (make collector)")
        raise AssertionError
    output = tmp_path / "collector"
    output.mkdir()
    found = Collector(executable, output)
    found.start()
    yield found
    found.stop()
