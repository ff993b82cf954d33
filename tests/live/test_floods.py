"""A flood that any user can make for free costs another user's task nothing;
what it costs the flooder is counted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from receiver.constants import SECOND
from receiver.events import EventKind, FilterReason, Holder, LossReason, Title
from receiver.kernel.clock import boottime_ns
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions, Watch
from receiver.service.app import Observer
from receiver.service.host import losses_of
from tests.floods import FLOODER, as_user, attack
from tests.live.conftest import Watched, Witness, python

pytestmark = pytest.mark.live
# so small that a flood fills them before they are read: the share is what decides
SMALL = SourceConfig(
    lifecycle_ring_bytes=1 << 17,
    unwatched_ring_bytes=1 << 16,
    bulk_ring_bytes=1 << 17,
    drain_interval_seconds=0.5,
)


@pytest.fixture(autouse=True)
def two_users(live: None) -> None:
    """Floods run as users of their own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become other users")


def test_without_a_flood_the_task_is_whole() -> None:
    found = attack("")
    assert found.is_whole() and found.losses == {}, found


def test_a_flood_of_titles_costs_a_task_nothing() -> None:
    found = attack("titles")
    assert found.is_whole() and found.losses == {}, found
    assert found.ledger.filtered[EventKind.TITLE][FilterReason.RATE_LIMIT] > 10_000


def test_nor_does_a_flood_of_signals() -> None:
    found = attack("signals")
    assert found.is_whole() and found.losses == {}, found
    assert found.ledger.filtered[EventKind.SIGNAL][FilterReason.RATE_LIMIT] > 10_000


def test_nor_does_a_task_its_own_flood_of_titles() -> None:
    found = attack("", titles=20_000)
    assert found.is_whole() and found.losses == {}, found
    assert found.ledger.filtered[EventKind.TITLE][FilterReason.RATE_LIMIT] > 10_000


def test_processes_that_nobody_watches_fill_their_own_ring_only() -> None:
    # a ring that is half full wakes its reader: only one for a few records is full for long
    found = attack("execs", config=msgspec.structs.replace(SMALL, unwatched_ring_bytes=1 << 12))
    assert found.is_whole(), found
    assert {reason for _, reason in found.losses} == {"unwatched"}


@pytest.mark.parametrize("lost", [False, True])
def test_an_exit_that_was_not_read_yet_is_not_taken_for_a_lost_one(
    monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """When exits were lost, whoever is gone from /proc is looked for:
    the exit of a task that ended just now waits in its ring."""
    observer = Observer(SourceConfig(), CoreOptions(), None)
    observer.start()
    with observer.source.watching_self():
        child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    observer.session.watch(Watch(child.pid, os.getpid(), "job"), boottime_ns())
    while observer.core.watched(child.pid) is None:
        observer._deliver(observer.source.drain()[0], boottime_ns())
    child.communicate(b"")
    assert child.returncode == 0
    if lost:
        observer.source.drain()
    monkeypatch.setattr("receiver.service.app.losses_of", lambda _: {("exit", "unwatched"): 1})
    observer.tick()
    observer._deliver(observer.source.drain()[0], boottime_ns())
    observer.tick()
    execution = observer.core.watched(child.pid)
    assert execution is not None
    assert execution.live == (1 if lost else 0) or execution.closed
    observer.end()
    assert (execution.result, execution.incomplete) == (
        ("unknown", True) if lost else ("success", False)
    )
    asyncio.run(observer.close(0))


def test_a_flooder_that_says_it_is_a_task_uses_up_its_own_share() -> None:
    """Whose processes are watched is decided by a variable that anybody can set."""
    found = attack("connections", watched=True, config=SMALL)
    assert found.is_whole(), found
    assert found.losses[("connection", "user_share")] > 1_000
    assert found.lost("user_share") == (False, True)
    assert not [key for key in found.losses if key[0] in ("fork", "exec", "exit", "signal")]


# Makes a user namespace, waits until its users are mapped to it, and renames itself as
# five of them.
NAMESPACE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
if libc.unshare(0x10000000):
    sys.exit("no user namespace can be made here")
print("made", flush=True)
sys.stdin.readline()
for uid in range(1, 6):
    pid = os.fork()
    if not pid:
        os.setuid(uid)
        for n in range(1000): libc.prctl(15, b"u%d" % uid, 0, 0, 0)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_users_of_a_user_namespace_share_what_its_maker_may_do(witness: Witness) -> None:
    """Its maker can become any of them, and would have a new share each time.
    The map is written as newuidmap(1) does it."""
    child = subprocess.Popen(
        as_user(FLOODER, NAMESPACE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    assert child.stdin is not None and child.stdout is not None
    if child.stdout.readline() != "made\n":
        child.communicate()
        pytest.skip("no user namespace can be made here")
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child.pid}/{name}").write_text("0 100000 10")
    before = witness.source.ledger().submitted[EventKind.TITLE]
    child.communicate("go\n")
    assert child.returncode == 0
    made = witness.source.ledger().submitted[EventKind.TITLE] - before
    assert 256 <= made < 512  # one burst, and not five


# As another user, on the file that it inherits: it may not be able to reach its path.
REFUSED = """
import fcntl, os, sys
path, processes = f"/proc/self/fd/{sys.argv[1]}", int(sys.argv[2])
for _ in range(processes):
    pid = os.fork()
    if not pid:
        try: fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError: os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
"""
LOOKS_AT_ONCE, LOOKS_PER_SECOND = 64, 8  # bpf/share.bpf.h


def test_many_processes_that_are_refused_a_lock_cause_few_looks_at_all_processes(
    watched: Watched, tmp_path: Path
) -> None:
    """Each may cause one. The user may cause so many a second, whatever he forks."""
    lock = tmp_path / "lock"
    lock.touch()
    lock.chmod(0o666)
    descriptor, processes = os.open(lock, os.O_RDWR), 250
    holds = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 6); "
        "print('up', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", holds, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"up\n"
    source = watched.witness.source
    before, began = source.ledger().lost[EventKind.HOLDER][LossReason.RATE_LIMIT], boottime_ns()
    with source.watching_self():
        flooder = subprocess.Popen(
            as_user(FLOODER, REFUSED, str(descriptor), str(processes)),
            pass_fds=[descriptor],
            cwd="/",
        )
    assert flooder.wait() == 0
    seconds = (boottime_ns() - began) / SECOND
    holder.communicate(b"\n")
    os.close(descriptor)
    refused = source.ledger().lost[EventKind.HOLDER][LossReason.RATE_LIMIT] - before
    looks = [e for e in watched.witness.all(Holder) if e.holder.tgid == holder.pid]
    assert len(looks) + refused == processes  # none without a trace
    assert 1 <= len(looks) <= LOOKS_AT_ONCE + 1 + seconds * LOOKS_PER_SECOND


def test_the_first_titles_of_a_process_come_through(witness: Witness) -> None:
    code = (
        "import ctypes\nfor n in range(2000): ctypes.CDLL(None).prctl(15, b'title %d' % n, 0, 0, 0)"
    )
    child = python(code)
    assert child.wait(60) == 0
    names = [e.comm for e in witness.of(child.pid, Title)]
    assert names[:200] == [f"title {n}" for n in range(200)] and len(names) < 1000
    assert losses_of(witness.source.ledger()) == {}
