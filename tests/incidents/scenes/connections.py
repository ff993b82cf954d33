"""Connections that do not come to be: no answer, no listener, no place in a queue, no port,
no name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.incidents.lab import Lab
from tests.incidents.machine import run
from tests.incidents.results import Truth
from tests.incidents.scene import scene
from tests.incidents.scenes.servers import server


@scene("I34", "B", "K", group="net")
def nobody_answers_a_syn(lab: Lab) -> Truth:
    lab.namespace()
    tag = lab.folder.name[4:].replace("_", "x")[:6]
    run(
        "ip",
        "-n",
        lab.near,
        "neigh",
        "add",
        "10.77.0.9",
        "lladdr",
        "02:00:00:00:00:09",
        "dev",
        f"v{tag}",
        "nud",
        "permanent",
    )
    port = (5432, 443, 8080)[lab.variant]
    wait = (4, 5, 6)[lab.variant]
    code = (
        'import socket\nsay("client")\ntry:\n'
        f'    socket.create_connection(("10.77.0.9", {port}), timeout={wait})\n'
        "except OSError as e:\n    print(e)\n    sys.exit(1)\n"
    )
    lab.run(lab.wrapped(lab.python(code)))
    return Truth(
        "net.blackhole", {"address": f"10.77.0.9:{port}"}, rivals=("net.backlog_refused", "net.dns")
    )


@scene("I49", "C", "K", group="net")
def nobody_listens(lab: Lab) -> Truth:
    port = 39000 + os.getpid() % 900 + lab.variant
    code = f"""
import socket
say("client")
for attempt in range({3 + lab.variant}):
    try:
        socket.create_connection(("127.0.0.1", {port}), timeout=2)
        break
    except OSError as e:
        print(e)
        time.sleep(0.4)
else:
    sys.exit(1)
"""
    lab.run(lab.wrapped(lab.python(code)))
    return Truth(
        "net.backlog_refused", {"address": f"127.0.0.1:{port}"}, rivals=("net.blackhole", "net.dns")
    )


@scene("I49", "C", "K", variants=2, group="net")
def a_queue_is_full(lab: Lab) -> Truth:
    """A server of the same task that does not accept; its clients' SYNs are dropped."""
    code = """
import socket, subprocess
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(1)
say("server")
open(sys.argv[2], "w").close()
time.sleep(14)
"""
    client = """
import socket
say("client")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
held = []
try:
    for _ in range(5):
        held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=6))
except OSError as e:
    print(e)
    sys.exit(1)
"""
    port = 39900 + os.getpid() % 90 + lab.variant
    flag = str(lab.folder / "up")
    a, b = lab.script(code, "api"), lab.script(client, "load")
    lab.run(
        lab.shell(
            f"{sys.executable} -S {a} {port} {flag} & S=$!\n{sys.executable} -S {b} {port} {flag}\n"
            "R=$?\nkill $S\nexit $R\n"
        )
    )
    return Truth("net.backlog_refused", {"address": f"127.0.0.1:{port}"}, rivals=("net.blackhole",))


@scene("I48", "C", "K", group="net")
def ports_run_out(lab: Lab) -> Truth:
    lab.namespace()
    first = 40000
    count = 30 + 20 * lab.variant
    subprocess.run(
        [
            "ip",
            "netns",
            "exec",
            lab.near,
            "sysctl",
            "-qw",
            f"net.ipv4.ip_local_port_range={first} {first + count}",
        ],
        check=True,
    )
    port = server(lab, "time.sleep(60)", host="10.77.0.2", port=5557, namespace=lab.far)
    code = (
        'import socket\nsay("client")\nheld = []\nfor _ in range(500):\n'
        f'    held.append(socket.create_connection(("10.77.0.2", {port})))\n    time.sleep(0.01)\n'
    )
    lab.run(lab.wrapped(lab.python(code)))
    return Truth("net.ports", {"pid": "client"}, rivals=("net.backlog_refused", "lim.emfile"))


@scene("-", "A", "K", group="net")
def a_name_is_not_resolved(lab: Lab) -> Truth:
    """The name server is there and silent, or fails."""
    lab.namespace()
    etc = Path(f"/etc/netns/{lab.near}")
    etc.mkdir(parents=True)
    (etc / "resolv.conf").write_text("nameserver 10.77.0.2\noptions timeout:1 attempts:3\n")
    lab.clean_up(lambda: shutil.rmtree(etc))
    fail = lab.variant == 1
    program = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.77.0.2", 53))
print("up", flush=True)
while True:
    q, a = s.recvfrom(2000)
    if {fail}:
        s.sendto(q[:2] + b"\\x81\\x82" + q[4:], a)
"""
    lab.outside([sys.executable, "-S", "-u", "-c", program], namespace=lab.far, ready="up")
    name = ("warehouse.internal.example", "bucket.s3.example", "db.prod.example")[lab.variant]
    code = (
        f'import socket\nsay("client")\ntry:\n    socket.getaddrinfo("{name}", 443)\n'
        "except OSError as e:\n    print(e)\n    sys.exit(1)\n"
    )
    lab.run(lab.wrapped(lab.python(code)))
    return Truth("net.dns", {"address": "10.77.0.2:53"}, rivals=("net.blackhole",))
