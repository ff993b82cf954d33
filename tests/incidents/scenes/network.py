"""Peers, names, slots and ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.incidents.lab import Lab, Truth, UnavailableError, run, scene, stop

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
        subprocess.run(
            [
                "ip",
                "netns",
                "exec",
                far,
                "iptables-legacy",
                "-A",
                "INPUT",
                "-p",
                "tcp",
                "--dport",
                str(port),
                *act,
            ],
            check=True,
        )

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


POOL = """
import socket, threading, queue
say("client")
pool = queue.Queue()
for _ in range(int(sys.argv[2])):
    pool.put(None)
failed = []
def call(n, patience):
    try:
        slot = pool.get(timeout=patience)
    except queue.Empty:
        print("Timeout waiting for connection from pool"); failed.append(n); return
    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    c.sendall(b"GET")
    c.recv(100)
    c.close()
    pool.put(slot)
limit, count = float(sys.argv[3]), int(sys.argv[2]) * 3
threads = [threading.Thread(target=call, args=(n, limit)) for n in range(count)]
[t.start() for t in threads]
[t.join() for t in threads]
sys.exit(1 if failed else 0)
"""


@scene("I14", "A", "P", group="slots")
def a_pool_is_exhausted(lab: Lab) -> Truth:
    port = server(lab, f"c.recv(100)\ntime.sleep({7 + lab.variant})\nc.sendall(b'ok')")
    lab.run(lab.wrapped(lab.python(POOL, str(port), str(2 + lab.variant), "4")))
    return Truth(
        "net.pool", {"address": f"127.0.0.1:{port}"}, rivals=("net.silent_peer", "net.blackhole")
    )


@scene("I14", "A", "P", group="slots")
def a_server_has_no_slot(lab: Lab) -> Truth:
    """It takes N connections; all above get one line and are closed."""
    slots = 3 + lab.variant
    body = f"""
global held
held = globals().get("held", 0) + 1
if held > {slots}:
    c.sendall(b"FATAL: too many clients already\\n"); c.close(); held -= 1; return
while c.recv(100): c.sendall(b"ok")
"""
    port = server(lab, body)
    code = f"""
import socket
say("user" + sys.argv[1])
c = socket.create_connection(("127.0.0.1", {port}))
c.sendall(b"hello")
d = c.recv(100)
if b"FATAL" in d:
    print(d); sys.exit(1)
for _ in range(40):
    time.sleep(0.1); c.sendall(b"q"); c.recv(100)
"""
    step = lab.script(code, "query")
    lines = "\n".join(f"{sys.executable} -S {step} {n} & P{n}=$!" for n in range(slots))
    lab.run(lab.shell(f"{lines}\nsleep 1\n{sys.executable} -S {step} 99\nS=$?\nwait\nexit $S\n"))
    return Truth(
        "net.pool", {"address": f"127.0.0.1:{port}"}, rivals=("net.silent_peer", "net.blackhole")
    )


CREDENTIALS = """
import socket, threading
say("client")
lock = threading.Lock()
fresh = [False]
data = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
data.sendall(b"GET /a"); data.recv(100)
def refresh():
    with lock:
        if fresh[0]: return
        token = open(sys.argv[3]).read()
        c = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
        c.sendall(b"POST /?Action=AssumeRoleWithWebIdentity")
        c.recv(100)
        c.close()
        fresh[0] = True
late = []
def read(n):
    began = time.time()
    refresh()
    if time.time() - began > 5: late.append(n)
    with lock:
        data.sendall(b"GET /b"); data.recv(100)
threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
if late:
    print("Read timed out"); sys.exit(int(sys.argv[4]))
"""


@scene("I17", "B", "P", group="slots")
def a_refresh_of_credentials_holds_all(lab: Lab) -> Truth:
    s3 = server(lab, "while c.recv(100): c.sendall(b'ok')")
    sts = server(lab, f"c.recv(100)\ntime.sleep({8 + lab.variant})\nc.sendall(b'ok')")
    token = (
        lab.folder / ("web-identity-token", ".aws/credentials", "serviceaccount/token")[lab.variant]
    )
    token.parent.mkdir(exist_ok=True)
    token.write_text("abc")
    lab.run(
        lab.wrapped(
            lab.python(CREDENTIALS, str(s3), str(sts), str(token), ("0", "1", "1")[lab.variant])
        )
    )
    return Truth(
        "net.credential",
        {"address": f"127.0.0.1:{sts}"},
        rivals=("net.pool", "net.silent_peer"),
        verdict="degraded",
    )


@scene("-", "B", "P", group="net")
def a_database_waits_for_a_lock(lab: Lab) -> Truth:
    """PostgreSQL, for real: one client holds a row in an open transaction, another waits for it."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise UnavailableError("no PostgreSQL here")
    home, port = lab.folder / "pg", 5432
    user = subprocess.run(
        ["id", "-u", "postgres"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not user:
        raise UnavailableError("no user postgres")
    os.chmod(lab.folder, 0o755)
    home.mkdir()
    os.chown(home, int(user), -1)
    base = ["setpriv", "--reuid", user, "--clear-groups"]
    subprocess.run(
        [*base, str(binaries[-1] / "initdb"), "-A", "trust", "-U", "postgres", "-D", str(home)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with (home / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 trust\n")
    lab.namespace()
    options = f"-c listen_addresses=10.77.0.2 -c unix_socket_directories={home} -c fsync=off"
    lab.outside(
        [*base, str(binaries[-1] / "postgres"), "-D", str(home), *options.split()],
        namespace=lab.far,
    )
    dsn = f"host=10.77.0.2 port={port} user=postgres dbname=postgres"
    for _ in range(100):
        if (
            subprocess.run(
                [
                    "ip",
                    "netns",
                    "exec",
                    lab.near,
                    "psql",
                    dsn,
                    "-qc",
                    "create table if not exists t (a int); insert into t values (1)",
                ],
                capture_output=True,
                check=False,
            ).returncode
            == 0
        ):
            break
        time.sleep(0.1)
    (lab.folder / "hold.sql").write_text(
        f"begin; update t set a = 2; \\! sleep {9 + lab.variant}\ncommit;\n"
    )
    patience = 6000 if lab.variant == 1 else 0
    wait = f"set statement_timeout = {patience};" if patience else ""
    lab.run(
        lab.shell(
            f"psql '{dsn}' -qf {lab.folder}/hold.sql & H=$!\necho @holder $H\nsleep 0.8\n"
            f"psql '{dsn}' -v ON_ERROR_STOP=1 -qc \"{wait} update t set a = 3\"\nS=$?\nwait $H\n"
            "exit $S\n"
        )
    )
    return Truth("db.lock_wait", {"pid": "holder"}, rivals=("net.silent_peer",), verdict="degraded")
