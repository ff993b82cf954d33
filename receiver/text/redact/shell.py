"""The words of a shell's line, with their places in it: a changed word is put back in its place,
and the rest does not change.
"""

from __future__ import annotations

import re
import shlex

import msgspec

_TOKEN = re.compile(
    r"\s+|(?P<op>\|\|?|&&|;;?|<<<|\d?[<>]{1,2}&?|[()\n&])"
    r"|(?P<word>(?:[^\s'\"\\|&;<>()]|\\.|\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|[\"'\\])++)",
    re.DOTALL,
)
_PIECE = re.compile(r"\"((?:[^\"\\]|\\.)*+)\"|'([^']*+)'|\\(.)", re.DOTALL)
_ESCAPED = re.compile(r"\\([\"\\$`\n])")
_PLAIN = re.compile(r"[\w@%+=:,./\[\]{}$\-…]*$")
_ENDS = frozenset(("|", "||", "&&", ";", ";;", "&", "(", ")", "\n"))


class Word(msgspec.Struct, frozen=True):
    """One word: its place, and the text that the program gets."""

    start: int
    end: int
    value: str


class Command(msgspec.Struct, frozen=True):
    """The words up to `ending`, which is the operator after them, or empty."""

    words: tuple[Word, ...]
    ending: str = ""


def commands(line: str) -> list[Command]:
    """Simple commands. Never raises: a quote that is not closed is an ordinary character."""
    out: list[Command] = []
    words: list[Word] = []
    redirected = False
    for token in _TOKEN.finditer(line):
        operator = token["op"]
        if operator in _ENDS or (operator is None and token["word"] is None and "\n" in token[0]):
            if words:
                out.append(Command(tuple(words), operator or "\n"))
                words = []
        elif operator is not None:
            redirected = operator != "<<<"
        elif token["word"] is not None:
            if not redirected:
                words.append(Word(token.start(), token.end(), unquoted(token["word"])))
            redirected = False
    if words:
        out.append(Command(tuple(words)))
    return out


def unquoted(raw: str) -> str:
    """The text that the program gets for a word, without expansions."""
    if "'" not in raw and '"' not in raw and "\\" not in raw:
        return raw
    return _PIECE.sub(
        lambda m: (
            _ESCAPED.sub(r"\1", m[1]) if m[1] is not None else m[2] if m[2] is not None else m[3]
        ),
        raw,
    )


def requoted(raw: str, value: str) -> str:
    """The changed value, in quotes like those of the replaced word."""
    if raw[:1] == raw[-1:] == "'" and "'" not in value:
        return f"'{value}'"
    if raw[:1] == raw[-1:] == '"':
        return '"' + re.sub(r"([\"\\])", r"\\\1", value) + '"'
    return value if _PLAIN.match(value) else shlex.quote(value)
