"""Children that wait to be ended, for the tests of what ends a process."""

from __future__ import annotations

import subprocess

# signals that the test run itself may have been told to ignore (nohup) are made fatal again
SLEEP = (
    "import signal as s, time; s.signal(s.SIGHUP, s.SIG_DFL); print('ready', flush=True); "
    "time.sleep(60)"
)
WRITE = """
import os, signal, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(fd, b"x" * 5000)
{more}
print("ready", flush=True); time.sleep(60)
"""


def ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout
    assert child.stdout.readline() == "ready\n"


def finish(child: subprocess.Popen[str]) -> None:
    child.wait()
    assert child.stdout
    child.stdout.close()
