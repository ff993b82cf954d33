"""What is known of the command whose arguments are read."""

from __future__ import annotations

import re
from collections.abc import Callable

from receiver.text.redact.programs import FLAGS, INTERPRETERS, Flags
from receiver.text.redact.taken import Mark, Taken

_SUFFIX = re.compile(r"(?i)\.(?:exe|sh|bat|cmd)$")

Read = Callable[[str, str, bool], str]
Take = Callable[[str], str]


def program_name(argument: str) -> str:
    """The name by which the tables know a program."""
    return _SUFFIX.sub("", re.split(r"[/\\]", argument)[-1]).lower()


class CommandState:
    """`read` reads an argument of no known meaning; its second argument is the program if the
    argument holds commands of its own, its third is whether a random run in it is a secret.
    `script`: they are words of a script.
    """

    def __init__(self, mark: Mark, read: Read, *, script: bool = False) -> None:
        self._mark, self._read = mark, read
        self._script = script
        self._taken = Taken(mark, self._text, script=script)
        self._program = ""
        self._flags: list[Flags] = []
        self._verbs: list[str] = []  # words that are no flags, since the program
        self._next: list[Take] = []  # what is done to the next arguments
        self._identity = False  # the argument is the value of a flag like --job-id
        self._two_follow = False  # two arguments that are no flags
        self._all: frozenset[str] = frozenset()  # the command's arguments
        self._named: Take | None = None  # what is done to the value of a NAME
        # `-u NAME` belongs to the command: its `-p` is a password, whatever the program is
        self._user_given = self._windows = False

    def run(self, program: str) -> None:
        """The arguments are words of a language of this program."""
        self._program, self._flags = program, FLAGS.get(program, [])

    def _takes(self, flag: str) -> bool:
        return any(flag in f.value + f.login + f.pair + f.both for f in self._flags)

    def _active(self) -> list[Flags]:
        return [f for f in self._flags if not f.verbs or not f.verbs.isdisjoint(self._verbs)]

    def _text(self, argument: str) -> str:
        program = self._program if self._program in INTERPRETERS else ""
        return self._read(argument, program, not self._identity)
