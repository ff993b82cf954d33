"""Refused memory, by the limit that refused it."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from receiver.events import MemoryRefused, RefusalFlag
from receiver.investigate.report import Hypothesis
from receiver.units import MIB
from tests.builders import Story
from tests.investigate.telling import report_of

NO_LIMIT = (1 << 63) - 1
MMAP = 9  # of x86-64


def lead_of(**how: Any) -> Hypothesis:
    story = Story()
    step = story.command("python3", "step.py")
    known = {
        "asked_bytes": 300 * MIB,
        "mapped_bytes": 50 * MIB,
        "private_bytes": 20 * MIB,
        "mappings": 49,
        "mappings_max": 65530,
        "address_space_limit_bytes": NO_LIMIT,
        "data_limit_bytes": NO_LIMIT,
        "locked_limit_bytes": 8 * MIB,
        "call_number": MMAP,
        "error": errno.ENOMEM,
        "refusal_flags": int(RefusalFlag.ANONYMOUS),
    }
    story.fact(MemoryRefused, step, **(known | how))
    story.exit(step, 1)
    return report_of(story).hypotheses[0]


@pytest.mark.parametrize(
    ("how", "cause", "said"),
    [
        ({"address_space_limit_bytes": 200 * MIB}, "mem.rlimit", "its RLIMIT_AS is 200.0 MiB"),
        (
            {
                "data_limit_bytes": 100 * MIB,
                "refusal_flags": int(RefusalFlag.PRIVATE_WRITABLE | RefusalFlag.ANONYMOUS),
            },
            "mem.rlimit",
            "with the 20.0 MiB that it had, that is 320.0 MiB, and its RLIMIT_DATA is 100.0 MiB",
        ),
        ({"mappings": 65530}, "mem.mappings", "vm.max_map_count is 65530"),
        ({"overcommit": 2}, "mem.overcommit", "vm.overcommit_memory is 2"),
        (
            {
                "error": errno.EPERM,
                "refusal_flags": int(RefusalFlag.EXECUTABLE | RefusalFlag.NOEXEC),
                "path": "/data/lib.so",
            },
            "fs.noexec",
            "/data/lib.so is on a mount with the option noexec",
        ),
    ],
)
def test_the_limit_that_refused_memory_is_named(how: dict[str, Any], cause: str, said: str) -> None:
    lead = lead_of(**how)
    assert lead.cause == cause
    assert said in lead.summary


def test_a_data_limit_does_not_refuse_shared_memory() -> None:
    """The near miss: the same numbers, and memory that does not count against RLIMIT_DATA."""
    assert lead_of(data_limit_bytes=100 * MIB).cause == "mem.overcommit"


def test_a_limit_with_room_refuses_nothing() -> None:
    assert lead_of(address_space_limit_bytes=400 * MIB).cause == "mem.overcommit"
