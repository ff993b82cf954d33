"""The hooks for system calls: attached only while something is watched, and by a helper when we
have no privileges left."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.attribution.declared import DECLARED
from receiver.events import EventKind, Exit, FileOpened, FilterReason, Fork
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
from tests.live.conftest import DOOR, Watched, Witness

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent.parent
OPEN = "import os, sys; os.close(os.open(sys.argv[1], 65))"


def following(source: LiveSource) -> bool:
    return source.following  # asked anew: it changes under the type checker's eyes


def opened(witness: Witness, path: Path) -> int:
    return sum(e.path == str(path) for e in witness.all(FileOpened))


def test_it_is_shut_until_something_is_watched_and_again_afterwards(
    live: None, tmp_path: Path
) -> None:
    witness = Witness()
    source = witness.source
    assert not following(source)
    watched = Watched(witness)
    watched.run(OPEN, str(tmp_path / "one"))
    assert following(source) and opened(witness, tmp_path / "one") == 1
    source.unwatch()
    assert not following(source)
    source._marks[os.getpid()] = 1  # children are marked, and no program runs at their calls
    subprocess.run(["/bin/sh", "-c", f"echo x > {tmp_path}/two"], check=True)
    source._marks[os.getpid()] = 0
    assert opened(witness, tmp_path / "two") == 0
    watched.run(OPEN, str(tmp_path / "three"))
    assert opened(witness, tmp_path / "three") == 1
    source.close()


LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def child_with_pid(wanted: int, *command: str) -> subprocess.Popen[str]:
    """A child that has a pid which is free. Other processes of the host also take pids."""
    if not LAST_PID.exists():
        pytest.skip("this kernel has no ns_last_pid (CONFIG_CHECKPOINT_RESTORE)")
    for _ in range(200):
        LAST_PID.write_text(str(wanted - 1))
        child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        if child.pid == wanted:
            return child
        child.communicate("\n")
    raise AssertionError(f"pid {wanted} is not free")


def stale_marks(witness: Witness) -> int:
    return witness.source.ledger().filtered[EventKind.EXISTING][FilterReason.STALE_MARK]


@pytest.mark.parametrize("reused", ["before it is marked", "after it was marked"])
def test_a_mark_that_came_too_late_for_its_process_is_not_the_next_ones(
    live: None, tmp_path: Path, reused: str
) -> None:
    """User space marks a process that it knows by records, and by then the pid may be another's."""
    witness = Witness()
    gone = subprocess.Popen(["/bin/true"])
    assert gone.wait() == 0
    key = witness.one(gone.pid, Exit).process
    before = stale_marks(witness)
    if reused == "after it was marked":
        witness.source.watch([key])
    code = f"import sys; sys.stdin.readline(); {OPEN}"
    child = child_with_pid(gone.pid, sys.executable, "-I", "-S", "-c", code, str(tmp_path / "one"))
    if reused == "before it is marked":
        witness.source.watch([key])
    child.communicate("\n")
    assert child.wait() == 0 and (tmp_path / "one").exists()
    assert opened(witness, tmp_path / "one") == 0
    assert stale_marks(witness) == before + 1
    assert witness.of(gone.pid, Fork)[-1].process != key
    witness.source.close()


def test_a_process_that_is_marked_in_time_is_watched_with_its_children(
    live: None, tmp_path: Path
) -> None:
    witness = Witness()
    code = (
        f"import os, subprocess, sys; sys.stdin.readline(); {OPEN}; "
        "subprocess.run(['/bin/sh', '-c', 'echo x > ' + sys.argv[2]])"
    )
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "one"), str(tmp_path / "two")],
        stdin=subprocess.PIPE,
        text=True,
    )
    (fork,) = witness.of(child.pid, Fork)
    before = stale_marks(witness)
    witness.source.watch([fork.process])
    child.communicate("\n")
    assert child.wait() == 0
    assert [opened(witness, tmp_path / name) for name in ("one", "two")] == [1, 1]
    assert stale_marks(witness) == before
    witness.source.close()


def until_following(source: LiveSource, wanted: bool) -> None:
    """The helper answers when it has done it."""
    while following(source) != wanted:
        assert source.hooks.helper is not None
        select.select([source.hooks.helper.fileno()], [], [], 10)
        source.hooks.poll()


def test_the_helper_holds_two_capabilities_and_ends_with_us(live: None, tmp_path: Path) -> None:
    witness = Witness(
        source=LiveSource(SourceConfig(syscall_hook=DOOR), DECLARED.capture, attach="helper")
    )
    helper = witness.source.hooks.helper
    assert helper is not None
    witness.source.watch([])
    until_following(witness.source, True)  # its answer says that it has dropped all else
    status = Path(f"/proc/{helper.pid}/status").read_text()
    assert "CapEff:\t000000c000000000" in status and "CapPrm:\t000000c000000000" in status
    assert "NoNewPrivs:\t1" in status and "Uid:\t65534" in status
    Watched(witness).run(OPEN, str(tmp_path / "one"))
    assert opened(witness, tmp_path / "one") == 1
    witness.source.unwatch()
    until_following(witness.source, False)
    witness.source.close()
    assert not Path(f"/proc/{helper.pid}").exists()


@pytest.mark.parametrize("syscall_hook", ["sys_exit", "fexit"])
def test_one_kind_of_hook_or_the_other_but_never_half(live: None, syscall_hook: str) -> None:
    """Where the kernel refuses one, the other is open, and coverage names it."""
    from receiver.kernel.probes import Probes

    probes = Probes(
        lifecycle_bytes=1 << 16,
        bulk_bytes=1 << 16,
        capture=DECLARED.capture,
        syscall_hook=syscall_hook,
    )
    probes.attach()
    probes.attach_calls()
    told = [c.hook for c in probes.coverage() if "failing calls" in c.blind]
    assert probes.calls_attached and len(told) == 1
    assert told[0].startswith("fexit/" if probes.syscall_hook == "fexit" else "tp_btf/sys_exit")
    assert syscall_hook == "fexit" or probes.syscall_hook == "sys_exit"
    probes.close()


def test_where_an_engine_gives_sys_admin_instead_the_helper_keeps_that(live: None) -> None:
    """Docker of Debian 12 has not heard of CAP_BPF: its containers get what stands for it."""
    code = """
import select
from pathlib import Path
from receiver.kernel.capture import Capture
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
source = LiveSource(SourceConfig(), Capture(), attach="helper")
helper = source.hooks.helper
source.watch([])
while not source.following and source.hooks.helper is helper:
    select.select([helper.fileno()], [], [])
    source.hooks.poll()
status = Path(f"/proc/{helper.pid}/status").read_text()
names = ("CapEff", "Uid")
print(source.following, [line for line in status.splitlines() if line.startswith(names)])
source.close()
"""
    few = ["setpriv", "--bounding-set=-all,+sys_admin,+setuid,+setgid", "--inh-caps=-all"]
    done = subprocess.run(
        [*few, sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (
        done.stdout
        == f"True ['Uid:\\t65534\\t65534\\t65534\\t65534', 'CapEff:\\t{1 << 21:016x}']\n"
    ), done.stdout + done.stderr
