"""cron: a job is the line that the daemon gives to the shell.

The output of a job goes to mail, which often nobody reads.
"""

from __future__ import annotations

import re

from receiver.attribution.claims import Bind, Claims
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.programs import base, own_run
from receiver.model import PROBABLE, Identity
from receiver.work.worker import Worker

_DAEMONS = {"cron", "crond", "CRON"}
_LINE_LIMIT = 80
_SPACE = re.compile(r"\s+")


class Cron(Recogniser):
    name = "cron"
    programs = frozenset({"sh", "dash", "bash"})

    def image(self, process: Worker) -> Claims:
        parent, argv = process.parent, process.argv
        if process.execution is not None and process.execution.identity.system == self.name:
            return ()  # the line starts a shell of its own
        if parent is None or len(argv) < 3 or argv[1] != "-c" or not _is_daemon(parent):
            return ()
        line = _SPACE.sub(" ", argv[2]).strip()
        words = [w for w in line.split(" ") if "=" not in w.partition("/")[0]]
        identity = Identity(
            self.name,
            f"crontab of uid {process.uid}",
            own_run(process),
            line[:_LINE_LIMIT] or base(words[0] if words else "job"),
            type="job",
            source="argv",
            confidence=PROBABLE,
            evidence="a shell that cron started",
        )
        return (Bind(identity),)


def _is_daemon(process: Worker) -> bool:
    """cron's child overwrites its arguments without a system call: the executable's name and the
    comm stay.
    """
    return process.comm in _DAEMONS and (
        not process.executable or base(process.executable) in _DAEMONS
    )
