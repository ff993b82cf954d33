"""The event loop that the commands run in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = """
import asyncio, logging, os, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
{before}
from receiver.cli import loop

async def main():
    links = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd")[:-1]]
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
    print([link for link in links if "uring" in link])
    return 3

print(loop.run(main()))
"""
SAID = "uvloop cannot be imported, asyncio's own event loop is used: "


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", ["uvloop", "[]", "3"]),
        ("sys.modules['uvloop'] = None", [SAID, "asyncio", "[]", "3"]),
    ],
    ids=["uvloop", "without uvloop"],
)
def test_commands_run_in_uvloop_where_it_can_be_imported(before: str, expected: list[str]) -> None:
    """In a process of its own: io_uring is forbidden there for good."""
    command = [sys.executable, "-c", CODE.format(before=before)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [
        line[: len(SAID)] if line.startswith(SAID) else line for line in done.stdout.splitlines()
    ]
    assert (done.returncode, lines) == (0, expected), done.stderr
