"""The output files of `kwitness run`: a file that cannot be written causes one warning, and never
ends the run.
"""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from receiver.cli.exits import say
from receiver.errors import KwitnessError, OutputError
from receiver.safe.outputs import check_output, open_output, write_output


class Outputs:
    """Opened before the command starts.

    `complete`: every requested output has been written so far.
    """

    def __init__(self) -> None:
        self.complete = True
        self._files: dict[str, BinaryIO] = {}
        self._planned: dict[str, str] = {}

    def open(self, name: str, path: str | None, *, raises: bool = False) -> BinaryIO | None:
        """`name` is for the warning.

        `raises`: the writer counts its own failures and gets them as OSError.
        """
        if not path:
            return None
        try:
            file = open_output(path)
        except KwitnessError as error:
            self.failed(name, str(error))
            return None
        self._files[name] = cast("BinaryIO", _Guarded(self, name, path, file, raises=raises))
        return self._files[name]

    def plan(self, name: str, path: str | None) -> None:
        """An output that is written in one piece at the end. An invalid path is reported now."""
        if not path:
            return
        try:
            check_output(path)
        except OutputError as error:
            self.failed(name, str(error))
        else:
            self._planned[name] = path

    def write(self, name: str, content: bytes) -> None:
        """Writes a planned output completely, or not at all."""
        if name in self._planned:
            try:
                write_output(self._planned[name], content)
            except OutputError as error:
                self.failed(name, str(error))

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def failed(self, name: str, reason: str) -> None:
        self.complete = False
        say(f"{name}: {reason}")


class _Guarded(io.RawIOBase):
    """A file whose first failure is reported; later writes are dropped."""

    def __init__(
        self, outputs: Outputs, name: str, path: str, file: BinaryIO, *, raises: bool
    ) -> None:
        super().__init__()
        self._outputs, self._name, self._path, self._file, self._raises = (
            outputs,
            name,
            path,
            file,
            raises,
        )
        self._broken = False

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        assert isinstance(data, bytes)
        try:
            if not self._broken:
                self._file.write(data)
        except OSError as error:
            self._fail(error)
        return len(data)

    def flush(self) -> None:
        try:
            if not self._broken and not self._file.closed:
                self._file.flush()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self._file.close()
        except OSError as error:
            if not self._broken:
                self._raises = False
                self._fail(error)
        super().close()

    def _fail(self, error: OSError) -> None:
        self._broken = True
        self._outputs.failed(self._name, f"cannot write {self._path}: {error.strerror}")
        if self._raises:
            raise error


__all__ = ["Outputs"]
