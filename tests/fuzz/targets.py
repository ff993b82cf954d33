"""Fuzz targets: each takes bytes from an enemy and runs the code that a deployed kwitness
runs on them.

A target returns when the input was used or refused with an error of ours. Any other exception is a
defect. `python -m tests.fuzz TARGET SECONDS` searches for such inputs with atheris;
`tests/fuzz/found` keeps those that were found, and `test_targets.py` runs all of them again. Good
inputs to start from are in `seeds.py`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError as ProtobufError
from pyroute2.netlink.marshal import Marshal

from receiver.errors import DecodeError, KwitnessError
from receiver.events import ProcessKey
from receiver.events import encode as encode_event
from receiver.export import encode, otlp_answers, settings
from receiver.insights.across import across
from receiver.insights.records import read
from receiver.insights.runs import RemoteRuns
from receiver.investigate.report import to_json
from receiver.kernel import netlink_messages, proc
from receiver.kernel.decode import decode
from receiver.kernel.netlink_processes import Processes
from receiver.kernel.netlink_sockets import PolledSocket
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay, steps
from receiver.observe.session import Session
from receiver.render.page import page
from receiver.render.terminal import details, screen
from receiver.service import config, incident_api
from receiver.signals import LogRecord, Span
from receiver.text.event_text import event_line
from receiver.text.printable import printable
from receiver.text.redact import Redactor
from tests.kernel import datagrams

SCENARIOS = Path(__file__).parent.parent / "scenarios"
FOUND = Path(__file__).parent / "found"


Target = Callable[[bytes], None]


def _as_file(data: bytes) -> Path:
    """One scratch file per process, in memory where that is possible."""
    path = _scratch() / "input"
    path.write_bytes(data)
    return path


@cache
def _scratch() -> Path:
    shm = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="kwitness-fuzz-", dir=shm if shm.is_dir() else None))


@cache
def _header() -> bytes:
    """The first two lines of a recording that this version reads."""
    with (SCENARIOS / "retry.kw").open("rb") as file:
        return file.readline() + file.readline()


def frames(data: bytes) -> None:
    """The frames of a recording behind a good header: replayed, encoded, and shown
    in every form."""
    recording = Recording(_as_file(_header() + data))
    core = Core(recording.header.host)
    signals: list[LogRecord | Span] = []
    try:
        for _ in steps(Session(core), recording):
            signals.extend(core.take())
    except KwitnessError:
        return
    for signal in signals:
        encode.span(signal) if isinstance(signal, Span) else encode.log_record(signal)
    for report in core.incidents.reports.values():
        to_json(report), page(report), screen(report), details(report)


def recording(data: bytes) -> None:
    """A whole recording file, header included."""
    try:
        found = Recording(_as_file(data))
        for _ in found:
            pass
    except KwitnessError:
        return


def event(data: bytes) -> None:
    """One record of the kernel half: decoded and printed."""
    try:
        found = decode(data, Redactor())
    except DecodeError:
        return
    event_line(found, "00:00:00")


def otlp(data: bytes) -> None:
    """The body of an ExportLogsServiceRequest, and what is concluded from it."""
    runs = RemoteRuns()
    try:
        for record in read(data).facts:
            runs.add(record, 0.0)
    except ProtobufError:
        return
    for trace_id, run in runs.due(1e9):
        report = across(trace_id, run)
        if report is not None:
            to_json(report), page(report), screen(report), details(report)


@cache
def _desk() -> incident_api.LiveIncidentApi:
    found = Recording(SCENARIOS / "retry.kw")
    session = Session(Core(found.header.host))
    replay(session, found)
    return incident_api.LiveIncidentApi(session, lambda: 10**15)


def webhook(data: bytes) -> None:
    """The body of POST /alerts, and of POST /incidents/ID/note."""
    for ask in (_desk().alert, lambda body: _desk().note("0", body)):
        with contextlib.suppress(KwitnessError):
            ask(data)


def configuration(data: bytes) -> None:
    """kwitness.toml."""
    try:
        config.load(_as_file(data))
    except KwitnessError:
        return


def environment(data: bytes) -> None:
    """OTEL_* variables: NAME=value, separated by NUL."""
    pairs = (entry.partition("=") for entry in data.decode("utf-8", "surrogateescape").split("\0"))
    try:
        settings.from_environment({name: value for name, _, value in pairs})
    except KwitnessError:
        return


def answer(data: bytes) -> None:
    """What an OTLP server answers: status, Retry-After, body, gRPC details."""
    status = int.from_bytes(data[:2], "little") % 1000
    wait, _, body = data[2:].partition(b"\0")
    otlp_answers.http_outcome(
        ("traces", "metrics", "logs")[status % 3],
        status,
        wait.decode("latin-1"),
        body,
        is_protobuf=bool(status & 1),
    )
    otlp_answers.grpc_outcome(
        ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL")[status % 3], wait.decode("latin-1"), body
    )


class _NoProc(proc.ProcFs):
    """A message of the connector must not make a test read a stranger's process."""

    def _stat(self, pid: int) -> list[str]:
        return ["0"] * 52

    def comm(self, pid: int) -> str:
        return "name"

    def uid(self, pid: int) -> int:
        return 1000

    def title(self, pid: int) -> str:
        return "title"

    def image(self, pid: int) -> proc.Image | None:
        return None


class _Stats(Marshal):  # type: ignore[misc]  # pyroute2 has no types
    default_message_class = netlink_messages.StatsMessage


class _Wanted(netlink_messages.DiagMarshal):
    def __init__(self) -> None:
        super().__init__(lambda inode: inode == datagrams.INODE)


@cache
def _socket(marshal: type[Any]) -> PolledSocket:
    """It opens nothing before it is bound."""
    found = PolledSocket()
    found.set_marshal(marshal())
    return found


def connector(data: bytes) -> None:
    """A datagram of the process connector (cn_proc)."""
    processes = Processes(_NoProc(lambda _: False), (1,), 0, lambda: None)
    for message in _socket(netlink_messages.ProcMarshal).decoded(data):
        for found in processes.events(message):
            encode_event(found)


def accounting(data: bytes) -> None:
    """A datagram of taskstats."""
    processes = Processes(_NoProc(lambda _: False), (1,), 0, lambda: None)
    for message in _socket(_Stats).decoded(data):
        if found := netlink_messages.usage(message):
            processes.used(*found)


def diagnosis(data: bytes) -> None:
    """A datagram of socket diagnostics."""
    processes = Processes(_NoProc(lambda _: False), (1,), 0, lambda: None)
    owners = {datagrams.INODE: ProcessKey(7, 1)}
    for found in processes.connections(owners, _socket(_Wanted).decoded(data), 5):
        encode_event(found)


def procfs(data: bytes) -> None:
    """What a process can put into its own files of /proc: its name, cgroup, command line and
    environment."""
    words = [*(part.replace(b"\n", b"") for part in data.split(b"\0")), b"", b"", b""]
    name, group = words[0][:15], words[1]
    files = {
        "status": (
            b"Name:\t%s\nPPid:\t1\nUid:\t5\t5\nGid:\t5\t5\nThreads:\t1\nVmSize:\t9 kB\n"
            b"RssAnon:\t1 kB\n" % name
        ),
        "stat": b"7 (%s) S " % name + b"0 " * 49,
        "cgroup": b"9:memory:%s\n0::%s\n" % (group, group),
        "cmdline": data,
        "environ": data,
    }
    text, link = proc._text, proc._link
    proc._text = lambda path: files.get(path.rpartition("/")[2], b"").decode("utf-8", "replace")
    proc._link = lambda path: "/bin/x"
    try:
        found = proc.ProcFs(lambda _: True)
        image = found.image(1)
        assert image is not None and (image.parent_pid, image.uid, image.gid) == (1, 5, 5)
        found.key(1), found.sample(1), found.title(1)
    finally:
        proc._text, proc._link = text, link


def text(data: bytes) -> None:
    """Kernel bytes that become text: a name, a path, a command line."""
    words = tuple(part.decode("utf-8", "replace") for part in data.split(b"\0"))
    printable(" ".join(words))
    redactor = Redactor()
    redactor.argv(data), redactor.line(data)


TARGETS: tuple[Target, ...] = (
    frames,
    recording,
    event,
    otlp,
    webhook,
    configuration,
    environment,
    answer,
    connector,
    accounting,
    diagnosis,
    procfs,
    text,
)
