"""Bounds the bytes of all requests that are being received. It does no I/O and reads no clock.

When there is no room, uploads older than GRACE_SECONDS are ended, the oldest first. A sender that
never ends its request cannot block the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from receiver.units import MIB

BYTES = 64 * MIB
GRACE_SECONDS = 2.0
MEMBERS = 64  # gzip(1): a stream may consist of several


class TooLargeError(Exception):
    """The body has more bytes than allowed, before or after decompression."""


class MalformedError(Exception):
    """The body does not match its Content-Encoding."""


class Upload:
    """One request. Call `grow` for each received part and `close` at the end."""

    def __init__(self, owner: Uploads, began: float, end: Callable[[], None]) -> None:
        self.size, self.began, self.end = 0, began, end
        self._owner = owner

    def grow(self, size: int, now: float) -> bool:
        """Reserves `size` more bytes. Returns False if there is no room."""
        return self._owner.grow(self, size, now)

    def shrink(self, size: int) -> None:
        """Sets the number of reserved bytes to `size`."""
        self._owner.held -= self.size - size
        self.size = size

    def close(self) -> None:
        self._owner.close(self)


class Uploads:
    """All open uploads. `evicted` counts the uploads that were ended to make room."""

    def __init__(self, limit: int = BYTES) -> None:
        self.limit, self.held, self.evicted = limit, 0, 0
        self._open: dict[Upload, None] = {}  # in the order of their start

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, now: float, end: Callable[[], None]) -> Upload:
        """Starts an upload. `end` is called on eviction; it must not call this object."""
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
        if upload in self._open:  # unless it was evicted meanwhile
            self.held += size
            upload.size += size
        return True

    def close(self, upload: Upload) -> None:
        if upload in self._open:
            del self._open[upload]
            self.held -= upload.size
            upload.size = 0


def decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """Returns the body without its Content-Encoding (identity, gzip, deflate).

    It never produces more than `most` + 1 bytes. Raises TooLargeError, or MalformedError for a
    malformed body and for an unknown encoding.
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
                return _inflated(body, -15, most)  # some senders omit the zlib header
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
