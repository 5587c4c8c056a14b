"""The directory of a spool: private to its owner, and nobody's trap."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

import attrs

__all__ = ["FILE_FLAGS", "File", "fault", "is_plain_file", "opened"]

FILE_FLAGS: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that was planted can't hold us up
)
"""How each file of a spool is opened, to read or to write."""


@attrs.frozen
class File:
    """An open file that may be told from another one that comes to have its descriptor.

    A program that closes all descriptors gives their numbers to other files.
    """

    descriptor: int
    identity: tuple[int, int]

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """Remember which file it is."""
        found = os.fstat(descriptor)
        return cls(descriptor, (found.st_dev, found.st_ino))

    def found(self) -> os.stat_result | None:
        """Look at the file; None if the descriptor is not its own any more."""
        try:
            found = os.fstat(self.descriptor)
        except OSError:
            return None
        return found if (found.st_dev, found.st_ino) == self.identity else None

    def close(self) -> None:
        """Close it, and nothing else."""
        if self.found() is not None:
            os.close(self.descriptor)


def fault(found: os.stat_result) -> str | None:
    """Say what makes a directory unfit to hold what only its owner may see; None if it is fit."""
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link: name what it leads to"
    if not stat.S_ISDIR(found.st_mode):
        return "it is no directory"
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}, and this process to user {os.geteuid()}"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it: chmod o-w"
    return None


@contextmanager
def opened(path: str, *, make: bool = False) -> Iterator[int]:
    """Open the directory for a moment, so that its name can't come to mean another one meanwhile.

    Raises:
        OSError: it can't be opened or made, or it is unfit.
    """
    if make:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        unfit = fault(os.fstat(descriptor))
        if unfit is not None:
            raise PermissionError(f"{path}: {unfit}")
        yield descriptor
    finally:
        os.close(descriptor)


def is_plain_file(found: os.stat_result) -> bool:
    """Whether a file is a plain one of this user."""
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
