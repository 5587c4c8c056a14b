"""A spool on a file system that refuses, lies, or is taken away: counted, and never raised."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twinrun.spool import Counts, Spool
from twinrun.spool import _intake as intake

if not os.path.isdir("/proc/self/fd"):
    pytest.skip("these look at Linux' /proc", allow_module_level=True)

resource = pytest.importorskip("resource")
SMALL = {"max_bytes": 1 << 16, "segment_bytes": 1 << 12}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Give the time in seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the spool look at a clock of the test's."""
    clock = Clock()
    monkeypatch.setattr(intake.time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Give a spool with small segments."""
    spool = Spool(tmp_path / "spool", **SMALL)
    yield spool
    spool.close()


def drain(spool: Spool) -> list[bytes]:
    """Deliver all there is."""
    found = []
    while read := spool.read(1000):
        spool.done([position for position, _ in read])
        found += [record for _, record in read]
    return found


def accounted(counts: Counts) -> bool:
    """Whether the counts add up."""
    went = counts.delivered + counts.set_aside + counts.evicted + counts.corrupt
    return counts.appended + counts.adopted == went + counts.pending


def open_files() -> set[str]:
    """The descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("room", range(0, 130, 7))
def test_a_short_write_keeps_whole_records_only(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """What the disk took of a record that did not fit is taken back; the count is exact."""
    spool.append([b"before"])
    write = os.write
    written = 0

    def short(descriptor: int, data: bytes) -> int:
        nonlocal written
        if written == room:
            raise OSError(errno.ENOSPC, "full")
        count = write(descriptor, data[: room - written])
        written += count
        return count

    monkeypatch.setattr(os, "write", short)
    given = [b"%010d" % n for n in range(5)]  # frames of 30 bytes
    accepted = spool.append(given)
    monkeypatch.undo()
    assert accepted <= room // 30
    assert spool.state == "disk_full"
    [path] = Path(str(spool)).glob("*.segment")
    assert path.stat().st_size == 26 + 30 * accepted
    assert drain(spool) == [b"before", *given[:accepted]]
    assert spool.counts.refused == 5 - accepted
    assert accounted(spool.counts)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EIO, "broken"),
        (errno.EROFS, "broken"),
        (errno.EACCES, "broken"),
        (errno.EMFILE, "broken"),
        (errno.EFBIG, "broken"),
    ],
)
@pytest.mark.parametrize("call", ["write", "open", "ftruncate"])
def test_a_refusal_is_counted_and_tried_again_after_a_second(
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    code: int,
    state: str,
    call: str,
) -> None:
    """Nothing is raised; in between, the disk is not even asked."""
    asked = 0

    def refuse(*args: Any, **kwargs: Any) -> int:
        nonlocal asked
        asked += 1
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse)
        if call == "ftruncate":
            broken.setattr(os, "write", lambda descriptor, data: 1)
        assert spool.append([b"a", b"b"]) == 0
        assert spool.state == state
        before = asked
        clock.now += 0.9
        assert spool.append([b"c"]) == 0
        assert asked == before
        clock.now += 0.2
        assert spool.append([b"d"]) == 0
        assert asked > before
    clock.now += 0.9
    assert spool.append([b"e"]) == 0
    clock.now += 0.2
    assert spool.append([]) == 0
    assert spool.state == state, "nothing was tried"
    assert spool.append([b"f"]) == 1
    assert spool.state == "ready"
    assert spool.trouble is None
    assert drain(spool) == [b"f"]
    assert spool.counts == Counts(appended=1, refused=5, delivered=1)


def test_a_full_disk_frees_itself(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, the oldest whole segment goes, and the record is kept."""
    given = [b"%04d" % n * 200 for n in range(20)]
    spool.append(given)
    write = os.write
    unlinked = []

    def full(descriptor: int, data: bytes) -> int:
        if not unlinked:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, data)

    unlink = os.unlink
    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(
        os, "unlink", lambda path, **rest: (unlinked.append(path), unlink(path, **rest))
    )
    assert spool.append([b"new"]) == 1
    monkeypatch.undo()
    assert len(unlinked) == 1
    counts = spool.counts
    assert counts.evicted == 4
    assert accounted(counts)
    assert drain(spool) == [*given[4:], b"new"]


def test_room_is_left_on_the_disk(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment is begun only where the disk has room for one; old ones go for it first."""
    spool.append([b"x" * 3000] * 4)
    free = 0

    class Disk:
        f_frsize = 1

        @property
        def f_bavail(self) -> int:
            return free

    def unlinked(path: str, **rest: Any) -> None:
        nonlocal free
        free += 2000

    monkeypatch.setattr(os, "statvfs", lambda path: Disk())
    with monkeypatch.context() as disk:
        disk.setattr(os, "unlink", unlinked)
        assert spool.append([b"y" * 3000]) == 1
    assert spool.counts.evicted == 3
    free = 0
    drain(spool)
    assert spool.append([b"z" * 3000]) == 0
    assert spool.state == "disk_full"
    assert spool.counts.refused == 1
    monkeypatch.undo()


@contextlib.contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[None]:
    """Mount a small file system in memory, or skip the test."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)]
    done = subprocess.run(["mount", *options], capture_output=True) if mountable() else None
    if done is None or done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def mountable() -> bool:
    """Whether this process may try to mount."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


def test_a_really_full_disk(tmp_path: Path, clock: Clock) -> None:
    """Somebody fills a disk of 2 MB: drops are exact, the host hears nothing, it recovers."""
    with tmpfs(tmp_path / "disk", "2m"):
        spool = Spool(tmp_path / "disk" / "spool", max_bytes=1 << 20, segment_bytes=1 << 18)
        filler = tmp_path / "disk" / "filler"
        accepted = spool.append([b"first"])
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 65536)
        given = [b"%06d" % n * 100 for n in range(3000)]
        kept = sum(spool.append([record]) for record in given)
        assert spool.state == "disk_full"
        assert spool.counts.refused == len(given) - kept
        clock.now += 1.1
        assert spool.append([b"still full" * 1000]) == 0
        filler.unlink()
        clock.now += 1.1
        assert spool.append([b"last"]) == 1
        assert spool.state == "ready"
        counts = spool.counts
        assert counts.appended == accepted + kept + 1
        assert counts.refused == len(given) - kept + 1
        assert accounted(counts)
        assert drain(spool) == [b"first", *given[:kept], b"last"]
        spool.close()


def test_its_own_growth_never_fills_a_small_disk_for_good(tmp_path: Path) -> None:
    """A spool that may have more than the disk gives keeps the newest, and counts the others."""
    with tmpfs(tmp_path / "disk", "2m"):
        spool = Spool(tmp_path / "disk" / "spool", segment_bytes=1 << 18)
        given = [b"%06d" % n * 1000 for n in range(1000)]
        assert sum(spool.append([record]) for record in given) == len(given)
        counts = spool.counts
        assert counts.evicted > 0
        assert accounted(counts)
        assert drain(spool) == given[counts.evicted :]
        spool.close()


def test_a_directory_that_is_removed_is_made_anew(spool: Spool) -> None:
    """What was in it is counted as gone; what comes is kept."""
    spool.append([b"x" * 3000] * 3)
    shutil.rmtree(str(spool))
    assert spool.read(10) == []
    assert spool.append([b"a", b"b"]) == 2
    assert drain(spool) == [b"a", b"b"]
    assert spool.counts == Counts(appended=5, delivered=2, evicted=3)
    [lock] = Path(str(spool)).glob("*.lock")
    held = [os.readlink(f"/proc/self/fd/{name}") for name in open_files() if is_link(name)]
    assert [path for path in held if str(spool) in path and path != str(lock)] == [
        str(path) for path in Path(str(spool)).glob("*.segment")
    ]


def is_link(descriptor: str) -> bool:
    """Whether a descriptor of this process is still open."""
    return os.path.islink(f"/proc/self/fd/{descriptor}")


def test_a_single_file_that_is_removed_is_noticed(spool: Spool) -> None:
    """The next record goes to another one, and does not vanish with it."""
    spool.append([b"gone"])
    for path in Path(str(spool)).iterdir():
        path.unlink()
    assert spool.append([b"kept"]) == 1
    assert drain(spool) == [b"kept"]
    assert spool.counts == Counts(appended=2, delivered=1, evicted=1)


def test_a_directory_that_is_moved_is_left(spool: Spool, tmp_path: Path) -> None:
    """Once a reader misses the file, nothing more is written to where it went."""
    spool.append([b"moved"])
    os.rename(str(spool), tmp_path / "elsewhere")
    assert spool.read(10) == []
    assert spool.append([b"kept"]) == 1
    assert drain(spool) == [b"kept"]
    assert spool.counts == Counts(appended=2, delivered=1, evicted=1)


def test_a_directory_whose_parent_is_gone_too(tmp_path: Path, clock: Clock) -> None:
    """Nothing can be kept until it is back."""
    parent = tmp_path / "parent"
    parent.mkdir()
    spool = Spool(parent / "spool")
    spool.append([b"gone"])
    shutil.rmtree(parent)
    assert spool.append([b"refused"]) == 0
    assert spool.state == "broken"
    parent.mkdir()
    clock.now += 1.1
    assert spool.append([b"kept"]) == 1
    assert drain(spool) == [b"kept"]
    assert spool.counts == Counts(appended=2, refused=1, delivered=1, evicted=1)
    spool.close()


def test_a_recycled_descriptor_is_never_written_to(spool: Spool, tmp_path: Path) -> None:
    """A program that closes all files and opens others finds its own in these."""
    spool.append([b"before"])
    mine = {
        int(name)
        for name in open_files()
        if os.path.islink(f"/proc/self/fd/{name}")
        and os.readlink(f"/proc/self/fd/{name}").startswith(str(spool))
    }
    assert len(mine) == 2, "the segment and the lock"
    innocent = tmp_path / "innocent"
    with innocent.open("wb") as file:
        for descriptor in mine:
            os.dup2(file.fileno(), descriptor)
    assert spool.append([b"after"]) == 1
    assert innocent.read_bytes() == b""
    assert drain(spool) == [b"before", b"after"]
    spool.close()
    for descriptor in mine:
        os.close(descriptor)  # they are still open


def test_closed_descriptors_are_no_harm(spool: Spool) -> None:
    """Where nothing took their place, the next record opens a segment."""
    spool.append([b"before"])
    for name in open_files():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(str(spool)):
                os.close(int(name))
    assert spool.append([b"after"]) == 1
    assert drain(spool) == [b"before", b"after"]


def test_without_descriptors_records_are_refused_and_then_kept(spool: Spool, clock: Clock) -> None:
    """EMFILE is no end: reading gives nothing, appending counts, and both work again."""
    spool.append([b"x" * 3000])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        assert spool.read(10) == []
        assert spool.append([b"y" * 3000]) == 0
        assert spool.state == "broken"
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    clock.now += 1.1
    assert spool.append([b"z"]) == 1
    assert drain(spool) == [b"x" * 3000, b"z"]
    assert spool.counts == Counts(appended=2, refused=1, delivered=2)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """A spool that was closed leaves none, however its life went."""
    before = open_files()
    for _ in range(3):
        spool = Spool(tmp_path / "spool", **SMALL)
        spool.adopt()
        spool.append([b"x" * 1000] * 50)
        [(position, _)] = spool.read(1)
        spool.set_aside(position)
        spool.read(1)
        spool.close()
    assert open_files() == before


def plant_link(path: Path) -> None:
    """Put a link to a file that must stay as it is."""
    path.symlink_to(path.parent.parent / "victim")


def plant_pipe(path: Path) -> None:
    """Put a pipe, on which opening waits for ever."""
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [plant_link, plant_pipe, Path.mkdir, Path.touch])
def test_what_is_planted_does_no_harm(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    """Links, pipes, folders and empty files with a segment's name are passed by."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    dead = Spool(tmp_path / "spool")
    dead.append([b"real"])
    dead.close()
    folder = tmp_path / "spool"
    [real] = folder.glob("*.segment")
    owner = real.name.partition(".")[0]
    plant(folder / f"{owner}.000007.{'ab' * 8}.0.segment")
    plant(folder / "other-0123-1-1-1-01234567.lock")
    plant(folder / "nonsense")
    spool = Spool(folder)
    spool.adopt()
    assert drain(spool) == [b"real"]
    assert spool.counts == Counts(adopted=1, delivered=1)
    spool.close()
    assert victim.read_bytes() == b"precious"


def test_a_record_of_the_wrong_type_is_the_callers_mistake(spool: Spool) -> None:
    """It raises, and the spool goes on."""
    with pytest.raises(TypeError):
        spool.append(["text"])  # type: ignore[list-item]
    assert spool.append([b"bytes"]) == 1
    assert drain(spool) == [b"bytes"]


def test_a_spool_needs_no_proc(tmp_path: Path) -> None:
    """Where the system tells nothing of processes, the lock alone says who lives."""
    program = f"""
import builtins, os, sys
real = builtins.open
def hidden(path, *args, **kwargs):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(path)
    return real(path, *args, **kwargs)
builtins.open = hidden
stat = os.stat
os.stat = lambda path, **rest: stat("/nowhere" if str(path).startswith("/proc") else path, **rest)
from twinrun.spool import Spool
first, second = Spool({str(tmp_path / "spool")!r}), Spool({str(tmp_path / "spool")!r})
first.append([b"a"])
assert second.adopt() == 0
os.close(first._home._lock["lock"].file.descriptor)
assert second.adopt() == 1
assert [record for _, record in second.read(9)] == [b"a"]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
