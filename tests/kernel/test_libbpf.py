"""Which libbpf is loaded: the one in the package, else the system's."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from receiver.errors import UnavailableError
from receiver.kernel import libbpf


def system() -> Path:
    """The file of the system's libbpf."""
    try:
        ctypes.CDLL("libbpf.so.1")
    except OSError:
        pytest.skip("this system has no libbpf.so.1")
    maps = Path("/proc/self/maps").read_text().splitlines()
    return Path(next(line.split()[-1] for line in maps if "/libbpf.so.1" in line))


def test_the_one_in_the_package_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inside = tmp_path / "inside.so.1"
    inside.symlink_to(system())
    monkeypatch.setattr(libbpf, "BUNDLED", inside)
    found = libbpf.Library()
    assert found.version.startswith("libbpf 1.") and found.version.endswith(", bundled")
    assert found.possible_cpus() > 0


@pytest.mark.parametrize("damaged", [False, True])
def test_without_a_usable_one_the_systems_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damaged: bool
) -> None:
    system()
    inside = tmp_path / "inside.so.1"
    if damaged:
        inside.write_bytes(b"\x7fELF")
    monkeypatch.setattr(libbpf, "BUNDLED", inside)
    assert libbpf.Library().version.endswith(", system")


def test_without_any_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise OSError("no such file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(UnavailableError, match="apt-get install libbpf1"):
        libbpf.Library()
