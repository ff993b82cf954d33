"""Redacts kwitness's own log and error lines: an endpoint, a header or a server's answer in them
may hold a secret.
"""

from __future__ import annotations

import logging

from receiver.text.redact.redactor import Redactor

_LENGTH = 8192  # a longer line is cut to its beginning


_shared = Redactor()


def redacted(line: str) -> str:
    """A line for a terminal or a log, or text that was encoded in one, without its secrets."""
    return _shared.line(line[:_LENGTH].encode("utf-8", "replace"))


class RedactedFormatter(logging.Formatter):
    """Formats as its base class does, and removes the secrets from each line, including those of a
    traceback.
    """

    def __init__(self, fmt: str) -> None:
        super().__init__(fmt)
        self._redactor = Redactor()

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        return "\n".join(
            self._redactor.line(line[:_LENGTH].encode("utf-8", "replace")) for line in lines
        )
