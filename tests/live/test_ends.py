"""How commands that need the kernel end when something is missing, or when nobody reads
what they print."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.live.commands import CLEAN, KWITNESS, NO_CAPS, ROOT, run

pytestmark = pytest.mark.live
NO_BTF = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
COMMANDS = [
    ("run", "--require", "--source", "ebpf", "--", "true"),
    ("serve", "-c", "{}/kwitness.toml"),
]


def one_line(done: subprocess.CompletedProcess[str], status: int, word: str) -> None:
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("kwitness: ")
    assert word in done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.parametrize(
    ("before", "status", "word"), [(NO_CAPS, 77, "CAP_BPF"), (NO_BTF, 69, "BTF")], ids=["77", "69"]
)
def test_what_is_missing_is_one_line_and_its_own_status(
    live: None, tmp_path: Path, command: tuple[str, ...], before: list[str], status: int, word: str
) -> None:
    (tmp_path / "kwitness.toml").write_text('[kernel]\nsource = "ebpf"\n[admin]\nport = 0\n')
    arguments = [part.format(tmp_path) for part in command]
    one_line(run(*arguments, before=before, OTEL_LOG_LEVEL="error"), status, word)


def test_a_reader_of_check_that_leaves_is_no_failure(live: None) -> None:
    script = f"{' '.join(KWITNESS)} check | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=CLEAN,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "1")


def test_a_reader_of_events_that_leaves_ends_it(live: None) -> None:
    """Something happens for as long as it runs, so that there is always a line to print."""
    script = f"{' '.join(KWITNESS)} events 2> /dev/fd/3 | head -1; echo ${{PIPESTATUS[0]}}"
    with subprocess.Popen(
        [
            "bash",
            "-c",
            (
                f"exec 3>&2; ({script}) & work=$!; while kill -0 $work 2> /dev/null; do /bin/true; "
                "done"
            ),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=CLEAN,
    ) as process:
        out, err = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "0"
    assert err == "kwitness: following events; stop with Ctrl-C\n"
