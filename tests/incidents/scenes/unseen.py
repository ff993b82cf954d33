"""Other languages, other ways: written when the rules stood, to see how they do on what they were
not made on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from receiver.units import MIB
from tests.incidents.lab import Lab
from tests.incidents.machine import join
from tests.incidents.results import Truth
from tests.incidents.scene import scene
from tests.incidents.scenes.servers import server


@scene("I01", "A", "K", variants=2, group="unseen")
def node_outgrows_its_cgroup(lab: Lab) -> Truth:
    group = lab.cgroup("memory", memory_limit_in_bytes=(120 + 80 * lab.variant) * MIB)
    (lab.folder / "app.js").write_text(
        "const fs = require('fs');\n"
        f"fs.writeFileSync('{group}/cgroup.procs', String(process.pid));\n"
        "fs.writeSync(1, `@victim ${process.pid}\\n`);\nconst held = [];\n"
        "setInterval(() => { for (let i = 0; i < 4; i++) held.push(Buffer.alloc(1 << 20, 7)); "
        "}, 20);\n"
    )
    lab.run(lab.wrapped(["node", str(lab.folder / "app.js")]))
    return Truth("mem.cgroup_oom", {"pid": "victim"}, rivals=("kill.supervisor",))


@scene("I01", "A", "K", variants=2, group="unseen")
def a_jvm_whose_heap_is_larger_than_its_cgroup(lab: Lab) -> Truth:
    group = lab.cgroup("memory", memory_limit_in_bytes=(200 + 60 * lab.variant) * MIB)
    (lab.folder / "Job.java").write_text(
        "import java.util.*;\npublic class Job { public static void main(String[] a) throws "
        "Exception {\n"
        'System.out.println("@victim " + ProcessHandle.current().pid());\n'
        "List<byte[]> l = new ArrayList<>();\n"
        "while (true) { byte[] b = new byte[1 << 20]; Arrays.fill(b, (byte) 1); l.add(b); "
        "Thread.sleep(10); } } }\n"
    )
    subprocess.run(["javac", "-d", str(lab.folder), str(lab.folder / "Job.java")], check=True)
    lab.run(lab.shell(f"echo $$ > {group}/cgroup.procs\njava -Xmx1g -cp {lab.folder} Job\n"))
    return Truth("mem.cgroup_oom", {"pid": "victim"}, rivals=("kill.supervisor", "mem.app_heap"))


@scene("-", "A", "K", variants=2, group="unseen")
def perl_is_killed_from_outside(lab: Lab) -> Truth:
    (lab.folder / "load.pl").write_text(
        '$| = 1; print "\\@worker $$\\n"; while (1) { $x += $_ for 1..20000; '
        "select(undef, undef, undef, 0.01) }\n"
    )

    def during() -> None:
        pid = lab.wait("worker")
        time.sleep(1.4)
        child = lab.outside(["bash", "-c", f"kill -{(9, 2)[lab.variant]} {pid}; sleep 1"])
        lab.pids["sender"] = child.pid

    lab.run(lab.wrapped(["perl", str(lab.folder / "load.pl")]), during)
    return Truth("kill.supervisor", {"pid": "sender"}, rivals=("mem.cgroup_oom",))


@scene("I10", "A", "K", variants=2, group="unseen")
def a_shell_writes_and_awk_reads(lab: Lab) -> Truth:
    out = lab.folder / "report.tsv"
    writer = lab.folder / "gen.sh"
    writer.write_text(
        f'echo @writer $$\nexec > {out}\nfor i in $(seq 1 200000); do echo "$i a b"; done\n'
    )
    lab.run(
        lab.shell(f"bash {writer} &\nW=$!\nwait $W\nawk 'END {{ exit NR < 200000 }}' {out}\n"),
        lambda: lab.send("writer", (signal.SIGTERM, signal.SIGKILL)[lab.variant], after=0.3),
    )
    return Truth("fs.truncated", {"path": str(out)}, rivals=("fs.read_early",))


@scene("I13", "A", "K", variants=2, group="unseen")
def dd_fills_a_disk_and_sort_fails(lab: Lab) -> Truth:
    place = lab.mount("ext4" if lab.variant else "tmpfs", size="24m")
    lab.run(
        lab.shell(
            f"set -e\nseq 1 900000 > all.txt\ndd if=/dev/zero of={place}/old.bin bs=1M count=19 2> "
            "/dev/null & D=$!\necho @filler $D\nwait $D\n"
            f"sort -r all.txt > {place}/sorted.txt\necho done\n"
        )
    )
    return Truth(
        "fs.enospc",
        {"pid": "filler", "path": str(place / "sorted.txt")},
        rivals=("fs.inodes_quota",),
    )


@scene("I49", "C", "K", variants=2, group="unseen")
def node_is_refused(lab: Lab) -> Truth:
    port = 37700 + lab.variant
    (lab.folder / "app.js").write_text(
        "const net = require('net');\nlet n = 0;\n"
        f"function go() {{ const s = net.connect({port}, '127.0.0.1');\n"
        "s.on('error', e => { console.error(e.code); if (++n > 3) process.exit(2); "
        "setTimeout(go, 300); }); }\ngo();\n"
    )
    lab.run(lab.wrapped(["node", str(lab.folder / "app.js")]))
    return Truth("net.backlog_refused", {"address": f"127.0.0.1:{port}"}, rivals=("net.blackhole",))


@scene("I35", "B", "K", variants=2, group="unseen")
def java_waits_for_an_answer(lab: Lab) -> Truth:
    port = server(lab, "c.recv(65536)\ntime.sleep(60)")
    (lab.folder / "Get.java").write_text(
        "import java.net.*;\npublic class Get { public static void main(String[] a) throws "
        "Exception {\n"
        "HttpURLConnection c = (HttpURLConnection) new "
        f'URL("http://127.0.0.1:{port}/x").openConnection();\n'
        f"c.setReadTimeout({6000 + 2000 * lab.variant}); c.getInputStream().read(); }} }}\n"
    )
    subprocess.run(
        ["javac", "-d", str(lab.folder), str(lab.folder / "Get.java")],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    lab.run(lab.wrapped(["java", "-cp", str(lab.folder), "Get"]))
    return Truth("net.silent_peer", {"address": f"127.0.0.1:{port}"}, rivals=("net.blackhole",))


@scene("I23", "B", "K", variants=2, group="unseen")
def an_assertion_in_c_fails(lab: Lab) -> Truth:
    fault = ("assert(getpid() < 0);", "volatile int *p = 0; *p = 1;")[lab.variant]
    (lab.folder / "x.c").write_text(
        "#include <assert.h>\n#include <stdio.h>\n#include <unistd.h>\n"
        'int main() { printf("@victim %d\\n", getpid()); fflush(stdout); '
        f"usleep(300000); {fault} return 0; }}\n"
    )
    subprocess.run(["gcc", "-o", str(lab.folder / "tool"), str(lab.folder / "x.c")], check=True)
    lab.run(lab.shell(f"set -e\n{lab.folder}/tool\n"))
    return Truth(
        ("crash.abort_ill", "crash.segv")[lab.variant],
        {"pid": "victim"},
        rivals=("kill.supervisor",),
    )


@scene("I18", "B", "K", variants=2, group="unseen")
def sqlite_is_locked(lab: Lab) -> Truth:
    path = lab.folder / "meta.db"
    hold = lab.script(
        (
            f'import sqlite3\nsay("holder")\nc = sqlite3.connect({str(path)!r}, '
            'isolation_level=None)\nc.execute("create table if not exists t (a)")\n'
            'c.execute("begin exclusive")\ntime.sleep(8)\n'
        ),
        "browser",
    )
    use = lab.script(
        (
            f'import sqlite3\nsay("victim")\nc = sqlite3.connect({str(path)!r}, '
            f'timeout={1 + lab.variant})\nc.execute("insert into t values (1)")\n'
        ),
        "job",
    )
    lab.run(
        lab.shell(
            f"{sys.executable} -S {hold} & H=$!\nsleep 1\n{sys.executable} -S {use}\nS=$?\n"
            "kill $H\nexit $S\n"
        )
    )
    return Truth("fs.lock", {"pid": "holder"}, rivals=("fs.eacces",))


@scene("-", "A", "K", variants=2, group="unseen")
def a_sleeper_meets_its_limit(lab: Lab) -> Truth:
    step = lab.script('say("worker")\ntime.sleep(60)\n', "poll")
    lab.run(lab.shell(f"timeout {('', '-s KILL ')[lab.variant]}8 {sys.executable} -S {step}\n"))
    return Truth(
        "kill.timeout_orphan", {"name": "timeout", "pid": "worker"}, rivals=("kill.supervisor",)
    )


@scene("I12", "A", "K", variants=2, group="unseen")
def a_python_driver_ignores_a_status(lab: Lab) -> Truth:
    step = lab.script(
        (
            'say("child")\ntime.sleep(0.5)\nopen("part.csv", "w").write("1\\n")\n'
            'raise RuntimeError("bad row")\n'
        ),
        "step",
    )
    how = ("subprocess.call", "subprocess.run")[lab.variant]
    lab.run(
        lab.python(
            f'import subprocess\nsay("parent")\n{how}([sys.executable, "-S", {step!r}])\n'
            'print("all done")\n'
        )
    )
    return Truth("proc.exit_masked", {"pid": "parent"}, rivals=("kill.swallowed",))


@scene("-", "A", "K", variants=2, group="unseen")
def make_lacks_a_program(lab: Lab) -> Truth:
    tool = ("pandoc-missing", "./convert")[lab.variant]
    if lab.variant:
        (lab.folder / "convert").write_text("#!/usr/bin/python2.6\nprint 1\n")
        (lab.folder / "convert").chmod(0o755)
    (lab.folder / "Makefile").write_text(f"all:\n\t@echo begin\n\t{tool} in.md -o out.html\n")
    lab.run(["make", "-C", str(lab.folder)])
    return Truth("proc.interpreter", {"path": tool, "any_pid": True}, rivals=("fs.eacces",))


@scene("-", "B", "K", variants=2, group="unseen")
def an_upload_is_read_while_it_grows(lab: Lab) -> Truth:
    out = lab.folder / "upload.json"
    grow = lab.folder / "grow.sh"
    grow.write_text(
        f"exec > {out}\nfor i in $(seq 1 40); do head -c 40000 /dev/zero | tr '\\0' x; sleep 0.1; "
        "done\n"
    )
    lab.run(
        lab.shell(
            f"bash {grow} &\nsleep {1 + lab.variant}\ntest $(wc -c < {out}) -eq 1600000\nS=$?\n"
            "wait\nexit $S\n"
        )
    )
    return Truth("fs.read_early", {"path": str(out)}, rivals=("fs.truncated",))


@scene("I03", "A", "K", variants=2, group="unseen")
def a_process_pool_breaks(lab: Lab) -> Truth:
    """concurrent.futures: BrokenProcessPool, and exit status 1."""
    group = lab.cgroup("memory", memory_limit_in_bytes=(160 + 60 * lab.variant) * MIB)
    code = """
import concurrent.futures, multiprocessing
def work(n):
    if n == 3:
        say("worker")
        open("/proc/self/oom_score_adj", "w").write("900")
        held = [bytearray(b"x" * (1 << 20)) for _ in range(4000)]
    return n
if __name__ == "__main__":
    forks = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=forks) as pool:
        print(list(pool.map(work, range(8))))
"""
    lab.run([sys.executable, lab.script(join(group) + code)])
    return Truth(
        "mem.child_oom",
        {"pid": "worker"},
        rivals=("kill.supervisor",),
        also_right=("mem.cgroup_oom",),
    )


@scene("I55", "-", "N", variants=2, group="unseen")
def node_throws(lab: Lab) -> Truth:
    (lab.folder / "app.js").write_text(
        "setTimeout(() => { throw new Error('schema drift: column age'); }, 300);\n"
    )
    lab.run(lab.wrapped(["node", str(lab.folder / "app.js")]))
    return Truth("none.not_visible", verdict="not_visible")


@scene("I54", "-", "K", variants=2, group="unseen")
def java_is_well(lab: Lab) -> Truth:
    (lab.folder / "Ok.java").write_text(
        "import java.util.stream.*;\npublic class Ok { public static void main(String[] a) throws "
        "Exception {\n"
        "System.out.println(IntStream.range(0, 2000000).parallel().mapToLong(i -> i * 3L).sum()); "
        "Thread.sleep(500); } }\n"
    )
    subprocess.run(["javac", "-d", str(lab.folder), str(lab.folder / "Ok.java")], check=True)
    lab.run(lab.wrapped(["java", "-cp", str(lab.folder), "Ok"]))
    return Truth("none.healthy", verdict="healthy")
