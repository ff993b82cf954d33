"""The base of every recogniser: its name, the facts that it wants to see, and answers that claim
nothing.
"""

from __future__ import annotations

from typing import ClassVar

from receiver.attribution.claims import Claims
from receiver.events import FileChanged, FileOpened
from receiver.facts.tree import Process


class Recogniser:
    """Stateless: what a recogniser must remember of a process is in the process's `notes`.

    A process with a note under the recogniser's name has all its opened files shown to it.
    """

    name: ClassVar[str]
    # words of a command line (attribution.programs) that it wants to see
    programs: ClassVar[frozenset[str]] = frozenset()
    variables: ClassVar[tuple[str, ...]] = ()  # prefixes of "NAME=value" that it wants to see
    every_image: bool = False
    titles: ClassVar[tuple[str, ...]] = ()  # prefixes of titles
    # parts of paths of files that are opened (for `changes`: renamed or unlinked)
    paths: ClassVar[tuple[str, ...]] = ()
    changes: ClassVar[bool] = False

    def image(self, process: Process) -> Claims:
        """The process has a new image."""
        return ()

    def titled(self, process: Process) -> Claims:
        """The process has set its title."""
        return ()

    def opened(self, process: Process, event: FileOpened) -> Claims:
        """The process has opened a file."""
        return ()

    def changed(self, process: Process, event: FileChanged) -> Claims:
        """The process has renamed, linked or removed a file."""
        return ()


def is_written(event: FileOpened) -> bool:
    """Whether the file was opened for writing."""
    return event.open_flags & 3 in (1, 2)
