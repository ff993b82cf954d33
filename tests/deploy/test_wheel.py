"""What is published: a wheel that needs no compiler, a source archive that makes it."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_the_wheel_holds_all_that_runs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.endswith(
        f"-py3-none-manylinux_2_17_{platform.machine()}.whl"
    )  # the BPF object is of one machine
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "receiver/kernel/kwitness.bpf.o",
        "receiver/cli/main.py",
        "receiver/insights/across.py",
    } <= names
    for shared in (
        "man/man1/kwitness.1",
        "bash-completion/completions/kwitness",
        "zsh/site-functions/_kwitness",
    ):
        assert any(n.endswith(f".data/data/share/{shared}") for n in names), shared
    assert not [
        n
        for n in names
        if n.startswith(("tests/", "tools/", "semconv/")) or n.endswith((".c", ".h"))
    ]


def test_the_libraries_that_were_built_are_inside(built: Path) -> None:
    """tools/libbpf.sh builds them for `make wheel`; a wheel without them uses the host's libbpf."""
    (wheel,) = built.glob("*.whl")
    folder = "receiver/kernel/lib/"
    found = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith(folder)}
    assert found == {folder + path.name for path in (ROOT / folder).glob("*")}
    if found:
        licences = {"NOTICE", "LICENSE.libbpf", "LICENSE.libelf", "LICENSE.zlib"}
        libraries = {"libkwitness-bpf.so.1", "libkwitness-elf.so.1"}
        assert found == {folder + name for name in licences | libraries}


def test_the_tag_is_the_glibc_that_the_libraries_need(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    old, new = tmp_path / "old.so.1", tmp_path / "new.so.1"
    old.write_bytes(b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.14\0GLIBC_PRIVATE\0")
    new.write_bytes(b"\x7fELF\0GLIBC_2.9\0GLIBC_2.34\0GLIBCXX_3.4.30\0")
    assert hook.glibc([]) == hook.glibc([old]) == (2, 17)
    assert hook.glibc([old, new]) == (2, 34)


def test_it_runs_from_where_it_is_installed(built: Path, tmp_path: Path) -> None:
    """Without the tree, without a compiler: `replay` needs neither privileges nor libbpf."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(place),
        str(wheel),
    ]
    subprocess.run(install, check=True)
    packages = next(p for p in sys.path if p.endswith("site-packages"))
    recording = ROOT / "tests/scenarios/incidents/a_check_reads_what_dbt_left-0.kw"
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{place}:{packages}"}
    command = [sys.executable, "-P", "-m", "receiver", "replay", str(recording)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0 and "fs.truncated" in done.stdout, done.stderr
    where = "import receiver; print(receiver.__file__)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", where],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert found.stdout.startswith(str(place))


def test_the_source_archive_makes_it(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    names = {n.partition("/")[2] for n in tarfile.open(archive).getnames()}  # noqa: SIM115
    assert {
        "bpf/process.bpf.c",
        "bpf/events.h",
        "receiver/__init__.py",
        "pyproject.toml",
        "README.md",
        "deploy/share/kwitness.1",
    } <= names
