"""Things that are no file of ours, and the ways in which we write."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from receiver.safe.outputs import check_output, open_output, write_output
from tests.conftest import missing

OTHER = 12345  # a user who is neither root nor us


def need_root() -> None:
    if os.geteuid() != 0:
        missing("live", "making files of other users needs root")


def identity(path: Path) -> tuple[int, int, int, int, int, int]:
    found = path.lstat()
    return found.st_mode, found.st_uid, found.st_gid, found.st_ino, found.st_rdev, found.st_nlink


def opened(path: str) -> None:
    with open_output(path) as output:
        output.write(b"new")


def written(path: str) -> None:
    write_output(path, b"new")


WRITERS = [opened, written, check_output]


def make_device(path: Path) -> None:
    need_root()
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_foreign(path: Path) -> None:
    need_root()
    path.write_bytes(b"theirs")
    os.chown(path, OTHER, OTHER)


def make_hard_link(path: Path) -> None:
    (path.parent / "precious").write_bytes(b"precious")
    os.link(path.parent / "precious", path)


def make_link(path: Path) -> None:
    (path.parent / "precious").write_bytes(b"precious")
    path.symlink_to("precious")


def make_setuid(path: Path) -> None:
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o4755)


STRANGE: list[tuple[Callable[[Path], object], str]] = [
    (make_device, "it is a device"),
    (os.mkfifo, "it is a FIFO"),
    (make_socket, "it is a socket"),
    (Path.mkdir, "it is a directory"),
    (make_link, "it is a symbolic link"),
    (make_hard_link, "it has 2 names"),
    (make_foreign, "it belongs to another user"),
    (make_setuid, "it is a set-user-ID"),
]
