"""Writes recordings (receiver.observe.recording has the format)."""

from __future__ import annotations

import logging
import re
import struct
from typing import BinaryIO

import msgspec

from receiver.errors import DecodeError
from receiver.events import WIRE_HASHES, encode
from receiver.kernel.decode import decode, scrub
from receiver.model import ContainerName, Host, Watch
from receiver.observe.recording import FRAME, MAGIC, FrameKind, Header, Settings
from receiver.observe.recording_scope import CommandScope
from receiver.observe.scope import Scope
from receiver.text.redact import Redactor

log = logging.getLogger("kwitness")
_WILDCARDS = re.compile(r"[*?\[\]]")


class Recorder:
    """Writes frames. It has a redactor of its own, so that its redaction counts stay apart from the
    core's.

    A full disk does not end the observing: `failure` holds the reason, and later frames are not
    written. The frames until then can be replayed.
    """

    def __init__(self, output: BinaryIO, header: Header, scope: CommandScope | None = None) -> None:
        """`scope`: stores only the events of a command."""
        self.failure = ""
        self._output = output
        self._scope = scope
        self._containers: tuple[ContainerName, ...] = ()
        self._cgroups = 0
        self._namespace = Scope(header.host.pid_namespace, header.host.observer_pid)
        self._redactor = Redactor("scrub")
        if header.settings is not None:
            settings = without_secrets(header.settings, self._redactor)
            header = msgspec.structs.replace(header, settings=settings)
        self._write(MAGIC + msgspec.json.encode(header) + b"\n")

    def write(self, kind: FrameKind, time_ns: int, payload: bytes = b"") -> None:
        self._write(FRAME.pack(kind, len(payload), time_ns) + payload)

    def _write(self, data: bytes) -> None:
        if self.failure:
            return
        try:
            self._output.write(data)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error.strerror or "it cannot be written"
        log.warning("the recording is cut short: %s", self.failure)

    def batch(self, batch: list[bytes], time_ns: int) -> None:
        if self._scope is None:
            self.write(
                FrameKind.BATCH, time_ns, b"".join(scrub(raw, self._redactor) for raw in batch)
            )
            return
        run: list[bytes] = []
        passed: list[int] = []  # times of the events after `run` that are left out
        for raw in batch:
            kept, at_ns = self._of_command(raw, self._scope)
            if kept:
                if passed:
                    self._write_run(run, passed, time_ns, self._scope)
                    run, passed = [], []
                run.append(kept)
            elif at_ns:
                passed.append(at_ns)
        self._write_run(run, passed, time_ns, self._scope)

    def _write_run(
        self, run: list[bytes], passed: list[int], time_ns: int, scope: CommandScope
    ) -> None:
        if scope.cgroups != self._cgroups:  # the names of its containers, before their events
            self._cgroups = scope.cgroups
            self._write_containers(scope.containers(self._containers), time_ns)
        self.write(FrameKind.BATCH, time_ns, b"".join(run))
        if passed:
            self.write(FrameKind.PASSED, time_ns, struct.pack(f"<{len(passed)}q", *passed))

    def watch(self, watch: Watch, time_ns: int) -> None:
        if self._scope is not None:
            self._scope.watch(watch)
        self.write(FrameKind.WATCH, time_ns, msgspec.json.encode(watch))

    def containers(self, names: tuple[ContainerName, ...], time_ns: int) -> None:
        self._containers = names
        self._write_containers(
            names if self._scope is None else self._scope.containers(names), time_ns
        )

    def _write_containers(self, names: tuple[ContainerName, ...], time_ns: int) -> None:
        if names or self._scope is None:
            self.write(FrameKind.CONTAINERS, time_ns, msgspec.json.encode(names))

    def _of_command(self, raw: bytes, scope: CommandScope) -> tuple[bytes, int]:
        """The record in the form that may be stored; for an event outside of the command's scope
        nothing, and its time if the core takes note of it.
        """
        before = self._redactor.counts.total()
        try:
            event = decode(raw, self._redactor)
        except DecodeError:
            return scrub(raw, self._redactor), 0
        in_namespace = self._namespace.has(event)
        kept = scope.keep(event)
        if kept is None:
            return b"", event.time_boottime_ns if in_namespace else 0
        unchanged = kept is event and self._redactor.counts.total() == before
        return raw if unchanged else encode(kept), 0

    def close(self) -> None:
        try:
            self._output.close()
        except OSError as error:  # the descriptor is closed all the same
            if not self.failure:
                self._fail(error)


def recorder_to(
    output: BinaryIO, host: Host, offset_ns: int, settings: Settings, *, record_host: bool
) -> Recorder:
    """Stores all events, unless only one command is observed and not the whole host.

    `offset_ns`: Unix time minus boot time.
    """
    whole = record_host or not settings.options.only_commands
    header = Header(WIRE_HASHES, host, offset_ns, "host" if whole else "command", settings)
    return Recorder(output, header, None if whole else CommandScope(host.pid_namespace))


def without_secrets(settings: Settings, redactor: Redactor) -> Settings:
    """The settings as they may be stored.

    A pattern of a rule stays as it is when its secret is only a wildcard: `--password=*` matches
    the redacted argument, too.
    """

    def clean(text: str) -> str:
        literal = _WILDCARDS.sub("", text)
        return text if redactor.line(literal.encode()) == literal else redactor.line(text.encode())

    rules = tuple(
        msgspec.structs.replace(
            rule, **{name: clean(value) for name, value in msgspec.structs.asdict(rule).items()}
        )
        for rule in settings.rules
    )
    attributes = tuple(
        (name, _value(name, value, redactor) if isinstance(value, str) else value)
        for name, value in settings.options.resource_attributes
    )
    options = msgspec.structs.replace(settings.options, resource_attributes=attributes)
    return Settings(options, rules)


def _value(name: str, value: str, redactor: Redactor) -> str:
    """The value of a resource attribute. Its name may announce a secret."""
    before = f"{name}={value}"
    after = redactor.line(before.encode())
    return value if after == before else after.partition("=")[2]
