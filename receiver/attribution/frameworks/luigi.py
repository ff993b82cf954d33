"""Luigi: a run by its command line, and tasks by the targets that they write.

A task writes `<target>-luigi-tmp-<n>` and then renames it.
"""

from __future__ import annotations

import re

from receiver.attribution.claims import Begin, Bind, Claims, End
from receiver.attribution.frameworks.base import Recogniser, is_written
from receiver.attribution.programs import arguments_after, base, option, own_run, positional
from receiver.events import FileChanged, FileOpened, FileOperation
from receiver.model import PARTIAL, PROBABLE, Identity
from receiver.work.worker import Worker

_TARGET = re.compile(r"([^/]+)-luigi-tmp-\d+$")
_TAKES_VALUE = frozenset(
    {
        "--module",
        "--workers",
        "--scheduler-host",
        "--scheduler-port",
        "--log-level",
        "--logging-conf-file",
    }
)


class Luigi(Recogniser):
    name = "luigi"
    programs = frozenset({"luigi"})
    paths = ("-luigi-tmp-",)
    changes = True
    environment = ("LUIGI_TASK_ID",)
    temporary_path = re.compile(r"-luigi-tmp-[^/]*$")

    def image(self, process: Worker) -> Claims:
        arguments = arguments_after(process.argv, "luigi")
        task = positional(arguments, _TAKES_VALUE)[:1]
        if not task:
            return ()
        module = option(arguments, "--module")
        identity = Identity(
            self.name,
            f"{module}.{task[0]}" if module else task[0],
            own_run(process),
            task[0],
            type="job",
            source="argv",
            confidence=PROBABLE,
            evidence="a luigi command line: module and root task",
            unreliable_exit_status=True,
        )
        return (Bind(identity),)

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        found = _TARGET.search(event.path)
        outer = process.execution
        if (
            found is None
            or not is_written(event)
            or outer is None
            or outer.identity.system != self.name
        ):
            return ()
        identity = Identity(
            self.name,
            outer.identity.pipeline,
            outer.identity.run_id,
            found[1],
            type="task",
            source="file",
            confidence=PARTIAL,
            evidence="the target that it writes; the task's class is not visible",
        )
        return (Begin(identity, event.thread),)

    def changed(self, process: Worker, event: FileChanged) -> Claims:
        """The target is in place, so the task is done."""
        return (
            (End(),)
            if event.operation == FileOperation.RENAME and _TARGET.search(base(event.path))
            else ()
        )
