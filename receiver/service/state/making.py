"""Creates a state directory as the user that the service becomes.

A service that is started as root accesses the path as that user, so that no file is touched with
root's rights.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from receiver.kernel.privileges import UserIdentity
from receiver.safe.directories import RefusedError, closing, open_directory


class Maker:
    """`user`: the user that the service becomes. `follow_trusted_links`: as `open_directory`."""

    def __init__(self, user: UserIdentity, *, follow_trusted_links: bool) -> None:
        self.uid, self._gid = user.uid, user.gid
        self._links = follow_trusted_links

    def find(self, path: str) -> int:
        return open_directory(path, follow_trusted_links=self._links)

    @contextlib.contextmanager
    def as_user(self) -> Iterator[None]:
        """Runs with the rights of the service's user, so that root's rights are not used for
        another user.
        """
        if os.geteuid() == self.uid:
            yield
            return
        gid = os.getegid()
        try:
            os.setegid(self._gid)
            os.seteuid(self.uid)
        except PermissionError:
            os.setegid(gid)
            raise RefusedError(
                f"root may not become {name_of(self.uid)} here (CAP_SETUID, CAP_SETGID)"
            ) from None
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(gid)

    def make(self, path: str) -> int:
        """Creates the directory and its missing parents: as the service's user if permitted, else
        as root, which then changes the owner.
        """
        here, missing_names = Path(path), list[str]()
        while True:
            missing_names.insert(0, here.name)
            here = here.parent
            if not missing_names[0] or missing_names[0] == "..":
                raise RefusedError(
                    "there is no such directory, and its name is not one that can be made"
                )
            try:
                folder = self.find(str(here))
                break
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise RefusedError(
                        "a symbolic link is on the way to it: name the directory itself"
                    ) from None
                raise RefusedError(f"{error.strerror}: {here}") from None
        for name in missing_names:
            with closing(folder):
                folder = self._make_one(name, folder, last=name is missing_names[-1])
        return folder

    def _make_one(self, name: str, folder: int, *, last: bool) -> int:
        mode = 0o700 if last else 0o755
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with self.as_user():
                os.mkdir(name, mode, dir_fd=folder)
                return os.open(name, flags, dir_fd=folder)
        except PermissionError as error:
            if os.geteuid() == self.uid:
                raise RefusedError(f"it cannot be made: {error.strerror}") from None
            os.mkdir(name, mode, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EEXIST):
                raise RefusedError(f"it cannot be made: {error.strerror}") from None
            raise
        made = os.open(name, flags, dir_fd=folder)
        try:
            if last:
                self._give(made)
        except BaseException:
            os.close(made)
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=folder)
            raise
        return made

    def _give(self, made: int) -> None:
        """Gives the empty directory that root has just created to the user."""
        status = os.fstat(made)
        if status.st_uid != 0 or os.listdir(made):
            raise RefusedError("it was replaced while it was being created")
        try:
            os.fchown(made, self.uid, self._gid)
        except PermissionError:
            raise RefusedError(
                f"create it for the user {name_of(self.uid)}: root may not change owners here "
                "(CAP_CHOWN)"
            ) from None


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
