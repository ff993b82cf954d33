"""Names that other processes choose cannot add fields to what /proc says of them."""

from __future__ import annotations

import pytest

from receiver.kernel import proc

SEPARATORS = (
    "\v\f\x1c\x1d\x1e\x85\u2028\u2029\r"  # str.splitlines splits at these, the kernel does not
)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_hostile_name_or_cgroup_adds_no_line(
    monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    files = {
        "/proc/7/status": f"Uid:\t5\t5\nGid:\t5\t5\nPPid:\t1\nName:\ta{separator}PPid:\t9\n",
        "/proc/7/cgroup": f"9:memory:/a{separator}b\n0::/c{separator}8:memory:/d\n",
    }
    monkeypatch.setattr(proc, "_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(proc, "_link", lambda path: "/bin/x")
    image = proc.ProcFs().image(7)
    assert image is not None and image.parent_pid == 1
    assert image.memory_cgroup == f"/a{separator}b"
