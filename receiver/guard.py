"""The edge of every command: what the process starts with, and how it ends: one line and a status of sysexits.h, whatever happens.

A fault of ours is status 70: one line says what it was and where its traceback is. KWITNESS_DEBUG=1 or OTEL_LOG_LEVEL=debug prints
the traceback instead.
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
from receiver.text import printable

EX_SOFTWARE, EX_IOERR = 70, 74
INTERRUPTED = 128 + signal.SIGINT
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
FORMAT = "kwitness: %(levelname)s: %(message)s"
_LINE = 2000  # characters


def prepare() -> None:
    """For a process of our own, before anything else.

    SIGINT ends it like any other program, until a command handles it: Python's own way is a traceback. What a terminal's
    character set cannot show is escaped.
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
    """Closed standard descriptors become /dev/null, so that no file that is opened later gets their numbers and takes what is
    printed. They are closed again in every program that is started."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def redacted(line: str) -> str:
    """The line without its secrets."""
    from receiver.redact.log import redacted  # 40 ms: the launcher of `kwitness run` prints nothing in most runs

    return redacted(line)


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get("KWITNESS_DEBUG", "") not in ("", "0") or os.environ.get("OTEL_LOG_LEVEL", "").lower() == "debug"


def guarded(command: Callable[[], int]) -> int:
    """Runs a command, and gives its status or that of its failure."""
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
    except BrokenPipeError:  # who reads our output has had enough of it: `kwitness events | head`
        _discard_output()
        return 0
    except OSError as error:
        _discard_output()
        return failed(error)
    except Exception as error:
        return crashed(error)


def say(message: str) -> None:
    """One line on stderr, if somebody takes it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"kwitness: {redacted(printable(message)[:_LINE])}", file=sys.stderr, flush=True)


def failed(error: OSError) -> int:
    """The system refused something: no fault of the program, and no traceback."""
    if debugging():
        traceback.print_exception(error)
    name = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    hint = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    say(f"{name}{what}{hint} (KWITNESS_DEBUG=1 shows where)")
    return EX_IOERR


def crashed(error: Exception) -> int:
    """A fault of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = "\n".join(redacted(line) for line in "".join(traceback.format_exception(error)).splitlines()) + "\n"
    if debugging():
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        where = "the traceback above"
    else:
        kept = keep(text)
        where = f"the traceback in {kept}" if kept else "what KWITNESS_DEBUG=1 prints"
    say(f"internal error: {type(error).__name__}{place}: {str(error)[:200]}; please report it with {where}")
    return EX_SOFTWARE


def keep(text: str) -> str:
    """Writes the traceback of the last fault to the one file that is ours for it; empty when that cannot be done."""
    try:
        from receiver.safe_files import write_output  # not needed at a start that goes well

        path = str(Path(tempfile.gettempdir()) / f"kwitness-{os.geteuid()}.traceback")
        write_output(path, text.encode(errors="backslashreplace"))
    except (OSError, ImportError, KwitnessError):
        return ""
    return path


class OneLine(logging.Formatter):
    """A record is one line that no terminal obeys. Its exception is the last part of it, and a traceback only while debugging."""

    def format(self, record: logging.LogRecord) -> str:
        if debugging():
            return "\n".join(redacted(line) for line in super().format(record).split("\n"))
        error = record.exc_info[1] if record.exc_info else None
        plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        what = f": {redacted(f'{type(error).__name__}: {error}')}" if error is not None else ""
        return printable(redacted(super().format(plain)) + what)


def log_to_stderr() -> None:
    """Everything that is logged, from the level of OTEL_LOG_LEVEL on. Does nothing where the process has handlers already."""
    level = _LEVELS.get(os.environ.get("OTEL_LOG_LEVEL", "info").lower(), logging.INFO)
    logging.raiseExceptions = debugging()  # a full disk behind stderr is no reason for a traceback per line
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def _discard_output() -> None:
    """What is still in the buffer would fail again when the interpreter ends, with a message of its own."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, sys.stdout.fileno(), inheritable=False)
        os.close(null)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    logging.getLogger("kwitness").debug("ignored: %s", args.exc_value)


def _of_thread(args: threading.ExceptHookArgs) -> None:
    logging.getLogger("kwitness").error("a thread ended: %s: %s", args.exc_type.__name__, args.exc_value)
