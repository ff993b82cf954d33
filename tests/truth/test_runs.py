"""Real runs under kwitness and strace at once: no sentence of their reports is false."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.truth.play import play

pytestmark = pytest.mark.live
THREADS = """\
import threading as t; f = open("o", "wb", 0)
w = [t.Thread(target=f.write, args=(bytes(1 << 20),)) for _ in range(3)]
[x.start() for x in w]; [x.join() for x in w]
"""
SCRIPTS = {
    "healthy": ("healthy", "for i in 1 2 3; do head -c 100000 /dev/zero > out.$i; done"),
    "threads": ("healthy", f"{sys.executable} -c '{THREADS}'"),
    "own decision": (
        "not_visible",
        f"{sys.executable} -c 'import time, sys; time.sleep(1); sys.exit(3)'",
    ),
    "killed": ("incident", "(sleep 0.5; kill -9 $$) & head -c 3000000 /dev/zero > big; sleep 9"),
}


@pytest.fixture(scope="module")
def strace() -> None:
    if shutil.which("strace") is None:
        missing("truth", "strace is not installed: apt-get install strace")
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if done.returncode:
        missing("truth", f"strace may not trace here: {done.stderr.decode()[:200]}")


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_sentence_is_false(live: None, strace: None, tmp_path: Path, name: str) -> None:
    verdict, script = SCRIPTS[name]
    played = play(["bash", "-c", script], cwd=tmp_path)
    assert played.report["verdict"] == verdict
    assert played.verdicts.false == []
    assert played.verdicts.true > 5
