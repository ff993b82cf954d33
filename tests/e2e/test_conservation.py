"""The ledger, closed exactly: an oracle does a known number of things, and every term from the
kernel to the Collector agrees.

seen = filtered + lost + submitted          in the kernel, per kind
submitted = decoded                         in the core, per kind
enqueued = exported                         in the queue
exported = received                         in a real Collector
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from receiver.events import EventKind, LossReason
from receiver.export.hub import Hub
from receiver.export.settings import from_environment
from receiver.kernel.clock import boottime_ns
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions, Watch
from receiver.service.app import Observer
from receiver.service.host import losses_of
from tests.e2e.collector import Collector

pytestmark = [pytest.mark.live, pytest.mark.e2e]

FORKS, EXECS, KILLS, WRITERS, FAILURES = 120, 80, 25, 15, 30
ORACLE = f"""
import os, signal, sys
def child(act):
    pid = os.fork()
    if not pid:
        try: act()
        finally: os._exit(99)
    return pid
def reap(pid): return os.waitpid(pid, 0)[1]
for _ in range({FORKS}): assert reap(child(lambda: os._exit(0))) == 0
for _ in range({EXECS}): assert reap(child(lambda: os.execv("/bin/true", ["true"]))) == 0
for _ in range({FAILURES}): assert reap(child(lambda: os._exit(7))) == 7 << 8
for _ in range({KILLS}):
    pid = child(lambda: signal.pause())
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == 9
for number in range({WRITERS}):
    r, w = os.pipe()
    def write():
        fd = os.open(f"{{sys.argv[1]}}/torn-{{number}}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x" * (number + 1)); os.write(w, b"!"); signal.pause()
    pid = child(write)
    os.read(r, 1); os.kill(pid, signal.SIGTERM)
    assert reap(pid) == 15
    os.close(r); os.close(w)
"""
CHILDREN = FORKS + EXECS + FAILURES + KILLS + WRITERS


def hub_to(collector: Collector) -> Hub:
    return Hub(
        from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.http}"}),
        "test",
    )


async def observe(
    collector: Collector, source: SourceConfig, work: Path, on_started: object = None
) -> Observer:
    options = CoreOptions(exit_events=True, only_commands=True)
    observer = Observer(source, options, hub_to(collector))
    observer.start()
    oracle = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", ORACLE, str(work)
    )
    observer.session.watch(Watch(oracle.pid, os.getpid(), "oracle"), boottime_ns())
    running = asyncio.create_task(observer.run())
    assert await oracle.wait() == 0
    observer.stop.set()
    await running
    observer.end()
    return observer


def close_ledger(observer: Observer) -> None:
    """Kernel and core, exactly; then the queue. Raises on the first term that does not agree."""
    ledger = observer.source.ledger()
    for kind in EventKind:
        if kind is EventKind.EXISTING:
            continue
        assert ledger.seen[kind] == ledger.submitted[kind] + sum(ledger.filtered[kind]) + sum(
            ledger.lost[kind]
        ), kind
        assert ledger.submitted[kind] == observer.core.counts[kind.name.lower()], kind
    assert not observer.core.decode_errors


def close_queues(hub: Hub, collector: Collector) -> None:
    """What was queued was exported, and what was exported is in the Collector's files."""
    received = {"traces": len(collector.spans()), "logs": len(collector.logs())}
    for pipeline in hub.pipelines:
        assert pipeline.queue.enqueued == pipeline.exported
        if pipeline.signal in received:
            assert received[pipeline.signal] == pipeline.exported


def own_losses(observer: Observer) -> dict[tuple[str, str], int]:
    """Without what processes without work lost: that may be any other process of the host."""
    found = losses_of(observer.source.ledger())
    return {
        key: count for key, count in found.items() if key[1] != LossReason.UNWATCHED.name.lower()
    }


async def test_nothing_is_lost_and_nothing_is_invented(
    collector: Collector, tmp_path: Path
) -> None:
    observer = await observe(collector, SourceConfig(drain_interval_seconds=0.02), tmp_path)
    close_ledger(observer)
    assert own_losses(observer) == {}
    await observer.close(10)
    assert observer.hub
    collector.stop()
    close_queues(observer.hub, collector)
    events = Counter(r["eventName"] for r in collector.logs())
    assert events["process.exit"] == CHILDREN + 1
    assert events["process.killed"] == KILLS + WRITERS
    assert events["file.partial_write"] == WRITERS
    codes = Counter(
        r["values"]["process.exit.code"]
        for r in collector.logs()
        if r["eventName"] == "process.exit"
    )
    assert codes == {0: FORKS + EXECS + 1, 7: FAILURES, 137: KILLS, 143: WRITERS}
    sizes = sorted(
        r["values"]["file.size"] for r in collector.logs() if r["eventName"] == "file.partial_write"
    )
    assert sizes == list(range(1, WRITERS + 1))
    root = next(
        s
        for s in collector.spans()
        if s["name"].startswith("python") and s["values"]["process.exit.code"] == 0
    )
    spans = [s for s in collector.spans() if s["values"].get("process.pid")]
    assert len(spans) + root["values"]["process.children.folded"] == CHILDREN + 1
    assert collector.violations() == []


async def test_what_a_full_ring_loses_is_counted_to_the_record(
    collector: Collector, tmp_path: Path
) -> None:
    """A ring of one page that nobody reads in time: stored + lost = seen, and the Collector is told
    how many."""
    observer = await observe(
        collector,
        SourceConfig(lifecycle_ring_bytes=4096, bulk_ring_bytes=4096, drain_interval_seconds=1.0),
        tmp_path,
    )
    close_ledger(observer)
    losses = losses_of(observer.source.ledger())
    assert sum(losses.values()) > 0
    assert losses == observer.core.missing.losses
    await observer.close(10)
    collector.stop()
    told: Counter[tuple[str, str]] = Counter()
    for record in collector.logs():
        if record["eventName"] == "pipeline.observer.events_lost":
            values = record["values"]
            key = (values["pipeline.observer.event.kind"], values["pipeline.observer.loss.reason"])
            told[key] += values["pipeline.observer.events_lost"]
    assert dict(told) == losses
    points = collector.metrics()["pipeline.observer.events_lost"]["sum"]["dataPoints"]
    assert sum(int(p["asInt"]) for p in points) == sum(losses.values())
    assert collector.violations() == []


FILES, CONNECTIONS, DENIED = 40, 30, 25
ACTIVITY = f"""
import os, socket, sys
os.chdir(sys.argv[1])
for n in range({FILES}):
    with open(f"{{n}}.tmp", "w") as f: f.write("x" * n)
    os.rename(f"{{n}}.tmp", f"{{n}}")
    open(f"{{n}}").read()
server = socket.create_server(("127.0.0.1", 0))
for _ in range({CONNECTIONS}):
    client = socket.create_connection(server.getsockname())
    there, _ = server.accept()
    client.sendall(b"q"); there.recv(1); there.sendall(b"a"); client.recv(1)
    client.close(); there.recv(1); there.close()
os.setresuid(65534, 65534, 65534)
for _ in range({DENIED}):
    try: os.open("/proc/1/environ", os.O_RDONLY)
    except PermissionError: pass
if os.fork() == 0: os._exit(0)
os.wait()
"""


async def act(observer: Observer, work: Path) -> int:
    """The observer watches the activity from its start to its end, and ends. Gives its pid."""
    observer.start()
    with observer.source.watching_self():
        oracle = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", ACTIVITY, str(work)
        )
    observer.session.watch(Watch(oracle.pid, os.getpid(), "oracle"), boottime_ns())
    running = asyncio.create_task(observer.run())
    observer.tick()
    assert await oracle.wait() == 0
    async with asyncio.timeout(30):
        while observer.core.executions.open:  # until the exit of the command has been read
            await asyncio.sleep(0.01)
    observer.tick()
    observer.stop.set()
    await running
    observer.end()
    return oracle.pid


async def test_the_ledger_closes_for_what_processes_do(
    collector: Collector, tmp_path: Path
) -> None:
    """Files, changes of names, connections, failing calls and samples:
    kernel, core, queue and Collector agree."""
    observer = Observer(
        SourceConfig(drain_interval_seconds=0.02),
        CoreOptions(only_commands=True),
        hub_to(collector),
    )
    pid = await act(observer, tmp_path)
    close_ledger(observer)
    assert own_losses(observer) == {}
    counts = observer.core.counts
    assert counts["file_opened"] == counts["file_closed"] >= 2 * FILES
    assert counts["file_changed"] == FILES
    assert counts["call_failed"] == 3  # at 1, at 16, and the last word: 25
    assert counts["connection"] >= 4 * CONNECTIONS  # both ends, made and closed
    execution = observer.core.watched(pid)
    assert execution is not None
    assert {v.path for v in execution.outputs} == {str(tmp_path / str(n)) for n in range(1, FILES)}
    await observer.close(10)
    assert observer.hub
    collector.stop()
    close_queues(observer.hub, collector)
    sent = collector.metrics()["pipeline.task.network.io"]["sum"]["dataPoints"]
    assert (
        sum(int(p["asInt"]) for p in sent) == 4 * CONNECTIONS
    )  # a byte each way, told by both ends
    failed = collector.metrics()["pipeline.task.failed_calls"]["sum"]["dataPoints"]
    assert sum(int(p["asInt"]) for p in failed) == DENIED
    assert collector.violations() == []
