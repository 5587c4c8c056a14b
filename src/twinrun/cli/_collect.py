"""`twinrun collect`: what a fleet publishes to Redis goes to the store."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import click

from twinrun import transit
from twinrun.cli._output import number, sentence, write
from twinrun.cli._program import INTERRUPTED, CouldNotTellError, twinrun
from twinrun.cli._stores import json_option, opened, store_to
from twinrun.errors import ConfigurationError
from twinrun.reports.json import VERSION
from twinrun.reports.texts import line, plain
from twinrun.storing import BATCH, RefusedError

if TYPE_CHECKING:
    from twinrun.collecting import Stop
    from twinrun.consumer import Consumer, Totals

__all__ = ["collect"]


@twinrun.command()
@click.argument("url", metavar="REDIS", envvar="TWINRUN_REDIS")
@store_to("write to")
@click.option(
    "--stream",
    metavar="NAME",
    default=transit.STREAM,
    show_default=True,
    help="The stream= of the publishers.",
)
@click.option(
    "--group",
    metavar="NAME",
    default=transit.GROUP,
    show_default=True,
    help="The consumer group: its members share the messages out.",
)
@click.option("--consumer", metavar="NAME", help="This one's name in it; a new one by default.")
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(1, 5000),
    default=BATCH,
    show_default=True,
    help="Store at most N mismatches and N gains of tallies in one transaction.",
)
@click.option(
    "--idle",
    metavar="SECONDS",
    type=click.IntRange(0, 86_400),
    default=transit.IDLE,
    show_default=True,
    help="Take over what another one has not finished with for so long.",
)
@click.option("--once", is_flag=True, help="Collect all there is, then end.")
@json_option
def collect(
    url: str, location: str | None, stream: str, once: bool, as_json: bool, **given: Any
) -> None:
    """Collect what a fleet publishes to Redis into the store.

    REDIS is its URL, such as redis://cache:6379/0; the environment variable TWINRUN_REDIS may hold
    it, which `ps` does not show. Run as many as you like, on as many machines: each message is
    counted once, even if a collector is killed, or Redis or the store goes away for a while. It
    runs until Ctrl-C or SIGTERM, and ends after a transaction.

    \b
    Examples:
      twinrun collect redis://cache:6379/0 --store postgresql://twinrun@db/twinrun
      twinrun collect redis://cache:6379/0 --store twinrun.db --once
    """
    try:
        client, keys = transit.client(url), transit.Keys(stream)
    except ConfigurationError as error:
        raise click.UsageError(sentence(error)) from None
    from twinrun.consumer import Consumer

    with closing(client), opened(location, create=True) as store:
        consumer = Consumer(client, store, keys, **given)
        source = f"{line(stream)} of Redis at {line(transit.location(client))}"
        _tell(f"Collecting from the stream {source} into {store}.")
        came, totals = _collect(consumer, once)
    if as_json:
        content = {"version": VERSION, "collected": attrs.asdict(totals)}
        write(json.dumps(content, indent=2) + "\n")
    else:
        write(_said(totals, keys))
    if came == signal.SIGINT:
        click.get_current_context().exit(INTERRUPTED)


def _collect(consumer: Consumer, once: bool) -> tuple[int | None, Totals]:
    """Collect until a signal comes or all is collected; give that signal, and what was done."""
    from redis.exceptions import RedisError

    from twinrun.collecting import Stop, collect_all, reason

    stop = Stop()
    try:
        with _signals(stop) as came:
            collect_all(consumer, stop, _tell, once=once)
    except RefusedError as error:
        raise CouldNotTellError(sentence(error)) from None
    except RedisError as error:
        raise CouldNotTellError(f"Redis can't be used: {reason(error)}.") from None
    finally:
        with contextlib.suppress(RedisError):
            consumer.leave()
    with contextlib.suppress(RedisError):
        consumer.look()
    return (came[0] if came else None), consumer.totals


@contextmanager
def _signals(stop: Stop) -> Iterator[list[int]]:
    """Have SIGINT and SIGTERM ask for the end, and come through if they come again."""
    came: list[int] = []

    def ask(number: int, _: object) -> None:
        came.append(number)
        stop.ask()
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, ask)
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _tell(text: str) -> None:
    """Say something to whoever watches."""
    click.echo(plain(line(text), sys.stderr.encoding or "utf-8"), err=True)


def _said(totals: Totals, keys: transit.Keys) -> str:
    """Say what was done, and what was not."""
    said = [f"{number(totals.stored, 'message')} stored."]
    said += (
        f"{number(count, 'message')} {what}."
        for count, what in (
            (totals.set_aside, f"can't be stored: set aside in the stream {line(keys.dead)}"),
            (totals.held, "held by other collectors"),
            (totals.waiting, "waiting in Redis"),
            (totals.lost, "with mismatches lost: Redis cut them away unread"),
            (
                totals.lost_tallies,
                "with gains of tallies lost, counts are too low: Redis cut them away unread",
            ),
        )
        if count
    )
    return "\n".join([*said, ""])
