"""What lies between processes and collectors: streams in Redis, and the records in them."""

from __future__ import annotations

import datetime
import json
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from twinrun.errors import ConfigurationError, needing
from twinrun.store import incoming
from twinrun.store.records import Mismatch, TallyIncrement
from twinrun.tally import Tally

__all__ = [
    "GROUP",
    "IDLE",
    "RECORD",
    "STREAM",
    "Keys",
    "client",
    "contents",
    "location",
    "place",
    "tally_record",
]

STREAM: Final = "twinrun"
"""The stream that is published to and collected from, unless another one is named."""

GROUP: Final = "twinrun"
"""The group of consumers that it is shared out to, unless another one is named."""

IDLE: Final = 60
"""Seconds after which a message is taken from a consumer that has not finished with it."""

RECORD: Final = "record"
"""The one field of a message; its value is JSON."""

_VERSION: Final = 1
_REPLIES: Final[dict[str, Any]] = {"protocol": 2, "decode_responses": False}
_TIMEOUT: Final = 5.0  # seconds that Redis has for an answer


def _name(stream: object) -> str:
    """Take a stream's name.

    Raises:
        ConfigurationError: it is no text, empty, or one that UTF-8 can't write.
    """
    if isinstance(stream, str) and stream:
        try:
            stream.encode()
        except UnicodeEncodeError:
            pass
        else:
            return stream
    raise ConfigurationError(f"stream names a stream in Redis, such as {STREAM!r}, not {stream!r}")


@attrs.frozen
class Keys:
    """What is kept in Redis for one stream, all in one slot of a cluster.

    Tallies have a stream of their own, so that no storm of mismatches pushes them out.
    """

    stream: str = attrs.field(converter=_name)

    @property
    def streams(self) -> tuple[str, str]:
        """The streams that are collected."""
        return self.stream, self.tallies

    @property
    def tallies(self) -> str:
        """The stream of what the tallies gained."""
        return self._beside("tallies")

    @property
    def dead(self) -> str:
        """The stream of what can't be stored."""
        return self._beside("dead")

    @property
    def counts(self) -> str:
        """The hash of how many messages of each stream were published and collected."""
        return self._beside("counts")

    def published(self, stream: str) -> str:
        """Name the entry of `counts` that holds how many messages a stream was ever given."""
        return f"published {stream}"

    def collected(self, stream: str, group: str) -> str:
        """Name the entry of `counts` that holds how many of them a group has dealt with."""
        return f"collected {stream} {group}"

    def _beside(self, name: str) -> str:
        """Name a key; a cluster tells its slot by what stands in braces."""
        tagged = self.stream if "{" in self.stream else f"{{{self.stream}}}"
        return f"{tagged}:{name}"


def client(url: object) -> Any:
    """Make a client of a Redis URL; it connects when it is first used, and tries nothing twice.

    Raises:
        ConfigurationError: redis is missing, or the URL can't be read; it is never repeated, since
            it may hold a password.
    """
    with needing("redis", 'Redis needs redis: pip install "twinrun[redis]"'):
        import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    if not isinstance(url, str) or not _is_sound(url):
        raise ConfigurationError(
            "the URL of Redis can't be read; accepted are redis://host:6379/0, rediss:// and "
            "unix:///path, a password's @ / ? # % written as %40 %2F %3F %23 %25"
        )
    try:
        made = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            **_REPLIES,
        )
        made.connection_pool.make_connection()  # refuses what it does not know; connects nowhere
    except (ValueError, TypeError, redis.RedisError):
        raise ConfigurationError("the URL of Redis has a part that can't be read") from None
    if not _REPLIES.items() <= made.connection_pool.connection_kwargs.items():
        raise ConfigurationError(f"leave {' and '.join(_REPLIES)} out of the URL of Redis")
    return made


def place(client: Any) -> tuple[object, ...]:
    """Tell a client's database from others; empty for a cluster, whose nodes may change."""
    given = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    if "path" not in given and "host" not in given:
        return ()
    return given.get("path"), given.get("host"), given.get("port", 6379), given.get("db", 0)


def location(client: Any) -> str:
    """Say where a client's server is, without user or password."""
    path, host, port, _ = place(client) or ("a cluster", None, None, None)
    return str(path) if path else f"{host}:{port}"


def _is_sound(url: str) -> bool:
    """Whether no part of a password stands where another part of the URL is looked for."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018, it is read here for the first time
    except ValueError:
        return False
    if parts.scheme == "unix":
        return bool(parts.path) and not parts.fragment
    is_known = parts.scheme in ("redis", "rediss")
    return is_known and "@" not in parts.path + parts.query and not parts.fragment


def tally_record(increment: TallyIncrement) -> bytes:
    """Write what a tally gained; with its time, process and number it is known again."""
    made = {
        "version": _VERSION,
        "experiment": increment.experiment,
        "recorded_at": increment.recorded_at.isoformat(),
        "process": increment.process,
        "sequence": increment.sequence,
        "release": increment.release,
        "tally": increment.tally.as_dict(),
    }
    return json.dumps(made, allow_nan=False, separators=(",", ":")).encode()


def contents(record: bytes) -> tuple[list[TallyIncrement], list[Mismatch]]:
    """Read a record of either kind.

    Raises:
        ValueError: it is none that this twinrun can read.
    """
    try:
        read = json.loads(record)
        if "tally" not in read:
            return [], incoming.mismatches(record)
        if read["version"] != _VERSION:
            raise ValueError(f"the record has version {read['version']!r}, not {_VERSION}")
        return [
            TallyIncrement(
                experiment=read["experiment"],
                process=read["process"],
                sequence=read["sequence"],
                release=read["release"],
                recorded_at=datetime.datetime.fromisoformat(read["recorded_at"]),
                tally=Tally.from_dict(read["tally"]),
            )
        ], []
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no record of a result or a tally: {error!r}") from error
