"""Wire bytes and values: round trips, and a decoder that nothing gets out of but values
and counted errors."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.errors import DecodeError
from receiver.events import (
    DECODERS,
    VALID,
    CallKind,
    ConnectionStage,
    Event,
    EventKind,
    Exec,
    FileOperation,
    FileReason,
    Fork,
    HeldObject,
    MappingKind,
    OomScope,
    OpenFile,
    ProcessKey,
    StdioKind,
    SubjectKind,
    WaitObject,
    encode,
)
from receiver.kernel.decode import REASONS, decode, order, scrub, split
from receiver.text.redact import Redactor
from tests.builders import Story, airflow
from tests.story.teller import blank

PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
KEYS = st.builds(ProcessKey, st.integers(0, 2**32 - 1), st.integers(0, 2**62 - 1))
ENUMS: dict[str, type[IntEnum]] = {
    "stdin_kind": StdioKind,
    "stdout_kind": StdioKind,
    "stderr_kind": StdioKind,
    "scope": OomScope,
    "reason": FileReason,
    "operation": FileOperation,
    "call": CallKind,
    "subject": SubjectKind,
    "stage": ConnectionStage,
    "waits_on": WaitObject,
    "mapping_kind": MappingKind,
    "held": HeldObject,
}
SIZES = {"B": 8, "H": 16, "I": 32, "Q": 64}


def values(kind: type) -> st.SearchStrategy[Event]:
    """Any value of an event class: small numbers fit every field."""
    fields: dict[str, st.SearchStrategy[object]] = {}
    for field in msgspec.structs.fields(kind):
        if field.type is ProcessKey:
            fields[field.name] = KEYS
        elif field.name in ENUMS:
            fields[field.name] = st.sampled_from([int(value) for value in ENUMS[field.name]])
        elif field.type is int:
            fields[field.name] = st.integers(0, 2**15)
        elif field.type is str:
            short = field.name.endswith("comm")
            fields[field.name] = (
                st.text(st.characters(max_codepoint=126, min_codepoint=33), max_size=15)
                if short
                else PLAIN
            )
        else:
            fields[field.name] = st.lists(PLAIN, max_size=6).map(tuple)
    return st.builds(kind, **fields)


@pytest.mark.parametrize("kind", Event.__args__, ids=lambda k: k.__name__)
def test_every_kind_survives_the_round_trip(kind: type) -> None:
    @settings(max_examples=60, deadline=None)
    @given(values(kind))
    def check(event: Event) -> None:
        assert decode(encode(event), Redactor("off")) == event

    check()


def test_every_kind_has_a_decoder() -> None:
    assert set(DECODERS) == set(VALID) == set(EventKind)


def _impossible() -> list[tuple[type, str, object]]:
    """Every field whose width holds more than it may mean, with values past its edge."""
    out: list[tuple[type, str, object]] = []
    for kind in Event.__args__:
        for field in msgspec.structs.fields(kind):
            if field.type is ProcessKey:
                out += [
                    (kind, field.name, ProcessKey(1, 1 << 62)),
                    (kind, field.name, ProcessKey(1, (1 << 64) - 1)),
                ]
            elif field.name in ENUMS:
                out += [
                    (kind, field.name, value) for value in (max(ENUMS[field.name]) + 1, 256, 0xFFFF)
                ]
            elif field.name.endswith("_ns"):
                out += [(kind, field.name, 1 << 62), (kind, field.name, (1 << 64) - 1)]
            elif field.name.endswith("_bytes") and field.name != "rss_growth_bytes":
                out += [(kind, field.name, 1 << 63)]
    return out


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    _impossible(),
    ids=lambda v: v.__name__ if isinstance(v, type) else str(v),
)
def test_a_value_that_its_field_cannot_have_is_a_counted_decode_error(
    kind: type, field: str, value: object
) -> None:
    story = Story()
    root = story.command("bash")
    enums = {
        f.name: int(max(ENUMS[f.name])) for f in msgspec.structs.fields(kind) if f.name in ENUMS
    }
    fields = kind.__struct_fields__  # type: ignore[attr-defined]
    subject = {"process": root} if "process" in fields else {}
    event = kind(
        **(blank(kind) | subject | enums | {"time_boottime_ns": story.now, "sequence": 1, "cpu": 0})
    )
    decode(encode(event), Redactor())
    with pytest.raises(DecodeError, match="range"):
        decode(encode(msgspec.structs.replace(event, **{field: value})), Redactor())
    story.core.feed([encode(msgspec.structs.replace(event, **{field: value}))], story.now)
    assert story.core.decode_errors == {"range": 1}


def test_what_grows_past_its_length_field_when_it_is_redacted_is_stored_as_a_counted_error() -> (
    None
):
    """Replacement characters make three bytes of one."""
    story = Story()
    story.exec(story.command("bash"), "curl", "--password=x", "y" * 30_000)
    raw = story.records[-1].replace(b"y", b"\xff")
    assert len(scrub(raw, Redactor())) == 24
    with pytest.raises(DecodeError):
        decode(scrub(raw, Redactor()), Redactor())


def _real_records() -> list[bytes]:
    story = Story()
    root = story.command("bash", "-c", "x")
    worker = story.spawn(root, "python3", environ=airflow())
    story.signal(root, worker, 15)
    story.open_file(worker, "/data/x")
    story.title(worker, "worker: idle")
    story.oom(worker)
    story.exit(worker, signal=9)
    return story.records


RECORDS = _real_records()


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(RECORDS),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 40),
)
def test_mutated_records_give_a_value_or_a_decode_error(
    raw: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    mutated = bytearray(raw[: len(raw) - cut])
    for at, value in edits:
        if mutated:
            mutated[at % len(mutated)] = value
    _decode_or_counted(bytes(mutated))


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=600))
def test_garbage_gives_a_value_or_a_decode_error(raw: bytes) -> None:
    _decode_or_counted(raw)
    for part in split(raw):
        _decode_or_counted(part)
        order(part)
        scrub(part, Redactor())


def _decode_or_counted(raw: bytes) -> None:
    try:
        event = decode(raw, Redactor())
    except DecodeError as error:
        assert error.reason in REASONS
    else:
        msgspec.json.encode(event)  # text is valid Unicode, whatever the bytes were


def test_split_is_the_inverse_of_joining() -> None:
    assert split(b"".join(RECORDS)) == RECORDS


def test_hostile_names_become_valid_text() -> None:
    raw = bytearray(
        encode(
            Fork(1, 1, 0, ProcessKey(1, 1), ProcessKey(2, 2), ProcessKey(0, 0), 0, 0, 0, "x" * 15)
        )
    )
    at = raw.index(b"x" * 15)
    raw[at : at + 15] = b"\x1b]0;x\x07\xff\xfe\n\x80abc".ljust(15, b"z")
    event = decode(bytes(raw), Redactor())
    assert isinstance(event, Fork)
    assert event.comm.encode().decode() == event.comm
    assert "\ufffd" in event.comm


def test_scrub_keeps_the_bytes_of_records_without_secrets() -> None:
    for raw in RECORDS:
        assert scrub(raw, Redactor()) == raw


def test_scrub_takes_the_secret_out_and_nothing_else() -> None:
    story = Story()
    story.command("psql", "--password=hunter2", "--host=db")
    raw = next(r for r in story.records if b"hunter2" in r)
    clean = scrub(raw, Redactor())
    assert b"hunter2" not in clean
    event, original = decode(clean, Redactor("off")), decode(raw, Redactor("off"))
    assert isinstance(event, Exec)
    assert isinstance(original, Exec)
    assert event.argv == ("psql", "--password=[redacted:value]", "--host=db")
    assert msgspec.structs.replace(event, argv=original.argv) == original


def test_the_header_of_records_is_the_same_for_all_kinds() -> None:
    for raw in RECORDS:
        assert int.from_bytes(raw[16:20], "little") == len(raw)


def test_the_wire_header_names_units() -> None:
    """Numbers that measure something say in what: bpf/events.h, struct members."""
    header = (Path(__file__).parent.parent / "bpf" / "events.h").read_text()
    for name in re.findall(
        r"__[us](?:32|64) (\w*(?:time|delay|rss|limit|usage|size|position)\w*);", header
    ):
        assert re.search(r"_(ns|bytes|pages|kind|inode|code)$", name), name


def test_an_open_file_keeps_its_whole_path() -> None:
    path = "/" + "d" * 4000
    story = Story()
    story.open_file(ProcessKey(9, 9), path)
    event = decode(story.records[-1], Redactor())
    assert isinstance(event, OpenFile)
    assert event.path == path
