"""Command lines inside of arguments and lines: `bash -c '…'`, `ssh host '…'`, a title, a list in
Python.
"""

from __future__ import annotations

import re

from receiver.text.redact.names import MEDIUM, STRONG, one_time, secrecy
from receiver.text.redact.programs import (
    ECHOES,
    NAMES,
    READER_FLAGS,
    READER_VERBS,
    READERS,
)
from receiver.text.redact.scan import Mark, scan
from receiver.text.redact.shell import Command, Word, commands, requoted
from receiver.text.redact.state import program_name
from receiver.text.redact.values import MARK, is_reference
from receiver.text.redact.walk import Walk

ARGUMENTS = 64  # of a command that may read a secret
DEPTH = 5  # depth of command lines inside of command lines
_WORDS = re.compile(r"[a-z0-9_.\-]+")
_TELLING_FLAG = re.compile(
    r"(?i)(?<![\w.])-[\w.\-]*(?:pass|secret|token|key|pwd|cred|auth|pw|cookie|pin|otp)"
    r"|(?<![\w.\-])-(?:p|a|u)\s|stdin|<<<|/p(?:ass)?\w*[\s:]"
)
_QUOTED = re.compile(r"([\"'])((?:(?!\1)[^\\\n])*+)\1")
_ECHO_FLAG = re.compile(r"-[neE]+$|--$|%|$")
_BRACKETED = re.compile(r"\[(\s{0,4}[\"'][^\[\]]*)\]")  # also in quotes: Command '['x', …]'
_BETWEEN = re.compile(r"\s{0,4},\s{0,4}$")
_FORMAT = re.compile(r"([\w.\-]{1,64})[=:]\s?[\"']?%s")
_STDIN = frozenset(("-", "/dev/stdin", "--data-file=-", "--from-file=/dev/stdin", "@-"))


def walk(mark: Mark, depth: int, *, cut: bool = False) -> Walk:
    """A pass over one argument list, at this depth of nesting."""

    def read(argument: str, program: str, random: bool) -> str:
        return argument_text(
            argument, mark, depth, script=depth > 0, cut=cut, program=program, random=random
        )

    return Walk(mark, read, script=depth > 0)


def argument_text(
    argument: str,
    mark: Mark,
    depth: int,
    *,
    script: bool = False,
    whole: bool = True,
    cut: bool = False,
    commands_too: bool = False,
    program: str = "",
    random: bool = True,
) -> str:
    """One argument: pairs, URLs and tokens in it, and command lines inside of it.

    `commands_too`: also when it is a single word. `program`: the program whose own commands they
    are. `random`: a random run is a secret, and not a job's name.
    """
    if len(argument) < 4:
        return argument
    inner = (commands_too or any(c in argument for c in " \t\n")) and depth < DEPTH
    text = scan(
        argument,
        mark,
        whole=whole and not (inner and _is_script(argument)),
        script=script or inner,
        cut=cut,
        random=random,
    )
    if inner and (program or holds_commands(text)):
        text = _lists(text, mark, depth)
        text = line(text, mark, depth + 1, program)
    return text


def holds_commands(text: str) -> bool:
    """Whether it may be a flag of a known program."""
    lowered = text.lower()
    return _TELLING_FLAG.search(text) is not None or not NAMES.isdisjoint(_WORDS.findall(lowered))


def _is_script(argument: str) -> bool:
    """`PGPASSWORD=x psql …`: the value ends at the blank."""
    head = argument.partition("=")[0]
    return head.isupper() and re.search(r"\s(?:[;&|]|[a-z./\-]\S*)", argument) is not None


def line(text: str, mark: Mark, depth: int = 0, program: str = "") -> str:
    """A shell's line: the arguments of each simple command, and what it gets as its input."""
    found = commands(text)
    out: list[str] = []
    kept = 0
    for index, command in enumerate(found):
        values = tuple(word.value for word in command.words)
        cleaned = _cleaned(found, index, values, mark, depth=depth, program=program)
        changed = [
            (word.start, word.end, requoted(text[word.start : word.end], value))
            for word, value in zip(command.words, cleaned, strict=True)
            if value != word.value
        ]
        if command.inputs:
            secret = any(_reads(one) for one in _pipeline(found, index))
            own = program_name(values[0]) if values else ""
            for here in command.inputs:
                changed += _input(text, here, secret, own, mark, depth=depth)
        for start, end, value in sorted(changed):
            out += [text[kept:start], value]
            kept = end
    out.append(text[kept:])
    return "".join(out)


def _cleaned(
    found: list[Command],
    index: int,
    values: tuple[str, ...],
    mark: Mark,
    *,
    depth: int,
    program: str,
) -> list[str]:
    if _is_echoed(found, index):
        return [
            values[0],
            *(
                v
                if _ECHO_FLAG.match(v) or MARK in v or is_reference(v, script=True)
                else mark("stdin")
                for v in values[1:]
            ),
        ]
    if values[:1] == ("printf",) and len(values) == 3 and MARK not in values[2]:
        named = _FORMAT.search(values[1])
        if named and secrecy(named[1]) >= STRONG and not is_reference(values[2], script=True):
            return [*values[:2], mark("value")]
    one = walk(mark, depth)
    if program:
        one.run(program)
    return one.arguments(values)


def _is_echoed(found: list[Command], index: int) -> bool:
    """`echo SECRET | docker login --password-stdin`."""
    command = found[index]
    return (
        command.ending == "|"
        and command.words[0].value in ECHOES
        and index + 1 < len(found)
        and _reads(found[index + 1])
    )


def reads_secret(values: tuple[str, ...]) -> bool:
    """Whether the command reads a secret from its standard input."""
    values = tuple(v for v in values[:ARGUMENTS] if v)
    at, asked = 0, False
    if values[:1] == ("su",):
        return True
    while at < len(values) and ("=" in values[at] or values[at] in ("sudo", "su")):
        asked = asked or values[at] in ("sudo", "su")
        at += 1
    if asked and any(re.match(r"-\w*S$", v) for v in values):
        return True
    if asked:  # a command that sudo runs may read it instead
        values, at = tuple(v for v in values[at:] if v[:1] != "-"), 0
    if at >= len(values):
        return asked
    name, rest = program_name(values[at]), values[at + 1 :]
    if name in READERS or any(READER_FLAGS.match(v) for v in rest if not re.match(r"-\w*S$", v)):
        return True
    if name == "read":
        return any(secrecy(v) >= MEDIUM or one_time(v) for v in rest if v[:1] != "-")
    if name == "base64":
        return False
    stdin = not _STDIN.isdisjoint(rest) or any(v.endswith(("=-", "=/dev/stdin")) for v in rest)
    verbs = [v.lower() for v in rest if v[:1] != "-"]
    if not READER_VERBS.isdisjoint(verbs):
        return stdin or verbs[-1:] == ["login"] or bool({"put", "set", "login"} & set(verbs))
    return name == "openssl" and "stdin" in rest


def _pipeline(found: list[Command], index: int) -> list[Command]:
    """The command, and the one that gets its output."""
    return found[index : index + 2] if found[index].ending == "|" else found[index : index + 1]


def _reads(command: Command) -> bool:
    return reads_secret(tuple(word.value for word in command.words))


def _input(
    text: str, here: Word, secret: bool, own: str, mark: Mark, *, depth: int
) -> list[tuple[int, int, str]]:
    """The place and the new text of a here-string or of the body of a here-document, if it
    changes. `secret`: all of it is one. `own`: the program that reads it.
    """
    value = here.value
    if not secret:
        cleaned = argument_text(
            value, mark, depth, script=True, whole=False, commands_too=True, program=own
        )
    elif is_reference(value.strip(), script=True) or MARK in value:
        cleaned = value
    else:
        cleaned = mark("stdin") + ("\n" if value.endswith("\n") else "")
    if cleaned == value:
        return []
    raw = text[here.start : here.end]
    return [(here.start, here.end, cleaned if raw == value else requoted(raw, cleaned))]


def _lists(text: str, mark: Mark, depth: int) -> str:
    """['mysqldump', '-pSECRET'] in Python and JSON: the arguments of a command."""
    text = _BRACKETED.sub(lambda m: f"[{_list(m[1], mark, depth)}]", text)
    return _list(text, mark, depth)


def _list(text: str, mark: Mark, depth: int) -> str:
    out: list[str] = []
    kept = 0
    group: list[re.Match[str]] = []
    for found in (*_QUOTED.finditer(text), None):
        if found is not None and (
            not group or _BETWEEN.match(text, group[-1].end(), found.start())
        ):
            group.append(found)
            continue
        values = tuple(g[2] for g in group)
        if len(values) > 1 and (
            values[0].rpartition("/")[2] in NAMES or any(v.startswith("-") for v in values)
        ):
            for g, value in zip(group, walk(mark, depth + 1).arguments(values), strict=True):
                if value != g[2]:
                    out += [text[kept : g.start(2)], value]
                    kept = g.end(2)
        group = [found] if found is not None else []
    out.append(text[kept:])
    return "".join(out)
