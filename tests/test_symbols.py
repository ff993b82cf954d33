"""Names of functions by bcc, in a library that is compiled here."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from receiver.investigate.report import CrashLine
from receiver.service import symbols
from tests.conftest import missing


def test_a_place_in_a_file_is_named(tmp_path: Path) -> None:
    if not symbols.available():
        missing("bcc", "bcc cannot be imported: install python3-bpfcc")
    source, library = tmp_path / "lib.c", tmp_path / "lib.so"
    source.write_text("int first(int n) { return n; }\nint parse(int *p) { return *p; }\n")
    command = ["clang", "-shared", "-fPIC", "-Wl,--build-id=sha1", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    address = ctypes.cast(loaded.parse, ctypes.c_void_p).value
    assert address is not None
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, *rest = line.split()
        start, end = (int(number, 16) for number in span.split("-"))
        if start <= address < end:
            assert rest[-1] == str(library)
            offset_in_file = address - start + int(offset, 16)
    crash = CrashLine(
        pid=1,
        name="work",
        signal="SIGSEGV",
        module=str(library),
        offset=offset_in_file + 3,
        address=address,
        event="0-1",
    )
    named = symbols._named(crash)
    assert (named.function, named.function_offset, len(named.build_id)) == ("parse", 3, 40)
