"""`kwitness run` as the first process of a pid namespace, as the entry point of a container is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.live.bare import KWITNESS, ROOT

pytestmark = pytest.mark.live


@pytest.mark.abuse
def test_as_the_first_process_of_a_pid_namespace(live: None, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    inside = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        *KWITNESS,
        "run",
        "--quiet",
        "--facts",
        str(facts),
        "--",
    ]
    for code, status in (
        ("exit 7", 7),
        ("kill -TERM $$", 143),
    ):  # nobody can end the first process by such a signal
        done = subprocess.run(
            [*inside, "sh", "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        assert json.loads(facts.read_text())["processes"][0]["command"].startswith("sh -c")


@pytest.mark.abuse
def test_the_first_process_of_a_pid_namespace_leaves_no_zombies(live: None) -> None:
    """As the entry point of a container: what loses its parent comes to it."""
    code = 'for i in 1 2 3; do pids=$pids" $(sleep 0 >&- & echo $!)"; done; '
    code += (
        "for i in $(seq 100); do left=; for p in $pids; do [ -d /proc/$p ] && left=1; done; "
        "[ $left ] || exit 5; "
    )
    code += "sleep 0.05; done; exit 6"  # 6: somebody is a zombie after 5 s
    inside = ["unshare", "--pid", "--fork", "--mount-proc", *KWITNESS, "run", "--quiet", "--"]
    done = subprocess.run(
        [*inside, "bash", "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 5, done.stderr
