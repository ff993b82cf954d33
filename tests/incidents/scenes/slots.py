"""What many need and one holds: slots, credentials, a row of a database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.incidents.lab import Lab
from tests.incidents.machine import UnavailableError, run
from tests.incidents.results import Truth
from tests.incidents.scene import scene
from tests.incidents.scenes.servers import server

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


def _database(lab: Lab) -> str:
    """A PostgreSQL outside of what is observed, with a table; gives how to reach it."""
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
    initdb = str(binaries[-1] / "initdb")
    run(*base, initdb, "-A", "trust", "-U", "postgres", "-D", str(home))
    with (home / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 trust\n")
    lab.namespace()
    options = f"-c listen_addresses=10.77.0.2 -c unix_socket_directories={home} -c fsync=off"
    lab.outside(
        [*base, str(binaries[-1] / "postgres"), "-D", str(home), *options.split()],
        namespace=lab.far,
    )
    dsn = f"host=10.77.0.2 port={port} user=postgres dbname=postgres"
    table = "create table if not exists t (a int); insert into t values (1)"
    ask = ["ip", "netns", "exec", lab.near, "psql", dsn, "-qc", table]
    for _ in range(100):
        if subprocess.run(ask, capture_output=True, check=False).returncode == 0:
            break
        time.sleep(0.1)
    return dsn


@scene("-", "B", "P", group="net")
def a_database_waits_for_a_lock(lab: Lab) -> Truth:
    """PostgreSQL, for real: one client holds a row in an open transaction, another waits for it."""
    dsn = _database(lab)
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
