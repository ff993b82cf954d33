"""Recordings that are damaged on purpose, and the commands that read recordings,
in this process."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

from receiver.cli.main import main
from receiver.observe.recording import FrameKind

_FRAME = struct.Struct("<BIq")
_RECORD_HEADER = 24
_EXTREMES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    (1 << 62) - 1,
    1 << 62,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
_NUMBERS = (
    "0",
    "-1",
    "1e400",
    "NaN",
    str(1 << 62),
    str(-(1 << 63)),
    str(1 << 64),
    "9" * 400,
    '"x"',
    "null",
    "[]",
    "true",
)
Frame = tuple[int, int, bytes]


def parts(raw: bytes) -> tuple[bytes, bytes, list[Frame]]:
    """The first line, which has the version, the header's JSON, and the frames of a recording."""
    first, _, rest = raw.partition(b"\n")
    head, _, rest = rest.partition(b"\n")
    frames, at = [], 0
    while at < len(rest):
        kind, length, time_ns = _FRAME.unpack_from(rest, at)
        at += _FRAME.size + length
        frames.append((kind, time_ns, rest[at - length : at]))
    return first, head, frames


def whole(first: bytes, head: bytes, frames: list[Frame]) -> bytes:
    return (
        first
        + b"\n"
        + head
        + b"\n"
        + b"".join(_FRAME.pack(kind, len(body), time_ns) + body for kind, time_ns, body in frames)
    )


def mutated(raw: bytes, dice: random.Random) -> bytes:
    """One to four changes, from a bit to a whole frame."""
    first, head, frames = parts(raw)
    for _ in range(dice.randint(1, 4)):
        match dice.randrange(9):
            case 0:
                head = _numbers(head, dice)
            case 1 | 2 | 3 | 4:
                _change(frames, dice, _field)
            case 5:
                _change(frames, dice, _text)
            case 6:
                at = dice.randrange(len(frames))
                time_ns = dice.choice((0, -1, -(1 << 63), (1 << 62) - 1, 1 << 62, (1 << 63) - 1))
                frames[at] = (frames[at][0], time_ns, frames[at][2])
            case 7:
                at, other = dice.randrange(len(frames)), dice.randrange(len(frames))
                frames.insert(other, frames[at] if dice.random() < 0.5 else frames.pop(at))
            case 8:
                _change(frames, dice, _of_another_kind)
    out = bytearray(whole(first, head, frames))
    if dice.random() < 0.1:
        del out[dice.randrange(len(out)) :]
    for _ in range(dice.choice((0, 0, 0, 1, 8))):
        if out:
            out[dice.randrange(len(out))] = dice.randrange(256)
    return bytes(out)


def _change(
    frames: list[Frame], dice: random.Random, how: Callable[[int, bytes, random.Random], bytes]
) -> None:
    at = dice.randrange(len(frames))
    kind, time_ns, body = frames[at]
    if body:
        frames[at] = (kind, time_ns, how(kind, body, dice))


def _field(kind: int, body: bytes, dice: random.Random) -> bytes:
    """A number of a record gets a value that numbers of its width seldom have."""
    if kind not in (FrameKind.BATCH, FrameKind.WALL_OFFSET):
        return _numbers(body, dice)
    out, width = bytearray(body), dice.choice((1, 2, 4, 8))
    at, record = 0, 0
    starts = []
    while at < len(body):
        starts.append(at)
        record = int.from_bytes(body[at + 16 : at + 20], "little")
        at += max(record, _RECORD_HEADER) if kind == FrameKind.BATCH else len(body)
    start = dice.choice(starts)
    at = start + dice.randrange(0, 200, width)
    value = dice.choice(_EXTREMES) & ((1 << 8 * width) - 1)
    if at + width <= len(out) and not (
        kind == FrameKind.BATCH and at - start in (16, 17, 18, 19) and dice.random() < 0.9
    ):
        out[at : at + width] = value.to_bytes(width, "little")
    return bytes(out)


def _text(_: int, body: bytes, dice: random.Random) -> bytes:
    """Bytes that are no text, no terminal should see, or end a string early."""
    out = bytearray(body)
    at = dice.randrange(len(out))
    junk = dice.choice(
        (
            b"\xff\xfe\xed\xa0\x80",
            b"\x1b[2J\r\n",
            b"\0\0\0",
            "\u202e\u200b".encode(),
            b"\x07\x9b31m",
            b"=" * 40,
        )
    )
    out[at : at + len(junk)] = junk[: len(out) - at]
    return bytes(out)


def _of_another_kind(kind: int, body: bytes, dice: random.Random) -> bytes:
    if kind != FrameKind.BATCH or len(body) < _RECORD_HEADER:
        return _numbers(body, dice)
    return body[:22] + dice.randrange(24).to_bytes(2, "little") + body[24:]


def _numbers(text: bytes, dice: random.Random) -> bytes:
    """A number of some JSON becomes another, or no number."""
    found = list(re.finditer(rb"-?\d+", text))
    if not found:
        return text
    one = dice.choice(found)
    return text[: one.start()] + dice.choice(_NUMBERS).encode() + text[one.end() :]


def variants(file: Path, folder: Path) -> list[list[str]]:
    """Every way to read a recording."""
    out = {name: str(folder / name) for name in ("otlp", "report", "page", "history")}
    return [
        ["replay", str(file)],
        ["replay", "--json", str(file)],
        ["replay", "--dump", str(file)],
        ["replay", "--dump", "--json", str(file)],
        ["replay", "--otlp-json", out["otlp"], str(file)],
        ["replay", "--report", out["report"], "--page", out["page"], "--details", str(file)],
        ["check", "--explain", str(file)],
    ]


def run(arguments: list[str]) -> tuple[int, str, str]:
    """Status, stdout, stderr. What the command raises comes out."""
    raw, err = io.BytesIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(raw, "utf-8")) as out,
        contextlib.redirect_stderr(err),
    ):
        status = main(arguments)
        out.flush()
        return status, raw.getvalue().decode(), err.getvalue()


def fault(arguments: list[str]) -> str:
    """What is wrong with how that ended; empty when it ended well, or was refused in one line."""
    try:
        status, _, err = run(arguments)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    if status not in (0, 65):
        return f"status {status}: {err}"
    lines = err.splitlines()
    if status and len(lines) != 1:
        return f"status {status} with {len(lines)} lines: {err}"
    if any(not line.startswith("kwitness: ") or not line.isprintable() for line in lines):
        return f"stderr: {err!r}"
    return ""


def whole_json(path: Path) -> bool:
    """Whether each line of a written file is JSON."""
    return all(isinstance(json.loads(line), dict) for line in path.read_bytes().splitlines())


def seeds() -> list[Path]:
    """Golden recordings, the smallest ones of each folder first: they hold every kind."""
    here = Path(__file__).parent / "scenarios"
    return sorted([*here.glob("*.kw"), *here.glob("*/*.kw")], key=lambda p: p.stat().st_size)
