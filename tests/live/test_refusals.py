"""What the commands need, and how they refuse to start: an exit status and one line."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live.commands import KWITNESS, NO_CAPS, ROOT, TWO_CAPS, run

pytestmark = pytest.mark.live


def test_check_says_ready(live: None) -> None:
    done = run("check")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ready")
    assert json.loads(run("check", "--json").stdout)["status"] == "ready"


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
def test_without_capabilities_it_says_which(live: None) -> None:
    done = run("check", before=NO_CAPS)
    assert done.returncode == 2
    assert "CAP_BPF and CAP_PERFMON missing" in done.stdout
    done = run("run", "--require", "--", "true", before=NO_CAPS)
    assert done.returncode == 77
    assert len(done.stderr.splitlines()) == 1
    assert "run as root, or grant" in done.stderr


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
def test_two_capabilities_are_enough(live: None) -> None:
    done = run("run", "--json", "--", "sh", "-c", "exit 4", before=TWO_CAPS)
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["processes"][0]["end"] == "exit 4"


@pytest.mark.parametrize(
    ("namespace", "source", "message"),
    [
        (
            "unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec \"$@\"' sh",
            "ebpf",
            "this kernel has no BTF",
        ),
        (
            "unshare -T --boottime 86400 --fork",
            "auto",
            "this time namespace has a shifted boot clock",
        ),
    ],
)
def test_where_it_cannot_work_it_says_so_in_one_line(
    live: None, namespace: str, source: str, message: str
) -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'exec {namespace} "$@"',
            "sh",
            *KWITNESS,
            "run",
            "--require",
            "--source",
            source,
            "--",
            "true",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (69, 1), done.stderr
    assert message in done.stderr


def test_usage_errors() -> None:
    assert run("run").returncode == 64
    assert "no command given" in run("run", "--").stderr
    assert run("replay", "/nonexistent").returncode == 65
    assert run().returncode == 64
    assert run("--version").stdout.startswith("kwitness 0.")


def test_a_bad_otel_variable_costs_the_export_and_not_the_command(
    live: None, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    done = run("run", "--require", "--", "touch", str(ran), OTEL_EXPORTER_OTLP_ENDPOINT="ftp://x")
    assert (done.returncode, ran.exists()) == (78, False)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stderr
    done = run("run", "--quiet", "--", "touch", str(ran), OTEL_EXPORTER_OTLP_ENDPOINT="ftp://x")
    assert (done.returncode, ran.exists(), len(done.stderr.splitlines())) == (0, True, 1)
    assert done.stderr.startswith("kwitness: not exported: OTEL_EXPORTER_OTLP_ENDPOINT")


def test_a_bad_configuration_is_refused_before_anything_runs(live: None, tmp_path: Path) -> None:
    """It is of the user's own command line, so it is no reason to go on without it."""
    bad = tmp_path / "kwitness.toml"
    bad.write_text("[[rule]]\nname = 1\n")
    done = run("run", "-c", str(bad), "--", "touch", str(tmp_path / "ran"))
    assert (done.returncode, (tmp_path / "ran").exists(), len(done.stderr.splitlines())) == (
        78,
        False,
        1,
    )
