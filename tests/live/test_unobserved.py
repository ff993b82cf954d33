"""The command runs when nothing can be observed, unless observation is required."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.live.bare import CLEAN, KWITNESS, ROOT, some

pytestmark = pytest.mark.live
NO_CAPS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
NO_BTF = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
UNOBSERVED = {
    "no capabilities": (NO_CAPS, ["--source", "auto"], 77),
    "no BTF": (NO_BTF, ["--source", "ebpf"], 69),
    "a user": (["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], [], 77),
    "a time namespace": (["unshare", "-T", "--boottime", "86400", "--fork"], [], 69),
    "few descriptors": (["prlimit", "--nofile=12:12"], ["--source", "ebpf"], 69),
    "no more processes": (
        ["prlimit", "--nproc=1:1", "setpriv", "--reuid=64999", "--clear-groups"],
        [],
        75,
    ),
}


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
@pytest.mark.parametrize("reason", some(UNOBSERVED, "no capabilities", "a user"))
def test_it_runs_when_nothing_can_be_observed(live: None, reason: str) -> None:
    before, options, status = UNOBSERVED[reason]
    command = ["sh", "-c", "echo out; read line; echo $line; exit 5"]
    done = subprocess.run(
        [*before, *KWITNESS, "run", *options, "--", *command],
        input="in\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=CLEAN,
        check=False,
    )
    assert (done.returncode, done.stdout) == (5, "out\nin\n"), done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(
        "kwitness: not observed: "
    ), done.stderr
    done = subprocess.run(
        [*before, *KWITNESS, "run", "--require", *options, "--", *command],
        input="in\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=CLEAN,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
