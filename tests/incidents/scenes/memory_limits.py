"""Memory that ends without a kill, or that no program holds: a heap, an address space, pages,
a tmpfs."""

from __future__ import annotations

import os
import subprocess

from receiver.units import MIB
from tests.incidents.lab import Lab
from tests.incidents.machine import join
from tests.incidents.results import Truth
from tests.incidents.scene import scene

HEAP = """
import java.util.*;
public class Work {
    public static void main(String[] a) throws Exception {
        System.out.println("@jvm " + ProcessHandle.current().pid());
        List<byte[]> held = new ArrayList<>();
        try {
            while (true) { held.add(new byte[256 * 1024]); Thread.sleep(%d); }
        } catch (OutOfMemoryError e) { held = null; System.exit(52); }
    }
}
"""


@scene("I05", "A", "P", group="oom")
def a_heap_is_full(lab: Lab) -> Truth:
    """The JVM leaves by itself: with 52 (Spark's way), with 3 (ExitOnOutOfMemoryError),
    with a heap dump."""
    source = lab.folder / "Work.java"
    source.write_text(HEAP % (3 + lab.variant))
    subprocess.run(["javac", "-d", str(lab.folder), str(source)], check=True)
    flags = [
        [],
        ["-XX:+ExitOnOutOfMemoryError"],
        ["-XX:+HeapDumpOnOutOfMemoryError", f"-XX:HeapDumpPath={lab.folder}/x.hprof"],
    ][lab.variant]
    lab.run(lab.wrapped(["java", "-Xmx96m", *flags, "-cp", str(lab.folder), "Work"]))
    return Truth("mem.app_heap", {"pid": "jvm"}, rivals=("mem.cgroup_oom", "kill.supervisor"))


@scene("-", "B", "K", group="oom")
def an_address_space_limit(lab: Lab) -> Truth:
    code = (
        'say("grower")\nheld = []\nfor _ in range(4000):\n    held.append(bytearray(1 << 20))\n'
        "    time.sleep(0.002)\n"
    )
    program = " ".join(f"'{w}'" for w in lab.python(code))
    if lab.variant == 2:
        limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
        lab.run(lab.python(limit + code))
    else:
        lab.run(lab.shell(f"ulimit -v {(200 + 100 * lab.variant) * 1024}\n{program}\n"))
    return Truth("mem.rlimit", {"pid": "grower"}, rivals=("mem.cgroup_oom", "mem.app_heap"))


@scene("I45", "C", "K", variants=2)
def pages_are_read_again_and_again(lab: Lab) -> Truth:
    group = lab.cgroup("memory", memory_limit_in_bytes=(40 + 8 * lab.variant) * MIB)
    data = lab.folder / "model.bin"
    data.write_bytes(b"z" * (64 * MIB))
    with data.open("rb") as file:  # whoever reads it next is charged for its pages
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    code = """
import mmap
say("reader")
f = open(sys.argv[1], "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
end = time.time() + 12
while time.time() < end:
    for at in range(0, len(m), 4096):
        m[at]
"""
    lab.run(lab.wrapped(lab.python(join(group) + code, str(data))), timeout=90)
    return Truth(
        "mem.thrash", {"pid": "reader"}, rivals=("fs.slow_io", "mem.cgroup_oom"), verdict="degraded"
    )


@scene("I42", "C", "K")
def a_mapping_on_a_full_tmpfs(lab: Lab) -> Truth:
    place = lab.mount("tmpfs", size=f"{4 + 4 * lab.variant}m")
    target = place / "shm-segment"
    code = """
import mmap
say("worker")
f = open(sys.argv[1], "wb+")
f.truncate(32 << 20)
m = mmap.mmap(f.fileno(), 32 << 20)
for at in range(0, 32 << 20, 4096):
    m[at] = 1
"""
    lab.run(lab.wrapped(lab.python(code, str(target))))
    return Truth("mem.shm_full", {"path": str(target)}, rivals=("mem.cgroup_oom", "crash.segv"))


@scene("I42", "C", "K", variants=2)
def files_of_a_tmpfs_fill_the_cgroup(lab: Lab) -> Truth:
    group = lab.cgroup("memory", memory_limit_in_bytes=64 * MIB)
    place = lab.mount("tmpfs", size="400m")
    target = place / "spill"
    code = (
        'say("writer")\nf = open(sys.argv[1], "wb")\nfor _ in range(300):\n'
        '    f.write(b"x" * (1 << 20))\n    f.flush()\n    time.sleep(0.01)\n'
    )
    lab.run(lab.wrapped(lab.python(join(group) + code, str(target))))
    return Truth(
        "mem.shm_full",
        {"path": str(target), "cgroup": "/" + group.name},
        rivals=("mem.cgroup_oom",),
    )
