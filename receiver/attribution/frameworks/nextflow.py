"""Nextflow, by its documented conventions: `bash .command.run` in work/ab/cdef…, then `bash -ue
.command.sh`.

Not run for real: no package registry has the program. The name of the process is in a comment of
.command.run, which is not read, so the work directory names the task.
"""

from __future__ import annotations

import re

from receiver.attribution.claims import Bind, Claims
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.programs import base, own_run, positional
from receiver.model import PARTIAL, PROBABLE, Identity
from receiver.work.worker import Worker

_WORK = re.compile(r"/([0-9a-f]{2}/[0-9a-f]{6})[0-9a-f]{24}$")
_LAUNCHER = "nextflow.cli.Launcher"


class Nextflow(Recogniser):
    name = "nextflow"
    programs = frozenset({"java", "bash", "sh"})
    environment = ("NXF_TASK_WORKDIR",)

    def image(self, process: Worker) -> Claims:
        argv = process.argv
        if _LAUNCHER in argv:
            arguments = positional(argv[argv.index(_LAUNCHER) + 1 :])
            if arguments[:1] != ("run",) or len(arguments) < 2:
                return ()
            identity = Identity(
                self.name,
                base(arguments[1]),
                own_run(process),
                f"nextflow run {base(arguments[1])}",
                type="job",
                source="argv",
                confidence=PROBABLE,
                evidence="a nextflow command line",
            )
            return (Bind(identity),)
        if not any(base(word) in (".command.run", ".command.sh") for word in argv[1:4]):
            return ()
        directory = (
            next((d for word in argv[1:4] if (d := word.rpartition("/")[0])), "")
            or process.working_directory
        )
        found = _WORK.search(directory)
        if found is None:
            return ()
        chain = process.execution.chain() if process.execution is not None else ()
        run = next(
            (
                e.identity
                for e in chain
                if e.identity.system == self.name and e.identity.type == "job"
            ),
            None,
        )
        identity = Identity(
            self.name,
            run.pipeline if run else self.name,
            run.run_id if run else directory[: found.start()],
            found[1],
            type="task",
            source="argv",
            confidence=PARTIAL,
            evidence="a .command.run in a work directory; the process's name is in that file",
        )
        return (Bind(identity),)
