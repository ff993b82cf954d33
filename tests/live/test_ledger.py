"""What programs lose when they get into each other's way, and that the ledger counts it."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from receiver.events import EventKind, Exec, Exit, Ledger, LossReason
from receiver.kernel.libbpf import Library
from receiver.kernel.recursion import with_recursion
from tests.live.conftest import Witness

pytestmark = pytest.mark.live
SCRATCHES = 5  # bpf/maps.bpf.h
_RAW_TRACEPOINT = 17  # enum bpf_prog_type
# r1 = SIGURG; bpf_send_signal(r1); return 0
SIGNALS_ITSELF = bytes.fromhex(
    "b701000017000000 850000006d000000 b700000000000000 9500000000000000"
)


@contextmanager
def in_use(witness: Witness, count: int) -> Iterator[None]:
    """As if programs that were interrupted held the first `count` scratches of each CPU."""
    kernel = witness.source._probes.object
    size = kernel.value_size("scratches")
    size += -size % 8
    cpus = witness.source._probes.library.possible_cpus()

    def mark(taken: int) -> None:
        for index in range(count):
            value = bytearray(kernel.lookup("scratches", struct.pack("<I", index), size * cpus))
            for cpu in range(cpus):
                value[cpu * size : cpu * size + 4] = struct.pack("<I", taken)
            kernel.update("scratches", struct.pack("<I", index), bytes(value))

    mark(1)
    try:
        yield
    finally:
        mark(0)


def lost(ledger: Ledger, kind: EventKind) -> int:
    return ledger.lost[kind][LossReason.NESTED]


def is_conserved(witness: Witness, kind: EventKind) -> bool:
    """Whether what was seen went somewhere. Other processes of the host may be between the two."""
    for _ in range(1000):
        now = witness.source.ledger()
        if now.seen[kind] == sum(now.lost[kind]) + sum(now.filtered[kind]) + now.submitted[kind]:
            return True
    return False


def test_a_program_that_was_interrupted_keeps_its_scratch(witness: Witness) -> None:
    before = witness.source.ledger()
    with in_use(witness, SCRATCHES - 1):
        child = subprocess.Popen(["/bin/true"])
        assert child.wait() == 0
    assert witness.one(child.pid, Exec).argv == ("/bin/true",)
    assert lost(witness.source.ledger(), EventKind.EXEC) == lost(before, EventKind.EXEC)


def test_records_without_a_scratch_are_counted_as_lost(witness: Witness) -> None:
    before = witness.source.ledger()
    with in_use(witness, SCRATCHES):
        child = subprocess.Popen(["/bin/true"])
        assert child.wait() == 0
    assert not witness.of(child.pid, Exec) and not witness.of(child.pid, Exit)
    after = witness.source.ledger()
    for kind in (EventKind.EXEC, EventKind.EXIT):
        assert lost(after, kind) > lost(before, kind)
        assert is_conserved(witness, kind)
    child = subprocess.Popen(["/bin/true"])  # they are free again
    assert child.wait() == 0
    assert witness.one(child.pid, Exit).wait_status == 0


@pytest.fixture
def refused_program(live: None) -> Iterator[tuple[Library, int]]:
    """A program on task_rename that sends a signal, at which it would run again:
    the kernel refuses that."""
    library = Library()
    program = library.bpf_prog_load(
        _RAW_TRACEPOINT, b"signals_itself", b"GPL", SIGNALS_ITSELF, len(SIGNALS_ITSELF) // 8, None
    )
    assert program >= 0
    links = [
        library.bpf_raw_tracepoint_open(name, program)
        for name in (b"signal_generate", b"task_rename")
    ]
    assert min(links) >= 0
    yield library, program
    for fd in (*links, program):
        os.close(fd)


def test_what_the_kernel_refused_for_recursion_is_seen_and_lost(
    witness: Witness, refused_program: tuple[Library, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    library, program = refused_program
    before = library.recursion_misses(program)
    library.rename_self(b"kwitness-test")
    misses = library.recursion_misses(program) - before
    assert misses >= 1
    kernel = witness.source._probes.object
    own = kernel.program_fd
    monkeypatch.setattr(
        kernel, "program_fd", lambda name: program if name == "on_title" else own(name)
    )
    ledger = witness.source.ledger()
    assert ledger.lost[EventKind.TITLE][LossReason.RECURSION] >= misses
    assert is_conserved(witness, EventKind.TITLE)


def test_without_misses_the_ledger_stays_the_same(witness: Witness) -> None:
    ledger = witness.source.ledger()
    assert with_recursion(ledger, {EventKind.EXEC: 0}) is ledger
