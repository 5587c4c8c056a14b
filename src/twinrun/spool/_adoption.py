"""Takes over the segments of spools whose process is dead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

from twinrun.spool._folder import FILE_FLAGS, is_plain_file
from twinrun.spool._home import Home
from twinrun.spool._locks import Lock
from twinrun.spool._owners import Owner
from twinrun.spool._segments import Name, Segment

__all__ = ["adopted"]


def adopted(home: Home, directory: int) -> Iterator[Segment]:
    """Take over what dead owners left in the open directory; raises OSError.

    Of two processes that try it at once one gets a segment: the one that renames it.
    """
    by_owner: dict[Owner, list[Name]] = {}
    for text in os.listdir(directory):
        name = Name.parse(text)
        owner = name.owner if name else Lock.parse(text)
        if owner is not None:
            by_owner.setdefault(owner, []).extend([name] if name else [])
    for owner, names in by_owner.items():
        if owner == home.owner:
            continue
        with _locked_out(owner, directory) as dead:
            for name in names if dead else ():
                segment = _taken(name, home.move_in(directory), directory)
                if segment is not None:
                    yield segment


@contextmanager
def _locked_out(owner: Owner, directory: int) -> Iterator[bool]:
    """Whether an owner is dead; keeps whoever can't see its process from finding so too."""
    lives = owner.lives()
    lock = None
    if lives is None:
        try:
            lock = Lock.take(owner, directory)
            lives = lock is None
        except FileNotFoundError:  # it let go of it, or somebody has adopted all there was
            lives = False
        except OSError:
            lives = True  # for all that is known
    try:
        yield not lives
    finally:
        if lock is not None:
            lock.release(directory)
        elif not lives:
            Lock.remove(owner, directory)


def _taken(name: Name, owner: Owner, directory: int) -> Segment | None:
    """Make a segment one's own by its name; None if somebody else was quicker, or it is none."""
    mine = attrs.evolve(name, owner=owner)
    with suppress(OSError):
        descriptor = os.open(str(name), FILE_FLAGS | os.O_RDONLY, dir_fd=directory)
        try:
            found = os.fstat(descriptor)
            if is_plain_file(found):
                os.rename(str(name), str(mine), src_dir_fd=directory, dst_dir_fd=directory)
                segment = Segment(mine, born=found.st_mtime_ns, live=False, own=False)
                segment.take_stock(descriptor)
                return segment
        finally:
            os.close(descriptor)
    return None
