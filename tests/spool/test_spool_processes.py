"""A spool among processes: killed, forked, interrupted, raced; nothing accepted is lost."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import chain, cycle
from pathlib import Path

import pytest

from twinrun.spool import Counts, Spool

if not os.path.isdir("/proc/self/fd"):
    pytest.skip("these look at Linux' /proc", allow_module_level=True)

fcntl = pytest.importorskip("fcntl")
SMALL = {"max_bytes": 1 << 16, "segment_bytes": 1 << 12}
LARGE = {"max_bytes": 1 << 30, "segment_bytes": 1 << 16}


def drain(spool: Spool) -> list[bytes]:
    """Deliver all there is."""
    found = []
    while read := spool.read(5000):
        spool.done([position for position, _ in read])
        found += [record for _, record in read]
    return found


def accounted(counts: Counts) -> bool:
    """Whether the counts add up."""
    went = counts.delivered + counts.set_aside + counts.evicted + counts.corrupt
    return counts.appended + counts.adopted == went + counts.pending


def heir_of(folder: Path) -> Spool:
    """Give a spool that has adopted what is there."""
    spool = Spool(folder, **LARGE)
    spool.adopt()
    return spool


def in_child(work: Callable[[], None]) -> None:
    """Do something in a forked child, and see that it comes to a good end."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def write_for_ever(folder: Path, trial: int, segment_bytes: int, threads: int, pipe: int) -> None:
    """Append from several threads, and acknowledge what each append said that it had accepted."""
    spool = Spool(folder, max_bytes=1 << 30, segment_bytes=segment_bytes)

    def write(thread: int) -> None:
        number = 0
        for size in cycle(range(1, 7)):
            batch = [struct.pack(">III", trial, thread, number + n) + b"x" * n for n in range(size)]
            if spool.append(batch) != size:
                os._exit(3)
            number += size
            os.write(pipe, struct.pack(">II", thread, number))  # all below this number

    for thread in range(1, threads):
        threading.Thread(target=write, args=(thread,)).start()
    write(0)


def kill_and_look(folder: Path, trial: int, seed: int, longest: float) -> int:
    """Kill a writer at some instant; gives how many records it had acknowledged."""
    chance = random.Random(f"{seed}-{trial}")
    threads, segment_bytes = chance.choice([1, 1, 3]), chance.choice([4096, 65536])
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            write_for_ever(folder, trial, segment_bytes, threads, writing)
        finally:
            os._exit(4)
    os.close(writing)
    with open(reading, "rb", buffering=0) as pipe:
        pieces = [pipe.read(8)]  # it has begun
        killer = threading.Timer(chance.uniform(0, longest), os.kill, (pid, signal.SIGKILL))
        killer.start()
        while piece := pipe.read(65536):
            pieces.append(piece)
    killer.join()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    raw = b"".join(pieces)
    acknowledged = dict(struct.iter_unpack(">II", raw[: len(raw) // 8 * 8]))  # the last ones
    heir = heir_of(folder)
    found = drain(heir)
    counts = heir.counts
    heir.close()
    assert counts == Counts(adopted=len(found), delivered=len(found))
    heads = [struct.unpack(">III", record[:12]) for record in found]
    assert {name for name, _, _ in heads} == {trial}
    for thread in range(threads):
        mine = sorted(number for _, t, number in heads if t == thread)
        assert mine == list(range(len(mine))), "lost or doubled in the middle"
        assert len(mine) >= acknowledged.get(thread, 0), "accepted and lost"
    return sum(acknowledged.values())


def kill_trials(folder: Path, trials: int, longest: float) -> int:
    """Kill so many writers; gives how many records they had acknowledged.

    Each lives for at most so many seconds after its first record.
    """
    seed = int(os.environ.get("TWINRUN_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TWINRUN_SEED={seed}")
    total = sum(kill_and_look(folder, trial, seed, longest) for trial in range(trials))
    assert list(folder.glob("*.segment")) == []
    return total


def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    """Processes are killed at random instants: every acknowledged record is there, once."""
    assert kill_trials(tmp_path / "spool", 15, 0.02) > 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_what_was_accepted_survives_a_thousand_kills(tmp_path: Path) -> None:
    """The same a thousand times."""
    acknowledged = kill_trials(tmp_path / "spool", 1000, 0.05)
    print("acknowledged:", acknowledged)
    assert acknowledged > 1_000_000


def test_what_a_process_left_by_os_exit_is_adopted(tmp_path: Path) -> None:
    """Neither it nor the system says goodbye; its child takes over what it left."""
    program = (
        "import os, sys; from twinrun.spool import Spool; spool = Spool(sys.argv[1]);"
        "spool.append([b'left']); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "spool")], check=True)
    heir = heir_of(tmp_path / "spool")
    assert drain(heir) == [b"left"]
    heir.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_dead_process_that_is_not_waited_for_is_dead(tmp_path: Path) -> None:
    """Its number is still taken, but its lock is gone."""
    program = (
        "import os, sys; from twinrun.spool import Spool; spool = Spool(sys.argv[1]);"
        "spool.append([b'left']); os.kill(os.getpid(), 9)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "spool")])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    heir = heir_of(tmp_path / "spool")
    assert drain(heir) == [b"left"]
    heir.close()
    process.wait()


def test_a_forked_child_has_a_spool_of_its_own(tmp_path: Path) -> None:
    """It counts from nothing, delivers none of the parent's records, and loses none of its own."""
    spool = Spool(tmp_path / "spool", **SMALL)
    spool.append([b"parent 1"])

    def work() -> None:
        assert spool.counts == Counts()
        assert spool.read(10) == []
        assert spool.adopt() == 0
        assert spool.append([b"child"]) == 1
        assert [record for _, record in spool.read(10)] == [b"child"]
        spool.close()

    in_child(work)
    assert spool.append([b"parent 2"]) == 1
    assert spool.adopt() == 1
    assert drain(spool) == [b"parent 1", b"parent 2", b"child"]
    assert spool.counts == Counts(appended=2, adopted=1, delivered=3)
    spool.close()


def test_a_child_that_no_hook_woke_notices_by_itself(tmp_path: Path) -> None:
    """Some servers fork past Python: the process number tells."""
    spool = Spool(tmp_path / "spool", **SMALL)
    spool.append([b"parent"])
    spool._pid = -1  # what it looks like in such a child
    assert spool.append([b"child"]) == 1
    assert [record for _, record in spool.read(10)] == [b"child"]
    spool.close()


def test_a_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    """What a dead parent left can be adopted while its children live, by other machines too."""
    ready, go = os.pipe(), os.pipe()
    parent = os.fork()
    if not parent:
        spool = Spool(tmp_path / "spool", **SMALL)
        spool.append([b"parent"])
        if os.fork():
            os._exit(0)
        os.write(ready[1], b"x")
        os.close(go[1])
        os.read(go[0], 1)  # or its end, should the test fail
        os._exit(0)
    os.waitpid(parent, 0)
    os.read(ready[0], 1)  # the child lives
    try:
        [lock] = (tmp_path / "spool").glob("*.lock")
        with lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        heir = heir_of(tmp_path / "spool")
        assert drain(heir) == [b"parent"]
        heir.close()
    finally:
        for descriptor in (*ready, *go):
            os.close(descriptor)


def fork_in_a_storm(folder: Path, forks: int) -> None:
    """Fork while threads append; parent and children must keep all that each of them accepted."""
    spool = Spool(folder, **LARGE)
    stop = threading.Event()
    written = [0, 0, 0]

    def write(thread: int) -> None:
        while not stop.is_set():
            written[thread] += spool.append([b"parent %d %d" % (thread, written[thread])])

    def work(number: int) -> None:
        signal.alarm(60)
        for n in range(20):
            assert spool.append([b"child %d %d" % (number, n)]) == 1
        assert len(spool.read(1000)) == 20

    threads = [threading.Thread(target=write, args=(n,)) for n in range(len(written))]
    for thread in threads:
        thread.start()
    try:
        for number in range(forks):
            in_child(lambda number=number: work(number))  # type: ignore[misc]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert spool.counts.appended == sum(written)
    spool.adopt()
    found = drain(spool)
    expected = [b"parent %d %d" % (t, n) for t, count in enumerate(written) for n in range(count)]
    expected += [b"child %d %d" % (child, n) for child in range(forks) for n in range(20)]
    assert sorted(found) == sorted(expected)
    assert accounted(spool.counts)
    spool.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forks_during_a_storm_of_appends(tmp_path: Path) -> None:
    """Children forked at any point of an append go on; nobody's records are lost or doubled."""
    fork_in_a_storm(tmp_path / "spool", 30)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_thousand_forks_during_a_storm_of_appends(tmp_path: Path) -> None:
    """The same a thousand times."""
    fork_in_a_storm(tmp_path / "spool", 1000)


def deliver_for_ever(folder: Path, pipe: int) -> None:
    """Adopt and deliver in small batches: what was written to the pipe is delivered."""
    spool = heir_of(folder)
    while read := spool.read(20):
        os.write(pipe, b"".join(record for _, record in read))
        spool.done([position for position, _ in read])
    spool.close()


def test_deliverers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    """Each time the next one goes on; no more than one batch for each kill comes twice."""
    folder = tmp_path / "spool"
    spool = Spool(folder, **SMALL | {"max_bytes": 1 << 20})
    spool.append([struct.pack(">I", number) for number in range(5000)])
    spool.close()
    chance = random.Random(int(os.environ.get("TWINRUN_SEED", 0)))
    delivered: list[int] = []
    kills = 0
    while list(folder.glob("*.segment")):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                deliver_for_ever(folder, writing)
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            first = pipe.read(4)  # it has begun
            killer = threading.Timer(chance.uniform(0, 0.01), os.kill, (pid, signal.SIGKILL))
            killer.start()
            delivered += [number for (number,) in struct.iter_unpack(">I", first + pipe.read())]
        killer.join()
        kills += os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert set(delivered) == set(range(5000))
    assert len(delivered) <= 5000 + 20 * kills


def test_signal_handlers_append_in_the_middle_of_appends(tmp_path: Path) -> None:
    """A handler at any point of an append, a read or an eviction: no deadlock, exact counts."""
    spool = Spool(tmp_path / "spool", **SMALL)
    from_handler = 0
    delivered: list[bytes] = []

    def handle(signum: int, frame: object) -> None:
        nonlocal from_handler
        from_handler += spool.append([b"handler %d" % from_handler])
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        appended = 0
        while from_handler < 1000:
            appended += spool.append([b"main %d" % appended, b"x" * (appended % 900)])
            if appended % 5 == 0:
                read = spool.read(20)
                spool.done([position for position, _ in read])
                delivered += [record for _, record in read]
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    counts = spool.counts
    assert counts.appended == appended + from_handler
    assert counts.delivered == len(delivered)
    assert accounted(counts)
    assert len(drain(spool)) == counts.pending
    spool.close()


class Stop(Exception):
    """Raised by a signal handler."""


def test_an_exception_from_a_signal_handler_tears_nothing(tmp_path: Path) -> None:
    """It may cut an append short anywhere: what returned is there, and later records are whole."""
    spool = Spool(tmp_path / "spool", **LARGE)
    accepted = [b"first"]
    spool.append(accepted)

    def handle(signum: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, handle)
    number = 0
    try:
        while number < 2000:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
                while True:
                    number += 1
                    record = b"%d" % number
                    spool.append([record])
                    accepted.append(record)
            except Stop:
                pass
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    spool.append([b"last"])
    counts = spool.counts
    found = drain(spool)
    assert len(found) == counts.pending == counts.appended
    assert set(found) >= {*accepted, b"last"}
    assert len(set(found)) == len(found)
    spool.close()


def test_a_finalizer_appends(tmp_path: Path) -> None:
    """Garbage is collected wherever it likes."""
    spool = Spool(tmp_path / "spool", **LARGE)
    told = 0

    class Teller:
        def __del__(self) -> None:
            nonlocal told
            told += spool.append([b"finalizer"])

    for _ in range(200):
        cycle = [Teller()]
        cycle.append(cycle)  # type: ignore[arg-type]
        del cycle
        assert spool.append([b"main"] * 5) == 5
    import gc

    gc.collect()
    assert told == 200
    assert spool.counts.appended == 1200
    assert len(drain(spool)) == 1200
    spool.close()


@pytest.mark.parametrize("bound", [SMALL, LARGE])
def test_a_storm_of_threads(tmp_path: Path, bound: dict[str, int]) -> None:
    """Eight writers, a reader and a thread switch each microsecond: no torn frame, exact counts."""
    spool = Spool(tmp_path / "spool", **bound)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    accepted, delivered = [0] * 8, []
    stop = threading.Event()

    def write(thread: int) -> None:
        for number in range(150):
            batch = [b"%d %d %d " % (thread, number, n) + b"x" * 100 * n for n in range(4)]
            accepted[thread] += spool.append(batch)

    def read() -> None:
        while not stop.is_set() or spool.counts.pending:
            found = spool.read(50)
            spool.done([position for position, _ in found])
            delivered.extend(record for _, record in found)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    sys.setswitchinterval(interval)
    counts = spool.counts
    assert counts.appended == sum(accepted) == 8 * 150 * 4
    assert counts.corrupt == 0
    assert accounted(counts)
    assert len(set(delivered)) == len(delivered)
    assert counts.delivered <= len(delivered) <= counts.delivered + counts.evicted
    if bound is LARGE:
        assert counts == Counts(appended=4800, delivered=4800)
    assert all(set(record.split(b" ")[3]) <= {ord("x")} for record in delivered)
    spool.close()


ADOPTER = """
import os, sys
from twinrun.spool import Spool
spool = Spool(sys.argv[1], max_bytes=1 << 30)
os.read(0, 1)
spool.adopt()
while read := spool.read(100):
    spool.done([position for position, _ in read])
    os.write(1, b"".join(record + b"\\n" for _, record in read))
print(spool.counts.adopted == spool.counts.delivered)
spool.close()
"""


def test_each_record_is_adopted_by_one_of_several(tmp_path: Path) -> None:
    """Processes that come for the same remains at once share them without doubles."""
    folder = tmp_path / "spool"
    expected = []
    for owner in range(5):
        dead = Spool(folder, **LARGE | {"segment_bytes": 4096})
        given = [b"%d %d " % (owner, n) + b"x" * 300 for n in range(60)]
        dead.append(given)
        dead.close()
        expected += given
    adopters = [
        subprocess.Popen(
            [sys.executable, "-c", ADOPTER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for adopter in adopters:
        assert adopter.stdin is not None
        adopter.stdin.write(b"x")
        adopter.stdin.flush()
    outputs = [adopter.communicate()[0].splitlines() for adopter in adopters]
    assert [output.pop() for output in outputs] == [b"True"] * 3
    assert sorted(chain(*outputs)) == sorted(expected)
    assert list(folder.iterdir()) == []


def renamed(folder: Path, before: str, after: str) -> None:
    """Have all files of a folder belong to another owner."""
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace(before, after))


def test_another_machines_segments_are_adopted_once_its_lock_is_free(tmp_path: Path) -> None:
    """Process numbers of elsewhere say nothing: who holds the lock lives."""
    folder = tmp_path / "spool"
    there = Spool(folder, **SMALL)
    there.append([b"there"])
    owner = next(folder.glob("*.lock")).name.removesuffix(".lock")
    boot = owner.split("-")[1]
    renamed(folder, boot, "0123456789abcdef")
    heir = heir_of(folder)
    assert heir.counts.adopted == 0
    [lock] = folder.glob("*.lock")
    there._home.forget()  # as when it dies
    assert heir.adopt() == 1
    assert drain(heir) == [b"there"]
    assert not lock.exists()
    heir.close()
    there.close()


def test_what_another_machine_let_go_of_is_adopted(tmp_path: Path) -> None:
    """Without a lock file nobody holds it."""
    folder = tmp_path / "spool"
    there = Spool(folder, **SMALL)
    there.append([b"there"])
    there.close()
    boot = next(folder.iterdir()).name.split("-")[1]
    renamed(folder, boot, "0123456789abcdef")
    heir = heir_of(folder)
    assert drain(heir) == [b"there"]
    heir.close()


def test_a_process_number_that_another_process_has_by_now(tmp_path: Path) -> None:
    """When it started tells one from the other."""
    folder = tmp_path / "spool"
    spool = Spool(folder, **SMALL)
    spool.append([b"a"])
    owner = next(folder.glob("*.lock")).name.removesuffix(".lock")
    host, boot, space, _, started, token = owner.split("-")
    other = f"{host}-{boot}-{space}-1-{int(started) + 1}-{token}"
    renamed(folder, owner, other)
    heir = heir_of(folder)
    assert drain(heir) == [b"a"]
    heir.close()
    spool.close()


def test_locks_that_dead_processes_left_are_swept_up(tmp_path: Path) -> None:
    """A lock file without segments is removed by whoever looks for some."""
    folder = tmp_path / "spool"
    program = (
        "import os, sys; from twinrun.spool import Spool; spool = Spool(sys.argv[1]);"
        "spool.append([b'a']); spool.done([p for p, _ in spool.read(1)]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)
    heir = heir_of(folder)
    assert heir.read(1) == []
    heir.close()
    assert list(folder.iterdir()) == []


def test_spawned_programs_inherit_nothing(tmp_path: Path) -> None:
    """A child program has none of the spool's descriptors."""
    spool = Spool(tmp_path / "spool", **SMALL)
    spool.append([b"a"])
    program = f"""
import os
for name in os.listdir("/proc/self/fd"):
    try:
        assert not os.readlink("/proc/self/fd/" + name).startswith({str(spool)!r})
    except FileNotFoundError:
        pass
"""
    subprocess.run([sys.executable, "-c", program], check=True, close_fds=False)
    spool.close()
