"""A time in which system calls are not observed is reported at once: in the log, by readiness, in a
record, in the reports on the tasks of that time. It is mended, or the service ends
with the reason."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from receiver import semconv as sc
from receiver.errors import UnavailableError
from receiver.events import FileOpened
from receiver.kernel import callhooks, helper
from receiver.kernel.clock import boottime_ns
from receiver.kernel.probes import Probes
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions, Watch
from receiver.service.app import Observer
from receiver.signals import LogRecord
from receiver.work.execution import Execution
from tests.builders import Calls
from tests.floods import TASK
from tests.live.conftest import DOOR

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent.parent
SOURCE = SourceConfig(syscall_hook=DOOR)


@pytest.fixture
def with_helper(live: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel that attaches for nobody without privileges."""
    monkeypatch.setattr(callhooks, "is_needed", lambda _: True)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """As it is without privileges on such a kernel, once something is in the list."""
    now: list[bool] = []

    def refuse(original: str) -> None:
        whole = getattr(Probes, original)

        def tried(self: Probes) -> None:
            if now:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            whole(self)

        monkeypatch.setattr(Probes, original, tried)

    refuse("attach_calls")
    refuse("try_calls")
    return now


class Run:
    """An observer of a service, and what it sends."""

    def __init__(self, *, only_commands: bool = True) -> None:
        """`only_commands`: what else runs on this machine is not watched."""
        self.observer = Observer(SOURCE, CoreOptions(only_commands=only_commands), None, drops=True)
        self.sent: list[LogRecord] = []
        take = self.observer.core.take

        def taken() -> list[object]:
            out = take()
            self.sent += [s for s in out if isinstance(s, LogRecord)]
            return out  # type: ignore[return-value]

        self.observer.core.take = taken  # type: ignore[method-assign, assignment]
        self.observer.start()
        self.loop = asyncio.create_task(self.observer.run())

    def blind_records(self) -> list[LogRecord]:
        return [r for r in self.sent if r.event_name == sc.EVENT_PIPELINE_OBSERVER_BLIND]

    async def until(self, happened: object) -> None:
        assert callable(happened)
        async with asyncio.timeout(20):
            while not happened():
                await asyncio.sleep(0.01)

    async def work(self, *command: str) -> tuple[subprocess.Popen[bytes], Execution]:
        """A task that is watched from its fork on."""
        with self.observer.source.watching_self():
            child = subprocess.Popen(command, stdin=subprocess.PIPE)
        self.observer.session.watch(Watch(child.pid, os.getpid(), "job"), boottime_ns())
        await self.until(
            lambda: (
                self.observer.core.watched(child.pid) is not None and self.observer.source.following
            )
        )
        execution = self.observer.core.watched(child.pid)
        assert execution is not None
        return child, execution

    def blind_of(self, execution: Execution) -> list[str]:
        return [
            what.text
            for what in self.observer.core.case(execution, boottime_ns()).unseen
            if "system calls" in what.text
        ]

    async def end(self) -> None:
        self.observer.stop.set()
        await asyncio.gather(self.loop, return_exceptions=True)
        self.observer.end()
        await self.observer.close(0)


def _kill(run: Run, number: signal.Signals = signal.SIGKILL) -> int:
    hooks = run.observer.source.hooks
    assert hooks is not None and hooks.helper is not None
    os.kill(hooks.helper.pid, number)
    return hooks.helper.pid


async def test_a_killed_helper_is_told_at_once_and_replaced_where_the_kernel_allows(
    with_helper: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run = Run()
    opened: list[str] = []
    run.observer.core.listeners.add(
        Calls(event=lambda e: opened.append(e.path) if isinstance(e, FileOpened) else None)
    )
    child, execution = await run.work("/bin/sh", "-c", f"read line; echo x > {tmp_path}/after")
    pid = _kill(run)
    with caplog.at_level(logging.WARNING):
        await run.until(lambda: len(run.blind_records()) == 2)
    assert f"the helper (pid {pid}) was killed by SIGKILL" in caplog.text
    assert run.observer.source.following and run.observer.ready() == "ready"
    child.communicate(b"\n")
    await run.until(lambda: execution.closed)
    assert str(tmp_path / "after") in opened
    assert [
        f"the helper (pid {pid}) was killed by SIGKILL" in what for what in run.blind_of(execution)
    ] == [True]
    assert run.observer.core.case(execution, boottime_ns()).interrupted
    await run.end()


async def test_a_killed_helper_that_nobody_can_replace_ends_the_service_with_its_reason(
    with_helper: None, refused: list[bool]
) -> None:
    run = Run()
    child, execution = await run.work("/bin/cat")
    refused.append(True)
    pid = _kill(run)
    await run.until(lambda: run.blind_records())
    assert run.observer.ready() == f"blind: the helper (pid {pid}) was killed by SIGKILL"
    assert "are not observed any more" in run.blind_records()[0].body
    with pytest.raises(
        UnavailableError, match="was killed by SIGKILL, and there are no privileges left"
    ):
        await asyncio.wait_for(run.loop, 10)
    assert len(run.blind_of(execution)) == 1
    child.communicate(b"")
    await run.end()


async def test_it_is_told_when_nothing_is_watched_too(
    with_helper: None, refused: list[bool]
) -> None:
    run = Run()
    refused.append(True)
    _kill(run)
    await run.until(lambda: run.blind_records())
    assert run.observer.ready().startswith("blind: the helper")
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(run.loop, 10)
    await run.end()


async def test_a_helper_that_does_not_answer_blocks_nobody(
    with_helper: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "ANSWER_SECONDS", 0.3)
    run = Run()
    pid = _kill(run, signal.SIGSTOP)
    child, execution = await run.work("/bin/cat")  # we attach when it has not answered in time
    assert run.blind_of(execution)
    assert any("has not answered" in r.body for r in run.blind_records())
    child.communicate(b"")
    await run.end()
    os.kill(pid, signal.SIGCONT)  # and reads that nobody wants it any more
    os.waitpid(pid, 0)


async def test_what_fails_for_a_while_is_tried_again(
    live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full table of descriptors, say: blind for so long, and then no more."""
    run = Run()
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))] * 2
    whole = Probes.attach_calls

    def attach(self: Probes) -> None:
        if failures:
            raise failures.pop()
        whole(self)

    monkeypatch.setattr(Probes, "attach_calls", attach)
    child, execution = await run.work("/bin/cat")
    assert run.observer.ready() == "ready" and len(run.blind_records()) == 2
    assert "Too many open files" in run.blind_of(execution)[-1]
    child.communicate(b"")
    await run.end()


def test_without_privileges_hooks_are_attached_where_the_kernel_allows_it_and_no_process_keeps_any(
    live: None,
) -> None:
    """Since 5.19, whatever kernel.unprivileged_bpf_disabled says:
    who holds a program may attach it."""
    code = """
from receiver.kernel.privileges import drop
from receiver.kernel.capture import Capture
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
source = LiveSource(SourceConfig(syscall_hook=%r), Capture(), attach="either")
drop("nobody")
source.watch([])
print(source.following, source.hooks.helper is None)
source.unwatch()
source.watch([])
print(source.following)
source.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code % DOOR], capture_output=True, text=True, check=False, cwd=ROOT
    )
    release = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])
    if release < (5, 19):
        pytest.skip("this kernel needs the helper")
    assert done.stdout == "True True\nTrue\n", done.stdout + done.stderr


async def test_the_first_calls_of_a_first_task_are_a_blind_time_of_its_report(live: None) -> None:
    """Nothing was watched before, so its first calls ran before the hooks were there.
    Of the second task all is seen."""
    run = Run(only_commands=False)
    found: list[Execution] = []
    run.observer.core.listeners.add(
        Calls(
            execution_started=lambda e: found.append(e) if e.identity.system == "airflow" else None
        )
    )
    run.observer.source.unwatch()  # whatever else runs here
    for number in (1, 2):
        env = {**os.environ, **TASK, "AIRFLOW_CTX_DAG_RUN_ID": f"run {number}"}
        child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, env=env)
        await run.until(lambda n=number: len(found) == n and run.observer.source.following)
        child.communicate(b"")
        await run.until(lambda n=number: found[n - 1].closed or not found[n - 1].live)
    first, second = found
    (what,) = run.blind_of(first)
    assert (
        what.endswith("s of system calls of 1 process (the hooks were attached later)")
        and 0 < first.late_ns < 10**9
    )
    assert run.blind_of(second) == []
    points = {m.name: m.points for m in run.observer.core.book.metrics()}
    (count,), (seconds,) = (
        points["pipeline.observer.blind.count"],
        points["pipeline.observer.blind.time"],
    )
    assert count.value == 1 and seconds.value == pytest.approx(first.late_ns / 1e9)
    await run.end()


async def test_a_first_task_that_is_over_before_anybody_can_attach_is_told_too(live: None) -> None:
    run = Run(only_commands=False)
    found: list[Execution] = []
    run.observer.core.listeners.add(Calls(execution_started=found.append))
    env = {**os.environ, **TASK}
    run.observer.source.unwatch()
    subprocess.run(["/bin/true"], env=env, check=True)  # our loop stands still meanwhile
    await run.until(lambda: found and not found[0].live)
    assert len(run.blind_of(found[0])) == 1
    await run.end()
