"""`kwitness run` changes nothing: the command inherits the same without us."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.bare import CLEAN, KWITNESS, PROGRAMS, ROOT, all_of_them, compare, some

pytestmark = pytest.mark.live
STATES = {
    "nothing special": "",
    "signals ignored": "trap '' INT HUP QUIT TERM USR1 CHLD TSTP PIPE",
    "descriptors": (
        "exec 3</etc/passwd 4>/dev/null 9>>/tmp/.kwitness-test-9; rm /tmp/.kwitness-test-9"
    ),
    "limits and niceness": "ulimit -S -n 300; ulimit -S -c 0; ulimit -f 100000; umask 027; "
    "renice -n 7 $$ > /dev/null; echo 500 > /proc/$$/oom_score_adj",
    "stdin closed": "exec <&-",
    "stdin is no file": "exec </dev/null",
    "other directory and variables": (
        "export LC_CTYPE=C PYTHONDONTWRITEBYTECODE=1 OLDPWD=/ _x='a b'; exec 3<>/dev/null"
    ),
}


@pytest.mark.parametrize(
    "state", some(STATES, "signals ignored", "descriptors", "limits and niceness")
)
def test_the_command_inherits_the_same(live: None, state: str) -> None:
    bare, under = compare(all_of_them(), STATES[state])
    assert len(PROGRAMS) >= 60 and bare.endswith("status 0\n")
    assert under == bare


@pytest.mark.abuse
def test_a_program_inherits_the_same_without_a_shell_between(live: None) -> None:
    lines = "^(Umask|Uid|Gid|Groups|Sig[PBIC]|Shd|Cap|NoNew|Seccomp|Cpus_allowed|Max)"
    command = ["grep", "-E", lines, "/proc/self/status", "/proc/self/limits"]
    for state in ("trap '' INT TERM CHLD; ulimit -S -n 100", "trap '' PIPE XFSZ; umask 77"):
        bare, under = compare(command, state)
        assert "SigIgn" in bare and under == bare


@pytest.mark.parametrize("closed", some(["1>&-", "2>&-", "0<&- 1>&- 2>&-"], "0<&- 1>&- 2>&-"))
def test_closed_stdio_stays_closed(live: None, closed: str, tmp_path: Path) -> None:
    """The program writes to a file of its own."""
    seen = tmp_path / "seen"
    program = (
        f"for n in 0 1 2 3 4 5 6 7 8; do test -e /proc/self/fd/$n && echo $n; done >> {seen}; "
        f"echo . >> {seen}; exit 6"
    )
    state = f'sh -c "$1" {closed}; echo bare $? >> {seen}'
    script = (
        f'exec 3>&1; {state}; cd {ROOT}; {" ".join(KWITNESS)} run --quiet -- sh -c "$1" {closed}; '
        f"echo bare $? >> {seen}"
    )
    subprocess.run(
        ["bash", "-c", script, "bash", program], check=False, env=CLEAN, cwd=ROOT, timeout=60
    )
    bare, under, rest = seen.read_text().split("bare 6\n")
    assert rest == "" and bare.endswith(".\n") and under == bare


@pytest.mark.abuse
def test_an_alarm_that_was_set_before_is_the_commands(live: None) -> None:
    """alarm(2) is kept by exec, and not by fork: perl -e 'alarm 5; exec @ARGV'."""
    code = (
        "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 4); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *KWITNESS, "run", "--quiet", "--", "sleep", "60"],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGALRM


def test_a_background_command_keeps_its_ignored_signals(live: None, tmp_path: Path) -> None:
    line = f"{' '.join(KWITNESS)} run --quiet -- grep SigIgn /proc/self/status & wait"
    done = subprocess.run(
        ["sh", "-c", line], cwd=ROOT, env=CLEAN, capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[1], 16) & 0b111 == 0b110  # SIGINT and SIGQUIT


def test_few_descriptors_for_the_command_are_not_too_few_for_the_observer(live: None) -> None:
    """The soft limit is the command's. The observer raises its own."""
    command = [*KWITNESS, "run", "--quiet", "--require", "--", "sh", "-c", "ulimit -Sn; exit 4"]
    done = subprocess.run(
        ["prlimit", "--nofile=64:", *command],
        cwd=ROOT,
        env=CLEAN,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (4, "64\n", "")
