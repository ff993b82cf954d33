"""Servers outside of what is observed."""

from __future__ import annotations

import subprocess
import sys

from tests.incidents.lab import Lab
from tests.incidents.machine import stop

SERVE = """
import socket, sys, threading, time, os
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2]))); s.listen(64)
print("port", s.getsockname()[1], flush=True)
def answer(c):
%s
while True:
    c, _ = s.accept()
    threading.Thread(target=answer, args=(c,), daemon=True).start()
"""


def server(
    lab: Lab, body: str, *, host: str = "127.0.0.1", port: int = 0, namespace: str = ""
) -> int:
    """Outside of what is observed; gives its port."""
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    program = [sys.executable, "-S", "-u", "-c", SERVE % lines, host, str(port)]
    full = ["ip", "netns", "exec", namespace, *program] if namespace else program
    child = subprocess.Popen(full, stdout=subprocess.PIPE)
    lab.clean_up(lambda: stop(child))
    assert child.stdout is not None
    return int(child.stdout.readline().split()[1])


ECHO = "while True:\n    d = c.recv(65536)\n    if not d: return\n    c.sendall(b'ok')"
