"""Peers that are connected: silent, gone, forgotten on the way, out of reach for large packets."""

from __future__ import annotations

import subprocess
import time

from tests.incidents.lab import Lab
from tests.incidents.machine import UnavailableError
from tests.incidents.results import Truth
from tests.incidents.scene import scene
from tests.incidents.scenes.servers import ECHO, server


@scene("I35", "B", "K", group="net")
def a_peer_is_silent(lab: Lab) -> Truth:
    port = server(lab, "c.recv(65536)\ntime.sleep(60)")
    wait = 6 + 2 * lab.variant
    code = (
        f'import socket\nsay("client")\nc = socket.create_connection(("127.0.0.1", {port}))\n'
        f'c.settimeout({wait})\nc.sendall(b"GET /x")\ntry:\n    c.recv(10)\nexcept TimeoutError:\n'
        '    print("read timed out")\n    sys.exit(1)\n'
    )
    lab.run(lab.wrapped(lab.python(code)))
    return Truth(
        "net.silent_peer",
        {"address": f"127.0.0.1:{port}"},
        rivals=("net.blackhole", "net.idle_drop"),
    )


@scene("I35", "B", "K", group="net")
def a_peer_is_silent_until_somebody_gives_up(lab: Lab) -> Truth:
    """No read timeout: it hangs until it is killed. Not the killer's fault."""
    port = server(lab, "c.recv(65536)\ntime.sleep(60)")
    code = (
        f'import socket\nsay("client")\nc = socket.create_connection(("127.0.0.1", {port}))\n'
        'c.sendall(b"GET /x")\nc.recv(10)\n'
    )

    def during() -> None:
        lab.wait("client")
        lab.send("client", (15, 9, 15)[lab.variant], after=11)

    lab.run(lab.wrapped(lab.python(code)), during)
    return Truth(
        "net.silent_peer",
        {"address": f"127.0.0.1:{port}"},
        rivals=("kill.supervisor", "net.idle_drop"),
    )


@scene("-", "A", "K", group="net")
def a_peer_breaks_off(lab: Lab) -> Truth:
    """A reset in the middle of an answer."""
    size = 2000 * (1 + lab.variant)
    body = (
        f"c.recv(65536)\nc.sendall(b'x' * {size})\ntime.sleep(0.3)\nimport struct\n"
        "c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\nc.close()"
    )
    port = server(lab, body)
    code = (
        f'import socket\nsay("client")\nc = socket.create_connection(("127.0.0.1", {port}))\n'
        'c.sendall(b"GET /x")\ngot = b""\nwhile len(got) < 100000:\n    d = c.recv(4096)\n'
        "    if not d: break\n    got += d\nsys.exit(0 if len(got) == 100000 else 1)\n"
    )
    lab.run(lab.wrapped(lab.python(code)))
    return Truth(
        "net.reset_short",
        {"address": f"127.0.0.1:{port}"},
        rivals=("net.idle_drop", "mem.child_oom"),
    )


@scene("-", "B", "K", group="net")
def an_idle_connection_is_dropped(lab: Lab) -> Truth:
    """What is between forgets the connection while it is idle:
    later packets go nowhere, or come back as a reset."""
    far = lab.namespace()
    body = ECHO
    port = server(lab, body, host="10.77.0.2", port=5555, namespace=far)
    idle = 7 + lab.variant
    code = f"""
import socket
say("client")
c = socket.create_connection(("10.77.0.2", {port}))
c.sendall(b"hello")
c.recv(10)
say("idle")
time.sleep({idle})
c.settimeout(8)
try:
    c.sendall(b"query")
    c.recv(10)
except OSError as e:
    print(e)
    sys.exit(1)
"""

    def during() -> None:
        lab.wait("idle")
        time.sleep(2)
        act = ["-j", "REJECT", "--reject-with", "tcp-reset"] if lab.variant == 1 else ["-j", "DROP"]
        rule = ["-A", "INPUT", "-p", "tcp", "--dport", str(port), *act]
        subprocess.run(["ip", "netns", "exec", far, "iptables-legacy", *rule], check=True)

    lab.run(lab.wrapped(lab.python(code)), during)
    return Truth(
        "net.idle_drop",
        {"address": f"10.77.0.2:{port}"},
        rivals=("net.silent_peer", "net.reset_short"),
    )


@scene("-", "C", "P", group="net")
def large_packets_vanish(lab: Lab) -> Truth:
    far = lab.namespace()
    port = server(lab, ECHO, host="10.77.0.2", port=5556, namespace=far)
    rule = [
        "iptables-legacy",
        "-A",
        "INPUT",
        "-p",
        "tcp",
        "--dport",
        str(port),
        "-m",
        "length",
        "--length",
        "600:65535",
        "-j",
        "DROP",
    ]
    done = subprocess.run(["ip", "netns", "exec", far, *rule], check=False, capture_output=True)
    if done.returncode:
        raise UnavailableError("no length match in iptables")
    code = f"""
import socket
say("client")
c = socket.create_connection(("10.77.0.2", {port}))
c.settimeout({6 + lab.variant})
c.sendall(b"hello")
c.recv(10)
try:
    c.sendall(b"x" * {20000 * (1 + lab.variant)})
    c.recv(10)
except OSError as e:
    print(e)
    sys.exit(1)
"""
    lab.run(lab.wrapped(lab.python(code)))
    return Truth(
        "net.mtu", {"address": f"10.77.0.2:{port}"}, rivals=("net.silent_peer", "net.blackhole")
    )
