"""Symbols and needed libraries of one ELF file (elf(5)), 64 bits, little endian.

It reads the parts that it needs. The file may be hostile or change meanwhile: each table and each
search has a bound, and what does not fit raises ElfError.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_LOAD, _DYNAMIC = 1, 2
_EXECUTABLE = 1
_NEEDED, _STRTAB, _SYMTAB, _RPATH, _RUNPATH, _GNU_HASH = 1, 5, 6, 15, 29, 0x6FFFFEF5
_SEGMENTS, _ENTRIES, _CHAIN, _NAME_BYTES = 64, 1024, 4096, 512
_PAGE = 4096


class ElfError(Exception):
    """It is no ELF file that can be read here."""


class Elf:
    """An open file. `close` it."""

    def __init__(self, path: str) -> None:
        """Raises OSError and ElfError. It opens regular files only, and waits for nobody."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ElfError("not a regular file")
        self._fd = os.open(path, flags)
        try:
            self.status = os.fstat(self._fd)
            if not stat.S_ISREG(self.status.st_mode):
                raise ElfError("not a regular file")
            self._segments = list(self._read_segments())
            self._dynamic = list(self._read_dynamic())
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        os.close(self._fd)

    def _at(self, offset: int, size: int) -> bytes:
        if not 0 <= offset < 1 << 62:
            raise ElfError("an offset outside of the file")
        found = os.pread(self._fd, size, offset)
        if len(found) != size:
            raise ElfError("the file is too short")
        return found

    def _read_segments(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Kind, flags, offset, address and size in the file, of each."""
        head = _HEADER.unpack(self._at(0, _HEADER.size))
        if head[0][:6] != b"\x7fELF\x02\x01":
            raise ElfError("not an ELF file of 64 bits, little endian")
        offset, size, count = head[5], head[9], head[10]
        if size != _SEGMENT.size or count > _SEGMENTS:
            raise ElfError("unusual program headers")
        table = self._at(offset, size * count)
        for kind, flags, at, address, _, length, _, _ in _SEGMENT.iter_unpack(table):
            yield kind, flags, at, address, length

    def _read_dynamic(self) -> Iterator[tuple[int, int]]:
        for kind, _, at, _, length in self._segments:
            if kind == _DYNAMIC:
                size = min(length, _ENTRIES * 16) // 16 * 16
                yield from struct.iter_unpack("<QQ", self._at(at, size))
                return

    def read(self, address: int, size: int) -> bytes:
        """What the file has for an address of its image."""
        for kind, _, at, start, length in self._segments:
            if kind == _LOAD and start <= address and address + size <= start + length:
                return self._at(at + address - start, size)
        raise ElfError("an address outside of the file")

    @property
    def first_address(self) -> int:
        """Where the beginning of the file is loaded, before it is moved."""
        for kind, _, at, address, _ in self._segments:
            if kind == _LOAD and at == 0:
                return address // _PAGE * _PAGE
        raise ElfError("its beginning is not loaded")

    @property
    def code_address(self) -> int:
        """Of its first executable segment: mm_struct.start_code."""
        found = [a for kind, flags, _, a, _ in self._segments if kind == _LOAD and flags & 1]
        if not found:
            raise ElfError("it has no code")
        return min(found)

    def _value(self, tag: int) -> int:
        return next((value for found, value in self._dynamic if found == tag), 0)

    def _name(self, index: int) -> str:
        """A string of its string table. The table may end before the limit."""
        table = self._value(_STRTAB)
        for size in (_NAME_BYTES, 128, 32, 8):
            try:
                raw = self.read(table + index, size)
            except ElfError:
                continue
            if b"\0" in raw:
                return raw.partition(b"\0")[0].decode("utf-8", "replace")
        raise ElfError("a name without an end")

    def needed(self) -> list[str]:
        """The names of the libraries that it is linked with."""
        return [self._name(value) for tag, value in self._dynamic if tag == _NEEDED]

    def run_paths(self) -> list[str]:
        """Where it looks for libraries first; `$ORIGIN` stands for its own directory."""
        found = [self._name(value) for tag, value in self._dynamic if tag in (_RPATH, _RUNPATH)]
        return [part for path in found for part in path.split(":") if part]

    def symbol(self, name: str) -> int:
        """The address of an exported symbol; 0 when it exports none of that name."""
        table = self._value(_GNU_HASH)
        if not table:
            return 0
        buckets, first, words, _ = struct.unpack("<4I", self.read(table, 16))
        if not buckets:
            return 0
        wanted = 5381
        for byte in name.encode():
            wanted = (wanted * 33 + byte) & 0xFFFFFFFF
        at = table + 16 + words * 8
        (index,) = struct.unpack("<I", self.read(at + wanted % buckets * 4, 4))
        if index < first:
            return 0
        chain = at + buckets * 4
        for number in range(index, index + _CHAIN):
            (found,) = struct.unpack("<I", self.read(chain + (number - first) * 4, 4))
            if found | 1 == wanted | 1:
                entry = self.read(self._value(_SYMTAB) + number * _SYMBOL.size, _SYMBOL.size)
                place, _, _, section, value, _ = _SYMBOL.unpack(entry)
                if section and self._name(place) == name:
                    return int(value)
            if found & 1:
                return 0
        raise ElfError("a chain without an end")
