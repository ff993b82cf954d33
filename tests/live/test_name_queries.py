"""What a watched process asked a name server, against a server of the test's own."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from receiver.events import (
    NameQuery,
)
from receiver.text.names import address_of, name_in
from tests.live.conftest import Watched

pytestmark = pytest.mark.live


class NameServer(threading.Thread):
    """Answers A questions with two addresses after a CNAME;
    "nobody" gets no answer, "broken" a server failure."""

    def __init__(self, server: socket.socket) -> None:
        super().__init__(daemon=True)
        self.server = server

    def run(self) -> None:
        while True:
            try:
                question, client = self.server.recvfrom(512)
            except OSError:
                return
            if b"nobody" in question:
                continue
            code = 2 if b"broken" in question else 0
            head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 0 if code else 3, 0, 0)
            name = b"\xc0\x0c"
            answers = (
                b""
                if code
                else (
                    name
                    + struct.pack(">HHIH", 5, 1, 60, 2)
                    + name
                    + name
                    + struct.pack(">HHIH", 1, 1, 60, 4)
                    + bytes([10, 0, 0, 7])
                    + name
                    + struct.pack(">HHIH", 1, 1, 60, 4)
                    + bytes([10, 0, 0, 8])
                )
            )
            self.server.sendto(head + question[12:] + answers, client)


ASK = """
import socket, struct, sys
def ask(name, send):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((sys.argv[1], 53))
    s.settimeout(0.3)
    labels = b"".join(bytes([len(p)]) + p for p in name.encode().split(b"."))
    head = struct.pack(">HHHHHH", 77, 0x100, 1, 0, 0, 0)
    query = head + labels + b"\\0" + struct.pack(">HH", 1, 1)
    getattr(s, send)(*(([query],) if send == "sendmsg" else (query,)))
    try: s.recv(512)
    except TimeoutError: pass
ask("www.example.com", "send"); ask("nobody.test", "send"); ask("broken.test", "sendmsg")
"""


def test_name_queries(watched: Watched) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.53", 53))
        except OSError:
            pytest.skip("something listens on 127.0.0.53:53")
        NameServer(server).start()
        pid = watched.run(ASK, "127.0.0.53")
    seen = watched.witness.of(pid, NameQuery)
    asked = [
        (name_in(e.labels), e.query_flags >> 15, e.query_flags & 15, e.question_type, e.addresses)
        for e in seen
    ]
    assert asked == [
        ("www.example.com", 0, 0, 1, 0),
        ("www.example.com", 1, 0, 1, 2),
        ("nobody.test", 0, 0, 1, 0),
        ("broken.test", 0, 0, 1, 0),
        ("broken.test", 1, 2, 1, 0),
    ]
    answer = seen[1]
    assert address_of(2, answer.first_high, answer.first_low) == "10.0.0.7"
    assert address_of(2, answer.second_high, answer.second_low) == "10.0.0.8"
    assert {
        (address_of(e.family, e.server_high, e.server_low), e.port, e.query_id) for e in seen
    } == {("127.0.0.53", 53, 77)}
