"""The part of libbpf's C interface that kwitness uses, over ctypes.

No other module handles its pointers.

Source: libbpf 1.1 `bpf/libbpf.h`, `bpf/bpf.h`, `bpf/btf.h`. Functions raise OSError with libbpf's
errno.
"""

from __future__ import annotations

import contextlib
import ctypes as c
import errno
import mmap
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from receiver.errors import UnavailableError
from receiver.units import MIB

_PRINT = c.CFUNCTYPE(c.c_int, c.c_int, c.c_char_p, c.c_void_p)
_SAMPLE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)
_LOG_LINES = 400
_MESSAGE_BYTES = 4 * MIB
_STOP = -errno.ENOBUFS

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_set_print": (c.c_void_p, (_PRINT,)),
    "libbpf_num_possible_cpus": (c.c_int, ()),
    "bpf_object__open_file": (c.c_void_p, (c.c_char_p, c.c_void_p)),
    "bpf_object__load": (c.c_int, (c.c_void_p,)),
    "bpf_object__close": (None, (c.c_void_p,)),
    "bpf_object__btf": (c.c_void_p, (c.c_void_p,)),
    "bpf_object__find_program_by_name": (c.c_void_p, (c.c_void_p, c.c_char_p)),
    "bpf_object__find_map_by_name": (c.c_void_p, (c.c_void_p, c.c_char_p)),
    "bpf_object__next_map": (c.c_void_p, (c.c_void_p, c.c_void_p)),
    "bpf_program__set_autoload": (c.c_int, (c.c_void_p, c.c_bool)),
    "bpf_program__attach": (c.c_void_p, (c.c_void_p,)),
    "bpf_program__attach_iter": (c.c_void_p, (c.c_void_p, c.c_void_p)),
    "bpf_program__fd": (c.c_int, (c.c_void_p,)),
    "bpf_link__destroy": (c.c_int, (c.c_void_p,)),
    "bpf_link__fd": (c.c_int, (c.c_void_p,)),
    "bpf_prog_load": (
        c.c_int,
        (c.c_int, c.c_char_p, c.c_char_p, c.c_char_p, c.c_size_t, c.c_void_p),
    ),
    "bpf_raw_tracepoint_open": (c.c_int, (c.c_char_p, c.c_int)),
    "bpf_iter_create": (c.c_int, (c.c_int,)),
    "bpf_map__fd": (c.c_int, (c.c_void_p,)),
    "bpf_map__name": (c.c_char_p, (c.c_void_p,)),
    "bpf_map__max_entries": (c.c_uint32, (c.c_void_p,)),
    "bpf_map__value_size": (c.c_uint32, (c.c_void_p,)),
    "bpf_map__set_max_entries": (c.c_int, (c.c_void_p, c.c_uint32)),
    "bpf_map__initial_value": (c.c_void_p, (c.c_void_p, c.POINTER(c.c_size_t))),
    "bpf_map_update_elem": (c.c_int, (c.c_int, c.c_char_p, c.c_char_p, c.c_uint64)),
    "bpf_map_lookup_elem": (c.c_int, (c.c_int, c.c_char_p, c.c_void_p)),
    "bpf_map_get_next_key": (c.c_int, (c.c_int, c.c_char_p, c.c_void_p)),
    "bpf_obj_get_info_by_fd": (c.c_int, (c.c_int, c.c_void_p, c.POINTER(c.c_uint32))),
    "ring_buffer__new": (c.c_void_p, (c.c_int, _SAMPLE, c.c_void_p, c.c_void_p)),
    "ring_buffer__consume": (c.c_int, (c.c_void_p,)),
    "ring_buffer__epoll_fd": (c.c_int, (c.c_void_p,)),
    "ring_buffer__free": (None, (c.c_void_p,)),
    "btf__load_vmlinux_btf": (c.c_void_p, ()),
    "btf__free": (None, (c.c_void_p,)),
    "btf__find_by_name_kind": (c.c_int, (c.c_void_p, c.c_char_p, c.c_uint32)),
    "btf__type_by_id": (c.c_void_p, (c.c_void_p, c.c_uint32)),
    "btf__name_by_offset": (c.c_char_p, (c.c_void_p, c.c_uint32)),
}
_BPF_PROG_TYPE_TRACING, _BPF_TRACE_FEXIT = 26, 25  # include/uapi/linux/bpf.h
_RETURN_ZERO = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit
_BTF_TYPEDEF, _BTF_FUNC, _BTF_DATASEC = 8, 12, 15


class _ProgLoadOpts(c.Structure):
    """The first fields of struct bpf_prog_load_opts, bpf.h; `sz` gives libbpf their size."""

    _fields_ = [
        ("sz", c.c_size_t),
        ("attempts", c.c_int),
        ("expected_attach_type", c.c_int),
        ("prog_btf_fd", c.c_uint32),
        ("prog_flags", c.c_uint32),
        ("prog_ifindex", c.c_uint32),
        ("kern_version", c.c_uint32),
        ("attach_btf_id", c.c_uint32),
        ("attach_prog_fd", c.c_uint32),
        ("attach_btf_obj_fd", c.c_uint32),
    ]


class _IterAttachOpts(c.Structure):
    """struct bpf_iter_attach_opts, libbpf.h.

    The link info is a map's descriptor, include/uapi/linux/bpf.h.
    """

    _fields_ = [("sz", c.c_size_t), ("link_info", c.c_void_p), ("link_info_len", c.c_uint32)]


class _ProgInfo(c.Structure):
    """struct bpf_prog_info, include/uapi/linux/bpf.h, up to what is read here.

    The kernel fills what fits.
    """

    _fields_ = [("_before", c.c_uint64 * 26), ("recursion_misses", c.c_uint64)]


class _BtfType(c.Structure):
    """struct btf_type, include/uapi/linux/btf.h."""

    _fields_ = [("name_off", c.c_uint32), ("info", c.c_uint32), ("size_or_type", c.c_uint32)]


class _VarSecinfo(c.Structure):
    _fields_ = [("type", c.c_uint32), ("offset", c.c_uint32), ("size", c.c_uint32)]


class Library:
    """libbpf.so.1, loaded once. Its log is kept for error messages and not printed."""

    def __init__(self) -> None:
        try:
            self._so = c.CDLL("libbpf.so.1", use_errno=True)
        except OSError:
            raise UnavailableError(
                "libbpf.so.1 is missing: install libbpf 1.x (Debian: apt-get install libbpf1)",
                "libbpf",
            ) from None
        self._libc = c.CDLL(None)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._so, name)
            function.restype, function.argtypes = result, list(arguments)
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._print = _PRINT(self._keep)  # libbpf may call it at any time, so keep a reference
        self._so.libbpf_set_print(self._print)

    def _keep(self, level: int, form: bytes, arguments: int) -> int:
        if level < 2:  # LIBBPF_WARN, LIBBPF_INFO; debug messages are too many
            # the verifier's whole log is one message, with the reason at its end
            line = c.create_string_buffer(_MESSAGE_BYTES)
            self._libc.vsnprintf(
                line, c.c_size_t(_MESSAGE_BYTES), c.c_char_p(form), c.c_void_p(arguments)
            )
            self.log.extend(line.value.decode("utf-8", "replace").splitlines())
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._so, name)

    def check(self, result: int, what: str) -> int:
        """Turns libbpf's "negative is -errno" into an OSError."""
        if result < 0:
            raise OSError(-result, f"{what}: {os.strerror(-result)}")
        return result

    def pointer(self, result: int | None, what: str) -> int:
        """Turns libbpf's "NULL and errno" into an OSError."""
        if not result:
            code = c.get_errno() or errno.EINVAL
            raise OSError(code, f"{what}: {os.strerror(code)}")
        return result

    def rename_self(self, name: bytes) -> None:
        """prctl(PR_SET_NAME) on the calling thread."""
        self._libc.prctl(15, c.c_char_p(name), 0, 0, 0)

    def possible_cpus(self) -> int:
        return self.check(self.libbpf_num_possible_cpus(), "counting possible CPUs")

    def tracepoint_arguments(self, names: Iterable[str]) -> dict[str, int]:
        """The number of arguments of the running kernel's raw tracepoints.

        Missing tracepoints are left out.
        """
        btf = self.pointer(
            self.btf__load_vmlinux_btf(), "reading the kernel's BTF"
        )  # takes about 15 ms: once for all tracepoints
        try:
            found = {
                name: self.btf__find_by_name_kind(btf, f"btf_trace_{name}".encode(), _BTF_TYPEDEF)
                for name in names
            }
            return {
                name: self._arguments(btf, typedef)
                for name, typedef in found.items()
                if typedef >= 0
            }
        finally:
            self.btf__free(btf)

    def recursion_misses(self, program_fd: int) -> int:
        """How often the kernel did not run a program because it ran on that CPU already."""
        info, size = _ProgInfo(), c.c_uint32(c.sizeof(_ProgInfo))
        self.check(
            self.bpf_obj_get_info_by_fd(program_fd, c.byref(info), c.byref(size)),
            "reading what the kernel knows of a program",
        )
        return int(info.recursion_misses)

    def takes_fexit(self, function: str) -> bool:
        """Whether this kernel loads and attaches a program on a function.

        It tries an empty program: fexit may be compiled in, with its symbols, and still be refused.
        """
        btf = self.pointer(self.btf__load_vmlinux_btf(), "reading the kernel's BTF")
        try:
            target = self.btf__find_by_name_kind(btf, function.encode(), _BTF_FUNC)
        finally:
            self.btf__free(btf)
        if target < 0:
            return False
        options = _ProgLoadOpts(
            sz=c.sizeof(_ProgLoadOpts), expected_attach_type=_BPF_TRACE_FEXIT, attach_btf_id=target
        )
        program = self.bpf_prog_load(
            _BPF_PROG_TYPE_TRACING, b"probe", b"GPL", _RETURN_ZERO, 2, c.addressof(options)
        )
        if program < 0:
            return False
        link = self.bpf_raw_tracepoint_open(None, program)
        os.close(program)
        if link < 0:
            return False
        os.close(link)
        return True

    def _arguments(self, btf: int, typedef_id: int) -> int:
        typedef = _BtfType.from_address(self.btf__type_by_id(btf, typedef_id))
        pointer = _BtfType.from_address(self.btf__type_by_id(btf, typedef.size_or_type))
        prototype = _BtfType.from_address(self.btf__type_by_id(btf, pointer.size_or_type))
        return int(prototype.info & 0xFFFF) - 1  # the first argument is the program's private data


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
            self._lib.btf__find_by_name_kind(btf, b".rodata", _BTF_DATASEC), ".rodata"
        )
        address = self._lib.btf__type_by_id(btf, section)
        count = _BtfType.from_address(address).info & 0xFFFF
        for index in range(count):
            entry = _VarSecinfo.from_address(
                address + c.sizeof(_BtfType) + index * c.sizeof(_VarSecinfo)
            )
            variable = _BtfType.from_address(self._lib.btf__type_by_id(btf, entry.type))
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
            chosen = _IterAttachOpts(c.sizeof(_IterAttachOpts), c.addressof(info), c.sizeof(info))
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
        self._callback = _SAMPLE(self._take)
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
