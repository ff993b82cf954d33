"""A BPF object and its rings, over libbpf."""

from __future__ import annotations

import contextlib
import ctypes as c
import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from receiver.kernel.libbpf import Library
from receiver.kernel.libbpf_interface import (
    BTF_DATASEC,
    SAMPLE,
    BtfType,
    IterAttachOpts,
    VarSecinfo,
)

_STOP = -errno.ENOBUFS


class Object:
    """A BPF object from open to close.

    Order of calls: constants, sizes, autoload → load → maps → attach.
    """

    def __init__(self, library: Library, path: Path) -> None:
        self._lib = library
        self._links: dict[str, int] = {}
        self._object = library.pointer(
            library.bpf_object__open_file(str(path).encode(), None), f"opening {path}"
        )

    def set_constant(self, name: str, value: int) -> None:
        """Sets a `const volatile u32`, before load."""
        btf = self._lib.bpf_object__btf(self._object)
        section = self._lib.check(
            self._lib.btf__find_by_name_kind(btf, b".rodata", BTF_DATASEC), ".rodata"
        )
        address = self._lib.btf__type_by_id(btf, section)
        count = BtfType.from_address(address).info & 0xFFFF
        for index in range(count):
            entry = VarSecinfo.from_address(
                address + c.sizeof(BtfType) + index * c.sizeof(VarSecinfo)
            )
            variable = BtfType.from_address(self._lib.btf__type_by_id(btf, entry.type))
            if self._lib.btf__name_by_offset(btf, variable.name_off) == name.encode():
                c.c_uint32.from_address(self._rodata() + entry.offset).value = value
                return
        raise KeyError(name)

    def _rodata(self) -> int:
        found = None
        while found := self._lib.bpf_object__next_map(self._object, found):
            if self._lib.bpf_map__name(found).endswith(b".rodata"):
                size = c.c_size_t()
                return self._lib.pointer(
                    self._lib.bpf_map__initial_value(found, c.byref(size)), ".rodata"
                )
        raise KeyError(".rodata")

    def set_size(self, name: str, entries: int) -> None:
        self._lib.check(
            self._lib.bpf_map__set_max_entries(self._map(name), entries), f"sizing {name}"
        )

    def skip(self, program: str) -> None:
        self._lib.check(self._lib.bpf_program__set_autoload(self._program(program), False), program)

    def keep_log(self, program: str, buffer: c.Array[c.c_char], level: int) -> None:
        """The verifier writes what it has to say of a program there, at load."""
        pointer = self._program(program)
        self._lib.bpf_program__set_log_level(pointer, level)
        self._lib.check(self._lib.bpf_program__set_log_buf(pointer, buffer, len(buffer)), program)

    def instructions(self, program: str) -> bytes:
        """As they were loaded, with the functions that the program calls; 8 bytes each."""
        pointer = self._program(program)
        size = 8 * self._lib.bpf_program__insn_cnt(pointer)
        return c.string_at(self._lib.bpf_program__insns(pointer), size)

    def load(self) -> None:
        self._lib.check(self._lib.bpf_object__load(self._object), "loading the BPF object")

    def attach(self, program: str) -> None:
        link = self._lib.bpf_program__attach(self._program(program))
        self._links[program] = self._lib.pointer(link, f"attaching {program}")

    def open_iterator(self, program: str, over: str | None = None) -> None:
        """Makes the link of a BPF iterator, over a map's entries when a map is named.

        Afterwards `iterate` needs no privilege.
        """
        options = None
        if over:
            info = c.c_uint32(self.map_fd(over))
            chosen = IterAttachOpts(c.sizeof(IterAttachOpts), c.addressof(info), c.sizeof(info))
            options = c.addressof(chosen)
        link = self._lib.bpf_program__attach_iter(self._program(program), options)
        self._links[program] = self._lib.pointer(link, program)

    def iterate(self, program: str) -> bytes:
        """Runs a BPF iterator to its end and returns its whole output."""
        fd = self._lib.check(
            self._lib.bpf_iter_create(self._lib.bpf_link__fd(self._links[program])), program
        )
        with os.fdopen(fd, "rb", buffering=0) as stream:
            parts: list[bytes] = []
            while part := stream.read(1 << 16):
                parts.append(part)
            return b"".join(parts)

    def update(self, name: str, key: bytes, value: bytes) -> None:
        self._lib.check(
            self._lib.bpf_map_update_elem(self.map_fd(name), key, value, 0), f"updating {name}"
        )

    def lookup(self, name: str, key: bytes, size: int) -> bytes:
        """`size` bytes: for a per-CPU map, the value rounded up to 8, times the possible CPUs."""
        value = c.create_string_buffer(size)
        self._lib.check(
            self._lib.bpf_map_lookup_elem(self.map_fd(name), key, value), f"reading {name}"
        )
        return value.raw

    def rows(
        self, name: str, key_size: int, value_size: int, most: int
    ) -> list[tuple[bytes, bytes]]:
        """At most `most` keys and values of a map. A row that goes away meanwhile is left out."""
        out: list[tuple[bytes, bytes]] = []
        fd, key, following = self.map_fd(name), None, c.create_string_buffer(key_size)
        for _ in range(most):
            if self._lib.bpf_map_get_next_key(fd, key, following) < 0:  # ENOENT: that was the last
                break
            key = following.raw
            with contextlib.suppress(OSError):
                out.append((key, self.lookup(name, key, value_size)))
        return out

    def value_size(self, name: str) -> int:
        """Of one value of a map, in bytes."""
        return int(self._lib.bpf_map__value_size(self._map(name)))

    def map_fd(self, name: str) -> int:
        return self._lib.check(self._lib.bpf_map__fd(self._map(name)), name)

    def program_fd(self, name: str) -> int:
        return self._lib.check(self._lib.bpf_program__fd(self._program(name)), name)

    def _program(self, name: str) -> int:
        return self._lib.pointer(
            self._lib.bpf_object__find_program_by_name(self._object, name.encode()), name
        )

    def _map(self, name: str) -> int:
        return self._lib.pointer(
            self._lib.bpf_object__find_map_by_name(self._object, name.encode()), name
        )

    def memory(self, name: str) -> mmap.mmap:
        """An array map made with BPF_F_MMAPABLE, as memory shared with the kernel.

        The caller closes it.
        """
        pointer = self._map(name)
        size = self._lib.bpf_map__max_entries(pointer) * self._lib.bpf_map__value_size(pointer)
        return mmap.mmap(self.map_fd(name), size + -size % mmap.PAGESIZE)

    def detach(self, program: str | None = None) -> None:
        """Closes one program, or all of them."""
        for name in [program] if program else list(self._links):
            if link := self._links.pop(name, 0):
                self._lib.bpf_link__destroy(link)

    def close(self) -> None:
        self.detach()
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = 0


class Ring:
    """One BPF ring buffer. `drain` copies at most `limit` records out."""

    def __init__(self, library: Library, map_fd: int) -> None:
        self._lib = library
        self._sink: Callable[[bytes], None] = lambda _: None
        self._left = 0
        self._callback = SAMPLE(self._take)
        self._ring = library.pointer(
            library.ring_buffer__new(map_fd, self._callback, None, None), "mapping a ring"
        )
        self.epoll_fd: int = library.ring_buffer__epoll_fd(self._ring)

    def _take(self, _: int, data: int, size: int) -> int:
        # an exception here would lose the record, so this only copies and returns
        self._sink(c.string_at(data, size))
        self._left -= 1
        return 0 if self._left > 0 else _STOP

    def drain(self, sink: Callable[[bytes], None], limit: int) -> bool:
        """Passes at most `limit` records to `sink`. True when there may be more."""
        self._sink, self._left = sink, limit
        result = self._lib.ring_buffer__consume(self._ring)
        if result < 0 and result != _STOP:
            self._lib.check(result, "draining a ring")
        return bool(self._left <= 0)

    def close(self) -> None:
        if self._ring:
            self._lib.ring_buffer__free(self._ring)
            self._ring = 0
