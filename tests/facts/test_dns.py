"""Names that are asked for, and servers that fail."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from receiver import semconv as sc
from receiver.events import (
    ConnectionStage,
    NameQuery,
    ProcessKey,
)
from receiver.text.names import name_in
from tests.builders import Story, attributes
from tests.facts.records import SERVER, connection

LABELS = "\x03www\x07example\x03com"


def query(story: Story, key: ProcessKey, flags: int, **other: Any) -> None:
    values = {
        "query_id": 9,
        "query_flags": flags,
        "labels": LABELS,
        "family": 2,
        "server_low": SERVER,
        "port": 53,
    }
    story.fact(NameQuery, key, **(values | {"question_type": 1} | other))


def test_names_are_remembered_for_their_addresses() -> None:
    story = Story()
    client = story.task("load")
    query(story, client, 0x100)
    query(story, client, 0x8180, addresses=1, first_low=SERVER)
    connection(story, client, story.now, ConnectionStage.FAILED, error=errno.EHOSTUNREACH)
    (record,) = story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)
    assert attributes(record)[sc.SERVER_ADDRESS] == "www.example.com"


@pytest.mark.parametrize(
    ("flags", "error"), [(0x8182, "dns_server_failure"), (0x8183, ""), (None, "dns_timeout")]
)
def test_name_servers_that_fail(flags: int | None, error: str) -> None:
    story = Story()
    client = story.task("load")
    query(story, client, 0x100)
    if flags is not None:
        query(story, client, flags)
    story.tick(6)
    found = [attributes(r)[sc.ERROR_TYPE] for r in story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)]
    assert found == ([error] if error else [])


def test_labels_that_do_not_add_up() -> None:
    assert name_in("\x03www\x40x") == "www.x"
    assert name_in("") == ""
