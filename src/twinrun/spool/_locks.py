"""A lock that a spool holds as long as it lives: it tells other machines and containers so."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, Self

import attrs

from twinrun.spool._folder import FILE_FLAGS, File, is_plain_file
from twinrun.spool._owners import Owner

__all__ = ["Lock"]

_SUFFIX: Final = ".lock"


@attrs.frozen(eq=False)
class Lock:
    """The lock file of an owner, held."""

    owner: Owner
    file: File

    @classmethod
    def hold(cls, owner: Owner, directory: int) -> Self:
        """Make one's own lock file and hold it; raises OSError where it can't be had."""
        flags = FILE_FLAGS | os.O_RDWR | os.O_CREAT
        lock = cls._locked(owner, os.open(_name(owner), flags, 0o600, dir_fd=directory))
        if lock is None or not lock.is_there():  # whoever tidies up was between the two steps
            raise BlockingIOError(f"{_name(owner)} was taken away")
        return lock

    @classmethod
    def take(cls, owner: Owner, directory: int) -> Self | None:
        """Take a dead owner's lock; None if it is held, and the owner lives.

        Raises:
            FileNotFoundError: there is none, since the owner let go of it.
            OSError: it can't be told.
        """
        return cls._locked(owner, os.open(_name(owner), FILE_FLAGS | os.O_RDWR, dir_fd=directory))

    @staticmethod
    def parse(text: str) -> Owner | None:
        """Read the name of a lock file; None if it is none."""
        return Owner.parse(text.removesuffix(_SUFFIX)) if text.endswith(_SUFFIX) else None

    @staticmethod
    def remove(owner: Owner, directory: int) -> None:
        """Remove a dead owner's lock file, if there is one."""
        with suppress(OSError):
            os.unlink(_name(owner), dir_fd=directory)

    @classmethod
    def _locked(cls, owner: Owner, descriptor: int) -> Self | None:
        import fcntl

        try:
            if not is_plain_file(os.fstat(descriptor)):
                raise PermissionError(f"{_name(owner)} is no plain file of this user")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(owner, File.of(descriptor))

    def is_there(self) -> bool:
        """Whether it still says to others that its owner lives."""
        found = self.file.found()
        return found is not None and found.st_nlink > 0

    def release(self, directory: int) -> None:
        """Remove the file and let go of it."""
        self.remove(self.owner, directory)
        self.close()

    def close(self) -> None:
        """Close this process's descriptor; the lock stays while another one is open."""
        self.file.close()


def _name(owner: Owner) -> str:
    return f"{owner}{_SUFFIX}"
