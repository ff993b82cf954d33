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
    """The words up to `ending`, which is the operator after them, or empty. `inputs` are its
    here-strings and the bodies of its here-documents.
    """

    words: tuple[Word, ...]
    ending: str = ""
    inputs: tuple[Word, ...] = ()


class _Reader:
    def __init__(self, line: str) -> None:
        self._line = line
        self.commands: list[Command] = []
        self._words: list[Word] = []
        self._inputs: list[Word] = []
        self._redirected = ""
        # the ends of here-documents whose bodies begin at the next line, and whose they are
        self._documents: list[tuple[str, int]] = []

    def read(self) -> list[Command]:
        at = 0
        while found := _TOKEN.match(self._line, at):
            at = found.end()
            operator, word = found["op"], found["word"]
            newline = found[0].find("\n") if word is None else -1
            if operator in _ENDS or newline >= 0:
                self._end(operator or "\n")
                if newline >= 0 and self._documents:
                    at = self._bodies(found.start() + newline + 1)
            elif operator is not None:
                self._redirected = operator
            elif word is not None:
                self._word(Word(found.start(), at, unquoted(word)))
        self._end("")
        return self.commands

    def _word(self, word: Word) -> None:
        redirected, self._redirected = self._redirected, ""
        if redirected == "<<<":
            self._inputs.append(word)
        elif redirected == "<<":
            self._documents.append((word.value.removeprefix("-"), len(self.commands)))
        elif not redirected:
            self._words.append(word)

    def _end(self, ending: str) -> None:
        if self._words or self._inputs:
            self.commands.append(Command(tuple(self._words), ending, tuple(self._inputs)))
        self._words, self._inputs, self._redirected = [], [], ""

    def _bodies(self, at: int) -> int:
        """The place after the here-documents whose bodies begin at `at`."""
        for delimiter, index in self._documents:
            start = at
            while at < len(self._line):
                end = self._line.find("\n", at)
                end = len(self._line) if end < 0 else end
                if self._line[at:end].strip("\t ") == delimiter:
                    break
                at = end + 1
            stop = min(at, len(self._line))
            body = Word(start, stop, self._line[start:stop])
            if index < len(self.commands):
                one = self.commands[index]
                self.commands[index] = Command(one.words, one.ending, (*one.inputs, body))
            at = min(at + len(delimiter), len(self._line)) if at < len(self._line) else stop
        self._documents = []
        return at


def commands(line: str) -> list[Command]:
    """Simple commands. Never raises: a quote that is not closed is an ordinary character."""
    return _Reader(line).read()


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
