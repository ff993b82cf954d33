"""The lines of `check` and `events` on a terminal: it has nothing to wrap."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from wcwidth import wcswidth

from tests.live.bare import KWITNESS
from tests.live.screens import Open, opened

pytestmark = pytest.mark.live


@pytest.fixture
def screens(live: None) -> Iterator[Open]:
    with opened() as found:
        yield found


def lines(seen: bytes) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).replace("\r\n", "\n").split("\n")


@pytest.mark.parametrize("width", [80, 100, 130, 200])
def test_the_lines_of_check_fit(screens: Open, width: int) -> None:
    screen = screens(*KWITNESS, "check", columns=width)
    assert screen.end() in (0, 1)
    found = lines(screen.seen)
    assert len(found) > 10 and max(map(wcswidth, found)) <= width


@pytest.mark.parametrize("width", [80, 130])
def test_the_lines_of_events_fit(screens: Open, width: int) -> None:
    screen = screens(*KWITNESS, "events", columns=width)
    screen.until(rb"following events")
    other = screens("/bin/echo", "数据" * 100, "x" * 300)
    assert other.end() == 0
    screen.until(rb"\(echo\) exit 0")
    screen.type(b"\x03")
    screen.end()
    found = lines(screen.seen)
    assert len(found) > 5 and max(map(wcswidth, found)) <= width
    assert any("数据" in line for line in found)
