"""The confinement of both service modes: created from the settings, and counted as a metric."""

from __future__ import annotations

import encodings.idna  # noqa: F401 (getaddrinfo needs it after the change of user)
import os
from pathlib import Path

from receiver import semconv as sc
from receiver.export.options import ExportSettings
from receiver.kernel.confinement import Confinement, Survey
from receiver.kernel.spare_user import OwnUser, service_user
from receiver.service.config import PrivilegeConfig, ServeConfig
from receiver.signals import Metric, Point


def becomes(settings: PrivilegeConfig, directory: str) -> OwnUser | None:
    """The user that the service becomes; None when privileges are kept. `directory`: its state
    directory.
    """
    return service_user(settings.user, directory) if settings.drop else None


def confinement(settings: PrivilegeConfig, service: OwnUser | None) -> Confinement | None:
    """None when privileges are kept. It forks: call it before anything else is started."""
    if service is None:
        return None
    return Confinement(service=service, helper=settings.helper_user, on=settings.confine == "auto")


def readable(chosen: ServeConfig, export: ExportSettings) -> list[str]:
    """The files and directories of the settings that are read after the start."""
    insights = chosen.insights
    files = [
        insights.certificate,
        insights.key,
        insights.client_ca,
        chosen.kernel.container_names,
        *chosen.privileges.readable,
    ]
    for otlp in export.otlp.values():
        files += [otlp.certificate, otlp.client_key, otlp.client_certificate]
    return [file for file in files if file]


def writable(state_directory: str) -> list[str]:
    """The state directory, which also gets SQLite's temporary files.

    If the service's user still has to create it (a container's volume), its nearest existing
    parent.
    """
    if not state_directory:
        return []
    os.environ.setdefault(
        "SQLITE_TMPDIR", state_directory
    )  # https://sqlite.org/tempfiles.html, section 5
    place = Path(state_directory)
    return [str(next(p for p in (place, *place.absolute().parents) if p.exists()))]


def metrics(confined: Confinement) -> tuple[Metric, ...]:
    points = tuple(
        Point(((sc.PIPELINE_OBSERVER_PROCESS, d.who), (sc.PIPELINE_OBSERVER_CALL, d.call)), d.count)
        for d in confined.denied()
    )
    return (Metric(*sc.METRIC_PIPELINE_OBSERVER_DENIED_CALLS, points),) if points else ()


def lines(found: Survey) -> list[str]:
    """For `kwitness check`."""
    landlock = (
        f"Landlock (ABI {found.landlock})" if found.landlock else "no Landlock in this kernel"
    )
    seccomp = (
        f"no seccomp filter: {found.seccomp}"
        if found.seccomp
        else "seccomp filter, refused calls are counted"
    )
    return [
        f"confinement of serve: {seccomp}; {landlock}",
        (
            "capability bounding set: "
            f"{'is emptied' if not found.bounding_set else f'is kept: {found.bounding_set}'}"
        ),
        f"service: {found.service}"
        + (f" ({found.service_shared})" if found.service_shared else ", which is its own"),
        f"helper: {found.helper}"
        + (f" ({found.helper_shared})" if found.helper_shared else ", which no other process has"),
    ]
