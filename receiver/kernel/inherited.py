"""The state that this process inherited, so that a command gets it unchanged: fork(2), execve(2),
signal(7), environ(7).

Python changes three things before it runs the first line of kwitness: it ignores SIGPIPE and
SIGXFSZ, it handles SIGINT, and in the C locale it sets LC_CTYPE (PEP 538). Everything else (limits,
umask, nice value, working directory, groups, capabilities, session) passes through fork and exec
unless it is changed, so the process that starts the command changes nothing.

One thing is unknown: no program can read what SIGPIPE and SIGXFSZ were before Python ignored them.
POSIX makes shells pass ignored signals on, and systemd does the same, so signals that such a parent
ignores are taken as inherited. Other parents (Python, Node, Rust, Go) reset SIGPIPE for the
programs they start, so the default is assumed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

CHANGED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
# these parents pass ignored signals on (POSIX.1-2017, 2.11 and 2.12; systemd.exec(5),
# IgnoreSIGPIPE=)
_PASS_ON = (
    "sh",
    "bash",
    "dash",
    "ash",
    "busybox",
    "ksh",
    "ksh93",
    "mksh",
    "yash",
    "zsh",
    "systemd",
    "systemd-executor",
)
_NOT_THERE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ESTALE,
    errno.ENODEV,
    errno.ETIMEDOUT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)  # a shell continues with the next directory
_DEFAULT_PATH = b"/bin:/usr/bin"  # confstr(_CS_PATH)
_SHELL = b"/bin/sh"  # _PATH_BSHELL
_SAMPLE_BYTES = 80


class Inherited:
    """Taken once, before kwitness opens a descriptor or handles a signal."""

    __slots__ = ("_locale", "descriptors", "ignored", "mask")

    def __init__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        ignored = {n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN}
        self.ignored = frozenset(ignored.difference(CHANGED_BY_PYTHON) | _ignored_by_parent())
        self.descriptors = _descriptors()
        self._locale = _original_locale()

    def restore(self) -> None:
        """Restores signals and environment for the command, directly before its exec.

        Exec itself resets handlers.
        """
        for number in signal.valid_signals():
            if number in (signal.SIGKILL, signal.SIGSTOP):
                continue
            wanted = signal.SIG_IGN if number in self.ignored else signal.SIG_DFL
            if signal.getsignal(number) not in (wanted, None):
                signal.signal(number, wanted)
        if self._locale is not None:
            name, value = self._locale
            if value is None:
                os.unsetenv(name)
            else:
                os.putenv(name, value)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def become(self, command: list[str]) -> NoReturn:
        """Restores, then executes the command in this process.

        Raises OSError when the program is missing or cannot run.
        """
        self.restore()
        execute([os.fsencode(word) for word in command])

    def release(self) -> None:
        """Closes this process's copies of the command's descriptors: a pipe of the user ends when
        the command closes it.
        """
        for number in self.descriptors:
            try:
                os.close(number)
            except OSError:
                continue


def execute(words: list[bytes]) -> NoReturn:
    """As execvp(3), with the given environment: /bin/sh runs a script without `#!`.

    Raises OSError.
    """
    refused = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in _candidates(words[0]):
        try:
            os.execv(path, words)  # noqa: S606 - the user's own command
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                _interpret(path, words)
            if b"/" in words[0] or error.errno not in (*_NOT_THERE, errno.EACCES):
                raise
            if error.errno == errno.EACCES:
                refused = error
    raise refused


def exit_status(error: OSError) -> int:
    """The exit code for a command that could not be started: 127 when it does not exist, else 126
    (POSIX.1-2017, 2.8.2).
    """
    return 127 if error.errno == errno.ENOENT else 126


def _candidates(name: bytes) -> Iterator[bytes]:
    if not name:
        return
    if b"/" in name:
        yield name
        return
    for folder in os.environb.get(b"PATH", _DEFAULT_PATH).split(b":"):
        yield folder + b"/" + name if folder else name


def _interpret(path: bytes, words: list[bytes]) -> NoReturn:
    """Raises OSError (ENOEXEC) for a binary file: like a shell, it looks for a NUL in the first
    line.
    """
    try:
        with open(path, "rb") as script:
            first = script.read(_SAMPLE_BYTES).partition(b"\n")[0]
    except OSError:
        first = b""  # executable but not readable: the shell reports it
    if b"\0" in first:
        raise OSError(errno.ENOEXEC, f"cannot execute binary file: {os.strerror(errno.ENOEXEC)}")
    os.execv(_SHELL, [_SHELL, path, *words[1:]])  # noqa: S606 - the user's own command


def _descriptors() -> tuple[int, ...]:
    """All from 3 on.

    A descriptor that survived the exec of this process has no close-on-exec flag; every descriptor
    that Python opened since has one.
    """
    found = []
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return ()
    for number in numbers:
        try:
            if number > 2 and os.get_inheritable(number):
                found.append(number)
        except OSError:  # the descriptor of the directory itself
            continue
    return tuple(sorted(found))


def _ignored_by_parent() -> set[int]:
    """Of the signals that Python has changed, those that the parent ignores and passes on."""
    folder = f"/proc/{os.getppid()}"
    try:
        with open(f"{folder}/status", encoding="utf-8", errors="replace") as status:
            fields = dict(line.split(":", 1) for line in status if ":" in line)
        name = fields["Name"].strip()
        mask = int(fields["SigIgn"], 16)
    except (OSError, KeyError, ValueError):
        return set()
    with contextlib.suppress(OSError):  # a process of another user
        name = os.path.basename(os.readlink(f"{folder}/exe"))
    return {n for n in CHANGED_BY_PYTHON if mask >> (n - 1) & 1} if name in _PASS_ON else set()


def _original_locale() -> tuple[bytes, bytes | None] | None:
    """LC_CTYPE as it was at the exec of this process, if Python has changed it since.

    A None inside: it was not set.
    """
    try:
        with open("/proc/self/environ", "rb") as block:
            entries = block.read().split(b"\0")
    except OSError:
        return None
    name = b"LC_CTYPE"
    before = next((e[len(name) + 1 :] for e in entries if e.startswith(name + b"=")), None)
    return (name, before) if os.environb.get(name) != before else None
