"""Finds the Python interpreters among the programs that are executed, and writes where each keeps
its frames into the map `interpreters` of the kernel half.

A file is read once, by the path that the kernel gave, if it can be read: its exported symbols, and
of CPython 3.13 the table of offsets that it has itself. Nothing of a process is read.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable

from receiver.events import _EXEC, _EXISTING, EventKind
from receiver.kernel.elf import Elf, ElfError
from receiver.kernel.hooks import ARM64
from receiver.kernel.python_frames import readable
from receiver.kernel.python_layouts import LAYOUTS
from receiver.units import SECOND

log = logging.getLogger("kwitness")
Write = Callable[[str, bytes, bytes], None]  # map, key and value
MAP = "interpreters"
REMEMBERED = 4096  # paths; a full cache is cleared
LOOK_AGAIN_NS = 60 * SECOND  # a program may be replaced by another version
NEW_FILES = 20  # read in one second: a user can execute any number of different files
LIBRARY = "libpython3"
LIBRARY_PATHS = (
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/lib64",
    f"/usr/lib/{os.uname().machine}-linux-gnu",
)
_EXECUTABLE: dict[int, struct.Struct] = {EventKind.EXEC: _EXEC, EventKind.EXISTING: _EXISTING}
_EXECUTABLE_LENGTH = -5  # before those of the directory, the cgroup, argv and the environment
KEY = struct.Struct("<QII")  # struct mapped_file
VALUE = struct.Struct("<4Q28I")  # struct interpreter
MEMBERS = (  # in its order
    "interpreters",
    "next_interpreter",
    "threads",
    "next_thread",
    "thread_id",
    "frame",
    "current",
    "lock",
    "lock_holder",
    "lock_taken",
    "frame_code",
    "previous",
    "instruction",
    "owner",
    "type",
    "file",
    "name",
    "first_line",
    "lines",
    "bytecode",
    "text_length",
    "text_state",
    "text_ascii",
    "text_other",
    "bytes_size",
    "bytes_data",
)
FINAL = 0xF  # release level in PY_VERSION_HEX: layouts change before it
# exported since that version, where Py_Version is not (before 3.11)
SINCE = (
    (0x030A, "PyModule_AddObjectRef"),
    (0x0309, "PyFrame_GetCode"),
    (0x0308, "PyConfig_InitPythonConfig"),
)
COOKIE = b"xdebugpy"  # _Py_DebugOffsets, Include/internal/pycore_runtime.h
# Where _Py_DebugOffsets of 3.13 has them. What it says of the lock's members is counted from the
# interpreter's state, and not from the lock: those are taken from the headers.
STATED = {
    "interpreters": 40,
    "next_interpreter": 64,
    "threads": 72,
    "lock": 112,
    "next_thread": 168,
    "frame": 184,
    "thread_id": 192,
    "native_id": 200,
    "previous": 232,
    "frame_code": 240,
    "instruction": 248,
    "owner": 264,
    "file": 280,
    "name": 296,
    "lines": 304,
    "first_line": 312,
    "bytecode": 344,
    "type": 360,
    "bytes_size": 520,
    "bytes_data": 528,
    "text_state": 544,
    "text_length": 552,
    "text_ascii": 560,
}
STATED_BYTES, FREE_THREADED = 584, 16


def _version(elf: Elf) -> int:
    """As 0x030b for 3.11; 0 when it cannot be told."""
    if at := elf.symbol("Py_Version"):
        (number,) = struct.unpack("<I", elf.read(at, 4))
        return number >> 16 if number >> 4 & 0xF == FINAL else 0
    return next((version for version, name in SINCE if elf.symbol(name)), 0)


def _layout(elf: Elf, version: int, runtime: int) -> dict[str, int] | None:
    """The offsets of this file. A free-threaded interpreter is not known."""
    known = LAYOUTS.get(version)
    if known is None or version < 0x030D:
        return known
    stated = elf.read(runtime, STATED_BYTES)
    if not stated.startswith(COOKIE) or stated[10] != version & 0xFF or stated[11] != version >> 8:
        return None
    if stated[FREE_THREADED]:
        return None
    offsets = {name: int.from_bytes(stated[at : at + 8], "little") for name, at in STATED.items()}
    return known | offsets


def interpreter(elf: Elf) -> tuple[bytes, bytes] | None:
    """Key and value of the map, for a file that contains an interpreter."""
    runtime, code_type = elf.symbol("_PyRuntime"), elf.symbol("PyCode_Type")
    version = _version(elf) if runtime and code_type else 0
    layout = _layout(elf, version, runtime) if version else None
    if layout is None:
        return None
    if ARM64:  # there a thread's number is no address that the kernel has
        layout = layout | {"thread_id": layout["native_id"]}
    offsets = [layout[name] for name in MEMBERS]
    if max(offsets) >= 1 << 31:
        return None
    device = os.major(elf.status.st_dev) << 20 | os.minor(
        elf.status.st_dev
    )  # include/linux/kdev_t.h
    addresses = runtime, code_type, elf.first_address, elf.code_address
    return KEY.pack(elf.status.st_ino, device, 0), VALUE.pack(*addresses, version, *offsets, 0)


class Interpreters:
    """Sees the programs that are executed.

    Bounded: paths are remembered up to a number, and new files are read up to a rate; what is
    past it is counted and read when it is executed again.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._looked: dict[str, int] = {}  # path: when it was read, boot ns
        self._second = self._read_now = 0
        self.skipped = 0
        self.found = 0

    def readable(self, batch: list[bytes], now_ns: int) -> list[bytes]:
        """The records, with Python frames as texts.

        It looks at those of programs that were executed, or run already.
        """
        for raw in batch:
            where = _EXECUTABLE.get(int.from_bytes(raw[22:24], "little"))
            if where is not None and len(raw) >= where.size:
                length = where.unpack_from(raw)[_EXECUTABLE_LENGTH]
                path = raw[where.size : where.size + length]
                self.executed(path.decode("utf-8", "surrogateescape"), now_ns)
        return [readable(raw) for raw in batch]

    def executed(self, path: str, now_ns: int) -> None:
        """`path`: of an executable, as the kernel gave it."""
        looked = self._looked.get(path)
        if (looked is not None and now_ns - looked < LOOK_AGAIN_NS) or not path.startswith("/"):
            return
        if now_ns // SECOND != self._second:
            self._second, self._read_now = now_ns // SECOND, 0
        if self._read_now >= NEW_FILES:
            self.skipped += 1
            return
        self._read_now += 1
        if len(self._looked) >= REMEMBERED:
            self._looked.clear()
        self._looked[path] = now_ns
        for library in self._read(path, want_libraries=True):
            self._read(library, want_libraries=False)

    def _read(self, path: str, *, want_libraries: bool) -> list[str]:
        """Writes it if it is an interpreter. Gives the files that may be its libpython."""
        try:
            elf = Elf(path)
        except (OSError, ElfError, ValueError):
            return []
        try:
            found = interpreter(elf)
            if found is not None:
                self._write(MAP, *found)
                self.found += 1
                return []
            return _libraries(elf, os.path.dirname(path)) if want_libraries else []
        except (OSError, ElfError, struct.error) as error:
            log.debug("no interpreter in %r: %s", path, error)
            return []
        finally:
            elf.close()


def _libraries(elf: Elf, origin: str) -> list[str]:
    """Where the dynamic linker may find its libpython (ld.so(8)), without the environment."""
    names = [name for name in elf.needed() if name.startswith(LIBRARY) and "/" not in name]
    if not names:
        return []
    folders = [part.replace("${ORIGIN}", "$ORIGIN") for part in elf.run_paths()]
    folders = [part.replace("$ORIGIN", origin) for part in folders] + list(LIBRARY_PATHS)
    paths = [os.path.join(folder, name) for name in names[:2] for folder in folders[:16]]
    return [path for path in dict.fromkeys(paths) if os.path.isfile(path)]
