"""The base of every recogniser: its name, the facts that it wants to see, what it declares about
its framework, and answers that claim nothing.

Declarations are collected by `receiver.attribution.declared` for the rooms that need them: no other
file names a framework's variables, helpers or paths.
"""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from receiver.attribution.claims import Claims
from receiver.events import FileChanged, FileOpened
from receiver.work.worker import Worker


class HelperRole(msgspec.Struct, frozen=True):
    """The role of processes that live as long as their framework needs them.

    A SIGTERM or a SIGKILL from the framework is their normal end. `ends_with`: the exit statuses
    with which they end after their parent has ended.
    """

    role: str
    ends_with: tuple[int, ...] = ()


class Recogniser:
    """Stateless: `Worker.remember` keeps what a recogniser must know of a process later.

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

    # -- declarations
    # variables that are read at exec; a name that ends in `_` allows all names that begin with it
    environment: ClassVar[tuple[str, ...]] = ()
    # those of them that identify a task: its process is watched from its exec on
    binding: ClassVar[tuple[str, ...]] = ()
    # directories whose `__init__` file is reported when a process imports it
    packages: ClassVar[tuple[str, ...]] = ()
    # prefixes of paths of files that are counted and not named when they are only read
    ignored_paths: ClassVar[tuple[str, ...]] = ()
    helpers: ClassVar[tuple[HelperRole, ...]] = ()
    # the path of a file that is not complete: its rename commits it
    temporary_path: ClassVar[re.Pattern[str] | None] = None
    # parts of paths of the framework's own files, which are no outputs of a step
    metadata_paths: ClassVar[tuple[str, ...]] = ()
    # keys of `key=value` directories that name no partition of data
    path_keys: ClassVar[tuple[str, ...]] = ()
    # attributes of the process's span: each is a name of semconv, and the key of the note that
    # holds its value
    attributes: ClassVar[tuple[str, ...]] = ()

    def image(self, process: Worker) -> Claims:
        """The process has a new image."""
        return ()

    def titled(self, process: Worker) -> Claims:
        """The process has set its title."""
        return ()

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        """The process has opened a file."""
        return ()

    def changed(self, process: Worker, event: FileChanged) -> Claims:
        """The process has renamed, linked or removed a file."""
        return ()


def is_written(event: FileOpened) -> bool:
    """Whether the file was opened for writing."""
    return event.open_flags & 3 in (1, 2)
