"""What goes wrong before or beside the work, each with its exit status (sysexits.h).

    KwitnessError
    ├── UsageError        64  the command line
    ├── DataError         65  a recording, a file that should hold what it does not
    ├── UnavailableError  69  the kernel or a needed program lacks something
    ├── OutputError       73  a file that should be written
    ├── BusyError         75  another kwitness has what this one needs
    ├── PrivilegeError    77  a capability is missing
    └── ConfigError       78  a setting

Messages are one line: what, then the remedy.
"""

from __future__ import annotations


class KwitnessError(Exception):
    """Ends the command with `status` and one line on stderr. `topic` is what `kwitness check` knows a remedy for."""

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
    """We are not where the kernel's pids are ours: no source can mend that."""


class OutputError(KwitnessError):
    status = 73


class BusyError(KwitnessError):
    status = 75


class PrivilegeError(KwitnessError):
    status = 77


class ConfigError(KwitnessError):
    status = 78


class DecodeError(Exception):
    """A record that is not one: counted and dropped, never fatal. `reason` is from a closed set."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
