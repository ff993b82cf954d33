"""What looks alike and is none; and what cannot be seen from here."""

from __future__ import annotations

import sys

from receiver.units import MIB
from tests.incidents.lab import Lab
from tests.incidents.machine import join
from tests.incidents.results import Truth
from tests.incidents.scene import scene

_SHELLS = (
    "set -euo pipefail\nseq 1 20000 | sort -n | tail -n 3 > out.txt\nwc -l out.txt\n",
    (
        "for f in a b c; do echo $f > $f.csv; done\ngrep -q zzz a.csv || echo none\n"
        "cat *.csv > all.csv\n"
    ),
    (
        "mkdir -p out\nfind / -maxdepth 1 > out/list 2>/dev/null\n"
        "test -s out/list && gzip -f out/list\n"
    ),
    "sleep 0.3 & sleep 0.2 & wait\necho 1 | awk '{print $1 * 2}'\nfalse || true\n",
    (
        "printf '3\\n1\\n2\\n' > in.txt\nsort in.txt > out.tmp && mv out.tmp out.txt\n"
        "diff in.txt out.txt > /dev/null || echo differs\n"
    ),
    (
        "x=$(git rev-parse HEAD 2>/dev/null || echo none)\necho $x > version\n"
        "head -c 100 /dev/zero | wc -c\n"
    ),
)
_PYTHON = (
    (
        "import json\nrows = [{'a': n} for n in range(5000)]\n"
        "json.dump(rows, open('rows.json', 'w'))\nprint(len(json.load(open('rows.json'))))\n"
    ),
    (
        "import sqlite3\nc = sqlite3.connect('x.db')\n"
        "c.execute('create table if not exists t (a)')\n"
        "c.executemany('insert into t values (?)', [(n,) for n in range(2000)])\nc.commit()\n"
    ),
    (
        "import multiprocessing\ndef f(n):\n    return sum(range(n * 1000))\n"
        "if __name__ == '__main__':\n    with multiprocessing.get_context('fork').Pool(3) as p:\n"
        "        print(sum(p.map(f, range(60))))\n"
    ),
    (
        "import subprocess\nfor n in range(4):\n    subprocess.run(['true'], check=True)\n"
        "print(subprocess.run(['grep', 'zz', '/etc/hostname']).returncode)\n"
    ),
    (
        "import csv, os\nwith open('a.tmp', 'w') as f:\n    w = csv.writer(f)\n"
        "    [w.writerow([n, n * 2]) for n in range(3000)]\nos.rename('a.tmp', 'a.csv')\n"
        "print(sum(int(r[1]) for r in csv.reader(open('a.csv'))))\n"
    ),
    (
        "import socket, threading\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "def serve():\n    c, _ = s.accept(); c.sendall(c.recv(100)); c.close()\n"
        "threading.Thread(target=serve).start()\n"
        "c = socket.create_connection(s.getsockname()); c.sendall(b'hello'); print(c.recv(100))\n"
    ),
    (
        "import subprocess\np = subprocess.Popen(['sleep', '30'])\ntime.sleep(0.4)\n"
        "p.terminate(); p.wait()\nprint('stopped the helper')\n"
    ),
    (
        "import threading, queue\nq = queue.Queue()\n"
        "[threading.Thread(target=lambda: [q.put(sum(range(20000))) for _ in range(20)]).start() "
        "for _ in range(4)]\nprint(sum(q.get() > 0 for _ in range(80)))\n"
    ),
)


@scene("I54", "-", "K", variants=92, group="healthy")
def a_shell_script(lab: Lab) -> Truth:
    lab.run(lab.shell(_SHELLS[lab.variant % len(_SHELLS)]))
    return Truth("none.healthy", verdict="healthy")


@scene("I54", "-", "K", variants=86, group="healthy")
def a_python_program(lab: Lab) -> Truth:
    code = _PYTHON[lab.variant % len(_PYTHON)]
    lab.run(
        [sys.executable, lab.script(code)]
        if lab.variant % 2
        else lab.wrapped([sys.executable, lab.script(code)])
    )
    return Truth("none.healthy", verdict="healthy")


@scene("I46", "C", "K", variants=4, group="healthy")
def page_cache_at_the_limit(lab: Lab) -> Truth:
    group = lab.cgroup("memory", memory_limit_in_bytes=(64 + 32 * lab.variant) * MIB)
    code = (
        f'with open("big", "wb") as f:\n    for _ in range({200 + 100 * lab.variant}):\n'
        '        f.write(b"x" * (1 << 20))\n        time.sleep(0.005)\nos.unlink("big")\n'
    )
    lab.run(lab.wrapped(lab.python(join(group) + code)))
    return Truth("none.healthy", verdict="healthy")


@scene("I54", "-", "K", variants=3, group="healthy")
def memory_that_fits(lab: Lab) -> Truth:
    """Grows as the OOM's twin does, and is done below the limit."""
    group = lab.cgroup("memory", memory_limit_in_bytes=(200 + 50 * lab.variant) * MIB)
    code = (
        "held = []\nfor _ in range(100):\n    held.append(bytearray(b'x' * (1 << 20)))\n"
        "    time.sleep(0.03)\nprint(len(held))\n"
    )
    lab.run(lab.wrapped(lab.python(join(group) + code)))
    return Truth("none.healthy", verdict="healthy")


def _asks(lab: Lab, seconds: int) -> Truth:
    """A request, and an answer after so many seconds without a byte."""
    from tests.incidents.scenes.servers import server

    port = server(lab, f"c.recv(100)\ntime.sleep({seconds})\nc.sendall(b'rows')\ntime.sleep(0.2)")
    code = (
        f'import socket\nc = socket.create_connection(("127.0.0.1", {port}))\n'
        'c.sendall(b"select")\nprint(c.recv(10))\n'
    )
    lab.run(lab.wrapped(lab.python(code)))
    return Truth("none.healthy", verdict="healthy")


@scene("I54", "-", "K", variants=3, group="healthy")
def a_slow_server_that_answers(lab: Lab) -> Truth:
    return _asks(lab, 1 + lab.variant)


@scene("I54", "-", "K", variants=2, group="healthy")
def a_query_that_takes_its_time(lab: Lab) -> Truth:
    """As warehouses answer: it is there in the end, and all is well."""
    return _asks(lab, 14 + 22 * lab.variant)


@scene("I54", "-", "K", variants=3, group="healthy")
def a_server_that_comes_up_late(lab: Lab) -> Truth:
    """Refused at first, then let in."""
    code = """
import socket, subprocess
port = int(sys.argv[1])
late = (
    "import socket, time; time.sleep(1); s = socket.socket(); "
    f"s.bind(('127.0.0.1', {port})); s.listen(); c, _ = s.accept(); c.sendall(b'hi'); "
    "time.sleep(.2)"
)
subprocess.Popen([sys.executable, "-S", "-c", late])
for _ in range(40):
    try:
        c = socket.create_connection(("127.0.0.1", port)); break
    except OSError:
        time.sleep(0.2)
print(c.recv(10))
"""
    lab.run(lab.wrapped(lab.python(code, str(38000 + lab.variant))))
    return Truth("none.healthy", verdict="healthy")


@scene("I55", "-", "N", variants=6, group="not_visible")
def wrong_data_in_a_whole_file(lab: Lab) -> Truth:
    writer = lab.script(
        (
            'f = open("rows.csv", "w")\nfor n in range(2000):\n'
            '    f.write(f"{n},{"" if n % 7 == 0 else n}\\n")\nf.close()\n'
        ).replace('{"" if n % 7 == 0 else n}', "{'' if n % 7 == 0 else n}"),
        "extract",
    )
    reader = lab.script(
        (
            'rows = [r.split(",") for r in open("rows.csv").read().splitlines()]\n'
            'nulls = sum(not r[1] for r in rows)\nprint(nulls, "nulls")\ntime.sleep(0.2)\n'
            "sys.exit(1 if nulls else 0)\n"
        ),
        "validate",
    )
    join_by = ("set -e\n", "set -euo pipefail\n")[lab.variant % 2]
    lab.run(
        lab.shell(
            f"{join_by}{sys.executable} -S {writer}\nsleep 0.{lab.variant + 1}\n"
            f"{sys.executable} -S {reader}\n"
        )
    )
    return Truth("none.not_visible", verdict="not_visible")


@scene("I55", "-", "N", variants=6, group="not_visible")
def an_error_of_logic(lab: Lab) -> Truth:
    code = (
        'raise KeyError("user_id")\n',
        "print(1 / 0)\n",
        'import json\njson.loads("{")\n',
        "assert 1 == 2\n",
        "sys.exit(4)\n",
        'int("x")\n',
    )[lab.variant]
    lab.run(lab.wrapped(lab.python("time.sleep(0.4)\n" + code)))
    return Truth("none.not_visible", verdict="not_visible")


@scene("I55", "-", "N", variants=3, group="not_visible")
def a_server_says_503(lab: Lab) -> Truth:
    from tests.incidents.scenes.servers import server

    port = server(
        lab,
        (
            "c.recv(1000)\n"
            "c.sendall(b'HTTP/1.1 503 Slow Down\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
            "time.sleep(1)"
        ),
    )
    code = f"""
import socket
for attempt in range({2 + lab.variant}):
    c = socket.create_connection(("127.0.0.1", {port}))
    c.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n"); d = c.recv(1000); c.close()
    time.sleep(0.3)
print(d)
time.sleep(1.2)
sys.exit(1)
"""
    lab.run(lab.wrapped(lab.python(code)))
    return Truth("none.not_visible", verdict="not_visible")
