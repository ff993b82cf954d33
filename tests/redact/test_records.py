"""Every text of a record and of a log goes through the redaction."""

from __future__ import annotations

import logging
import sys

import msgspec

from receiver.events import Event, FileOpened, Fork, NameQuery, encode
from receiver.kernel.decode import decode, scrub
from receiver.text.names import name_in
from receiver.text.redact import Redactor
from receiver.text.redact.log import RedactedFormatter, redacted
from tests.redact.lines import _empty


def test_every_text_of_every_record_goes_through_it() -> None:
    """Whatever text field an event has, a token in it does not come out:
    neither decoded nor recorded."""
    from receiver import events

    token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    seen = 0
    for kind in events._ENCODERS:
        blank: Event = _empty(kind)
        for field in msgspec.structs.fields(kind):
            sort = str(kind.__annotations__[field.name])
            if sort not in ("str", "tuple[str, ...]"):
                continue
            for value in (token, "token=abc1"):
                raw = encode(
                    msgspec.structs.replace(
                        blank, **{field.name: (f"X={value}",) if sort != "str" else value}
                    )
                )
                if value.encode() not in raw:
                    continue  # no room for it in a comm
                if kind is NameQuery and value != token:
                    continue
                if kind is NameQuery:
                    raw = encode(
                        msgspec.structs.replace(
                            _empty(NameQuery), labels=chr(len(token)) + token + "\x03com"
                        )
                    )
                secret = value.partition("=")[2] or value
                assert secret not in str(decode(raw, Redactor())), (kind, field.name)
                assert secret.encode() not in scrub(raw, Redactor()), (kind, field.name)
                again = Redactor()
                assert (
                    decode(scrub(raw, Redactor()), again) == decode(raw, Redactor())
                    and not again.counts
                )
                seen += 1
    assert seen >= 40


def test_a_name_of_dns_keeps_its_form() -> None:
    query = msgspec.structs.replace(
        _empty(NameQuery), labels="\x28ghp_abcdefghijklmnopqrstuvwxyz0123456789\x07example\x03com"
    )
    event = decode(encode(query), Redactor())
    assert isinstance(event, NameQuery) and name_in(event.labels) == "[redacted].example.com"


def test_a_name_of_a_process_is_replaced_as_a_whole() -> None:
    event = decode(encode(msgspec.structs.replace(_empty(Fork), comm="password=abc12")), Redactor())
    assert isinstance(event, Fork) and event.comm == "[redacted]"


def test_off_leaves_paths_alone() -> None:
    raw = encode(msgspec.structs.replace(_empty(FileOpened), path="/x/token=abc1"))
    event = decode(raw, Redactor("off"))
    assert isinstance(event, FileOpened) and event.path == "/x/token=abc1"


def test_log_lines_are_behind_it() -> None:
    record = logging.LogRecord(
        "kwitness",
        logging.WARNING,
        "",
        0,
        "exporting to %s",
        ("https://u:hunter2@collector:4318",),
        None,
    )
    assert (
        RedactedFormatter("%(message)s").format(record)
        == "exporting to https://u:[redacted:url]@collector:4318"
    )
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "hunter2" not in RedactedFormatter("%(message)s").format(record)
    assert (
        redacted(
            "OTEL_EXPORTER_OTLP_ENDPOINT=ftp://u:hunter2@h: the scheme must be http or https"
        ).count("hunter2")
        == 0
    )
