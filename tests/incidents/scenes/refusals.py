"""What the kernel refuses by name, and what only looks like it."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.incidents.lab import Lab
from tests.incidents.machine import UnavailableError
from tests.incidents.results import Truth
from tests.incidents.scene import scene

PYTHON = f"{sys.executable} -S"
OWN = Truth("none.not_visible", verdict="not_visible")
HEALTHY = Truth("none.healthy", verdict="healthy")


@scene("-", "A", "K", group="refusals")
def a_path_is_removed_before_it_is_read(lab: Lab) -> Truth:
    """By a cleaner that runs too early, or by a rename of the folder above it."""
    (lab.folder / "in").mkdir()
    part = lab.folder / "in" / "part.csv"
    part.write_text("1\n" * 1000)
    remove = (
        f"os.unlink({str(part)!r})",
        f"import shutil; shutil.rmtree({str(part.parent)!r})",
        f"os.rename({str(part.parent)!r}, {str(lab.folder / 'done')!r})",
    )[lab.variant]
    cleaner = lab.script(f'say("cleaner")\n{remove}\ntime.sleep(0.2)\n', "tidy")
    reader = lab.script(f"rows = open({str(part)!r}).read()\nprint(len(rows))\n", "load")
    lab.run(lab.shell(f"set -e\n{PYTHON} {cleaner}\n{PYTHON} {reader}\n"))
    return Truth("fs.path_missing", {"pid": lab.pids["cleaner"]}, rivals=("proc.interpreter",))


@scene("-", "A", "K", group="refusals")
def a_path_is_made_too_late(lab: Lab) -> Truth:
    part = lab.folder / "part.csv"
    writer = lab.script(
        (
            f'say("writer")\ntime.sleep({1.0 + 0.3 * lab.variant})\n'
            f'open({str(part)!r}, "w").write("1")\n'
        ),
        "export",
    )
    reader = lab.script(f"print(len(open({str(part)!r}).read()))\n", "load")
    lab.run(
        lab.shell(
            f"{PYTHON} {writer} & W=$!\nsleep 0.4\n{PYTHON} {reader}\nS=$?\nwait $W\nexit $S\n"
        )
    )
    return Truth("fs.path_missing", {"pid": lab.pids["writer"]})


@scene("-", "A", "K", group="refusals")
def a_pid_file_is_left_behind(lab: Lab) -> Truth:
    """Of a run that failed, of a link, or of a socket."""
    mark = lab.folder / "job.pid"
    make = (
        f"os.open({str(mark)!r}, os.O_CREAT | os.O_EXCL | os.O_WRONLY)",
        f"os.symlink('/nowhere', {str(mark)!r})",
        f"import socket; socket.socket(socket.AF_UNIX).bind({str(mark)!r})",
    )[lab.variant]
    first = lab.script(f'say("first")\n{make}\ntime.sleep(0.3)\nsys.exit(3)\n', "first")
    second = lab.script(f"time.sleep(0.2)\n{make}\nprint('runs')\n", "second")
    lab.run(lab.shell(f"{PYTHON} {first}\n{PYTHON} {second}\n"))
    return Truth("fs.path_exists", {"pid": lab.pids["first"], "path": str(mark)})


@scene("-", "A", "K", group="refusals")
def a_port_is_taken(lab: Lab) -> Truth:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = (
        f'import socket\ns = socket.create_server(("127.0.0.1", {port}))\nsay("owner")\n'
        "time.sleep(20)\n"
    )
    owner = lab.script(serve, "board")
    late = lab.script(
        f'import socket\nsocket.create_server(("127.0.0.1", {port}))\nprint("serves")\n', "serve"
    )
    if lab.variant == 1:  # a stranger
        outside = lab.outside([sys.executable, "-u", owner], ready="@owner")
        lab.run([sys.executable, late])
        return Truth("net.port_in_use", {"pid": outside.pid})
    lab.run(
        lab.shell(
            f"{sys.executable} {owner} & O=$!\nsleep 1\n{sys.executable} {late}\nS=$?\nkill $O\n"
            "exit $S\n"
        )
    )
    return Truth("net.port_in_use", {"pid": lab.pids["owner"]})


@scene("-", "A", "K", group="refusals")
def a_program_is_still_open_for_writing(lab: Lab) -> Truth:
    tool = lab.folder / "tool.sh"
    code = f"""
import subprocess
f = os.open({str(tool)!r}, os.O_WRONLY | os.O_CREAT, 0o755)
os.set_inheritable(f, True)
os.write(f, b"#!/bin/sh\\nexit 0\\n")
keeper = subprocess.Popen([sys.executable, "-S", sys.argv[1]], close_fds=False)
time.sleep(0.4)
os.close(f)
try:
    subprocess.{("run", "check_call", "check_output")[lab.variant]}([{str(tool)!r}])
finally:
    keeper.wait()
"""
    keeper = lab.script('say("keeper")\ntime.sleep(1.5)\n', "agent")
    lab.run(lab.wrapped([sys.executable, lab.script(code), keeper]))
    return Truth("proc.exec_refused", {"pid": lab.pids["keeper"], "path": str(tool)})


@scene("-", "A", "K", group="refusals")
def inotify_watches_run_out(lab: Lab) -> Truth:
    if subprocess.run(["unshare", "-Ur", "true"], check=False).returncode:
        raise UnavailableError("no user namespaces")
    for n in range(30):
        (lab.folder / "landing" / str(n)).mkdir(parents=True)
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init1(0)
say("sensor")
for at, _, _ in os.walk("landing"):
    if libc.inotify_add_watch(fd, at.encode(), 8) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), at)
"""
    sensor = lab.script(code, "sensor")
    limit = lab.shell(
        f"echo {9 + lab.variant} > /proc/sys/user/max_inotify_watches\n"
        f"exec {sys.executable} {sensor}\n"
    )
    lab.run(["unshare", "-Ur", *limit])
    # the pid that it tells is its own
    return Truth("lim.inotify", {"pid": lab.pids["sensor"]}, rivals=("fs.enospc",))


@scene("-", "A", "K", group="refusals")
def two_file_systems(lab: Lab) -> Truth:
    place = lab.mount("tmpfs")
    code = (
        f'open("a.csv", "w").write("1")\nos.{("rename", "link", "replace")[lab.variant]}("a.csv", '
        f"{str(place / 'a.csv')!r})\n"
    )
    lab.run(lab.wrapped([sys.executable, lab.script(code)]))
    return Truth("fs.path_unusable")


@scene("-", "A", "K", group="refusals")
def an_heir_holds_the_lock(lab: Lab) -> Truth:
    lock = lab.folder / "job.lck"
    agent = lab.script('say("agent")\ntime.sleep(30)\n', "agent")
    take = "flock -n 9 || exit 75"
    job = lab.folder / "night.sh"
    job.write_text(
        f'exec 9>{lock}\n{take}\n[ -n "$1" ] && {{ {PYTHON} {agent} & echo $! > pid; }}\n'
        "sleep 0.4\n"
    )
    lab.run(
        lab.shell(
            f"bash {job} first\nsleep {lab.variant}\nbash {job}\nS=$?\nkill $(cat pid)\nexit $S\n"
        )
    )
    return Truth("fs.lock", {"pid": lab.pids["agent"]})


DECISIONS = (
    # looks for settings that most do not have, and decides by its data
    (
        "try: open('settings.toml')\nexcept OSError: pass\nrows = open('rows.csv').read().split()\n"
        "time.sleep(0.1)\nsys.exit('too few rows' if len(rows) < 10 else 0)\n"
    ),
    # makes a folder that is there
    "os.makedirs('out', exist_ok=True)\nos.makedirs('out', exist_ok=True)\nsys.exit(1)\n",
    # takes the next port
    (
        "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "t = socket.socket()\n"
        "try: t.bind(s.getsockname())\nexcept OSError: t.bind(('127.0.0.1', 0))\n"
        "open('out', 'w').write('1')\nrows = open('rows.csv').read()\ntime.sleep(0.5)\n"
        "sum(range(9_000_000))\nsys.exit(4)\n"
    ),
    # asks whether a mark is there
    "if not os.path.exists('_SUCCESS'): sys.exit(1)\n",
    # removes what may be there
    (
        "try: os.unlink('old.csv')\nexcept FileNotFoundError: pass\n"
        "rows = open('rows.csv').read()\n"
        "import json\ntry: json.loads('{')\nexcept ValueError: sys.exit(2)\n"
    ),
    # decides at once
    "sys.exit(1)\n",
)


@scene("-", "A", "-", variants=6, group="refusals")
def an_own_decision_after_an_ordinary_failure(lab: Lab) -> Truth:
    (lab.folder / "rows.csv").write_text("1\n2\n")
    (lab.folder / "out").mkdir() if lab.variant == 1 else None
    command = [sys.executable, lab.script(DECISIONS[lab.variant], "check")]
    lab.run(command if lab.variant % 2 else lab.shell(f"set -e\n{' '.join(command)}\n", "job"))
    return OWN


GOOD = (
    (
        "mkdir -p out out\nrm -f none.csv\n[ -e none ] || echo none\n"
        "touch a && ln -sf a b && ln -sf a b\n"
    ),
    "sleep 30 & P=$!\nkill -STOP $P\nsleep 0.5\nkill -CONT $P\nkill $P\nwait $P || true\n",
    "mkfifo p\n(sleep 0.5; echo rows > p) &\ncat < p\nwait\n",
    "exec 9>l\nflock -n 9\n(flock -n 8 || echo held) 8>l\n",
    "(sleep 3 &) > /dev/null\necho done\n",
    "command -v nosuch || true\ncd none 2>/dev/null || cd .\n. ./none.env 2>/dev/null || true\n",
)


@scene("-", "-", "K", variants=6, group="healthy")
def refusals_that_are_expected(lab: Lab) -> Truth:
    lab.run(lab.shell(GOOD[lab.variant]))
    return HEALTHY
