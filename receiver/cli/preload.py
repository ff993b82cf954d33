"""Imports the modules that the service would load late, before privileges are dropped.

The user that the service becomes may not be able to read them: Python below /root, or a private
virtual environment. Libraries import some of their own modules at first use (codecs, compression,
TLS), so these are listed here. tests/live/test_private_python.py runs both modes with an
interpreter that only root can read.
"""

from __future__ import annotations

import importlib
import pkgutil
import socket
import sys

import receiver

_LATE = (
    "aiohttp",
    "aiohttp.web",
    "bz2",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "encodings.utf_8_sig",
    "getpass",
    "gzip",
    "html.entities",
    "http.cookies",
    "importlib.metadata",
    "inspect",
    "json",
    "linecache",
    "lzma",
    "mimetypes",
    "msgspec.json",
    "netrc",
    "sqlite3",
    "ssl",
    "stringprep",
    "tokenize",
    "traceback",
    "unicodedata",
    "uuid",
    "zlib",
    "zoneinfo",
)


_WHOLE = ("aiohttp", "grpc", "msgspec")  # packages that import modules of their own at first use
_NOT = ("aiohttp.pytest_plugin", "aiohttp.test_utils", "aiohttp.worker")
_BY_CHOICE = (
    "receiver.insights",
    "receiver.cli",
    "receiver.export.otlp_",
    "receiver.kernel.netlink",
)  # those in use are loaded


def load_all() -> None:
    """The modules in use of this package and of the packages in _WHOLE, and those in _LATE.

    Modules that are not installed are skipped.
    """
    names = [
        m.name
        for m in pkgutil.walk_packages(receiver.__path__, "receiver.")
        if not m.name.startswith(_BY_CHOICE)
    ]
    for name in _WHOLE:
        if package := sys.modules.get(name):
            names += [
                m.name
                for m in pkgutil.iter_modules(package.__path__, f"{name}.")
                if m.name not in _NOT
            ]
    from rich.cells import cell_len

    for name in (*names, *_LATE):
        if name.endswith("__main__"):
            continue
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    cell_len("é한")  # the first character that is not ASCII loads a table of rich
    socket.getaddrinfo("localhost", 1)  # the first lookup loads the resolver's own libraries (NSS)
