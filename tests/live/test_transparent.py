"""`kwitness run` changes nothing: what the command inherits, how it ends, and what reaches it are
the same without us."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.live.bare import CLEAN, KWITNESS, PROGRAMS, ROOT, all_of_them, compare

pytestmark = pytest.mark.live


def some(values: Iterable[str], *short: str) -> list[ParameterSet]:
    """`short` are in `make test`; the others are in `make test-abuse`, because each one starts
    kwitness."""
    marks = {value: () if value in short else (pytest.mark.abuse,) for value in values}
    return [pytest.param(value, marks=mark) for value, mark in marks.items()]


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


@pytest.fixture
def full_disk(live: None, tmp_path: Path) -> Path:
    """/dev/full would not do: it is no regular file."""
    place = tmp_path / "full"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)],
        check=False,
        capture_output=True,
    ).returncode:
        pytest.skip("cannot mount a tmpfs")
    (place / "ballast").write_bytes(b"\0" * (48 << 10))
    return place


@pytest.fixture(autouse=True)
def unmounted(tmp_path: Path) -> Iterator[None]:
    yield
    if (tmp_path / "full").is_mount():
        subprocess.run(["umount", str(tmp_path / "full")], check=True)


@pytest.mark.parametrize(
    "option",
    some(["--report", "--facts", "--history", "--otlp-json", "record"], "--report", "record"),
)
@pytest.mark.parametrize("place", some(["full", "missing"], "full"))
def test_an_output_that_cannot_be_written_is_a_warning(
    full_disk: Path, tmp_path: Path, option: str, place: str
) -> None:
    folder = full_disk if place == "full" else tmp_path / "no" / "such"
    if place == "full":
        with (full_disk / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
            while rest.write(b"\0" * 4096):
                pass
    target = str(folder / "file")
    command = ["sh", "-c", "exit 5"]
    chosen = ["record", "-o", target] if option == "record" else ["run", option, target]
    plain = subprocess.run(
        [*KWITNESS, *chosen, "--quiet", "--", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=CLEAN,
        check=False,
    )
    assert plain.returncode == 5, plain.stderr
    said = [line for line in plain.stderr.splitlines() if line.startswith("kwitness: ")]
    assert said and any(target in line or option == "--history" for line in said), plain.stderr
    assert len(said) == len(plain.stderr.splitlines()) <= 2, plain.stderr
    strict = subprocess.run(
        [*KWITNESS, *chosen, "--quiet", "--strict-output", "--", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=CLEAN,
        check=False,
    )
    assert strict.returncode == 74, strict.stderr


@pytest.mark.abuse
def test_json_on_a_stdout_that_takes_nothing(live: None) -> None:
    assert full_stdio("exit 3", "--json", ">/dev/full") == 3
    assert full_stdio("exit 0", "--json", ">&-") == 0
    assert full_stdio("exit 0", "--json --strict-output", ">/dev/full") == 74


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


HANDLER = r"""
import os, signal, sys, time
def note(number, _):
    os.write(1, b"%d\n" % number)
    if number == signal.SIGTERM:
        sys.exit(9)
for number in (1, 2, 3, 10, 12, 14, 15, 18, 20, 23, 28, 35):
    signal.signal(number, note)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def handler(**options: object) -> subprocess.Popen[str]:
    """A command that prints each signal that it gets and ends with status 9 on SIGTERM."""
    command = [*KWITNESS, "run", "--quiet", "--", sys.executable, "-I", "-S", "-c", HANDLER]
    start: Callable[..., subprocess.Popen[str]] = subprocess.Popen
    child = start(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def test_every_signal_reaches_the_command_once(live: None) -> None:
    """Sent to us alone, then to the whole group, as `timeout` and a shell's `kill %1` send it."""
    child = handler(start_new_session=True)
    assert child.stdout
    sent, seen = [], []
    for send in (os.kill, os.killpg):
        for number in (1, 2, 3, 10, 12, 14, 18, 20, 23, 28, 35):
            send(child.pid, number)
            sent.append(number)
            seen.append(int(child.stdout.readline()))
    os.killpg(child.pid, signal.SIGTERM)
    rest, _ = child.communicate(timeout=30)
    assert child.returncode == 9
    assert (seen, rest) == (sent, "15\n")  # and none of the others a second time


@pytest.mark.abuse
def test_one_sender_that_signals_us_and_then_our_group_is_heard_once(live: None) -> None:
    """As timeout(1) does it. Alone, the command has both as one pending signal."""
    child = handler(start_new_session=True)
    assert child.stdout
    for number in (10, 12, 1, 2) * 3:
        os.kill(child.pid, number)
        while (
            int(
                re.findall(r"ShdPnd:\s*(\w+)", Path(f"/proc/{child.pid}/status").read_text())[0], 16
            )
            >> (number - 1)
            & 1
        ):
            continue  # it has read the first when the second comes
        os.killpg(child.pid, number)
        assert int(child.stdout.readline()) == number
    os.killpg(child.pid, signal.SIGTERM)
    rest, _ = child.communicate(timeout=30)
    assert (child.returncode, rest) == (9, "15\n")


@pytest.mark.abuse
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGHUP],
)
def test_a_signal_to_us_alone_ends_the_command_and_us(live: None, number: signal.Signals) -> None:
    child = subprocess.Popen(
        [*KWITNESS, "run", "--quiet", "--", "sh", "-c", "echo ready; exec sleep 60"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout and child.stdout.readline() == b"ready\n"
    child.send_signal(number)
    child.communicate(timeout=30)
    assert child.returncode == -number


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


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_command_outlives_an_observer_that_is_killed(live: None) -> None:
    child = handler(stderr=subprocess.PIPE)
    observer, command = children(child.pid)
    assert (
        Path(f"/proc/{command}/cmdline").read_bytes().startswith(sys.executable.encode() + b"\0-I")
    )
    os.kill(observer, signal.SIGKILL)
    assert child.stderr and "the command continues" in child.stderr.readline()
    child.terminate()
    out, _ = child.communicate(timeout=30)
    assert (child.returncode, out) == (9, "15\n")


@pytest.mark.abuse
def test_who_kills_us_ends_the_observation_and_not_the_command(live: None, tmp_path: Path) -> None:
    report = tmp_path / "facts.json"
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    child = subprocess.Popen(
        [
            *KWITNESS,
            "run",
            "--quiet",
            "--facts",
            str(report),
            "--",
            "sh",
            "-c",
            f"echo ready; read go < {fifo}; exit 6",
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout and child.stdout.readline() == b"ready\n"
    observer, _ = children(child.pid)
    handle = os.pidfd_open(observer)
    child.kill()
    child.wait()
    fifo.write_text("\n")
    assert select.select([handle], [], [], 30)[0]
    os.close(handle)
    child.stdout.close()
    assert json.loads(report.read_text())["processes"][0]["end"] == "exit 6"


class Terminal:
    """An interactive shell on a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self._main = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(
                "/bin/bash",
                ["bash", "--norc", "--noprofile", "-i"],
                CLEAN | {"PS1": "$ ", "TERM": "dumb"},
            )
        self._seen = ""
        self.expect("$ ")
        self.type(f'run() {{ {" ".join(KWITNESS)} run --quiet -- "$@"; }}; stty -echo\n', "$ ")

    def expect(self, text: str) -> str:
        """Reads until `text` comes; gives what came before it."""
        deadline = time.monotonic() + 40
        while text not in self._seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self._seen!r}"
            assert select.select([self._main], [], [], 30)[0], f"no {text!r} in {self._seen!r}"
            self._seen += os.read(self._main, 4096).decode()
        before, _, self._seen = self._seen.partition(text)
        return before

    def type(self, keys: str, *expected: str) -> str:
        os.write(self._main, keys.encode())
        return "".join(self.expect(text) for text in expected)

    def close(self) -> None:
        os.close(self._main)  # hangs up
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(live: None) -> Iterator[Terminal]:
    found = Terminal()
    yield found
    found.close()


WAITING = "run sh -c 'echo up $$; exec cat'\n"


def test_job_control(terminal: Terminal) -> None:
    terminal.type(WAITING, "up ")
    assert "Stopped" in terminal.type("\x1a", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == [
        "status",
        "148",
    ]  # 128 + SIGTSTP
    terminal.type("fg\n", '"$@"')
    terminal.type("hello\n", "hello")  # the command has its terminal back
    terminal.type("\x03", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == ["status", "130"]
    terminal.type("run sh -c 'echo up; exec sleep 60'\n", "up")
    terminal.type("\x1a", "Stopped", "$ ")
    terminal.type("bg\n", "$ ")
    assert "Running" in terminal.type("jobs\n", "$ ")
    terminal.type("kill %1; wait %1\n", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == ["status", "143"]


@pytest.mark.abuse
def test_a_loop_ends_with_ctrl_c(terminal: Terminal) -> None:
    """A shell goes on with its loop after a command that handled SIGINT, and ends it after one that
    died of it."""
    terminal.type(
        (
            f"for i in 1 2 3; do {' '.join(KWITNESS)} run --quiet -- sh -c 'echo up; "
            "exec sleep 60'; done\n"
        ),
        "up",
    )
    assert "up" not in terminal.type("\x03", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == ["status", "130"]


@pytest.mark.abuse
def test_a_command_that_somebody_stops_and_continues(terminal: Terminal) -> None:
    pid = int(terminal.type(WAITING, "up ", "\r\n"))
    os.kill(pid, signal.SIGSTOP)
    terminal.expect("Stopped")
    os.kill(pid, signal.SIGKILL)  # the command alone; nobody continues us but our observer
    while "Killed" not in terminal.type("jobs\n", "$ "):
        time.sleep(0.05)


@pytest.mark.abuse
def test_in_the_background_it_stops_when_it_reads_the_terminal(terminal: Terminal) -> None:
    terminal.type("run sh -c 'read line; echo got $line' &\n", "$ ")
    while "Stopped" not in terminal.type("jobs\n", "$ "):
        time.sleep(0.05)
    terminal.type("fg\n", "line'")
    terminal.type("word\n", "got word")


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


@pytest.mark.parametrize(
    "options", [("--report", "--facts"), ("--history", "--report"), ("--otlp-json", "--history")]
)
def test_two_outputs_in_one_file_are_refused_before_the_start(
    live: None, tmp_path: Path, options: tuple[str, str]
) -> None:
    (tmp_path / "a").write_text("before")
    one, other = options
    command = [
        *KWITNESS,
        "run",
        one,
        str(tmp_path / "a"),
        other,
        str(tmp_path / "./a"),
        "--",
        "touch",
        str(tmp_path / "ran"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=CLEAN, check=False, capture_output=True, text=True)
    assert done.returncode == 64 and done.stderr.count("\n") == 1, done.stderr
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "before"}


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
