"""Two corpora for redaction: texts with a planted secret, and ordinary texts of
pipelines without one.

`secrets.txt` was written from the documentation of the programs before any rule was built, and is
split in halves by the hash of each line: rules were built from the development half, and the judged
half was run at the end. `ordinary.txt` holds shapes that are filled with seeded values.

The files with a number were written after the rules, without a look at them. Each was judged once
at first sight, before a rule was changed for it; that figure is the one that the documents give.
Their ordinary lines stand for themselves.
"""

from __future__ import annotations

import hashlib
import random
import re
import shlex
import uuid
from functools import cache
from pathlib import Path

import msgspec

from receiver.text.printable import joined
from receiver.text.redact import Redactor

_MARKED = re.compile("«(.+?)»", re.DOTALL)
_HERE = Path(__file__).parent
ORDINARY_LINES = 2000
SETS = (1, 2, 3, 4, 5, 6)  # each was judged at first sight, before a rule was changed for it


class Shape(msgspec.Struct, frozen=True):
    """One text: its kind, the text without marks, what of it is secret, and its half."""

    kind: str
    text: str
    secrets: tuple[str, ...] = ()
    judged: bool = False

    def read(self, redactor: Redactor) -> tuple[str, ...]:
        """What the redactor leaves of it, through the method that the wire uses for this kind."""
        if self.kind == "argv":
            return redactor.argv(joined(tuple(shlex.split(self.text))))
        raw = self.text.encode()
        if self.kind == "env":
            return redactor.entries(raw + b"\0")
        return (redactor.path(raw) if self.kind == "path" else redactor.line(raw),)

    def plain(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.text)) if self.kind == "argv" else (self.text,)

    def leaks(self, redactor: Redactor) -> bool:
        left = "\0".join(self.read(redactor))
        return any(secret in left for secret in self.secrets)


def _lines(name: str) -> list[tuple[str, str]]:
    """The kind and the text of each line of a file; `⏎` is a line end within a text."""
    lines = (_HERE / name).read_text("utf-8").replace("⏎", "\v").split("\n")
    return [
        (kind, text.replace("\v", "\n"))
        for kind, _, text in (
            line.partition("\t") for line in lines if line and not line.startswith("#")
        )
    ]


@cache
def secrets(number: int = 1) -> tuple[Shape, ...]:
    """All shapes with a secret of one set."""
    found = []
    for kind, text in _lines("secrets.txt" if number == 1 else f"secrets-{number}.txt"):
        judged = bool(hashlib.sha256(f"{kind}\t{text}".encode()).digest()[0] & 1)
        found.append(Shape(kind, _MARKED.sub(r"\1", text), tuple(_MARKED.findall(text)), judged))
    return tuple(found)


def _value(name: str, chance: random.Random) -> str:
    tables = (
        "orders",
        "users",
        "events",
        "keys",
        "tokens",
        "sessions",
        "authors",
        "payments",
        "page_views",
        "credit_notes",
    )
    paths = (
        "/data/in",
        "/tmp/etl",
        "/var/lib/etl/work",
        "/home/etl/jobs/tokens",
        "/mnt/nfs/landing",
        "/opt/etl/secrets-demo",
    )
    match name:
        case "date":
            return (
                f"20{chance.randint(20, 29)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
            )
        case "uuid":
            return str(uuid.UUID(int=chance.getrandbits(128), version=4))
        case "n":
            return str(chance.randint(1, 4000))
        case "port":
            return str(chance.randint(1024, 65535))
        case "host":
            return chance.choice(
                (
                    "db.internal",
                    "10.0.3.17",
                    "kafka-1.example.com",
                    "ip-10-0-0-7.ec2.internal",
                    "localhost",
                )
            )
        case "table":
            return chance.choice(tables)
        case "path":
            return f"{chance.choice(paths)}/{chance.choice(tables)}-{chance.getrandbits(32):08x}"
        case "sha" | "md5" | "sha256":
            return f"{chance.getrandbits(256):064x}"[: {"sha": 40, "md5": 32, "sha256": 64}[name]]
    return f"{chance.getrandbits(256):064x}"[: int(name.removeprefix("hex"))]


@cache
def ordinary() -> tuple[Shape, ...]:
    """2,000 texts without a secret: every shape, filled with values that a fixed seed gives."""
    shapes, chance = _lines("ordinary.txt"), random.Random(20240115)
    out: list[Shape] = []
    while len(out) < ORDINARY_LINES:
        kind, text = shapes[len(out) % len(shapes)]
        filled = re.sub(
            r"\{(\w+)\}",
            lambda m: _value(m[1], chance),
            text.replace("{{", "\1").replace("}}", "\2"),
        )
        out.append(Shape(kind, filled.replace("\1", "{").replace("\2", "}")))
    return tuple(out)


@cache
def ordinary_written(number: int) -> tuple[Shape, ...]:
    """The ordinary texts of one of the sets 2 to 5."""
    return tuple(Shape(kind, text) for kind, text in _lines(f"ordinary-{number}.txt"))
