"""Command lines with secrets in them."""

from __future__ import annotations

import itertools
import re
from typing import TypeVar

import msgspec

from receiver.events import VALID, EventKind

T = TypeVar("T", bound=msgspec.Struct)
SECRETS = ("hunter2secretvalue", "p4ss.w0rd-X9", "Zx81/abc+def==", "s3cr3t%21value")
WORDS = (
    "password",
    "passwd",
    "secret",
    "token",
    "api-key",
    "access_key",
    "auth-token",
    "private-key",
    "client_secret",
    "db-pwd",
)
FORMS = (
    "--{w}={s}",
    "--{w}|{s}",
    "-{w}={s}",
    "{W}={s}",
    "--conf|spark.hadoop.{w}={s}",
    "jdbc:x://h/db?user=u&{w}={s}",
)
SHAPES = (
    "mysql|-p{s}",
    "mysql|-u|root|-p{s}",
    "sshpass|-p|{s}|ssh|h",
    "curl|-u|user:{s}|http://h",
    "redis-cli|-a|{s}",
    "curl|-H|Authorization: Bearer {s}",
    "curl|-H|X-Api-Key: {s}",
    "psql|postgresql://user:{s}@db:5432/x",
    "git|clone|https://x-access-token:{s}@host/r.git",
    "sh|-c|PGPASSWORD={s} psql -h db",
    "java|-Djavax.net.ssl.keyStorePassword={s}",
    "tool|--header=authorization: basic {s}",
    "aws|--secret-access-key|{s}",
)
WELL_KNOWN = (
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "xoxb-123456789012-abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
)


def planted() -> list[tuple[tuple[str, ...], str]]:
    lines = []
    for secret, word, form in itertools.product(SECRETS, WORDS, FORMS):
        text = form.format(w=word, W=word.upper().replace("-", "_"), s=secret)
        lines.append((("tool", *text.split("|"), "last"), secret))
    for secret, shape in itertools.product(SECRETS, SHAPES):
        lines.append((tuple(shape.format(s=secret).split("|")), secret))
    lines += [(("tool", "--x", secret), secret) for secret in WELL_KNOWN]
    return lines


def _empty(kind: type[T]) -> T:
    blank = {
        "int": 0,
        "str": "",
        "ProcessKey": {"tgid": 1, "start_boottime_ns": 1},
        "tuple[str, ...]": (),
    }
    for number in (0, 1):  # some enums have no member 0
        blank["int"] = number
        values = {
            f.name: blank[str(kind.__annotations__[f.name])] for f in msgspec.structs.fields(kind)
        }
        made = msgspec.convert(values, kind)
        if VALID[EventKind[_screaming(kind.__name__)]](made):
            return made
    raise AssertionError(kind)


def _screaming(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
