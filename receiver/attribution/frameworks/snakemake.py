"""Snakemake: a run by its command line, and jobs by their outputs.

Measured with 9.27: before a job starts, Snakemake writes `.snakemake/incomplete/<base64 of the
output's path>` for each output. A shell job is then `bash -c "set -euo pipefail; …"`; its text
names the output in most cases.
"""

from __future__ import annotations

import base64
import binascii
import re

from receiver.attribution.claims import Bind, Claims
from receiver.attribution.frameworks.base import Recogniser, is_written
from receiver.attribution.programs import arguments_after, base, option, own_run
from receiver.events import FileChanged, FileOpened, FileOperation
from receiver.model import PARTIAL, PROBABLE, Identity
from receiver.text.redact.log import redacted
from receiver.work.worker import Worker

_MARKER = re.compile(r"/\.snakemake/incomplete/([A-Za-z0-9_=\-/+]{4,})$")
_JOB = "set -euo pipefail;"
_SCRIPTS = "/.snakemake/scripts/"
_KEPT = 64


class Snakemake(Recogniser):
    name = "snakemake"
    programs = frozenset({"snakemake", "bash", "sh"})
    paths = ("/.snakemake/incomplete/",)
    changes = True
    environment = ("SNAKEMAKE_PROFILE",)

    def image(self, process: Worker) -> Claims:
        argv = process.argv
        if len(argv) > 2 and argv[1] == "-c" and argv[2].startswith(_JOB):
            return self._shell_job(process, argv[2])
        arguments = arguments_after(argv, "snakemake")
        if not arguments and base(argv[-1] if argv else "") != "snakemake":
            return ()
        if targets := option(arguments, "--target-jobs"):
            return self._script_job(process, targets, option(arguments, "--attempt"))
        directory = option(arguments, "--directory", "-d") or process.working_directory
        identity = Identity(
            self.name,
            base(directory.rstrip("/")) or self.name,
            own_run(process),
            "snakemake",
            type="job",
            source="argv",
            confidence=PROBABLE,
            evidence="a snakemake command line; the workflow is named after its directory",
        )
        return (Bind(identity),)

    def _run_of(self, process: Worker) -> Identity | None:
        chain = process.execution.chain() if process.execution is not None else ()
        return next(
            (
                e.identity
                for e in chain
                if e.identity.system == self.name and e.identity.type == "job"
            ),
            None,
        )

    def _shell_job(self, process: Worker, command: str) -> Claims:
        """One thread of Snakemake starts the shell while another writes the marker: either can come
        first.
        """
        parent, run = process.parent, self._run_of(process)
        if (
            parent is None
            or run is None
            or process.execution is None
            or process.execution.identity.type != "job"
        ):
            return ()
        waiting = _waiting(parent)
        named = [output for output in waiting if _names(command, output)]
        outputs = named or (waiting[-1:] if _SCRIPTS in command else [])
        if not outputs:
            parent.add_unnamed(process)
            return ()
        left = (output for output in waiting if output not in outputs)
        parent.remember(self.name, "\0".join(left))
        return (Bind(self._job(run, outputs[0], bool(named))),)

    def _job(self, run: Identity, output: str, named: bool) -> Identity:
        return Identity(
            self.name,
            run.pipeline,
            run.run_id,
            base(output),
            type="task",
            source="file",
            confidence=PROBABLE if named else PARTIAL,
            evidence="the outputs that Snakemake marked as incomplete for it",
        )

    def _script_job(self, process: Worker, targets: str, attempt: str) -> Claims:
        run, rule = self._run_of(process), targets.partition(":")[0].strip("'")
        identity = Identity(
            self.name,
            run.pipeline if run else base(process.working_directory),
            run.run_id if run else own_run(process),
            rule,
            attempt=int(attempt)
            if attempt.isascii() and attempt.isdigit() and len(attempt) < 5
            else 1,
            type="task",
            source="argv",
            confidence=PROBABLE,
            evidence="--target-jobs of a snakemake command line",
        )
        return (Bind(identity),)

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        output, run = _output(event.path), self._run_of(process)
        if not output or not is_written(event) or run is None or process.execution is None:
            return ()
        living = [p for p in process.unnamed if p.execution is process.execution]
        found = [p for p in living if _names(p.argv[2], output)] or [
            p for p in living if _SCRIPTS in p.argv[2]
        ]
        if found:
            process.keep_unnamed(tuple(p for p in living if p is not found[0]))
            return (Bind(self._job(run, output, _names(found[0].argv[2], output)), found[0]),)
        process.remember(self.name, "\0".join([*_waiting(process), output][-_KEPT:]))
        return ()

    def changed(self, process: Worker, event: FileChanged) -> Claims:
        """The marker is removed: the job is over, whether or not a process was recognised as its
        own.
        """
        output = _output(event.path)
        if output and event.operation == FileOperation.UNLINK and self.name in process.notes:
            left = (w for w in _waiting(process) if w != output)
            process.remember(self.name, "\0".join(left))
        return ()


def _waiting(process: Worker) -> list[str]:
    """Outputs that were marked and that no job was seen to write."""
    return [output for output in process.notes.get("snakemake", "").split("\0") if output]


def _names(command: str, output: str) -> bool:
    return output in command or f" {base(output)}" in command


def _output(path: str) -> str:
    found = _MARKER.search(path)
    if found is None:
        return ""
    try:
        decoded = base64.b64decode(
            found[1], altchars=b"-_" if "-" in found[1] or "_" in found[1] else None
        ).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return redacted(decoded)  # the redactor has not seen the text that base64 hid
