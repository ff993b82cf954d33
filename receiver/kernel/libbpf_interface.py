"""libbpf's C interface as far as kwitness uses it: functions with their arguments, and structs.

Source: libbpf 1.1 `bpf/libbpf.h`, `bpf/bpf.h`, `bpf/btf.h`; include/uapi/linux/{bpf,btf}.h.
"""

from __future__ import annotations

import ctypes as c
from typing import Any

PRINT = c.CFUNCTYPE(c.c_int, c.c_int, c.c_char_p, c.c_void_p)
SAMPLE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_set_print": (c.c_void_p, (PRINT,)),
    "libbpf_version_string": (c.c_char_p, ()),
    "libbpf_num_possible_cpus": (c.c_int, ()),
    "bpf_object__open_file": (c.c_void_p, (c.c_char_p, c.c_void_p)),
    "bpf_object__load": (c.c_int, (c.c_void_p,)),
    "bpf_object__close": (None, (c.c_void_p,)),
    "bpf_object__btf": (c.c_void_p, (c.c_void_p,)),
    "bpf_object__find_program_by_name": (c.c_void_p, (c.c_void_p, c.c_char_p)),
    "bpf_object__find_map_by_name": (c.c_void_p, (c.c_void_p, c.c_char_p)),
    "bpf_object__next_map": (c.c_void_p, (c.c_void_p, c.c_void_p)),
    "bpf_program__set_autoload": (c.c_int, (c.c_void_p, c.c_bool)),
    "bpf_program__set_log_level": (c.c_int, (c.c_void_p, c.c_uint32)),
    "bpf_program__set_log_buf": (c.c_int, (c.c_void_p, c.c_char_p, c.c_size_t)),
    "bpf_program__insns": (c.c_void_p, (c.c_void_p,)),
    "bpf_program__insn_cnt": (c.c_size_t, (c.c_void_p,)),
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
    "ring_buffer__new": (c.c_void_p, (c.c_int, SAMPLE, c.c_void_p, c.c_void_p)),
    "ring_buffer__consume": (c.c_int, (c.c_void_p,)),
    "ring_buffer__epoll_fd": (c.c_int, (c.c_void_p,)),
    "ring_buffer__free": (None, (c.c_void_p,)),
    "btf__load_vmlinux_btf": (c.c_void_p, ()),
    "btf__free": (None, (c.c_void_p,)),
    "btf__find_by_name_kind": (c.c_int, (c.c_void_p, c.c_char_p, c.c_uint32)),
    "btf__type_by_id": (c.c_void_p, (c.c_void_p, c.c_uint32)),
    "btf__name_by_offset": (c.c_char_p, (c.c_void_p, c.c_uint32)),
}
BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT = 26, 25  # include/uapi/linux/bpf.h
RETURN_ZERO = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit
BTF_TYPEDEF, BTF_FUNC, BTF_DATASEC = 8, 12, 15


class ProgLoadOpts(c.Structure):
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


class IterAttachOpts(c.Structure):
    """struct bpf_iter_attach_opts, libbpf.h.

    The link info is a map's descriptor, include/uapi/linux/bpf.h.
    """

    _fields_ = [("sz", c.c_size_t), ("link_info", c.c_void_p), ("link_info_len", c.c_uint32)]


class ProgInfo(c.Structure):
    """struct bpf_prog_info, include/uapi/linux/bpf.h, up to what is read here.

    The kernel fills what fits.
    """

    _fields_ = [("_before", c.c_uint64 * 26), ("recursion_misses", c.c_uint64)]


class BtfType(c.Structure):
    """struct btf_type, include/uapi/linux/btf.h."""

    _fields_ = [("name_off", c.c_uint32), ("info", c.c_uint32), ("size_or_type", c.c_uint32)]


class VarSecinfo(c.Structure):
    _fields_ = [("type", c.c_uint32), ("offset", c.c_uint32), ("size", c.c_uint32)]
