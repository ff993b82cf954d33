"""The programs of workloads: built once for each process, copied below a name of the
composition."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from tests.incidents.machine import UnavailableError

SOURCES = Path(__file__).parent / "sources"
NEEDS = {
    "python": (),
    "bash": ("bash",),
    "c": ("gcc",),
    "java": ("java", "javac"),
    "perl": ("perl",),
    "node": ("node",),
    "go": ("go",),
    "make": ("make",),
    "tcl": ("tclsh",),
    "xargs": ("xargs",),
}
_SUFFIX = {
    "python": ".py",
    "bash": ".sh",
    "c": "",
    "java": ".jar",
    "perl": ".pl",
    "node": ".js",
    "go": "",
}


def need(*languages: str) -> None:
    """Raises UnavailableError with the missing program's name."""
    for language in languages:
        for program in NEEDS.get(language, ()):
            if shutil.which(program) is None:
                raise UnavailableError(f"{program} is not installed")


@cache
def _place() -> Path:
    place = Path(tempfile.mkdtemp(prefix="programs-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@cache
def _built(language: str, kind: str) -> Path:
    """The runnable file of a `step` or a `runner`."""
    need(language)
    place = _place() / f"{kind}-{language}"
    if language == "c":
        _compile("gcc", "-O1", "-o", str(place), str(SOURCES / f"{kind}.c"))
    elif language == "go":
        _compile("go", "build", "-o", str(place), str(SOURCES / f"{kind}.go"))
    elif language == "java":
        name = {"step": "Job", "runner": "Runner"}[kind]
        classes = _place() / f"{kind}-classes"
        _compile("javac", "-d", str(classes), str(SOURCES / f"{name}.java"))
        with zipfile.ZipFile(place, "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\nMain-Class: {name}\n")
            for each in classes.iterdir():
                jar.write(each, each.name)
    else:
        shutil.copy(SOURCES / f"{kind}{_SUFFIX[language]}", place)
    return place


def _compile(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed: {done.stderr[-200:]}")


def program(
    folder: Path, language: str, kind: str, name: str, options: tuple[str, ...] = ()
) -> list[str]:
    """The words that start it, after it was put into `folder`/bin."""
    source = _built(language, kind)
    target = folder / "bin" / f"{name}{_SUFFIX[language]}"
    target.parent.mkdir(exist_ok=True)
    shutil.copy(source, target)
    target.chmod(0o755)
    start = {
        "python": [sys.executable, "-S"],
        "bash": ["bash"],
        "java": ["java"],
        "perl": ["perl"],
        "node": ["node"],
    }
    last = ["-jar", str(target)] if language == "java" else [str(target)]
    return [*start.get(language, []), *options, *last]


def helper(folder: Path, source: str, name: str) -> list[str]:
    """A helper in Python (pool, waiter, keeper) below a name of the composition."""
    target = folder / "bin" / f"{name}.py"
    target.parent.mkdir(exist_ok=True)
    shutil.copy(SOURCES / f"{source}.py", target)
    return [sys.executable, "-S", str(target)]
