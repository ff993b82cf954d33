"""Name servers, pools, tokens, idle connections and databases."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.incidents.generated.bench import Bench, not_here
from tests.incidents.generated.faults.base import both, failed, fault, logged, noted, started, tool
from tests.incidents.generated.model import Plan, Stage
from tests.incidents.results import Truth

_ANSWERS = {
    "silent": "continue",
    "failure": "s.sendto(q[:2] + b'\\x81\\x82' + q[4:], a)",
    # one address for A, none for AAAA
    "good": (
        "name = q[12:q.index(b'\\0', 12) + 5]; plain = name[-4:-2] == b'\\0\\x01'\n"
        "    more = b'\\xc0\\x0c\\0\\x01\\0\\x01\\0\\0\\0\\x3c\\0\\x04\\x7f\\0\\0\\x01' if plain "
        "else b''\n"
        "    s.sendto(q[:2] + b'\\x81\\x80\\0\\x01' + bytes([0, len(more) > 0]) + bytes(4) + name "
        "+ more, a)"
    ),
}


@fault("K")
def name_is_not_resolved(b: Bench) -> Plan:
    """Its name server is silent, or answers with a failure."""
    near, settings = b.network(), b.folder / "conf" / "resolv.conf"
    settings.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
    own = ("unshare", "--mount", "sh", "-c", f'mount --bind {settings} /etc/resolv.conf; exec "$@"')
    kind = b.draw.choice(("silent", "failure"))
    b.stranger(
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 53))\n"
        "print('ready', flush=True)\nwhile True:\n    q, a = s.recvfrom(2000)\n"
        f"    {_ANSWERS[kind if b.sick else 'good']}",
        inside=near,
    )
    name = b.draw.choice(("warehouse.internal", "bucket.example", "db.prod.example"))
    code = f"print(socket.getaddrinfo({name!r}, 443)[0][4])"
    truth = Truth("net.dns", {"address": "127.0.0.1:53"}, rivals=("net.blackhole",))
    return Plan(
        stages=started(b, tool(b, "victim", code)),
        truth=truth,
        happened=both(logged("gaierror"), failed),
        inside=(*near, *own, "sh"),
    )


_POOL = """import queue, threading
port, size, patience = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
pool, late = queue.Queue(), []
for _ in range(size): pool.put(None)
def call():
    try: slot = pool.get(timeout=patience)
    except queue.Empty: late.append(1); return
    c = socket.create_connection(("127.0.0.1", port)); c.sendall(b"get"); c.recv(64); c.close()
    pool.put(slot)
threads = [threading.Thread(target=call) for _ in range(2 * size + 1)]
for t in threads: t.start()
for t in threads: t.join()
if late: sys.exit("no connection was free")"""


@fault("P")
def pool_is_used_up(b: Bench) -> Plan:
    """All connections of a pool wait for slow answers. A further user gives up."""
    size, patience = b.draw.choice((2, 3, 5)), b.draw.choice((3, 4))
    hold = patience + b.draw.choice((2, 3)) if b.sick else 0.05
    port = b.server(f"c.recv(64); time.sleep({hold}); c.sendall(b'ok\\n'); c.close()")
    words = tool(b, "victim", _POOL, str(port), str(size), str(patience))
    truth = Truth("net.pool", {"address": f"127.0.0.1:{port}"}, rivals=("net.silent_peer",))
    return Plan(
        stages=started(b, words), truth=truth, happened=both(logged("no connection"), failed)
    )


_SLOTS = """global held
        held = globals().get('held', 0) + 1
        if held > {slots}: c.recv(64); c.sendall(b'FATAL: too many clients'); c.close()
        else:
            while c.recv(64): c.sendall(b'ok\\n')
        held -= 1"""


@fault("P", languages=("python", "bash", "c", "java", "perl", "node", "go"), at_least_ms=400)
def server_has_no_slot(b: Bench) -> Plan:
    """A server turns away who comes when all its slots are taken, by other steps of the run."""
    slots = b.draw.choice((2, 3, 4))
    port = b.server(_SLOTS.format(slots=slots if b.sick else 50))
    code = (
        f"c = socket.create_connection(('127.0.0.1', {port}))\n"
        "for _ in range(70): c.sendall(b'query'); c.recv(64); time.sleep(0.1)"
    )
    users = [b.ordinary([f"run {tool(b, f'user{n}', code)}"], ms=20) for n in range(slots)]
    step = b.step("victim", ["idle 3000", f"ask {port} 4000"], work=0.2)
    truth = Truth("net.pool", {"address": f"127.0.0.1:{port}"}, rivals=("net.silent_peer",))
    return Plan(
        stages=b.stages(Stage((*users, step))),
        truth=truth,
        happened=both(logged("FATAL|results|status|exited|failed|code"), failed),
    )


_TOKEN = """import threading
lock, late = threading.Lock(), []
data = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
data.sendall(b"get"); data.recv(64)
fresh = []
def renew():
    with lock:
        if fresh: return
        open(sys.argv[3]).read()
        c = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
        c.sendall(b"post"); c.recv(64); c.close(); fresh.append(1)
def read():
    began = time.time(); renew()
    if time.time() - began > 4: late.append(1)
    with lock: data.sendall(b"get"); data.recv(64)
threads = [threading.Thread(target=read) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
if late: sys.exit("too late")"""


@fault("P")
def token_comes_late(b: Bench) -> Plan:
    """One thread renews the token and holds a lock meanwhile; all others wait for it."""
    data = b.server("while c.recv(64): c.sendall(b'ok')")
    wait = b.draw.choice((6, 8)) if b.sick else 0.1
    tokens = b.server(f"c.recv(64); time.sleep({wait}); c.sendall(b'ok'); c.close()")
    path = b.folder / b.draw.choice(("web-identity-token", ".aws/credentials", "account/token"))
    path.parent.mkdir(exist_ok=True)
    path.write_text("abc")
    words = tool(b, "victim", _TOKEN, str(data), str(tokens), str(path))
    truth = Truth(
        "net.credential", {"address": f"127.0.0.1:{tokens}"}, rivals=("net.pool", "net.silent_peer")
    )
    return Plan(stages=started(b, words), truth=truth, happened=both(logged("too late"), failed))


@fault("K")
def idle_connection_is_cut(b: Bench) -> Plan:
    """Something between forgets it while it is idle: later packets vanish, or are reset."""
    near = b.network()
    port = b.server("while c.recv(64): c.sendall(b'ok')", inside=near)
    idle, way = b.draw.choice((7, 9)), b.draw.choice(("DROP", "REJECT"))
    code = (
        f"c = socket.create_connection(('127.0.0.1', {port}), 6)\nc.sendall(b'get'); c.recv(64)\n"
        f"time.sleep({idle})\nc.sendall(b'get'); c.recv(64)"
    )
    truth = Truth(
        "net.idle_drop",
        {"address": f"127.0.0.1:{port}"},
        rivals=("net.silent_peer", "net.reset_short"),
    )
    plan = Plan(
        stages=started(b, tool(b, "victim", code)),
        truth=truth,
        happened=both(noted("cut"), failed),
        inside=near,
    )

    def during() -> None:
        b.lab.wait("victim")
        time.sleep(3)
        more = ["--reject-with", "tcp-reset"] if way == "REJECT" else []
        rule = ["-A", "INPUT", "-p", "tcp", "--dport", str(port), "-j", way, *more]
        subprocess.run([*near, "iptables-legacy", *rule], check=True)
        b.note("cut")

    if b.sick:
        not_here(shutil.which("iptables-legacy") is None, "iptables-legacy is not installed")
        plan.during = during
    return plan


def _database(b: Bench) -> str:
    """A PostgreSQL of its own beside the run's network; its address."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    user = subprocess.run(["id", "-u", "postgres"], capture_output=True, text=True, check=False)
    not_here(not binaries or user.returncode != 0, "PostgreSQL is not installed")
    home = b.folder / "pg"
    b.folder.chmod(0o755)
    home.mkdir()
    os.chown(home, int(user.stdout), -1)
    base = ["setpriv", "--reuid", user.stdout.strip(), "--clear-groups"]
    make = [*base, str(binaries[-1] / "initdb"), "-A", "trust", "-U", "postgres", "-D", str(home)]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (home / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 trust\n")
    b.network()
    settings = f"-c listen_addresses=10.77.0.2 -c unix_socket_directories={home} -c fsync=off"
    server = [*base, str(binaries[-1] / "postgres"), "-D", str(home), *settings.split()]
    b.lab.outside(server, namespace=b.lab.far)
    address = "postgresql://postgres@10.77.0.2:5432/postgres"
    first = ["ip", "netns", "exec", b.lab.near, "psql", address, "-qc"]
    for _ in range(100):
        table = "create table if not exists t (a int); insert into t values (1)"
        if not subprocess.run([*first, table], capture_output=True, check=False).returncode:
            break
        time.sleep(0.1)
    return address


@fault("P", languages=("python", "bash", "c", "java", "perl", "node", "go"))
def row_is_locked(b: Bench) -> Plan:
    """Another step of the run has an open transaction on the row that the step updates."""
    address, patience = _database(b), b.draw.choice((6500, 8000))
    first, second = b.folder / "conf" / "first.sql", b.folder / "conf" / "second.sql"
    wait = patience / 1000 + 3 if b.sick else 0.1
    role = b.pid_file("holder")
    first.write_text(
        f"\\! echo $PPID > {role}\nbegin; update t set a = 2;\n\\! sleep {wait}\ncommit;\n"
    )
    second.write_text(f"set statement_timeout = {patience};\nupdate t set a = 3;\n")
    holder = b.ordinary([f"run psql {address} -qf {first}"], ms=20, language="python")
    language = b.draw.choice(("python", "perl", "c"))
    step = b.step(
        "step",
        ["idle 900", f"run psql {address} -v ON_ERROR_STOP=1 -qf {second}"],
        work=0.1,
        language=language,
    )
    truth = Truth("db.lock_wait", {"pid": "holder"}, rivals=("net.silent_peer",))
    return Plan(
        stages=b.stages(Stage((holder, step))),
        truth=truth,
        happened=both(logged("statement timeout"), failed),
        inside=("nsenter", f"--net=/run/netns/{b.lab.near}"),
    )
