"""Secrets in command lines. Applied as bytes become text, before any queue, log, recording or report.

Rules work on the argument list, never on a joined line, and every pattern is linear. What is replaced reads
`[redacted:RULE]`, so that a reader knows something stood there and which rule took it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal, TypeVar

from receiver.text import text, texts

Mode = Literal["scrub", "strip", "off"]
_REMEMBERED = 4096
MAX_ARGUMENTS = 64  # reported; the count of all of them travels beside (argc)
CUT = "\x01\x01\x01"  # between the two ends of a command line that was too long (bpf/image.bpf.h)

_WORDS = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[-_.]?key|access[-_.]?key|account[-_.]?key|auth|authorization|credentials?"
    r"|private[-_.]?key|signature|sas|cookie|dsn"
)
_NAME = rf"[\w.\-]{{0,64}}(?:{_WORDS})[\w.\-]{{0,32}}"
_FLAG = re.compile(rf"(?i)^--?{_NAME}$")
_ASSIGNED = re.compile(rf"(?i)^((?:--?)?{_NAME})([=:])(?=.)")
_INNER = re.compile(rf"(?i)([?&;,\s\"']{_NAME}\s?[=:]\s?)([^&;,\s\"']+)")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.\-]{1,30}://)([^/\s:@]{0,256}):([^\s@]{1,1024})@")
_CUT_USERINFO = re.compile(r"(?i)^([a-z][a-z0-9+.\-]{1,30}://[^/\s:@]{0,256}:)(?!\d{1,5}(?:/|$))[^\s@]{1,4096}$")
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,255}|\bgithub_pat_\w{20,255}|\bxox[abeoprs]-[A-Za-z0-9\-]{8,255}"
    r"|\beyJ[\w\-]{8,4096}\.[\w\-]{4,4096}\.[\w\-]{0,4096}|-----BEGIN[ A-Z]{0,40}KEY-----[^\x00]*|\bsk-[A-Za-z0-9_\-]{20,255}"
    r"|\bdapi[0-9a-f]{32}\b|\bAIza[\w\-]{35}"
)
_HEADER = re.compile(r"(?i)^((?:proxy-)?authorization|x-[\w\-]*(?:key|token|auth)[\w\-]*|cookie|api-key)\s*:")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w+/=.\-~]{6,}")
# `-p secret` and `-u user:secret` mean a secret for these only
_SHORT = {"mysql": "-p", "mysqldump": "-p", "mariadb": "-p", "sshpass": "-p", "curl": "-u", "redis-cli": "-a", "ldapsearch": "-w"}
# Cheap test first: a command line without any of these holds nothing to redact.
_HINTS = tuple(
    b"pass pwd secret token key auth cred sas cookie dsn signature :// akia asia ghp_ gho_ ghu_ ghs_ ghr_ github_pat xox eyj "
    b"-----begin sk- dapi aiza bearer basic".split()
)


T = TypeVar("T")


def _hinted(raw: bytes) -> bool:
    lowered = raw.lower()
    return any(hint in lowered for hint in _HINTS)


def _remember(cache: dict[bytes, T], raw: bytes, value: T) -> T:
    """Bounded: a full cache starts again."""
    if len(cache) >= _REMEMBERED:
        cache.clear()
    cache[raw] = value
    return value


def _joined(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """A long command line comes as its two ends. What follows the gap may be a secret whose name was in the gap: it goes."""
    if CUT not in arguments:
        return arguments
    gap = arguments.index(CUT)
    return (*arguments[:gap], "…", *arguments[gap + 3 :])


def _shortened(arguments: tuple[str, ...]) -> tuple[str, ...]:
    if len(arguments) <= MAX_ARGUMENTS:
        return arguments
    head = MAX_ARGUMENTS // 3
    return (*arguments[:head], "…", *arguments[head + 1 - MAX_ARGUMENTS :])


class Redactor:
    """Turns argv bytes into text without its secrets; `counts` says how often each rule fired."""

    def __init__(self, mode: Mode = "scrub") -> None:
        self.mode = mode
        self.counts: Counter[str] = Counter()
        self._clean: dict[bytes, tuple[str, ...]] = {}  # lines known to hold no secret: pipelines run the same ones again
        self._clean_lines: dict[bytes, str] = {}

    def argv(self, raw: bytes) -> tuple[str, ...]:
        """NUL-terminated arguments, at most 64 of them: of more, the first and the last. "…" stands for what is not there."""
        known = self._clean.get(raw)
        if known is not None:
            return known
        arguments = _joined(texts(raw))
        if self.mode == "off" or not arguments:
            return _shortened(arguments)
        if self.mode == "strip":
            return (arguments[0], *(self._mark("strip") for _ in arguments[1:MAX_ARGUMENTS]))
        if not _hinted(raw) and arguments[0].rpartition("/")[2] not in _SHORT:
            return _remember(self._clean, raw, _shortened(arguments))
        return _shortened(tuple(self._scrub(arguments)))

    def line(self, raw: bytes) -> str:
        """A title or another line that may quote a command."""
        known = self._clean_lines.get(raw)
        if known is not None:
            return known
        if self.mode == "off":
            return text(raw)
        if not _hinted(raw):
            return _remember(self._clean_lines, raw, text(raw))
        return " ".join(self._scrub(tuple(text(raw).split(" "))))

    def _mark(self, rule: str) -> str:
        self.counts[rule] += 1
        return f"[redacted:{rule}]"

    def _scrub(self, arguments: tuple[str, ...]) -> list[str]:
        out: list[str] = []
        short = _SHORT.get(arguments[0].rpartition("/")[2])
        pending = ""  # the rule that takes the whole next argument
        for index, argument in enumerate(arguments):
            if pending:
                rule, pending = pending, ""
                if argument.startswith("[redacted:"):
                    out.append(argument)
                    continue
                if not (rule == "flag" and argument.startswith("-")):
                    out.append(self._mark(rule))
                    continue
            if index and short and argument.startswith(short) and "[redacted:" not in argument:
                if argument == short:
                    pending = "short"
                    out.append(argument)
                else:
                    out.append(short + self._mark("short"))
                continue
            if index and _FLAG.match(argument):
                pending = "flag"
            elif index and argument.lower() in ("bearer", "basic"):
                pending = "bearer"
            out.append(self._one(argument))
        return out

    def _one(self, argument: str) -> str:
        if "[redacted:" in argument:  # replaying a recording: redaction is idempotent
            return argument
        if _HEADER.match(argument):
            return argument.partition(":")[0] + ": " + self._mark("header")
        if found := _ASSIGNED.match(argument):
            return found[1] + found[2] + self._mark("value")
        argument = _USERINFO.sub(lambda m: f"{m[1]}{m[2]}:{self._mark('url')}@", argument)
        argument = _CUT_USERINFO.sub(lambda m: m[1] + self._mark("url"), argument)
        argument = _SHAPES.sub(lambda _: self._mark("shape"), argument)
        argument = _BEARER.sub(lambda m: f"{m[1]} {self._mark('bearer')}", argument)
        return _INNER.sub(lambda m: m[1] + self._mark("value") if "[redacted:" not in m[2] else m[0], argument)
