"""libbpf, over ctypes. No other module than this one and `bpf_object` handles its pointers.

Functions raise OSError with libbpf's errno.
"""

from __future__ import annotations

import ctypes as c
import errno
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from receiver.errors import UnavailableError
from receiver.kernel.libbpf_interface import (
    BPF_PROG_TYPE_TRACING,
    BPF_TRACE_FEXIT,
    BTF_FUNC,
    BTF_TYPEDEF,
    FUNCTIONS,
    PRINT,
    RETURN_ZERO,
    BtfType,
    ProgInfo,
    ProgLoadOpts,
)
from receiver.units import MIB

# a wheel of `make wheel` has it (tools/libbpf.sh); another build of this package has not
BUNDLED = Path(__file__).with_name("lib") / "libkwitness-bpf.so.1"
_LOG_LINES = 400
_MESSAGE_BYTES = 4 * MIB


def _load() -> tuple[c.CDLL, str]:
    """The library and where it is from: `bundled` with this package, or the `system`."""
    for name, origin in ((str(BUNDLED), "bundled"), ("libbpf.so.1", "system")):
        try:
            return c.CDLL(name, use_errno=True), origin
        except OSError:
            continue
    raise UnavailableError(
        "libbpf.so.1 is missing: install libbpf 1.x (Debian: apt-get install libbpf1)", "libbpf"
    )


class Library:
    """libbpf, loaded once. Its log is kept for error messages and not printed."""

    def __init__(self) -> None:
        self._so, self.origin = _load()
        self._libc = c.CDLL(None)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self._so, name)
            function.restype, function.argtypes = result, list(arguments)
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._print = PRINT(self._keep)  # libbpf may call it at any time, so keep a reference
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

    @property
    def version(self) -> str:
        """Its version and its origin: `libbpf 1.1, bundled`."""
        number = self._so.libbpf_version_string().decode().removeprefix("v")
        return f"libbpf {number}, {self.origin}"

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
                name: self.btf__find_by_name_kind(btf, f"btf_trace_{name}".encode(), BTF_TYPEDEF)
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
        info, size = ProgInfo(), c.c_uint32(c.sizeof(ProgInfo))
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
            target = self.btf__find_by_name_kind(btf, function.encode(), BTF_FUNC)
        finally:
            self.btf__free(btf)
        if target < 0:
            return False
        options = ProgLoadOpts(
            sz=c.sizeof(ProgLoadOpts), expected_attach_type=BPF_TRACE_FEXIT, attach_btf_id=target
        )
        program = self.bpf_prog_load(
            BPF_PROG_TYPE_TRACING, b"probe", b"GPL", RETURN_ZERO, 2, c.addressof(options)
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
        typedef = BtfType.from_address(self.btf__type_by_id(btf, typedef_id))
        pointer = BtfType.from_address(self.btf__type_by_id(btf, typedef.size_or_type))
        prototype = BtfType.from_address(self.btf__type_by_id(btf, pointer.size_or_type))
        return int(prototype.info & 0xFFFF) - 1  # the first argument is the program's private data
