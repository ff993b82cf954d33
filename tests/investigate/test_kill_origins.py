"""Deaths by a signal: what the target was doing, who the sender is, and what its
end brought about."""

from __future__ import annotations

import os
import signal
from typing import Any

import msgspec
import pytest

from receiver.events import ClosedFlag, ProcessKey, SignalFlag, SignalState, WaitObject
from receiver.investigate.report import Hypothesis
from receiver.model import NOBODY
from tests.builders import Story
from tests.investigate.telling import concluded, report_of

RUNC, SHIM, SYSTEMD = ProcessKey(500, 5), ProcessKey(400, 4), ProcessKey(1, 1)
READ, FUTEX = 0, 202  # of x86-64


def told(story: Story, sender: ProcessKey, target: ProcessKey, number: int, **other: Any) -> None:
    """What the kernel half says with a signal."""
    blank = {
        f.name: {int: 0, str: "", ProcessKey: NOBODY}[f.type]
        for f in msgspec.structs.fields(SignalState)
        if f.name not in ("time_boottime_ns", "sequence", "cpu")
    }
    known = {"sender": sender, "target": target, "signal": number, "call_number": READ}
    story.say(SignalState, **(blank | known | other))


def ended(
    story: Story, sender: ProcessKey, target: ProcessKey, number: int, *, comm: str, **state: Any
) -> None:
    story.signal(sender, target, number, comm=comm, code=state.get("code", 0))
    told(story, sender, target, number, sender_comm=comm, **state)
    story.exit(target, signal=number)


def texts(lead: Hypothesis) -> str:
    return "\n".join([lead.summary, *(w.text for w in lead.weighed)])


def test_the_target_of_a_kill_is_told_with_its_wait_and_its_use() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "step.py")
    ended(
        story,
        ProcessKey(99, 9),
        step,
        signal.SIGKILL,
        comm="reaper",
        waits_on=WaitObject.PIPE,
        inode=42,
        runtime_ns=1_500_000_000,
        anon_bytes=30 << 20,
        parent_comm="cron",
        sender_parent=ProcessKey(50, 1),
    )
    story.exit(root, 137)
    lead = report_of(story).hypotheses[0]
    assert lead.cause == "kill.supervisor"
    found = texts(lead)
    assert (
        "it was in read at a pipe (inode 42); it had used 1.50 s of CPU and held 30.0 MiB" in found
    )
    assert "reaper (99) is not part of this run. It ran below cron (50)." in found


def container(shim: str) -> Hypothesis:
    """A container whose first process is killed by `runc`, ten seconds after a request to end that
    it ignored."""
    story = Story()
    root = story.command("python3", "task.py")
    told(
        story,
        ProcessKey(499, 5),
        root,
        signal.SIGTERM,
        sender_comm="runc",
        state_flags=int(SignalFlag.IGNORED | SignalFlag.TO_NAMESPACE_INIT),
    )
    story.step(10_000)
    ended(
        story,
        RUNC,
        root,
        signal.SIGKILL,
        comm="runc" if "shim" in shim else "killer",
        sender_parent=SHIM,
        parent_comm=shim,
        sender_grandparent=SYSTEMD,
        grandparent_comm="systemd",
        state_flags=int(SignalFlag.TO_NAMESPACE_INIT),
    )
    return report_of(story).hypotheses[0]


def test_a_container_runtime_stopped_the_container_from_outside() -> None:
    lead = container("containerd-shim")
    assert (lead.cause, lead.culprit.name) == ("kill.container_stopped", "runc")
    found = texts(lead)
    assert "had been sent SIGTERM 10.0 s before, which had no effect" in found
    assert "the first process of a pid namespace has no default action" in found


def test_a_request_that_was_ignored_leads_where_no_runtime_is_behind_it() -> None:
    """The near miss of the container: the same signals, by anybody."""
    lead = container("bash")
    assert (lead.cause, lead.culprit.name) == ("kill.ignored_request", "task.py")


def test_the_end_of_a_namespace_names_its_first_process_and_its_end() -> None:
    story = Story()
    root = story.command("unshare", "-pf", "sh", "-c", "worker & exit 3")
    init = story.spawn(root, "sh", "-c", "worker & exit 3")
    worker = story.spawn(init, "worker")
    story.signal(init, worker, signal.SIGKILL, code=128, comm="sh")
    told(
        story,
        init,
        worker,
        signal.SIGKILL,
        code=128,
        sender_comm="sh",
        state_flags=int(SignalFlag.NAMESPACE_ENDS | SignalFlag.SENDER_EXITS),
    )
    story.exit(worker, signal=signal.SIGKILL)
    story.exit(init)
    story.exit(root)
    report = report_of(story)
    lead = next(h for h in report.hypotheses if h.cause == "kill.namespace_init")
    assert lead.culprit.pid == init.tgid
    assert "the first process of its pid namespace, ended: it exited with status 0" in lead.summary


def test_a_kill_by_the_kernel_without_that_flag_is_no_end_of_a_namespace() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "worker")
    ended(story, root, worker, signal.SIGKILL, comm="bash", code=128)
    story.exit(root, 137)
    assert "kill.namespace_init" not in {h.cause for h in report_of(story).hypotheses}


def test_the_death_of_the_parent_is_no_kill_by_it() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    parent = story.spawn(root, "python3", "pool.py")
    worker = story.spawn(parent, "python3", "work.py")
    story.exit(parent, 1)
    ended(
        story,
        parent,
        worker,
        signal.SIGTERM,
        comm="python3",
        state_flags=int(
            SignalFlag.PARENT_DEATH | SignalFlag.SENDER_EXITS | SignalFlag.WITHOUT_CALL
        ),
    )
    story.exit(root, 1)
    found = {h.cause: h for h in report_of(story).hypotheses}
    assert "its parent python3" in found["kill.parent_death"].summary
    assert "it exited with status 1" in found["kill.parent_death"].summary


@pytest.mark.parametrize("asked", [True, False])
def test_who_left_a_file_torn_at_the_death_of_its_parent_was_not_killed_by_it(asked: bool) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    parent = story.spawn(root, "python3", "pool.py")
    worker = story.spawn(parent, "python3", "work.py")
    opened = story.opens(worker, "/data/out", os.O_WRONLY | os.O_TRUNC)
    story.exit(parent, 1)
    story.open_file(worker, "/data/out", inode=7, device=1, signal=signal.SIGTERM)
    story.closes(worker, opened, written=4096, closed_flags=ClosedFlag.BY_DEATH)
    flags = SignalFlag.PARENT_DEATH | SignalFlag.SENDER_EXITS | SignalFlag.WITHOUT_CALL
    how = {"state_flags": int(flags)} if asked else {}
    ended(story, parent, worker, signal.SIGTERM, comm="python3", **how)
    check = story.spawn(root, "python3", "check.py")
    story.reads(check, "/data/out", size=4096)
    story.exit(check, 1)
    story.exit(root, 1)
    lead = report_of(story).hypotheses[0]
    assert lead.cause == "fs.truncated"
    assert ("SIGTERM (user) from python3" in texts(lead)) is not asked


def test_a_hang_up_by_the_kernel_is_told_from_a_kill() -> None:
    story = Story()
    root = story.command("python3", "step.py")
    ended(
        story,
        ProcessKey(60, 2),
        root,
        signal.SIGHUP,
        comm="sshd",
        code=128,
        state_flags=int(SignalFlag.TERMINAL),
    )
    lead = report_of(story).hypotheses[0]
    assert lead.cause == "kill.hangup"
    assert "its terminal was hung up while sshd (60) ran" in lead.summary


@pytest.mark.parametrize("stranger", [True, False])
def test_a_signal_that_leaves_the_run_is_told(stranger: bool) -> None:
    story = Story()
    root = story.command("bash", "clean.sh")
    child = story.spawn(root, "postgres")
    target = ProcessKey(99, 9) if stranger else child
    told(story, root, target, signal.SIGKILL, target_comm="postgres")
    story.exit(child)
    story.exit(root, 3)
    texts = [line.text for line in report_of(story).normality]
    text = "bash (1002) sent SIGKILL to postgres (99), which is not part of this run."
    assert (text in texts) is stranger
    assert any("not part of this run" in t for t in texts) is stranger


@pytest.mark.parametrize("group", [False, True])
def test_a_kill_command_of_the_script_is_no_stranger(*, group: bool) -> None:
    """It lives for so short a time that it is only counted; its parent is a process of the run."""
    story = Story()
    root = story.command("bash", "job.sh")
    steps = [story.spawn(root, "python3", f"step{n}.py") for n in range(3 if group else 1)]
    story.step(3_000)
    sender = story.spawn(root, "kill", "-9", "0")
    parent = {"sender_comm": "kill", "sender_parent": root, "parent_comm": "bash"}
    for step in steps:
        story.signal(sender, step, signal.SIGKILL, comm="kill")
        told(story, sender, step, signal.SIGKILL, **parent)
    story.exit(sender, after_ms=1)
    for step in steps:
        story.exit(step, signal=signal.SIGKILL, after_ms=1)
    story.exit(root, 137)
    for each in concluded(story, root).considered:
        said = " ".join(evidence.text for evidence in each.evidence)
        assert "not part of this run" not in said and "not belong to the execution" not in said
