"""`kwitness run` changes nothing: the command's status is ours, whoever takes our words."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.live.bare import CLEAN, KWITNESS, ROOT, some

pytestmark = pytest.mark.live


def script(path: Path, text: bytes, mode: int = 0o755) -> str:
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """What can and cannot be executed."""
    (tmp_path / "loop").symlink_to("loop")
    return {
        "no #!": script(tmp_path / "plain", b'echo "$0" "$@"; exit 3\n'),
        "empty": script(tmp_path / "empty", b""),
        "an interpreter that is missing": script(
            tmp_path / "lost", b"#!/nonexistent/interpreter\n"
        ),
        "binary": script(tmp_path / "binary", b"\x7fELF\0\1\2\n"),
        "not executable": script(tmp_path / "data", b"echo no\n", 0o644),
        "a directory": str(tmp_path),
        "below a file": str(tmp_path / "plain" / "x"),
        "a loop of links": str(tmp_path / "loop"),
        "a name that is too long": "/tmp/" + "a" * 300,
        "missing": str(tmp_path / "missing"),
        "a name that no directory has": "kwitness-no-such-program",
        "an empty name": "",
    }


@pytest.mark.abuse
def test_what_cannot_be_executed_ends_as_in_a_shell(live: None, programs: dict[str, str]) -> None:
    loop = 'for p in "$@"; do "$p" one two > /dev/null 2>&1; echo $?; done'
    bare = subprocess.run(
        ["bash", "-c", loop, "bash", *programs.values()], capture_output=True, text=True, check=True
    ).stdout
    under, lines = [], {}
    for name, path in programs.items():
        done = subprocess.run(
            [*KWITNESS, "run", "--quiet", "--", path, "one", "two"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        under.append(done.returncode)
        lines[name] = done.stderr.splitlines()
        if name == "no #!":
            assert done.stdout == f"{path} one two\n"
    assert dict(zip(programs, under, strict=True)) == dict(
        zip(programs, map(int, bare.split()), strict=True)
    )
    refused = {name: said for name, said in lines.items() if name not in ("no #!", "empty")}
    assert all(len(said) == 1 and said[0].startswith("kwitness: ") for said in refused.values()), (
        refused
    )


STATUSES = {
    "exit 0": 0,
    "exit 4": 4,
    "exit 255": 255,
    "kill -9 $$": -9,
    "kill -TERM $$": -15,
    "kill -SEGV $$": -11,
    "kill -INT $$": -2,
}


@pytest.mark.parametrize("code", some(STATUSES, "exit 4", "kill -INT $$"))
def test_it_ends_as_the_command_ends(live: None, code: str) -> None:
    """By the same signal, too: a shell breaks its loop after Ctrl-C only for who died of it."""
    done = subprocess.run(
        [*KWITNESS, "run", "--quiet", "--", "sh", "-c", code],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (STATUSES[code], b"")


def full_stdio(code: str, options: str = "", redirect: str = "2>/dev/full") -> int:
    line = f"set -o pipefail; {' '.join(KWITNESS)} run {options} -- sh -c '{code}' {redirect}"
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=CLEAN, check=False, timeout=60, capture_output=True
    ).returncode


@pytest.mark.parametrize(
    "redirect",
    some(
        [
            "2>/dev/full",
            "2>&-",
            "2>&1 | true",
            "2>&1 | head -1",
            "2>/dev/full >/dev/full",
            "2>&- >&- <&-",
        ],
        "2>/dev/full",
        "2>&1 | head -1",
        "2>&- >&- <&-",
    ),
)
@pytest.mark.parametrize("code", some(["exit 4", "exit 0"], "exit 4"))
def test_the_status_does_not_depend_on_who_takes_our_words(
    live: None, redirect: str, code: str
) -> None:
    assert full_stdio(code, redirect=redirect) == int(code[-1])


@pytest.mark.abuse
def test_json_on_a_stdout_that_takes_nothing(live: None) -> None:
    assert full_stdio("exit 3", "--json", ">/dev/full") == 3
    assert full_stdio("exit 0", "--json", ">&-") == 0
    assert full_stdio("exit 0", "--json --strict-output", ">/dev/full") == 74
