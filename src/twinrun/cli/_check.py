"""`twinrun check`: may the candidate take over?"""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

import attrs
import click

from twinrun.analysis import policy as policies
from twinrun.analysis import verdict
from twinrun.analysis.policy import DEFAULT, Policy
from twinrun.analysis.verdict import Status, Verdict
from twinrun.cli._output import styled, width, write
from twinrun.cli._program import COULD_NOT_TELL, CouldNotTellError, twinrun
from twinrun.cli._stores import chosen, opened, store_to
from twinrun.errors import ConfigurationError
from twinrun.reports import verdict as for_people
from twinrun.reports import verdict_json, verdict_markdown
from twinrun.reports.texts import line
from twinrun.store import Store

__all__ = ["check"]

_STATUSES: Final = {Status.READY: 0, Status.NOT_READY: 1, Status.NOT_ENOUGH_EVIDENCE: 2}


class _WrongUsageError(click.UsageError):
    """Wrong usage of a command whose exit status is an answer: it must not look like one."""

    exit_code = COULD_NOT_TELL


class _Answering(click.Command):
    """A command whose exit status is an answer: neither wrong usage nor a crash looks like one."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _WrongUsageError(error.format_message(), error.ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _WrongUsageError(error.format_message(), error.ctx) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:
            traceback.print_exc()
            ctx.exit(COULD_NOT_TELL)


def _ratios(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Read limits of quantiles, each of the form `p99=1.2`."""
    read = {}
    for value in values:
        name, ratio = [*value.split("=", 1), ""][:2]
        try:
            policies.quantile(name)
            read[name] = float(ratio)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not of the form p99=1.2") from None
    return read


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime.datetime | None:
    """Read how long ago, or a date with or without a time, in UTC if nothing else is said."""
    if value is None:
        return None
    with suppress(ValueError, OverflowError):
        return datetime.datetime.now(datetime.UTC) - policies.parse_age(value)
    with suppress(ValueError, OverflowError):
        read = datetime.datetime.fromisoformat(value)
        return read.replace(tzinfo=read.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    raise click.BadParameter(f"{value!r} is neither a time ago, as 7d, nor a date, as 2026-03-01")


def _asked(
    option: str, kind: Any, text: str, **more: Any
) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Make an option that stands over what the policy says."""
    return click.option(option, type=kind, help=text, **more)


@twinrun.command(cls=_Answering)
@click.argument("experiments", metavar="EXPERIMENT...", nargs=-1, required=True)
@store_to("read")
@click.option("--candidate", "only", metavar="NAME", multiple=True, help="Judge only this one.")
@click.option(
    "--since", callback=_moment, metavar="TIME", help="Count from then on: 7d, 2026-03-01."
)
@click.option("--release", metavar="RELEASE", help="Count only runs of this release of yours.")
@click.option(
    "--policy", "policy_name", metavar="NAME", help="The policy, by its name in the file."
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file with policies; else the nearest pyproject.toml that has any.",
)
@_asked("--max-mismatch-rate", float, "The share of runs that may differ.", metavar="RATE")
@_asked("--max-error-rate", float, "The share in which only the candidate fails.", metavar="RATE")
@_asked(
    "--max-latency-ratio",
    str,
    "How many times the control's a quantile may be.",
    metavar="p99=RATIO",
    callback=_ratios,
    multiple=True,
)
@_asked("--max-paired-ratio", float, "The same in half of the runs, each.", metavar="RATIO")
@_asked("--max-inconclusive-rate", float, "The share that may be uncomparable.", metavar="RATE")
@_asked("--max-hidden-rate", float, "The share that noise may hide.", metavar="RATE")
@_asked("--confidence", float, "How sure a bound must be, such as 0.95.", metavar="SHARE")
@_asked("--min-runs", int, "How many runs there must be.", metavar="N")
@_asked("--min-age", str, "Over what time there must be runs, such as 7d.", metavar="TIME")
@_asked("--accept", str, "A group that is wanted; may be repeated.", metavar="GROUP", multiple=True)
@click.option("--json", "form", flag_value="json", help="Write stable JSON instead.")
@click.option("--markdown", "form", flag_value="markdown", help="Write Markdown instead.")
@click.pass_context
def check(
    context: click.Context,
    /,
    experiments: tuple[str, ...],
    location: str | None,
    only: tuple[str, ...],
    since: datetime.datetime | None,
    release: str | None,
    policy_name: str | None,
    config: Path | None,
    form: str | None,
    **asked: Any,
) -> None:
    """Say whether candidates may take over: a gate for a pipeline.

    \b
    Exit status, the worst of several experiments and candidates:
      0  ready
      1  not ready: something is beyond the policy
      2  not enough evidence: nothing is, for all that is known yet
      3  could not tell: no store, no such experiment, a wrong policy, wrong usage

    Its bounds hold however often you look. Options stand over the policy of the file.

    \b
    Examples:
      twinrun check pricing.quote --max-mismatch-rate 0.0001 --max-latency-ratio p99=1.2
      twinrun check pricing.quote search --policy release --markdown >> "$GITHUB_STEP_SUMMARY"
    """
    try:
        policy = _policy(config, policy_name, asked)
        with opened(location) as store:
            each = dict.fromkeys(experiments)
            judged = [_judge(store, name, policy, since, release, only) for name in each]
    except ConfigurationError as error:
        raise CouldNotTellError(f"The policy can't be used: {line(str(error))}.") from None
    verdicts = list(chain(*judged))
    write(_FORMS[form](verdicts))
    context.exit(_STATUSES[verdict.worst(each.status for each in verdicts)])


def _for_people(verdicts: Sequence[Verdict]) -> str:
    """Write verdicts as wide as there is room."""
    return for_people.text(verdicts, width(), styled())


_FORMS: Final[Mapping[str | None, Callable[[Sequence[Verdict]], str]]] = {
    None: _for_people,
    "json": verdict_json.document,
    "markdown": verdict_markdown.document,
}


def _policy(config: Path | None, name: str | None, asked: dict[str, Any]) -> Policy:
    """Find the policy that was asked for, and let options stand over it."""
    path = config or policies.find(Path.cwd())
    named = policies.read(path) if path else {}
    if name is not None and name not in named:
        there = ", ".join(map(repr, named)) or "none"
        where = path or "a pyproject.toml here or above"
        raise CouldNotTellError(f"There is no policy {name!r} in {where}; there are: {there}.")
    policy = named.get(name or DEFAULT, Policy())
    ratios = {**policy.max_latency_ratio, **asked.pop("max_latency_ratio")}
    accepted = (*policy.accepted, *asked.pop("accept"))
    given = {key: value for key, value in asked.items() if value is not None}
    return attrs.evolve(policy, max_latency_ratio=ratios, accepted=accepted, **given)


def _judge(
    store: Store,
    experiment: str,
    policy: Policy,
    since: datetime.datetime | None,
    release: str | None,
    only: tuple[str, ...],
) -> list[Verdict]:
    """Judge one experiment, or say why that can't be."""
    [record] = chosen(store.experiments(), experiment)
    if release is not None:
        _known("release", release, store.releases(record.name), experiment)
    for candidate in only:
        _known("candidate", candidate, verdict.candidates(store.tally(record.name)), experiment)
    try:
        return verdict.read(store, record.name, policy, since=since, release=release, only=only)
    except ConfigurationError as error:
        text = f"The policy can't be used for {experiment}: {error}."
        raise CouldNotTellError(line(text)) from None


def _known(kind: str, wanted: str, there: Sequence[str], experiment: str) -> None:
    """Refuse a name that is none of those that are known of an experiment."""
    if wanted not in there:
        names = ", ".join(there) or "none"
        text = f"{experiment} ran with no {kind} {wanted!r}; there are: {names}."
        raise CouldNotTellError(line(text))
