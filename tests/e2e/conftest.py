from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.kernel import seccomp
from tests.conftest import missing
from tests.e2e.collector import Collector, running
from tests.e2e.confined import NOBODY
from tests.live.installation import installed


@pytest.fixture
def collector(live: None, tmp_path: Path) -> Iterator[Collector]:
    with running(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    if why := seccomp.missing():
        missing("live", why)
    with installed(NOBODY) as place:
        yield place
