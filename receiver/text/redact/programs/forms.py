"""The form of an entry for a known program.

A flag is written as the program takes it: `-p` may precede its value as a word of its own, or have
the value attached; `--long` may have its value after `=`. A `--password` of any program needs no
entry: receiver.text.redact.names knows it. Nor does `-u NAME -p VALUE`: receiver.text.redact.walk
reads it for any program.
"""

from __future__ import annotations

import re

import msgspec


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of one program, or of one of its commands (`verbs`: one of these words precedes the
    flag).
    """

    value: tuple[str, ...] = ()  # the value, attached or next
    attached: tuple[str, ...] = ()  # the attached value only: without a value it prompts
    login: tuple[str, ...] = ()  # user SEPARATOR secret
    separator: str = ":"
    literal: tuple[str, ...] = ()  # NAME=secret, whatever the name
    pair: tuple[str, ...] = ()  # the next two arguments: a name and its value
    both: tuple[str, ...] = ()  # the next two arguments are secrets
    prefixed: tuple[str, ...] = ()  # openssl's pass:secret
    switches: tuple[str, ...] = ()  # resembles a secret, and takes no value
    plain: tuple[str, ...] = ()  # resembles a secret, and takes only the name of one
    assigned: bool = False  # NAME=secret, without a flag
    slash: tuple[str, ...] = ()  # /NAME:secret or /NAME secret, in lower case
    verbs: frozenset[str] = frozenset()
    # short flags without a value, which may precede one of these: -su user:secret
    boolean: str = ""


class ArgumentPlace(msgspec.Struct, frozen=True):
    """Secrets by position: after the words `verbs`, `skip` arguments that are no flags, then `take`
    secrets.
    """

    verbs: tuple[str, ...]
    skip: int = 0
    take: int = 1
    needs: str = ""  # a flag that must be among the arguments


FLAGS: dict[str, list[Flags]] = {}
PLACES: dict[str, list[ArgumentPlace]] = {}


def flags(
    programs: str, verbs: str = "", *, separator: str = ":", boolean: str = "", **kinds: str
) -> None:
    """The flags of these programs, after one of these verbs if there are any."""
    entry = Flags(
        # all fields in `kinds` are tuples
        **{kind: tuple(names.split()) for kind, names in kinds.items()},  # type: ignore[arg-type]
        separator=separator,
        verbs=frozenset(verbs.split()),
        boolean=boolean,
    )
    for program in programs.split():
        FLAGS.setdefault(program, []).append(entry)


def assigned(programs: str, verbs: str) -> None:
    """NAME=secret as an argument of its own, after one of these verbs."""
    for program in programs.split():
        FLAGS.setdefault(program, []).append(Flags(assigned=True, verbs=frozenset(verbs.split())))


def place(programs: str, verbs: str, skip: int = 0, take: int = 1, needs: str = "") -> None:
    """Secrets by position, behind these words."""
    for program in programs.split():
        one = ArgumentPlace(tuple(verbs.split()), skip, take, needs)
        PLACES.setdefault(program, []).append(one)


# an argument in a special form: the text before the secret, the secret, and the text after it
LOGINS: dict[str, re.Pattern[str]] = {}


def login(programs: str, form: str) -> None:
    """An argument of one form for these programs."""
    LOGINS.update(dict.fromkeys(programs.split(), re.compile(form, re.IGNORECASE | re.DOTALL)))
