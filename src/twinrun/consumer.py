"""One consumer of what processes publish to Redis: of a group that brings it into a store."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
from redis.exceptions import ResponseError

from twinrun.store import Store
from twinrun.storing import BATCH, RefusedError, store_records
from twinrun.tracebacks import message, type_name
from twinrun.transit import GROUP, IDLE, RECORD, Keys

__all__ = ["Consumer", "Totals"]

_BLOCK: Final = 1.0  # seconds that Redis waits for a message
_DEAD_KEPT: Final = 10_000  # messages that can't be stored
_NEW, _OWN = ">", "0"  # what to read: what nobody has read yet, or what this consumer has
_GONE: Final = ("NOGROUP", "UNBLOCKED")  # so begin Redis's errors where a stream was deleted

_SETTLE: Final = """
local settled = redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 3))
redis.call('HINCRBY', KEYS[2], ARGV[2], settled)
return settled
"""
_SET_ASIDE: Final = f"""
local settled = redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('HINCRBY', KEYS[2], ARGV[2], settled)
if settled == 1 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', {_DEAD_KEPT}, '*',
             '{RECORD}', ARGV[4], 'reason', ARGV[5], 'stream', KEYS[1])
end
return settled
"""
_LEAVE: Final = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
"""

_Key: TypeAlias = tuple[str, bytes]  # a message's stream and its id
_Message: TypeAlias = tuple[_Key, bytes]  # and its record


def _own_name() -> str:
    """Name a consumer as no other one is named."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


@attrs.frozen
class Totals:
    """What became of messages: the first three by this consumer, the others by all of its group."""

    stored: int = 0
    set_aside: int = 0
    claimed: int = 0
    """Taken over from consumers that did not finish with them."""
    held: int = 0
    """Read by a consumer that is not done with them."""
    waiting: int = 0
    """In the stream, for anybody to read."""
    lost: int = 0
    """Mismatches cut away by Redis, since the stream was full, before anybody had read them."""
    lost_tallies: int = 0
    """The same of what tallies gained: counts are too low by as much."""


class Consumer:
    """One consumer: reads messages, stores them, and only then reports them as done.

    Nothing is kept between two batches: what could not be stored is read again, by this consumer
    or by another one.
    """

    def __init__(
        self,
        client: Any,
        store: Store,
        keys: Keys,
        *,
        group: str = GROUP,
        consumer: str | None = None,
        batch: int = BATCH,
        idle: float = IDLE,
    ) -> None:
        self._client, self._store, self._keys = client, store, keys
        self._group, self._consumer = group, _own_name() if consumer is None else consumer
        self._batch, self._idle = batch, idle
        self._counts = Counter[str]()
        self._standing = {stream: Counter[str]() for stream in keys.streams}
        self._is_ready = self._refused = False
        self._left_over = True  # a consumer of this name may have read messages before
        self._next_claim = 0.0

    @property
    def totals(self) -> Totals:
        """What became of messages, as far as was last looked."""
        standing = self._standing
        group = {
            name: sum(each[name] for each in standing.values()) for name in ("held", "waiting")
        }
        lost = {"lost": self._keys.stream, "lost_tallies": self._keys.tallies}
        group |= {name: standing[stream]["lost"] for name, stream in lost.items()}
        return Totals(**group, **self._counts)

    def round(self, wait: bool = True) -> int:
        """Deal with a batch, or wait a second for one; gives how many messages it had.

        Raises:
            RedisError, RefusedError, STORE_ERRORS: what it had comes again in a later round.
        """
        try:
            return self._round(wait)
        except ResponseError as error:
            if not str(error).startswith(_GONE):
                raise
            self._is_ready = False  # deleted, or Redis came back without it
            return self._round(wait)

    def _round(self, wait: bool) -> int:
        self._prepare()
        if time.monotonic() >= self._next_claim:
            self.claim()
        own = self._read(_OWN) if self._left_over else []
        batch = own
        if not own or self._refused:  # others show whether it is the messages or the store
            self._left_over = True  # unless it all goes well
            batch = own + self._read(_NEW, wait and not own)
        if batch:
            self._store_all(batch)
        self._left_over = bool(own)
        return len(batch)

    def claim(self) -> bool:
        """Take over what other consumers have not finished with; False if there is none of it."""
        self._next_claim = time.monotonic() + self._idle / 2
        claimed, found = 0, False
        for stream in self._keys.streams:
            start: Any = "0-0"
            while start is not None:
                start, messages, *_ = self._client.xautoclaim(
                    stream,
                    self._group,
                    self._consumer,
                    int(self._idle * 1000),
                    start,
                    count=self._batch,
                )
                claimed += sum(number is not None for number, _ in messages)
                found = found or bool(messages)
                if messages or start == b"0-0":
                    start = None
        self._counts["claimed"] += claimed
        self._left_over = self._left_over or found
        return found

    def look(self) -> Totals:
        """See how far the group is, and what it has lost."""
        for stream in self._keys.streams:
            self._standing[stream] = self._look_at(stream)
        return self.totals

    def leave(self) -> None:
        """Have the group forget this consumer, unless it holds messages."""
        for stream in self._keys.streams:
            self._client.eval(_LEAVE, 1, stream, self._group, self._consumer)

    def _prepare(self) -> None:
        """Make the store, the streams and the group, unless they are there."""
        if self._is_ready:
            return
        self._store.experiments()  # now, so that one that can't be used is told of before it is
        for stream in self._keys.streams:
            try:
                self._client.xgroup_create(stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
        self._is_ready = True

    def _read(self, which: str, wait: bool = False) -> list[_Message]:
        """Read a batch of each stream, and be done with what Redis has cut away meanwhile."""
        block = int(_BLOCK * 1000) if wait else None
        streams = dict.fromkeys(self._keys.streams, which)
        reply = self._client.xreadgroup(
            self._group, self._consumer, streams, count=self._batch, block=block
        )
        messages: list[_Message] = []
        for name, entries in reply:
            stream = name.decode()
            gone = [key for key, fields in entries if not fields]
            if gone:
                self._client.xack(stream, self._group, *gone)
            messages += (((stream, key), _record(fields)) for key, fields in entries if fields)
        return messages

    def _store_all(self, batch: Sequence[_Message]) -> None:
        records = dict(batch)
        try:
            store_records(
                self._store,
                batch,
                self._settle,
                lambda key, error: self._set_aside(key, records[key], error),
            )
        except RefusedError:
            self._refused = True
            raise
        self._refused = False

    def _settle(self, keys: Sequence[_Key]) -> None:
        """Report what is stored; what another consumer has reported meanwhile counts there."""
        by_stream: dict[str, list[bytes]] = {}
        for stream, number in keys:
            by_stream.setdefault(stream, []).append(number)
        for stream, numbers in by_stream.items():
            field = self._keys.collected(stream, self._group)
            self._counts["stored"] += self._client.eval(
                _SETTLE, 2, stream, self._keys.counts, self._group, field, *numbers
            )

    def _set_aside(self, key: _Key, record: bytes, error: Exception) -> None:
        """Keep what can't be stored where it disturbs nobody."""
        stream, number = key
        field = self._keys.collected(stream, self._group)
        reason = f"{type_name(type(error))}: {message(error)}".encode("utf-8", "backslashreplace")
        keys = stream, self._keys.counts, self._keys.dead
        given = self._group, field, number, record, reason
        self._counts["set_aside"] += self._client.eval(_SET_ASIDE, len(keys), *keys, *given)

    def _look_at(self, stream: str) -> Counter[str]:
        """See how far the group is with one stream."""
        keys = self._keys
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(stream)
            pipe.xinfo_groups(stream)
            pipe.hmget(keys.counts, keys.published(stream), keys.collected(stream, self._group))
            there, groups, counts = pipe.execute()
        group = next((each for each in groups if each["name"] == self._group.encode()), None)
        if group is None:
            return self._standing[stream]
        published, collected = (int(count or 0) for count in counts)
        unread = published - collected - group["pending"]  # or cut away unread
        read = _order(group["last-delivered-id"])
        if read == _order(there["last-generated-id"]):
            waiting = 0
        elif there["first-entry"] is None or _order(there["first-entry"][0]) > read:
            waiting = there["length"]
        else:  # something is left of what was read: so nothing of the rest was cut away since
            waiting = min(there["length"], unread - self._standing[stream]["lost"])
        waiting = max(0, waiting)
        return Counter(held=group["pending"], waiting=waiting, lost=max(0, unread - waiting))


def _record(fields: Mapping[bytes, bytes]) -> bytes:
    """Give a message's record; what has none is shown, and will be set aside."""
    return fields.get(RECORD.encode()) or repr(fields).encode()


def _order(number: bytes) -> tuple[int, ...]:
    """Read a message's id, such as 1700000000000-0."""
    return tuple(map(int, number.split(b"-")))
