"""make, inside of other work only: not every build of a host is a pipeline."""

from __future__ import annotations

from receiver.attribution.claims import Bind, Claims
from receiver.attribution.context import variable
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.programs import base, option, own_run, positional
from receiver.model import PARTIAL, Identity
from receiver.work.worker import Worker

_TAKES_VALUE = frozenset({"-C", "-f", "-I", "-o", "-W", "--directory", "--file", "--makefile"})


class Make(Recogniser):
    name = "make"
    programs = frozenset({"make", "gmake"})
    environment = ("MAKELEVEL",)

    def image(self, process: Worker) -> Claims:
        level = variable(process.environ, "MAKELEVEL")
        if level not in ("", "0"):
            return ()  # make below make is the same work
        arguments = process.argv[1:]
        targets = tuple(t for t in positional(arguments, _TAKES_VALUE) if "=" not in t)
        directory = option(arguments, "-C", "--directory") or process.working_directory
        identity = Identity(
            self.name,
            base(directory.rstrip("/")) or self.name,
            own_run(process),
            " ".join(targets[:4]) or "all",
            type="job",
            source="argv",
            confidence=PARTIAL,
            evidence="a make command line: directory and targets",
        )
        return (Bind(identity, inner_only=True),)
