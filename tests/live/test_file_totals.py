"""Many files in few records: what is not reported by name is counted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from receiver.events import EventKind, FileChanged, FileOpened, FileTotals, FilterReason, Ledger
from receiver.kernel.capture import KernelLimits
from receiver.kernel.source_config import SourceConfig
from tests.live.conftest import Watched, Witness

pytestmark = pytest.mark.live


def test_imports_cost_a_handful_of_records(watched: Watched) -> None:
    pid = watched.run(
        "import asyncio, email, http.client, json, xml.dom.minidom; "
        "open('/proc/self/status').read()"
    )
    assert len(watched.witness.of(pid, FileOpened)) <= 3
    totals = watched.witness.one(pid, FileTotals)
    assert totals.noise_files > 50 and totals.noise_read_bytes > 100_000
    assert totals.opened_files == totals.noise_files + totals.reported_files + totals.unnamed_files


MANY = (
    100_000 if not os.environ.get("KWITNESS_SHARED_SOURCE") else 5_000
)  # an emulated machine has no patience for more
WRITES_AND_UNLINKS = """
import os, sys
for n in range(int(sys.argv[2])):
    f = os.open(f"{sys.argv[1]}/{n}", os.O_WRONLY | os.O_CREAT)
    os.write(f, b"x" * 10)
    os.close(f)
for n in range(int(sys.argv[2])):
    os.unlink(f"{sys.argv[1]}/{n}")
"""


def all_is_counted(before: Ledger, after: Ledger) -> None:
    """What was seen was kept, filtered or lost."""
    for kind in (
        EventKind.FILE_OPENED,
        EventKind.FILE_CLOSED,
        EventKind.FILE_CHANGED,
        EventKind.FILE_TOTALS,
    ):
        seen = after.seen[kind] - before.seen[kind]
        kept = after.submitted[kind] - before.submitted[kind]
        skipped = sum(after.filtered[kind]) - sum(before.filtered[kind])
        lost = sum(after.lost[kind]) - sum(before.lost[kind])
        assert seen == kept + skipped + lost, kind


def test_100_000_files_are_counted_exactly_in_few_records(live: None) -> None:
    witness = Witness(
        SourceConfig(limits=KernelLimits(files_per_process=20, changes_per_process=10))
    )
    place = tempfile.TemporaryDirectory(dir="/dev/shm")
    tmp_path = Path(place.name)
    try:
        before = witness.source.ledger()
        pid = Watched(witness).run(WRITES_AND_UNLINKS, str(tmp_path), str(MANY))
        ours = [e for e in witness.of(pid, FileOpened) if e.path.startswith(str(tmp_path))]
        totals = witness.one(pid, FileTotals)
        assert len(ours) == 20 and len(witness.of(pid, FileChanged)) == 10
        assert (totals.unnamed_files, totals.unnamed_written_bytes, totals.unnamed_changes) == (
            MANY - 20,
            10 * (MANY - 20),
            MANY - 10,
        )
        assert (
            totals.opened_files == totals.noise_files + totals.reported_files + totals.unnamed_files
        )
        after = witness.source.ledger()
        all_is_counted(before, after)
        limit = (
            after.filtered[EventKind.FILE_OPENED][FilterReason.LIMIT]
            - before.filtered[EventKind.FILE_OPENED][FilterReason.LIMIT]
        )
        assert limit == MANY - 20
        assert len(witness.events) < 1000
    finally:
        witness.source.close()
        place.cleanup()
