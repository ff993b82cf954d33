"""Requests that are being received: their bytes over all connections are bounded. No I/O and no clock.

When there is no room, uploads that hold their place for longer than GRACE_SECONDS are ended, the oldest first: a sender that never
ends its request cannot keep out the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

BYTES = 64 << 20
GRACE_SECONDS = 2.0
MEMBERS = 64  # gzip(1): a stream may consist of several


class TooLargeError(Exception):
    """A body of more bytes than are taken, as it comes or after decompression."""


class MalformedError(Exception):
    """A body that is not what its Content-Encoding says."""


class Upload:
    """One request: `grow` as it comes, `close` when it is done with."""

    def __init__(self, owner: Uploads, began: float, end: Callable[[], None]) -> None:
        self.size, self.began, self.end = 0, began, end
        self._owner = owner

    def grow(self, size: int, now: float) -> bool:
        """False when there is no room for so many more bytes."""
        return self._owner.grow(self, size, now)

    def shrink(self, size: int) -> None:
        """Now it holds so many bytes."""
        self._owner.held -= self.size - size
        self.size = size

    def close(self) -> None:
        self._owner.close(self)


class Uploads:
    """`evicted` counts those that were ended to make room."""

    def __init__(self, limit: int = BYTES) -> None:
        self.limit, self.held, self.evicted = limit, 0, 0
        self._open: dict[Upload, None] = {}  # in order of their beginning

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, now: float, end: Callable[[], None]) -> Upload:
        """`end` is called when others need the room. It must not call back."""
        upload = Upload(self, now, end)
        self._open[upload] = None
        return upload

    def grow(self, upload: Upload, size: int, now: float) -> bool:
        while self.held + size > self.limit:
            oldest = next((u for u in self._open if u is not upload and u.size), None)
            if oldest is None or now - oldest.began < GRACE_SECONDS:
                return False
            self.evicted += 1
            self.close(oldest)
            oldest.end()
        if upload in self._open:  # not if it was ended meanwhile
            self.held += size
            upload.size += size
        return True

    def close(self, upload: Upload) -> None:
        if upload in self._open:
            del self._open[upload]
            self.held -= upload.size
            upload.size = 0


def decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """The body without its Content-Encoding (identity, gzip, deflate). Never makes more than `most` bytes and one.

    Raises TooLargeError and MalformedError; the latter also for an encoding that is unknown.
    """
    match encoding:
        case "" | "identity":
            return body
        case "gzip":
            return _inflated(body, 31, most)
        case "deflate":
            try:
                return _inflated(body, 15, most)  # RFC 9110, 8.4.1.2: with the zlib header
            except MalformedError:
                return _inflated(body, -15, most)  # as some send it
    raise MalformedError(f"Content-Encoding {encoding!r} is not known")


def _inflated(body: bytes, window: int, most: int) -> bytes:
    parts, size = [], 0
    for _ in range(MEMBERS):
        stream = zlib.decompressobj(window)
        try:
            part = stream.decompress(body, most - size + 1)
        except zlib.error:
            raise MalformedError("the body is not what its Content-Encoding says") from None
        size += len(part)
        if size > most:
            raise TooLargeError
        if not stream.eof:
            raise MalformedError("the compressed body is cut off")
        parts.append(part)
        body = stream.unused_data
        if not body:
            return b"".join(parts)
    raise MalformedError(f"more than {MEMBERS} compressed streams in one body")
