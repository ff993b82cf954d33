"""What a recorded service made live, its recording makes again elsewhere:
works, findings, reports, and OTLP byte for byte."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from receiver.attribution.rules import Rule
from receiver.cli.common import hub_for
from receiver.export import encode
from receiver.export.settings import from_environment
from receiver.investigate.entries import RunSummary
from receiver.investigate.history import History
from receiver.investigate.report import to_json
from receiver.kernel.clock import boottime_ns
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.observe.recording import FrameKind, Recording
from receiver.observe.replay import core_of, steps
from receiver.observe.session import Session
from receiver.service.app import Observer
from receiver.service.incident_api import LiveIncidentApi
from receiver.signals import LogRecord, Span
from receiver.work.execution import Execution
from tests.builders import Calls
from tests.live.conftest import DOOR
from tests.live.replays import TASK, items, replay_elsewhere, same_metrics

pytestmark = pytest.mark.live
RULE = Rule(system="loader", pipeline="landing", argv=f"--job={TASK}-*", task="{0}", name="nightly")


class Service:
    """An observer as `serve` has it, with a rule, a history, alerts, and a recording."""

    def __init__(self, folder: Path) -> None:
        self.otlp = (folder / "live.otlp").open("wb")
        hub = hub_for(from_environment({}), self.otlp, remote=False)
        self.observer = Observer(
            SourceConfig(syscall_hook=DOOR),
            CoreOptions(exit_events=True),
            hub,
            (folder / "live.kw").open("wb"),
            rules=(RULE,),
        )
        self.core, self.session = self.observer.core, self.observer.session
        self.sent: list[bytes] = []
        self.begun: dict[str, Execution] = {}
        take = self.core.take

        def taken() -> list[Span | LogRecord]:
            signals = take()
            self.sent += [_encoded(s) for s in signals]
            return signals

        self.core.take = taken  # type: ignore[method-assign]
        self.core.listeners.add(Calls(execution_started=self._note))
        self.observer.start()
        self.session.history(History(), boottime_ns())
        self.api = LiveIncidentApi(self.session, boottime_ns)
        self.loop = asyncio.create_task(self.observer.run())

    def _note(self, execution: Execution) -> None:
        self.begun[execution.identity.task] = execution

    def job(self, name: str) -> subprocess.Popen[bytes]:
        code = "input(); import os; os.abort()"
        command = [sys.executable, "-I", "-S", "-c", code, f"--job={TASK}-{name}"]
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    async def until(self, happened: Any) -> None:
        async with asyncio.timeout(60):
            while not happened():
                await asyncio.sleep(0.02)

    async def started(self, name: str) -> Execution:
        await self.until(lambda: f"--job={TASK}-{name}" in self.begun)
        return self.begun.pop(f"--job={TASK}-{name}")

    async def fails(self, name: str) -> str:
        """The id of its report."""
        known = set(self.core.incidents.reports)
        self.job(name).communicate(b"\n")
        execution = await self.started(name)
        await self.until(lambda: execution.closed and set(self.core.incidents.reports) - known)
        (number,) = set(self.core.incidents.reports) - known
        return number

    async def end(self) -> None:
        self.observer.stop.set()
        await self.loop
        self.observer.end()
        await self.observer.close(20)
        self.otlp.close()


def _encoded(signal: Span | LogRecord) -> bytes:
    return encode.log_record(signal) if isinstance(signal, LogRecord) else encode.span(signal)


def earlier(task: str) -> History:
    found = History()
    for number in range(6):
        summary = RunSummary(
            ended_unix_ns=number,
            run_id=str(number),
            seconds=0.01,
            failed=False,
            end="",
            peak_bytes=1,
            processes=1,
            shape="",
            outputs={},
            partitions={},
        )
        found.remember((f"loader of uid {os.getuid()}", "landing", task), summary)
    return found


async def test_a_recorded_service_with_a_rule_an_alert_a_note_and_a_history(
    live: None, tmp_path: Path
) -> None:
    service = Service(tmp_path)
    history = service.core.history
    assert history is not None
    history.absorb(earlier(f"--job={TASK}-waits"))
    first = await service.fails("orders")
    waiting = service.job("waits")
    await service.started("waits")
    body = json.dumps({"alerts": [{"labels": {"task": f"--job={TASK}-waits"}}]}).encode()
    (answer,) = json.loads(service.api.alert(body))["alerts"]
    assert [r["task"] for r in answer["reports"]] == [f"--job={TASK}-waits"]
    assert service.api.note(first, b'{"note": "the loader was restarted"}')
    service.observer.export_metrics()
    second = await service.fails("orders")
    waiting.communicate(b"\n")
    await service.end()
    reports = [to_json(r) for r in service.core.incidents.reports.values()]
    assert "the loader was restarted" in to_json(service.core.incidents.reports[second]).decode()

    recording = Recording(tmp_path / "live.kw")
    core = core_of(recording.header)
    again: list[bytes] = []
    for _ in steps(Session(core), recording):
        again += [_encoded(s) for s in core.take()]
    assert again == service.sent  # in this order, too
    assert [to_json(r) for r in core.incidents.reports.values()] == reports
    assert _works(core.executions._ended.values()) == _works(
        service.core.executions._ended.values()
    )
    kinds = {f.kind for f in Recording(tmp_path / "live.kw")}
    assert kinds >= {FrameKind.ALERT, FrameKind.NOTE, FrameKind.USED, FrameKind.METRICS}

    replay_elsewhere(tmp_path / "else", tmp_path / "live.kw")
    assert (tmp_path / "else/report").read_bytes().splitlines() == reports
    told, found = items(tmp_path / "live.otlp"), items(tmp_path / "else/otlp")
    assert (found["resourceSpans"], found["resourceLogs"]) == (
        told["resourceSpans"],
        told["resourceLogs"],
    )
    same_metrics(told, found, besides=set())


def _works(executions: Any) -> list[str]:
    return [f"{e.identity} {e.result} {[f.sentence for f in e.findings]}" for e in executions]
