"""Whose a segment is: a spool of one process, told from those of all machines and containers."""

from __future__ import annotations

import os
import re
from typing import Final, Self

import attrs

__all__ = ["Owner"]

_NAME: Final = re.compile(
    r"(?P<host>[A-Za-z0-9._]*)-(?P<boot>[0-9a-f]*)-(?P<space>\d{1,20})"
    r"-(?P<pid>\d{1,10})-(?P<started>\d{1,20})-(?P<spool>[0-9a-f]{8})"
)
_HOST_LENGTH: Final = 40


@attrs.frozen
class Owner:
    """A spool of a process.

    `boot` and `space` tell the running kernel and its process namespace, `started` when the process
    did (in ticks since the boot): no process number means the same anywhere else, or for ever.
    """

    host: str
    boot: str
    space: int
    pid: int
    started: int
    spool: str

    @classmethod
    def here(cls) -> Self:
        """Name a new spool of this process."""
        pid = os.getpid()
        return cls(
            host=re.sub(r"[^A-Za-z0-9.]", "_", os.uname().nodename)[:_HOST_LENGTH],
            boot=_boot(),
            space=_space(),
            pid=pid,
            started=_started(pid) or 0,
            spool=os.urandom(4).hex(),
        )

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read an owner's name; None if it is none."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        numbers = {name: int(found[name]) for name in ("space", "pid", "started")}
        return cls(host=found["host"], boot=found["boot"], spool=found["spool"], **numbers)

    def __str__(self) -> str:
        return f"{self.host}-{self.boot}-{self.space}-{self.pid}-{self.started}-{self.spool}"

    def nobody(self) -> Self:
        """Name the owner of what this one lets go of."""
        return attrs.evolve(self, pid=0, started=0)

    def lives(self) -> bool | None:
        """Whether the process runs; None where its process number can't tell."""
        if not self.pid:
            return False
        if not self.boot or (self.boot, self.space) != (_boot(), _space()):
            return None
        try:
            started = _started(self.pid)
            return started == self.started if started is not None else _exists(self.pid)
        except OSError:
            return None


def _boot() -> str:
    """Give what differs with each boot of each machine; nothing where the system has no such."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return re.sub("[^0-9a-f]", "", file.read())[:16]
    except OSError:
        return ""


def _space() -> int:
    """Give the number of the namespace that process numbers belong to, 0 if there is no such."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _exists(pid: int) -> bool | None:
    """Whether a process that /proc hides is there: False, or None since it may be another one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return None


def _started(pid: int) -> int | None:
    """Give when a process started, None if there is none.

    Raises:
        OSError: it can't be told, or the process is dead but for its name.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # a process's own name may hold any
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in b"ZXx":
        raise ProcessLookupError
    return int(fields[19])
