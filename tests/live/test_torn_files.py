"""The files that a process had open for writing when a signal reached it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from receiver.events import EventKind, Exit, FileFlag, FileReason, LossReason, OpenFile
from tests.live.conftest import Witness, python
from tests.live.deaths import WRITE, finish, ready

pytestmark = pytest.mark.live


def test_open_files_at_a_kill(witness: Witness, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    more = """
os.open(sys.argv[1] + ".log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
os.open("/dev/null", os.O_WRONLY); os.open(sys.argv[1], os.O_RDONLY)
gone = os.open(sys.argv[1] + ".gone", os.O_CREAT | os.O_WRONLY); os.unlink(sys.argv[1] + ".gone")
"""
    child = python(WRITE.format(more=more), str(out), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    found = {
        Path(e.path).name.split(" ")[0]: e
        for e in witness.of(child.pid, OpenFile)
        if e.path.startswith(str(tmp_path))
    }
    assert set(found) == {"out.csv", "out.csv.log", "out.csv.gone"}
    event = found["out.csv"]
    stat = out.stat()
    assert (event.inode, event.position_bytes, event.size_bytes) == (stat.st_ino, 5000, 5000)
    assert (event.device >> 20, event.device & 0xFFFFF) == (
        os.major(stat.st_dev),
        os.minor(stat.st_dev),
    )
    assert (event.reason, event.signal, event.file_flags) == (FileReason.DEATH, signal.SIGKILL, 0)
    assert found["out.csv.log"].open_flags & os.O_APPEND
    assert found["out.csv.gone"].file_flags == FileFlag.DELETED
    assert (
        event.sequence < witness.one(child.pid, Exit).sequence
        or event.cpu != witness.one(child.pid, Exit).cpu
    )
    assert event.time_boottime_ns < witness.one(child.pid, Exit).time_boottime_ns


def test_open_files_at_the_delivery_of_a_handled_sigterm(witness: Witness, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    more = "def stop(*_):\n os.close(fd); os._exit(1)\nsignal.signal(signal.SIGTERM, stop)"
    child = python(WRITE.format(more=more), str(out), stdout=subprocess.PIPE)
    ready(child)
    child.terminate()
    finish(child)
    mine = [e for e in witness.of(child.pid, OpenFile) if e.path == str(out)]
    assert [(e.reason, e.signal, e.position_bytes) for e in mine] == [
        (FileReason.SIGNAL, signal.SIGTERM, 5000)
    ]


def test_the_parents_stdout_is_marked(witness: Witness, tmp_path: Path) -> None:
    log = tmp_path / "script.log"
    with log.open("w") as target:
        subprocess.run(
            ["/bin/sh", "-c", "sleep 60 & kill -9 $!; wait"],
            stdout=target,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    flagged = [e for e in witness.all(OpenFile) if e.path == str(log)]
    assert flagged
    assert all(e.file_flags & FileFlag.INHERITED_STDIO for e in flagged)


def test_deep_paths_are_whole(witness: Witness, tmp_path: Path) -> None:
    deep = tmp_path
    for number in range(30):
        deep = deep / f"directory-{number:02}-{'n' * 40}"
    deep.mkdir(parents=True)
    child = python(WRITE.format(more=""), str(deep / "out"), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    assert str(deep / "out") in {e.path for e in witness.of(child.pid, OpenFile)}


def test_many_open_files_are_capped_and_counted(witness: Witness, tmp_path: Path) -> None:
    more = "for i in range(99): os.open(f'{sys.argv[1]}.{i}', os.O_CREAT | os.O_WRONLY)"
    child = python(WRITE.format(more=more), str(tmp_path / "out"), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    ours = witness.of(child.pid, OpenFile)
    assert len(ours) == 64
    assert witness.source.ledger().lost[7][1] >= 100 - 64


@pytest.mark.parametrize(
    ("more", "counted"),
    [
        ("os.dup2(fd, 5000)", 1),
        ("os.dup2(fd, 5000); os.close(5000)", 0),  # the table stays large, and nothing is missed
    ],
)
def test_descriptors_past_those_that_are_looked_at_are_counted_as_missed(
    witness: Witness, tmp_path: Path, more: str, counted: int
) -> None:
    before = witness.source.ledger().lost[EventKind.OPEN_FILE][LossReason.DESCRIPTOR_LIMIT]
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192)); "
    child = python(WRITE.format(more=limit + more), str(tmp_path / "out"), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    after = witness.source.ledger().lost[EventKind.OPEN_FILE][LossReason.DESCRIPTOR_LIMIT]
    assert after - before == counted
