"""The errors that kwitness raises, each with its exit status (sysexits.h).

    KwitnessError
    ├── UsageError        64  the command line
    ├── DataError         65  a recording or a file without the expected content
    ├── UnavailableError  69  the kernel or a needed program lacks something
    ├── OutputError       73  an output file
    ├── BusyError         75  another kwitness uses a resource that this one needs
    ├── PrivilegeError    77  a capability is missing
    └── ConfigError       78  a setting

A message is one line: the failure, then the remedy.
"""

from __future__ import annotations


class KwitnessError(Exception):
    """Ends the command with `status` and one line on stderr.

    `topic` names a remedy of `kwitness check`.
    """

    status = 70

    def __init__(self, message: str, topic: str = "") -> None:
        super().__init__(message)
        self.topic = topic


class UsageError(KwitnessError):
    status = 64


class DataError(KwitnessError):
    status = 65


class UnavailableError(KwitnessError):
    status = 69


class NamespaceError(UnavailableError):
    """kwitness runs where the kernel's pids are not its own: no source can work there."""


class OutputError(KwitnessError):
    status = 73


class BusyError(KwitnessError):
    status = 75


class PrivilegeError(KwitnessError):
    status = 77


class ConfigError(KwitnessError):
    status = 78


class DecodeError(Exception):
    """A malformed record: counted and dropped, never fatal. `reason` is from a closed set."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
