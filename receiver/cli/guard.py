"""Runs every command: prepares the process, and ends it with one line and a status of sysexits.h,
whatever happens.

A defect of kwitness is status 70. One line names it and the file with its traceback.
KWITNESS_DEBUG=1 or OTEL_LOG_LEVEL=debug prints the traceback instead.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from receiver.errors import KwitnessError
from receiver.text.printable import printable

EX_SOFTWARE, EX_IOERR = 70, 74
INTERRUPTED = 128 + signal.SIGINT
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
FORMAT = "kwitness: %(levelname)s: %(message)s"
_LINE = 2000  # characters


def prepare() -> None:
    """Prepares a process of kwitness before anything else.

    SIGINT ends it like any other program until a command handles it, because Python's default is a
    traceback. Characters that the terminal's character set lacks are escaped.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if not debugging():
        sys.unraisablehook = _unraisable
        threading.excepthook = _of_thread


def fill_standard_streams() -> None:
    """Closed standard descriptors become /dev/null, so that no file that is opened later gets their
    numbers and receives printed text. They are closed again in every program that is started.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def redacted(line: str) -> str:
    """The line without secrets."""
    from receiver.text.redact.log import (
        redacted,
    )  # takes 40 ms, and the launcher of `kwitness run` usually prints nothing

    return redacted(line)


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return (
        os.environ.get("KWITNESS_DEBUG", "") not in ("", "0")
        or os.environ.get("OTEL_LOG_LEVEL", "").lower() == "debug"
    )


def guarded(command: Callable[[], int]) -> int:
    """Runs a command and returns its status, or the status of its failure."""
    try:
        status = command()
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KwitnessError as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output has exited: `kwitness events | head`
        _discard_output()
        return 0
    except OSError as error:
        _discard_output()
        return failed(error)
    except Exception as error:
        return crashed(error)


def say(message: str) -> None:
    """Writes one line to stderr, if it is open."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"kwitness: {redacted(printable(message)[:_LINE])}", file=sys.stderr, flush=True)


def failed(error: OSError) -> int:
    """The system refused an operation: not a defect of kwitness, so no traceback."""
    if debugging():
        traceback.print_exception(error)
    name = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    hint = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    say(f"{name}{what}{hint} (KWITNESS_DEBUG=1 shows where)")
    return EX_IOERR


def crashed(error: Exception) -> int:
    """A defect of kwitness."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = (
        "\n".join(
            redacted(line) for line in "".join(traceback.format_exception(error)).splitlines()
        )
        + "\n"
    )
    if debugging():
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        where = "the traceback above"
    else:
        kept = keep(text)
        where = f"the traceback in {kept}" if kept else "what KWITNESS_DEBUG=1 prints"
    say(
        f"internal error: {type(error).__name__}{place}: {str(error)[:200]}; "
        f"please report it with {where}"
    )
    return EX_SOFTWARE


def keep(text: str) -> str:
    """Writes the traceback of the last defect to its one file.

    Returns its path; empty when that fails.
    """
    try:
        from receiver.safe.outputs import write_output  # not needed at a start that goes well

        path = str(Path(tempfile.gettempdir()) / f"kwitness-{os.geteuid()}.traceback")
        write_output(path, text.encode(errors="backslashreplace"))
    except (OSError, ImportError, KwitnessError):
        return ""
    return path


class OneLine(logging.Formatter):
    """A record is one line without terminal control characters.

    Its exception is the last part of it, and a traceback only while debugging.
    """

    def format(self, record: logging.LogRecord) -> str:
        if debugging():
            return "\n".join(redacted(line) for line in super().format(record).split("\n"))
        error = record.exc_info[1] if record.exc_info else None
        plain = logging.makeLogRecord(
            {**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None}
        )
        what = f": {redacted(f'{type(error).__name__}: {error}')}" if error is not None else ""
        return printable(redacted(super().format(plain)) + what)


def log_to_stderr() -> None:
    """Logs all records from the level of OTEL_LOG_LEVEL on.

    Does nothing if the process already has handlers.
    """
    level = _LEVELS.get(os.environ.get("OTEL_LOG_LEVEL", "info").lower(), logging.INFO)
    logging.raiseExceptions = (
        debugging()
    )  # a full disk behind stderr must not print a traceback per line
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def _discard_output() -> None:
    """Drops the rest of the buffer, which would fail again when the interpreter exits, with a
    message of its own.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, sys.stdout.fileno(), inheritable=False)
        os.close(null)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    logging.getLogger("kwitness").debug("ignored: %s", args.exc_value)


def _of_thread(args: threading.ExceptHookArgs) -> None:
    logging.getLogger("kwitness").error(
        "a thread ended: %s: %s", args.exc_type.__name__, args.exc_value
    )
