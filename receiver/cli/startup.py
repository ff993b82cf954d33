"""What both services do before they serve: settings, state directory, another user, confinement."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from receiver.cli import confined
from receiver.cli.common import VERSION
from receiver.cli.preload import load_all
from receiver.export.hub import Hub
from receiver.export.options import ExportSettings
from receiver.export.settings import from_environment
from receiver.kernel.confinement import Confinement
from receiver.kernel.descriptors import raise_limit
from receiver.kernel.privileges import drop_to
from receiver.kernel.spare_user import OwnUser
from receiver.service import config as configuration
from receiver.service.state import (
    StateDirectory,
    open_directory_of_service,
    read_token,
    state_path,
)
from receiver.signals import Metric


@dataclass(frozen=True)
class Startup:
    """The parts of a service that exist before it gives up its privileges."""

    chosen: configuration.ServeConfig
    export: ExportSettings
    hub: Hub
    becomes: OwnUser | None
    directory: StateDirectory | None
    guard: Confinement | None
    token: str

    def confine(self, *, attaches: bool = False) -> None:
        """Becomes the service's user and installs its filters. `attaches`: it attaches hooks."""
        if self.directory is not None:
            self.hub.samples.load()
        if self.becomes is not None:
            if os.geteuid() == 0:
                load_all()  # the service's user may not be able to read the modules
            drop_to(self.becomes.identity)
        if self.guard is not None:
            place = str(self.directory.path) if self.directory is not None else ""
            self.guard.service(
                confined.readable(self.chosen, self.export),
                confined.writable(place),
                attaches=attaches,
            )
        if self.directory is not None:
            self.hub.samples.keep_in(self.directory.fd)

    def metrics(self) -> tuple[Metric, ...]:
        return confined.metrics(self.guard) if self.guard is not None else ()

    def report(self) -> None:
        """Logs the system calls that were refused since the last call."""
        if self.guard is not None:
            self.guard.report()

    def release(self) -> None:
        self.report()
        if self.guard is not None:
            self.guard.close()


def prepare(args: argparse.Namespace, variables: Mapping[str, str]) -> Startup:
    """Reads the settings and opens the state directory. A second service on it ends here.

    `variables`: may name a state directory (systemd's STATE_DIRECTORY). Nothing may be attached
    and no thread started before.
    """
    raise_limit()
    chosen = configuration.load(Path(args.config) if args.config else None)
    token = read_token(Path(chosen.admin.token_file)) if chosen.admin.token_file else ""
    export = from_environment(os.environ)
    hub = Hub(export, VERSION)
    becomes = confined.becomes(chosen.privileges, state_path(chosen.state.directory, variables))
    directory = open_directory_of_service(
        chosen.state.directory, variables, becomes.identity if becomes is not None else None
    )
    return Startup(
        chosen=chosen,
        export=export,
        hub=hub,
        becomes=becomes,
        directory=directory,
        guard=confined.confinement(chosen.privileges, becomes),
        token=token,
    )
