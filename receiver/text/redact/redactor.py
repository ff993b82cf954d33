"""The entry of the redactor: kernel bytes in, text without secrets out.

Text without a secret, nearly all text, is cheap.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Literal, TypeVar

from receiver.constants import ARGV_MARK_BYTES
from receiver.text.printable import text, texts
from receiver.text.redact.commands import argument_text, line, walk
from receiver.text.redact.scan import scan
from receiver.text.redact.tokens import RANDOM
from receiver.text.redact.vocabulary import of_lines, of_pairs, of_tokens

Mode = Literal["scrub", "strip", "off"]
REMEMBERED = 4096  # cached texts of each kind; a full cache is cleared
MAX_PATH = 255  # a path of this length may have been cut by the kernel half
MAX_ARGUMENTS = 64  # reported; the total is in argc
CUT = "\x01" * ARGV_MARK_BYTES  # between the two ends of a command line that was too long
_LOGIN = re.compile(rb"-(?:[uUaA]|-user)[\0 =]+[\"']?[\w.\-]+:[^\0\s/]")  # -u user:password
_MADE = re.compile(rb"\d[A-Za-z0-9._\-]*[!#^+@]|[!#^+][A-Za-z._\-]*\d")
_ATTACHED = re.compile(rb"[\0 ]-[pP][A-Za-z._]*[\d!#$%*+]")  # -pVALUE
NAME = "[redacted]"  # fits into the 16 bytes of a comm

T = TypeVar("T")


def _shortened(arguments: tuple[str, ...]) -> tuple[str, ...]:
    if len(arguments) <= MAX_ARGUMENTS:
        return arguments
    head = MAX_ARGUMENTS // 3
    return (*arguments[:head], "…", *arguments[head + 1 - MAX_ARGUMENTS :])


class Redactor:
    """Turns bytes into text without its secrets; `counts` is the number of matches of each rule.

    Not thread-safe.
    """

    def __init__(self, mode: Mode = "scrub") -> None:
        self.mode = mode
        self.counts: Counter[str] = Counter()
        self._lines, self._pairs, self._tokens = of_lines(), of_pairs(), of_tokens()
        # texts without a secret, by their bytes: pipelines run the same commands again
        self._clean_argv: dict[bytes, tuple[str, ...]] = {}
        self._clean_lines: dict[bytes, str] = {}
        self._clean_paths: dict[bytes, str] = {}
        self._clean_labels: dict[bytes, str] = {}
        self._clean_names: dict[bytes, str] = {}
        self._clean_entries: dict[bytes, tuple[str, ...]] = {}
        # texts that held a secret, by their digest, so that no secret is kept
        self._redacted: dict[bytes, tuple[object, Counter[str]]] = {}

    def argv(self, raw: bytes) -> tuple[str, ...]:
        """NUL-terminated arguments, at most 64: of a longer list, the first and the last ones. "…"
        replaces the missing ones.
        """
        known = self._clean_argv.get(raw)
        if known is not None:
            return known
        if self.mode == "off" or not raw:
            return _shortened(self._joined(texts(raw)))
        if self.mode == "strip":
            first, *others = texts(raw)
            return (first, *(self._mark("strip") for _ in others[: MAX_ARGUMENTS - 1]))
        lowered = raw.lower()
        if (
            not self._lines.has_sign(lowered)
            and not _may_hold_secret(raw)
            and CUT.encode() not in raw
            and not _may_be_cut(raw)
        ):
            return _remember(self._clean_argv, raw, _shortened(texts(raw)))
        return self._dear(b"a" + raw, self._clean_argv, raw, lambda: self._arguments(raw))

    def line(self, raw: bytes) -> str:
        """A title, an error or another line that may quote a command."""
        known = self._clean_lines.get(raw)
        if known is not None:
            return known
        if self.mode == "off":
            return text(raw)
        if (
            not self._lines.has_sign(raw.lower())
            and not _may_hold_secret(raw)
            and b"://" not in raw
        ):
            return _remember(self._clean_lines, raw, text(raw))
        return self._dear(b"l" + raw, self._clean_lines, raw, lambda: self._line(text(raw)))

    def path(self, raw: bytes) -> str:
        """A path, a control group, a DNS name or a module's name: no command line, but it can hold
        `token=…` and tokens.
        """
        known = self._clean_paths.get(raw)
        if known is not None:
            return known
        if self.mode == "off":
            return text(raw)
        pairs = b"=" in raw or b":" in raw
        if not (self._pairs if pairs else self._tokens).has_sign(raw.lower()) and not (
            b"%40" in raw
            or (pairs and b"@" in raw)
            or RANDOM.search(raw)
            or b" -" in raw
            or (len(raw) >= MAX_PATH and b"://" in raw)
        ):
            return _remember(self._clean_paths, raw, text(raw))
        return self._dear(b"p" + raw, self._clean_paths, raw, lambda: self._path(text(raw)))

    def frames(self, raw: bytes) -> tuple[str, ...]:
        """Names of functions, paths of files and numbers of lines, NUL-terminated."""
        return tuple(self.path(part) for part in raw.split(b"\0")[:-1])

    def name(self, raw: bytes) -> str:
        """A comm (at most 15 bytes, prctl(2) PR_SET_NAME): if a part of it is a secret, all of it
        is removed.
        """
        known = self._clean_names.get(raw)
        if known is not None:
            return known
        value = self.path(raw)
        if value == text(raw):
            return _remember(self._clean_names, raw, value)
        return NAME

    def labels(self, raw: bytes) -> str:
        """A DNS name in wire format: length bytes instead of dots (RFC 1035, 3.1).

        A label that holds a token is removed.
        """
        if self.mode == "off" or not self._tokens.has_sign(raw.lower()):
            return text(raw)
        return self._dear(b"d" + raw, self._clean_labels, raw, lambda: self._labels(raw))

    def entries(self, raw: bytes) -> tuple[str, ...]:
        """NAME=value, NUL-terminated: variables on the allow list, whose values may still quote a
        secret.
        """
        known = self._clean_entries.get(raw)
        if known is not None:
            return known
        if self.mode == "off" or (
            not self._lines.has_sign(raw.lower()) and not _may_hold_secret(raw)
        ):
            return _remember(self._clean_entries, raw, texts(raw))
        return self._dear(
            b"e" + raw, self._clean_entries, raw, lambda: tuple(self._entry(e) for e in texts(raw))
        )

    def _dear(self, key: bytes, clean: dict[bytes, T], raw: bytes, read: Callable[[], T]) -> T:
        """Applies all rules; caches the result and its counts."""
        digest = blake2b(key, digest_size=16).digest()
        known = self._redacted.get(digest)
        if known is not None:
            self.counts.update(known[1])
            return known[0]  # type: ignore[return-value]  # the key's first byte is the kind
        before = self.counts.copy()
        value = read()
        fired = self.counts - before
        if not fired:
            return _remember(clean, raw, value)
        _remember(self._redacted, digest, (value, fired))
        return value

    def _mark(self, rule: str) -> str:
        self.counts[rule] += 1
        return f"[redacted:{rule}]"

    def _joined(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """A long command line arrives as its two ends.

        The text after the gap may be a secret whose name was in the gap, so it is removed.
        """
        if CUT not in arguments:
            return arguments
        gap = arguments.index(CUT)
        self.counts["gap"] += 1
        return (*arguments[:gap], "…", *arguments[gap + 3 :])

    def _arguments(self, raw: bytes) -> tuple[str, ...]:
        arguments = self._joined(texts(raw))
        return _shortened(tuple(walk(self._mark, 0, cut=_may_be_cut(raw)).arguments(arguments)))

    def _line(self, value: str) -> str:
        return argument_text(value, self._mark, 0, whole=False, cut=True, commands_too=True)

    def _path(self, value: str) -> str:
        value = scan(value, self._mark, path=True, cut=len(value) >= MAX_PATH)
        if " -" in value:  # a file that is named after a command line
            value = line(value, self._mark)
        return value

    def _labels(self, raw: bytes) -> str:
        out, at = [], 0
        while at < len(raw):
            label = text(raw[at + 1 : at + 1 + raw[at]])
            kept = label if self._path(label) == label else NAME
            out.append(chr(raw[at] if kept is label else len(kept)) + kept)
            at += 1 + raw[at]
        return "".join(out)

    def _entry(self, entry: str) -> str:
        name, equals, value = entry.partition("=")
        return f"{name}{equals}{self._line(value)}"


def _may_hold_secret(raw: bytes) -> bool:
    """There is an `@` of user:password@host, percent-encoded or not, a flag with user:password, or
    a random run.
    """
    return (
        b"@" in raw
        or b"%40" in raw
        or (b":" in raw and _LOGIN.search(raw) is not None)
        or RANDOM.search(raw) is not None
        or _MADE.search(raw) is not None
        or _ATTACHED.search(raw) is not None
    )


def _may_be_cut(raw: bytes) -> bool:
    """The BPF program cut the list in the middle of an argument: a URL in it may lack the `@` that
    shows its password, and a token its end.
    """
    return raw[-1:] != b"\0" and len(raw) > 1


def _remember(cache: dict[bytes, T], raw: bytes, value: T) -> T:
    """Bounded: a full cache is cleared."""
    if len(cache) >= REMEMBERED:
        cache.clear()
    cache[raw] = value
    return value
