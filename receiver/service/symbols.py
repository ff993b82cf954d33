"""Function names for the native code addresses of a report, by bcc's symbol cache if it is
installed (python3-bpfcc).

It opens the files that the crashed process had mapped, by their paths on this host.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from receiver.investigate.report import CrashLine, Report
from receiver.text.printable import printable
from receiver.units import MIB

log = logging.getLogger("kwitness.symbols")
# Debian's path, which a virtual environment does not search
_PACKAGES = "/usr/lib/python3/dist-packages"
_NOTE = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.S)  # NT_GNU_BUILD_ID, elf(5)
_HEAD_BYTES = MIB  # the note is near the beginning
_LARGEST = 1 << 30


@cache
def _bcc() -> Any:
    """bcc.libbcc, or None."""
    sys.path.append(_PACKAGES)
    try:
        return importlib.import_module("bcc.libbcc")
    except (ImportError, OSError, AttributeError) as error:
        log.debug("no symbols: %s", error)
        return None
    finally:
        sys.path.remove(_PACKAGES)


def available() -> bool:
    return _bcc() is not None


def build_id(path: Path) -> bytes:
    """Of an ELF file; empty when it has none or cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return b""
        with path.open("rb") as file:
            found = _NOTE.search(file.read(_HEAD_BYTES))
    except OSError:
        return b""
    return found[1] if found else b""


def with_function_names(report: Report) -> Report:
    """The same report with the functions named, as far as they have names."""
    if not report.crashes:
        return report
    return msgspec.structs.replace(report, crashes=tuple(_named(c) for c in report.crashes))


def _named(crash: CrashLine) -> CrashLine:
    identity = build_id(Path(crash.module)) if crash.module else b""
    if not identity:
        return crash
    crash = msgspec.structs.replace(crash, build_id=identity.hex())
    bcc = _bcc()
    if bcc is None:
        return crash
    place, symbol = bcc.bcc_stacktrace_build_id(), bcc.bcc_symbol()
    place.status, place.u.offset = 1, crash.offset  # BPF_STACK_BUILD_ID_VALID
    place.build_id[:] = identity
    known = bcc.lib.bcc_buildsymcache_new()
    bcc.lib.bcc_buildsymcache_add_module(known, crash.module.encode())
    unknown = bcc.lib.bcc_buildsymcache_resolve(known, ctypes.byref(place), ctypes.byref(symbol))
    name = b"" if unknown else symbol.demangle_name or symbol.name or b""
    crash = msgspec.structs.replace(
        crash,
        function=printable(name.decode("utf-8", "replace")),
        function_offset=int(symbol.offset) if name else 0,
    )
    bcc.lib.bcc_free_buildsymcache(known)  # the name is its own: not before it was copied
    return crash
