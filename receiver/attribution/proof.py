"""Decides whether a claim is certain.

A user can give a process any name, title, environment, working directory and path, and can fork any
process tree. A user cannot run as another user, own another user's files, or have the service
manager start a program as a service. Only these three facts prove a claim. They prove it for the
user of the claiming process only: the user id is part of the identity (`Identity.owner`), so the
work of two users is never merged.

`prove` is pure. A fact that is not visible (an older recording, netlink, a process whose exec was
not seen) counts as missing, and the text names the missing fact.
"""

from __future__ import annotations

import msgspec

from receiver.attribution.containers import place_of
from receiver.attribution.programs import program
from receiver.events import FileOpened, ImageFlag, OpenedFlag
from receiver.model import BACKED, CERTAIN, PROBABLE
from receiver.work.worker import Worker

# forks between a service and the process that opens a log: Airflow has at most three
_GENERATIONS = 16
_INTERPRETERS = {"python", "pypy"}


class Proof(msgspec.Struct, frozen=True):
    """`confidence` is CERTAIN, BACKED or PROBABLE.

    `text` is the evidence, or names the missing fact.
    """

    confidence: float
    text: str


def prove(process: Worker, system: str, opened: FileOpened | None) -> Proof:
    """Whether `process` is a supervisor of `system` that no other user could have made.

    `opened` is the file that names the work; its folder must belong to the same user.
    """
    service = image_of(process, system)
    missing = _missing(process, service, system)
    if (
        not missing
        and opened is not None
        and not opened.opened_flags & OpenedFlag.IN_FOLDER_OF_USER
    ):
        missing = (
            f"the folder of the file belongs to another user than uid {process.uid}, or its owner "
            "is not known"
        )
    if service is None or missing:
        backed = service is not None and has_own_program(service) and started_by(service, system)
        return Proof(BACKED if backed else PROBABLE, f"not proven: {missing}")
    return Proof(
        CERTAIN,
        f"{service.role or system} of uid {service.uid}, {started_by(service, system)}; root or "
        "that user owns its executable "
        f"and the package of {system}, and that user owns the folder",
    )


def _missing(process: Worker, service: Worker | None, system: str) -> str:
    """The first fact that is missing; empty when none is."""
    if service is None:
        return f"no process that runs the program of {system} has forked it"
    if program(service.executable) not in _INTERPRETERS:
        return f"its executable is not a Python interpreter ({service.name})"
    if not has_own_program(service):
        return (
            "its executable belongs to a third user, others may write it, or its owner is not "
            f"known ({service.name})"
        )
    if service.package_owner != "trusted":
        found = (
            "belongs to a third user, or others may write it"
            if service.package_owner
            else "was not seen when it was imported"
        )
        return f"the package of {system} {found}"
    if not started_by(service, system):
        return (
            "nothing shows that root, a service manager or a container started it as uid "
            f"{process.uid}"
        )
    return ""


def has_own_program(service: Worker) -> bool:
    """Whether root or its own user owns its executable, and no other user may write it."""
    return bool(service.image_flags & (ImageFlag.ROOT_OWNS | ImageFlag.USER_OWNS))


def image_of(process: Worker, system: str) -> Worker | None:
    """The process whose image this is: itself, or the ancestor of the same user that it was forked
    from without an exec. The image must be the program of `system`. None where there is no such
    process.
    """
    at: Worker | None = process
    for _ in range(_GENERATIONS):
        if at is None or at.uid != process.uid or at.executable != process.executable:
            return None
        if at.program_of == system:
            return at
        if at.exec_ns:
            return None  # it was seen to start another program
        at = at.parent
    return None


def started_by(service: Worker, system: str) -> str:
    """What started it, if its user has no control over that; empty where no fact shows it."""
    if any(
        e.identity.source == "command"
        for e in (service.execution.chain() if service.execution is not None else ())
    ):
        return "started by kwitness"
    if service.uid == 0:
        return "which only root can start"
    return service.started_by or _placed_by(service, system)


def _placed_by(service: Worker, system: str) -> str:
    """Only root moves a process into a cgroup outside of a user's own part of the tree."""
    path = service.memory_cgroup
    if "/user.slice" in path or "/user@" in path:
        return ""
    place = place_of(service)
    if place.container_id:
        return f"in the container {place.container_id[:12]}"
    if path.startswith("/system.slice/") and system in place.unit:
        return f"in the system unit {place.unit}.service"
    return ""
