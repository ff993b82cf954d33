"""Interpreters in files, line tables, and the frames that the kernel half copied."""

from __future__ import annotations

import ast
import os
import random
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.constants import PYTHON_FRAMES
from receiver.events import _PYTHON_STACK as LAYOUT
from receiver.events import ProcessKey, PythonFlag, PythonStack, encode
from receiver.kernel import interpreters as found_in
from receiver.kernel.decode import decode
from receiver.kernel.elf import Elf, ElfError
from receiver.kernel.interpreters import MEMBERS, VALUE, Interpreters
from receiver.kernel.python_frames import readable
from receiver.kernel.python_layouts import LAYOUTS
from receiver.kernel.python_lines import of_increments, of_locations, of_ranges
from receiver.text import python_text
from receiver.text.redact import Redactor
from receiver.units import SECOND

HEADER = Path(__file__).parents[2] / "bpf/python_maps.bpf.h"


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="another format of line table")
@pytest.mark.parametrize("module", ["argparse", "asyncio.tasks", "typing", "ast"])
def test_each_instruction_has_the_line_that_the_interpreter_gives_it(module: str) -> None:
    source = Path(__import__(module, fromlist=["x"]).__file__ or "").read_text()
    assert ast.parse(source)
    compared = 0
    for code in codes(compile(source, module, "exec")):
        for index, (line, *_) in enumerate(code.co_positions()):
            got = of_locations(code.co_linetable, code.co_firstlineno, index * 2)
            assert got == (line or 0), (code.co_qualname, index)
            compared += 1
    assert compared > 1000


def test_the_tables_of_older_versions() -> None:
    """Objects/lnotab_notes.txt: its own examples."""
    lnotab = bytes([0, 1, 6, 1, 44, 5])
    assert [of_increments(lnotab, 1, at, whole=True) for at in (0, 5, 6, 49, 50, 900)] == [
        2,
        2,
        3,
        3,
        8,
        8,
    ]
    assert of_increments(lnotab, 1, 900, whole=False) == 0
    assert of_increments(bytes([4, 250]), 10, 4, whole=True) == 4  # backwards, since 3.6
    ranges = bytes([4, 0, 2, 1, 6, 128, 8, 254])
    assert [of_ranges(ranges, 10, at) for at in (0, 3, 4, 6, 11, 12, 19, 20)] == [
        10,
        10,
        11,
        0,
        0,
        9,
        9,
        0,
    ]


def test_a_table_that_ends_early_tells_no_line() -> None:
    code = compile("def f(a):\n x = a\n" + " x += a.b.c\n" * 50, "f", "exec").co_consts[0]
    last = len(code.co_code) - 2
    whole = of_locations(code.co_linetable, code.co_firstlineno, last)
    assert whole
    for size in range(len(code.co_linetable)):
        assert of_locations(code.co_linetable[:size], code.co_firstlineno, last) in (0, whole)
    assert of_locations(b"\xff" * 4096, 1, 10**9) == 0


def frame(
    name: bytes, file: bytes, *, first: int = 7, instruction: int = -2, width: int = 1
) -> bytes:
    head = struct.pack("<iiIHHHBB", first, instruction, 0, len(name), len(file), 0, width, 1)
    return head + name + file


def record(frames: bytes, flags: int = PythonFlag.RAW) -> bytes:
    event = PythonStack(5, 1, 0, ProcessKey(9, 3), 1000, 9, 9, 0x030B, flags, ())
    raw = bytearray(encode(event) + frames)
    raw[16:20] = len(raw).to_bytes(4, "little")
    raw[LAYOUT.size - 8 : LAYOUT.size - 6] = len(frames).to_bytes(2, "little")
    return bytes(raw)


def stack(frames: bytes) -> PythonStack:
    event = decode(readable(record(frames)), Redactor())
    assert isinstance(event, PythonStack)
    return event


def test_frames_become_texts() -> None:
    event = stack(
        frame("größe_ж".encode("utf-16-le"), b"/srv/etl.py", width=2)
        + frame(b"<module>", "/srv/größe.py".encode("latin-1"))
    )
    assert event.frames == ("größe_ж", "/srv/etl.py", "7", "<module>", "/srv/größe.py", "7")
    assert event.python_flags == 0
    assert readable(encode(event)) == encode(event)


@pytest.mark.parametrize(
    "frames",
    [
        b"\0",
        frame(b"f", b"x.py")[:-1],
        frame(b"", b""),
        frame(b"f", b"x.py", width=0) + b"\xff" * 19,
        frame(b"\0\0\xff", b"\xd8\0", width=2),
        frame(b"f", b"x" * 9000) + frame(b"f", b"y" * 7000),
        frame(b"f", b"") * (PYTHON_FRAMES + 9),
    ],
)
def test_what_is_no_frame_gives_a_record_that_says_so_or_a_name_that_is_harmless(
    frames: bytes,
) -> None:
    event = stack(frames)
    assert len(event.frames) % 3 == 0 and len(event.frames) <= 3 * PYTHON_FRAMES
    assert all(text and "\0" not in text for text in event.frames)
    assert python_text.frames(event) or event.python_flags & PythonFlag.DAMAGED


def test_any_bytes_give_a_record_that_decodes() -> None:
    chance = random.Random(7)
    for _ in range(2000):
        frames = bytearray(frame(b"f", b"/srv/x.py") * chance.randint(1, 20))
        for _ in range(chance.randint(0, 30)):
            frames[chance.randrange(len(frames))] = chance.randrange(256)
        raw = bytearray(record(bytes(frames)))
        raw[LAYOUT.size - 16 : LAYOUT.size - 12] = chance.choice(list(LAYOUTS)).to_bytes(
            4, "little"
        )
        decode(readable(bytes(raw)), Redactor())
    assert readable(b"short") == b"short"


def test_the_struct_of_the_map_is_the_one_that_is_packed() -> None:
    body = HEADER.read_text().partition("struct interpreter {")[2].partition("};")[0]
    names = [line.split()[1].rstrip(";") for line in body.splitlines() if line.strip()]
    assert names == [
        "runtime",
        "code_type",
        "first",
        "code",
        "version",
        *MEMBERS,
        "_reserved",
    ]
    assert VALUE.size == 4 * 8 + 28 * 4
    assert all(layout.keys() >= set(MEMBERS) for layout in LAYOUTS.values())


def test_this_interpreter_is_found_once_and_read_again_after_a_while() -> None:
    path, wrote = os.path.realpath(sys.executable), []
    pythons = Interpreters(lambda *row: wrote.append(row))
    for at in (1, 2, found_in.LOOK_AGAIN_NS - 1):
        pythons.executed(path, at)
    count = len(wrote)
    assert count >= 1 and {row[0] for row in wrote} == {"interpreters"}
    version = sys.version_info[0] << 8 | sys.version_info[1]
    assert {VALUE.unpack(row[2])[4] for row in wrote} == {version}
    pythons.executed(path, found_in.LOOK_AGAIN_NS + 1)
    assert len(wrote) == 2 * count


def test_what_3_13_states_of_itself_is_where_the_headers_have_it() -> None:
    assert found_in.STATED.keys() < LAYOUTS[0x030D].keys()


def test_new_files_have_a_rate_and_remembered_ones_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_in, "REMEMBERED", 50)
    pythons = Interpreters(lambda *_: None)
    for number in range(100):
        pythons.executed(str(tmp_path / str(number)), SECOND)
    assert pythons.skipped == 100 - found_in.NEW_FILES
    for number in range(100):
        pythons.executed(str(tmp_path / str(number)), (2 + number) * SECOND)
    assert len(pythons._looked) <= 50


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    wrote: list[object] = []
    pythons = Interpreters(lambda *row: wrote.append(row))
    fifo, folder, gone = tmp_path / "fifo", tmp_path / "folder", tmp_path / "gone"
    os.mkfifo(fifo)
    folder.mkdir()
    for path in (fifo, folder, gone, Path("/dev/zero"), tmp_path / "a\0b"):
        pythons.executed(str(path), SECOND)
        with pytest.raises((OSError, ElfError, ValueError)):
            Elf(str(path))
    assert wrote == []


def test_a_damaged_file_raises_nothing_else(tmp_path: Path) -> None:
    whole = Path("/bin/true").read_bytes()
    chance, file = random.Random(3), tmp_path / "x"
    for _ in range(300):
        damaged = bytearray(whole[: chance.choice([20, 64, 500, 4096, len(whole)])])
        for _ in range(chance.randint(0, 40)):
            damaged[chance.randrange(min(len(damaged), 4096))] = chance.randrange(256)
        file.write_bytes(damaged)
        pythons = Interpreters(lambda *_: None)
        pythons.executed(str(file), SECOND)
        assert pythons.found == 0


def test_the_innermost_frame_of_the_users_own_code_leads() -> None:
    place = "/usr/lib/python3.11"
    event = PythonStack(
        *(5, 1, 0, ProcessKey(9, 3), 1000, 9, 9, 0x030B, 0),
        (
            *("wait", f"{place}/threading.py", "320"),
            *("get", "/v/lib/python3.11/site-packages/requests/api.py", "73"),
            *("Etl.load", "/srv/lib/etl.py", "42"),
            *("_run_code", "<frozen runpy>", "88"),
            *("run_day", "/srv/etl.py", "0"),
        ),
    )
    assert python_text.where(event) == "Etl.load (etl.py:42), called from run_day (etl.py:?)"
    assert python_text.traceback(event).splitlines()[-1] == (
        f'  File "{place}/threading.py", line 320, in wait'
    )


def test_the_thread_that_ran_python_code_speaks_for_a_process() -> None:
    def thread(
        number: int, flags: int, frames: tuple[str, ...] = ("f", "x.py", "1")
    ) -> PythonStack:
        return PythonStack(5, 1, 0, ProcessKey(9, 3), 1000, number, 9, 0x030B, flags, frames)

    main, other = thread(9, PythonFlag.MAIN_THREAD), thread(10, 0)
    runs, fault = thread(11, PythonFlag.HOLDS_LOCK), thread(12, PythonFlag.TOOK_SIGNAL)
    assert python_text.of_process((other, main, runs, fault)) is fault
    assert python_text.of_process((other, main, runs)) is runs
    assert python_text.of_process((other, main)) is main
    assert python_text.of_process((thread(9, PythonFlag.HOLDS_LOCK, ()), other)) is other
    assert python_text.of_process(()) is None
