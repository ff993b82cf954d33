"""`kwitness run` changes nothing: what shells do with a command's descriptors still works."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.live.bare import CLEAN, KWITNESS, ROOT, some

pytestmark = pytest.mark.live
SHELL_USES = {
    "process substitution": ("run diff <(seq 5) <(seq 6) > /dev/null", 1),
    "a lock on a descriptor": (
        "exec 9>lock; run flock -n 9 || exit 8; flock -n lock true; test $? = 1",
        0,
    ),
    "stdin": ("printf 'a\nb\n' | run wc -l | grep -qx 2", 0),
    "a reader that leaves": ('yes | run head -1 > /dev/null; test "${PIPESTATUS[*]}" = "141 0"', 0),
    "a broken pipe": ('run yes | head -1 > /dev/null; test "${PIPESTATUS[*]}" = "141 0"', 0),
    "a stdout that the command closes": (
        "(exec $RUN sh -c 'exec >&-; read go < go') | { cat; echo > go; }",
        0,
    ),
    "a stdin that the command closes": (
        "{ yes 2> /dev/null; echo > go; } | (exec $RUN sh -c 'exec <&-; read go < go')",
        0,
    ),
    "a pipe that the command closes": (
        "(exec $RUN sh -c 'exec 5>&-; read go < go' 5>&1 > /dev/null) | { cat; echo > go; }",
        0,
    ),
    "a loop": ('for i in 1 2; do run sh -c "exit $i"; test $? = $i || exit 9; done', 0),
    "a job server": ("run make -s -j3 && test -e one -a -e two", 0),
    "below a job server": ("export RUN; make -s -j3 -f Outer && test -e one -a -e two", 0),
}
# each of two recipes waits until the other one runs: with one job at a time it would never end
MAKEFILE = """
all: one two
one:
	@echo > a; read x < b; touch $@
two:
	@read x < a; echo > b; touch $@
"""
OUTER = "all:\n\t+@$$RUN make -s\n"


@pytest.mark.parametrize(
    "use", some(SHELL_USES, "process substitution", "a lock on a descriptor", "below a job server")
)
def test_what_shells_do_with_descriptors(live: None, tmp_path: Path, use: str) -> None:
    for name in ("go", "a", "b"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "Outer").write_text(OUTER)
    code, status = SHELL_USES[use]
    words = f"env PYTHONPATH={ROOT} {' '.join(KWITNESS)} run --quiet --"
    line = f'RUN="{words}"; run() {{ $RUN "$@"; }}; {code}'
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (status, ""), done.stdout
