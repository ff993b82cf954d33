"""File events and failing calls of watched processes.

Each fact goes to its table, and becomes a finding where it matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from receiver import semconv as sc
from receiver.attribution.declared import Declared
from receiver.detect.calls import becomes_a_finding, blamed_calls, call_failed
from receiver.detect.lineage import failed_write, pulled_away, tainted_read, two_writers
from receiver.detect.writes import unfinished_outputs
from receiver.events import (
    CallFailed,
    ClosedFlag,
    FileChanged,
    FileClosed,
    FileOpened,
    FileOperation,
    FileTotals,
    ProcessKey,
)
from receiver.facts.ending import Ending
from receiver.facts.versions import VersionState
from receiver.model import Finding
from receiver.observe.attempts import Attempts
from receiver.text.names import error_name, event_id, resolve
from receiver.work.execution import KEPT_LINKS, Execution
from receiver.work.tables import Facts, Use, Version
from receiver.work.worker import Tree, Worker

EmitFinding = Callable[[Worker, Finding], None]


class FileActivity:
    """Owns the file table.

    `report` takes findings; `drops` counts events that led to nothing, by reason.
    """

    def __init__(
        self,
        tree: Tree,
        attempts: Attempts,
        *,
        facts: Facts,
        report: EmitFinding,
        declared: Declared,
    ) -> None:
        self.tree = tree
        self.facts = facts
        self.attempts = attempts
        self.table = facts.files
        self.versions = facts.versions
        self.drops: Counter[str] = Counter()
        self._report = report
        self._declared = declared

    def _process(self, key: ProcessKey) -> Worker:
        return self.tree.ensure(key, "")

    def file_opened(self, event: FileOpened) -> Worker:
        process = self._process(event.process)
        use = self.table.opened(event)
        if use is None:
            return process
        if use.writing:
            version = self.table.begin_writing(
                process,
                use,
                event,
                evidence=event_id(event),
                work=process.working_for(event.thread, event.path),
            )
            if finding := two_writers(process, version, event):
                self._report(process, finding)
        else:
            source = self.table.begin_reading(process, use)
            work = process.working_for(event.thread, event.path)
            if work is not None and work.is_step:
                work.read(event.path)
            if source is not None:
                self._read_from(process, use, source, event)
        return process

    def _read_from(self, process: Worker, use: Use, source: Version, event: FileOpened) -> None:
        self._note_lineage(process, source, event.thread)
        finding = None if use.reported else tainted_read(process, use, source, event)
        if finding is None:
            return
        use.reported = True  # a reader opens it again and again
        self._report(process, finding)
        labels = (
            *self.attempts.labels(process.execution),
            (sc.FILE_TAINT_KIND, str(dict(finding.facts)[sc.FILE_TAINT_KIND])),
        )
        self.attempts.book.add(sc.METRIC_PIPELINE_FILE_TAINTED_READS, labels)

    def _note_lineage(self, process: Worker, version: Version, thread: int) -> None:
        """Task B reads what task A wrote."""
        reader, writer = process.working_for(thread, version.path), version.work
        if reader is None or writer is None or writer.is_part_of(reader):
            return
        if len(reader.reads_from) < KEPT_LINKS:
            reader.reads_from[(writer.trace_id, writer.span_id)] = None
        else:
            self.drops["too_many_links"] += 1

    def file_closed(self, event: FileClosed) -> Worker:
        process = self._process(event.process)
        use = self.table.closed(event)
        version = use.version if use is not None else None
        if use is None or version is None:
            return process
        if event.written_bytes:
            version.changed_ns = event.last_use_boottime_ns or event.time_boottime_ns
            version.written_bytes += event.written_bytes
            if version.work is not None and version.work.is_step:
                self._wrote(version.work, version)
        version.size_bytes = event.size_bytes
        if not event.closed_flags & ClosedFlag.SHARED:
            version.writers.discard((process.key, event.open_id))
        if finding := failed_write(process, use, event):
            version.state, version.cause = (
                VersionState.PARTIAL,
                str(dict(finding.facts)[sc.FILE_WRITE_CAUSE]),
            )
            self._torn(process, finding)
        elif (
            not version.writers
            and not event.closed_flags & ClosedFlag.BY_DEATH
            and version.state is VersionState.IN_PROGRESS
        ):
            version.state = VersionState.COMPLETE
        return process

    def _torn(self, process: Worker, finding: Finding) -> None:
        for execution in process.execution.chain() if process.execution is not None else ():
            execution.partial_write = True
        self._report(process, finding)
        labels = (
            *self.attempts.labels(process.execution),
            (sc.FILE_WRITE_CAUSE, str(dict(finding.facts)[sc.FILE_WRITE_CAUSE])),
        )
        self.attempts.book.add(sc.METRIC_PIPELINE_FILE_PARTIAL_WRITES, labels)

    def file_changed(self, event: FileChanged) -> Worker:
        process = self._process(event.process)
        self.table.changed(event)
        path = resolve(event.directory, event.path)
        match event.operation:
            case FileOperation.RENAME:
                new = resolve(event.new_directory, event.new_path)
                moved, replaced = self.versions.renamed(
                    path, new, self._declared.committer(path, new)
                )
                for version in moved:
                    if version.state is VersionState.IN_PROGRESS and not version.writers:
                        version.state = VersionState.COMPLETE
                if replaced is not None:
                    self._pulled(process, replaced, event, "replaces")
            case FileOperation.UNLINK:
                gone = self.versions.unlinked(path)
                if gone is not None:
                    self._pulled(process, gone, event, "deletes")
            case _:
                pass  # in the timeline only
        return process

    def _pulled(self, process: Worker, version: Version, event: FileChanged, what: str) -> None:
        readers = [r for key in version.readers if (r := self.tree.get(key)) is not None]
        if finding := pulled_away(process, version, event, what, readers):
            self._report(process, finding)

    def file_totals(self, event: FileTotals) -> Worker:
        process = self._process(event.process)
        self.table.counted(event)
        return process

    def call_failed(self, event: CallFailed) -> tuple[Worker, bool]:
        """The process, and whether it is the first record of this call and error."""
        process = self._process(event.process)
        noted = self.facts.calls.failed(event)
        if noted is None:
            return process, False
        event, known = noted
        before = known.failures if known is not None else 0
        if before > event.failures:
            before = (
                1  # a later exec succeeded, and the kernel half counts from the first one again
            )
        grown = event.failures - before
        labels = (
            *self.attempts.labels(process.execution),
            (sc.ERROR_TYPE, error_name(event.error)),
        )
        self.attempts.book.add(sc.METRIC_PIPELINE_TASK_FAILED_CALLS, labels, grown)
        if becomes_a_finding(event, known):
            self._report(process, call_failed(process, event))
        return process, known is None

    def process_ended(self, process: Worker, end: Ending) -> None:
        """Its files have their final state.

        Called after the findings about deaths and torn files are made.
        """
        for event in unfinished_outputs(process, end, self.facts.deaths.of(process.key).open_files):
            version = self.versions.get((event.device, event.inode))
            if version is not None and version.writer is process:
                version.state, version.cause = VersionState.PARTIAL, end.error or "failed"
                version.changed_ns = event.time_boottime_ns
        self.table.release(process.key)
        for use in self.table.of(process.key).uses.values():
            if (
                use.version is not None
                and not use.version.writers
                and use.version.state is VersionState.IN_PROGRESS
            ):
                use.version.state = VersionState.COMPLETE
        if end.failed and not end.signal:  # a signal needs no other reason
            for finding in blamed_calls(process, self.facts.calls):
                self._report(process, finding)
        for execution in process.execution.chain() if process.execution is not None else ():
            self._gather(execution, process)

    def _gather(self, execution: Execution, process: Worker) -> None:
        """Adds the inputs and outputs of a process that ended to the attempt."""
        for use in self.table.of(process.key).uses.values():
            if use.version is not None and use.written_bytes and not use.append:
                self._wrote(execution, use.version)
            elif (
                use.reading
                and not use.writing
                and (use.read_bytes or use.closed_flags & ClosedFlag.MAPPED)
            ):
                own = (
                    use.source is not None
                    and use.source.work is not None
                    and use.source.work.is_part_of(execution)
                )
                if not own and not process.is_program(use.path):
                    execution.read(use.path)

    def _wrote(self, execution: Execution, version: Version) -> None:
        system = execution.identity.system
        if not (execution.is_step and self._declared.is_metadata(system, version.path)):
            execution.wrote(version)
