"""What every recogniser is: a name, what it wants to be asked about, and answers that say nothing."""

from __future__ import annotations

from typing import ClassVar

from receiver.attribution.claims import Claims
from receiver.events import FileChanged, FileOpened
from receiver.facts.tree import Process


class Recogniser:
    """Stateless: what it must remember of a process stands in that process's `notes`. Processes with a note under its name
    have all their opened files shown to it."""

    name: ClassVar[str]
    programs: ClassVar[frozenset[str]] = (
        frozenset()
    )  # words of a command line (attribution.programs) that make it look
    variables: ClassVar[tuple[str, ...]] = ()  # beginnings of "NAME=value" that do
    every_image: bool = False
    titles: ClassVar[tuple[str, ...]] = ()  # beginnings of titles
    paths: ClassVar[
        tuple[str, ...]
    ] = ()  # pieces of paths of files that are opened (or renamed, unlinked: `changes`)
    changes: ClassVar[bool] = False

    def image(self, process: Process) -> Claims:
        """It has a new image."""
        return ()

    def titled(self, process: Process) -> Claims:
        """It has given itself a title."""
        return ()

    def opened(self, process: Process, event: FileOpened) -> Claims:
        """It has opened a file."""
        return ()

    def changed(self, process: Process, event: FileChanged) -> Claims:
        """It has renamed, linked or removed a file."""
        return ()


def is_written(event: FileOpened) -> bool:
    """Opened for writing."""
    return event.open_flags & 3 in (1, 2)
