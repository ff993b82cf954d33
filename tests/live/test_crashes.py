"""Crashes on the real kernel: the signal, and the file and offset of the instruction."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from receiver.events import Crash, EventKind, LossReason
from tests.live.conftest import Witness, python

pytestmark = pytest.mark.live
CRASH = (
    "import ctypes, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ctypes.string_at(0)"
)
OWN_CODE = """
import mmap; m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
m[0:2] = bytes((0x0F, 0x0B))
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
"""  # ud2


@pytest.mark.parametrize("observers", [1, 3])
def test_a_crash_says_in_which_file_it_stood(witness: Witness, observers: int) -> None:
    """To each observer: they all ask at the same moment, on the same CPU."""
    others = [Witness() for _ in range(observers - 1)]
    child = python(CRASH)
    assert child.wait(timeout=30) == -signal.SIGSEGV
    found = [each.one(child.pid, Crash) for each in (witness, *others)]
    for other in others:
        other.source.close()
    assert len({(event.module, event.module_offset) for event in found}) == 1
    event = found[0]
    assert (event.signal, event.thread) == (signal.SIGSEGV, child.pid)
    assert "libc" in event.module or "libffi" in event.module
    assert (
        0 < event.module_offset < Path(event.module).stat().st_size
        and event.module_offset < event.address
    )


@pytest.mark.parametrize(
    ("code", "module"),
    [
        # a tree of mappings that is several nodes deep
        (
            "import mmap; held = [mmap.mmap(-1, 4096, prot=1 + i % 2 * 2) for i in range(5000)]",
            "lib",
        ),
        # no file is mapped where it jumps to: one of no mapping, and one of memory of its own
        ("ctypes.CFUNCTYPE(None)(16)()", ""),
        (OWN_CODE, ""),
    ],
)
def test_a_crash_is_where_the_kernel_has_a_file_or_nowhere(
    witness: Witness, code: str, module: str
) -> None:
    child = python(CRASH.replace("ctypes.string_at(0)", f"{code}\nctypes.string_at(0)"))
    child.wait(timeout=60)
    event = witness.one(child.pid, Crash)
    assert (module in event.module) if module else (event.module, event.module_offset) == ("", 0)
    assert witness.source.ledger().lost[EventKind.CRASH][LossReason.BUSY] == 0


def test_a_fault_that_is_handled_is_no_crash(witness: Witness) -> None:
    child = python(
        "import os, signal; signal.signal(signal.SIGABRT, lambda *a: os._exit(3)); "
        "signal.raise_signal(signal.SIGABRT)"
    )
    child.wait(timeout=30)
    assert not witness.of(child.pid, Crash)
