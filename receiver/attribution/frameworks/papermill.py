"""papermill: a notebook and its parameters; the kernel is a child."""

from __future__ import annotations

from receiver.attribution.claims import Bind, Claims, Role
from receiver.attribution.frameworks.base import HelperRole, Recogniser
from receiver.attribution.programs import arguments_after, base, own_run, positional
from receiver.model import PROBABLE, Identity
from receiver.work.worker import Worker

_TAKES_VALUE = frozenset(
    {
        "-k",
        "--kernel",
        "-l",
        "--language",
        "--engine",
        "--cwd",
        "-f",
        "--parameters_file",
        "-y",
        "--parameters_yaml",
        "-b",
        "--parameters_base64",
        "--execution-timeout",
        "--start-timeout",
        "--autosave-cell-every",
    }
)
_KERNEL = "notebook kernel"


class Papermill(Recogniser):
    name = "papermill"
    programs = frozenset({"papermill", "ipykernel_launcher"})
    environment = ("PAPERMILL_EXECUTION_ID",)
    helpers = (HelperRole(_KERNEL),)

    def image(self, process: Worker) -> Claims:
        if "ipykernel_launcher" in process.argv:
            return (Role(_KERNEL),)
        notebooks = positional(arguments_after(process.argv, "papermill"), _TAKES_VALUE)
        if not notebooks or not notebooks[0].endswith(".ipynb"):
            return ()
        identity = Identity(
            self.name,
            base(notebooks[0]),
            own_run(process),
            base(notebooks[0]),
            type="job",
            source="argv",
            confidence=PROBABLE,
            evidence="a papermill command line: the notebook",
        )
        return (Bind(identity),)
