"""Peers that refuse, break off, do not answer; ports that are taken."""

from __future__ import annotations

import subprocess

from tests.incidents.generated.bench import OK, Bench, not_here
from tests.incidents.generated.faults.base import both, failed, fault, logged
from tests.incidents.generated.model import Plan
from tests.incidents.results import Truth

_TCP = ("python", "c", "java", "perl", "node", "go", "bash")


@fault("K", languages=_TCP, weight=2)
def nobody_listens(b: Bench) -> Plan:
    port = b.port() if b.sick else b.server(OK)
    truth = Truth(
        "net.backlog_refused", {"address": f"127.0.0.1:{port}"}, rivals=("net.blackhole",)
    )
    step = b.step("victim", [f"ask {port} 3000"])
    return Plan(
        stages=b.one(step), truth=truth, happened=both(logged("[Rr]efused|ECONNREFUSED"), failed)
    )


@fault("K", languages=_TCP, weight=2)
def no_answer(b: Bench) -> Plan:
    """The peer has the request and is silent until the client's limit."""
    limit = b.draw.choice((1500, 2500, 4000))
    port = b.server("c.recv(64); time.sleep(300)" if b.sick else OK)
    truth = Truth(
        "net.silent_peer",
        {"address": f"127.0.0.1:{port}"},
        rivals=("net.blackhole", "net.idle_drop"),
    )
    return Plan(
        stages=b.one(b.step("victim", [f"ask {port} {limit}"])), truth=truth, happened=failed
    )


@fault("K", languages=_TCP, weight=2)
def peer_breaks_off(b: Bench) -> Plan:
    """An RST instead of an answer."""
    reset = (
        "import struct; c.recv(64); time.sleep(0.1); c.setsockopt(socket.SOL_SOCKET, "
        "socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()"
    )
    port = b.server(reset if b.sick else OK)
    truth = Truth(
        "net.reset_short",
        {"address": f"127.0.0.1:{port}"},
        rivals=("net.idle_drop", "net.backlog_refused"),
    )
    return Plan(stages=b.one(b.step("victim", [f"ask {port} 5000"])), truth=truth, happened=failed)


@fault("K", languages=("python", "c", "java", "perl", "node", "go"))
def port_is_taken(b: Bench) -> Plan:
    port = b.port()
    other = port if b.sick else b.port()
    b.stranger(
        f"s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        f"s.bind(('127.0.0.1', {other})); s.listen(); print('ready', flush=True); time.sleep(300)"
    )
    truth = Truth(
        "net.port_in_use",
        {"pid": "stranger", "address": f"127.0.0.1:{port}"},
        rivals=("net.backlog_refused",),
    )
    step = b.step("victim", [f"listen {port}"])
    return Plan(
        stages=b.one(step), truth=truth, happened=both(logged("in use|EADDRINUSE|Already"), failed)
    )


@fault("K", languages=("python", "java", "go", "node"))
def packets_are_dropped(b: Bench) -> Plan:
    """A firewall rule drops what goes to the port: SYNs get no answer."""
    near = b.network()
    port = b.server(OK, inside=near)
    if b.sick:
        rule = ["iptables-legacy", "-A", "INPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP"]
        done = subprocess.run([*near, *rule], capture_output=True, check=False)
        not_here(done.returncode != 0, "iptables-legacy does not work")
    truth = Truth(
        "net.blackhole",
        {"address": f"127.0.0.1:{port}"},
        rivals=("net.backlog_refused", "net.silent_peer"),
    )
    limit = b.draw.choice((2500, 4500))
    return Plan(
        stages=b.one(b.step("victim", [f"ask {port} {limit}"])),
        truth=truth,
        happened=failed,
        inside=near,
    )
