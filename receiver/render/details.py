"""The activity of one process, in a few lines: files in and out, connections, failing calls, where
its time went.
"""

from __future__ import annotations

import msgspec

from receiver.calls import call_name
from receiver.detect.calls import is_search
from receiver.events import ClosedFlag
from receiver.text.call_text import subject_of
from receiver.text.names import error_name
from receiver.text.printable import printable
from receiver.text.python_text import where
from receiver.units import MIB
from receiver.work.tables import Facts, Use
from receiver.work.worker import Worker

SHOWN_FILES = 6
SHOWN_PEERS = 4
_WAITED_SECONDS = 0.05


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    mode: str  # in, out, in+out
    read_bytes: int
    written_bytes: int
    state: str  # for a written file; empty when it was only read
    mapped: bool
    inherited: bool = False


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    peer: str
    connections: int
    most_at_once: int
    failed: dict[str, int]
    sent_bytes: int
    received_bytes: int
    rtt_seconds: float
    longest_wait_seconds: float


class FailureRow(msgspec.Struct, frozen=True):
    call: str
    error: str
    subject: str
    count: int


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """Named files and peers only; `files_counted` is the number of further files."""

    files: tuple[FileRow, ...] = ()
    files_counted: int = 0
    connections: tuple[PeerRow, ...] = ()
    failures: tuple[FailureRow, ...] = ()
    run_delay_seconds: float = 0.0
    io_uring_calls: int = 0
    code: str = ""  # where in its code a signal ended it

    def lines(self) -> list[str]:
        """No lines for a process without notable activity."""
        own = [f for f in self.files if not f.inherited]
        out = [f"@ {self.code}"] if self.code else []
        out += [_file_line(f) for f in own[:SHOWN_FILES]]
        if len(own) > SHOWN_FILES:
            out.append(f"… and {len(own) - SHOWN_FILES} more files")
        out += [_peer_line(p) for p in self.connections[:SHOWN_PEERS]]
        if len(self.connections) > SHOWN_PEERS:
            out.append(f"… and {len(self.connections) - SHOWN_PEERS} more peers")
        out += [
            f"! {f.call} {f.subject} {f.error}" + (f" ({f.count} times)" if f.count > 1 else "")
            for f in self.failures
        ]
        if self.run_delay_seconds > _WAITED_SECONDS:
            out.append(f"waited {self.run_delay_seconds:.2f} s for a CPU")
        if self.io_uring_calls:
            out.append(
                f"used io_uring {self.io_uring_calls} times: what it moved is not in these sums"
            )
        return out


def _file_line(row: FileRow) -> str:
    if row.mode == "in":
        return (
            f"< {row.path} "
            f"({'mapped' if row.mapped and not row.read_bytes else size(row.read_bytes)})"
        )
    state = f", {row.state}" if row.state not in ("", "complete") else ""
    return f"{'>' if row.mode == 'out' else '<>'} {row.path} ({size(row.written_bytes)}{state})"


def _peer_line(row: PeerRow) -> str:
    parts = [f"{row.connections} connections" if row.connections != 1 else "1 connection"]
    if row.most_at_once > 1:
        parts.append(f"{row.most_at_once} at once")
    parts += [f"{count} {error}" for error, count in row.failed.items()]
    parts.append(f"{size(row.sent_bytes)} out, {size(row.received_bytes)} in")
    if row.longest_wait_seconds >= 1:
        parts.append(f"waited {row.longest_wait_seconds:.1f} s")
    return f"~ {row.peer}: {', '.join(parts)}"


def size(count: int) -> str:
    """Bytes for people, small ones exactly."""
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < MIB else f"{count / MIB:.1f} MiB"


def _file_row(use: Use) -> FileRow:
    deleted = use.version is not None and use.version.deleted
    path = use.version.path if use.version is not None and not deleted else use.path
    return FileRow(
        path=printable(path),
        mode="in+out" if use.read_bytes and use.written_bytes else "out" if use.writing else "in",
        read_bytes=use.read_bytes,
        written_bytes=use.written_bytes,
        state="deleted" if deleted else use.state if use.writing else "",
        mapped=bool(use.closed_flags & ClosedFlag.MAPPED),
        inherited=use.inherited,
    )


def details_of(process: Worker, facts: Facts) -> Details:
    """Written files first, then read ones, each kind by bytes. Its own script is not an input."""
    rows = facts.files.of(process.key)
    files = [
        _file_row(use)
        for use in rows.uses.values()
        if use.writing or not process.is_program(use.path)
    ]
    files.sort(key=lambda f: (f.mode == "in", -f.written_bytes, -f.read_bytes))
    peers = [
        PeerRow(
            peer=f"{p.endpoint[0]}:{p.endpoint[1]}" if p.endpoint[1] else f"from {p.endpoint[0]}",
            connections=p.made,
            most_at_once=p.most,
            failed=dict(p.failed),
            sent_bytes=p.sent_bytes,
            received_bytes=p.received_bytes,
            rtt_seconds=p.rtt_us / 1e6,
            longest_wait_seconds=p.longest_gap_ns / 1e9,
        )
        for p in facts.peers.of(process.key).peers.values()
    ]
    failures = [
        FailureRow(
            call_name(e.call_number), error_name(e.error), printable(subject_of(e)), e.failures
        )
        for e in facts.calls.of(process.key)
        if not is_search(process, e)
    ]
    totals = rows.totals
    return Details(
        files=tuple(files),
        files_counted=totals.opened_files - totals.reported_files if totals is not None else 0,
        connections=tuple(peers),
        failures=tuple(failures),
        run_delay_seconds=process.exit.run_delay_ns / 1e9 if process.exit is not None else 0.0,
        io_uring_calls=totals.io_uring_calls if totals is not None else 0,
        code=where(process.stack) if process.stack is not None else "",
    )
