"""The running account of an experiment in this process: what every run came to."""

from __future__ import annotations

import sys
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from itertools import count
from operator import sub
from typing import Any, Final, TypeAlias

from twinrun._forks import after_fork_in_child
from twinrun._measured import Measured, durations, mark_of, ratios
from twinrun.comparators._glances import ATOMS, confused
from twinrun.paired import Divergence, PairCounter
from twinrun.result import Outcome
from twinrun.samplers import Coin, Dice
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST, Tally

__all__ = [
    "BATCH",
    "Account",
    "Entry",
    "Pairs",
    "Ticker",
    "account_of",
    "accounts",
    "dice",
    "restart_all",
    "tallies",
    "when_used",
]

BATCH: Final = 256
"""How many runs are gathered before they are folded into the histograms."""

_FIRST_GLANCES: Final = 32
Entry: TypeAlias = tuple[str, Outcome, int, bool, bool, tuple[str, ...]]
"""What is counted of one candidate in one run."""

dice: Final = Dice()
"""The random generator of every experiment in this process."""


class Ticker:
    """A counter that any thread steps by `next(ticker.ticks)`, one atomic call; none is lost."""

    __slots__ = ("_taken", "ticks")

    def __init__(self) -> None:
        self.ticks = count()
        self._taken = 0

    def take(self) -> int:
        """Count the steps since the last time; only one thread may take at a time."""
        position = next(self.ticks)  # a step of our own, which is left out of the next count
        steps = position - self._taken
        self._taken = position + 1
        return steps


class Pairs:
    """Durations of matched runs of one candidate, gathered as (control, candidate) in ns.

    `is_due` says that the next match is to be given a glance: the first ones are, then one in each
    batch, and all of them once a truth value was found in the place of a number.
    """

    __slots__ = ("_glances", "candidate", "control", "control_first", "control_last", "is_due")

    def __init__(self, control: str, candidate: str) -> None:
        self.control = control
        self.candidate = candidate
        self.control_first: list[tuple[int, int]] = []
        self.control_last: list[tuple[int, int]] = []
        self.is_due = True
        self._glances = 0

    def is_match(self, control: Any, candidate: Any) -> bool:
        """Whether two values that `==` calls equal are so at a glance; counts the glances."""
        if type(control) in ATOMS:
            return True
        if confused(control, candidate):
            self._glances = -sys.maxsize
            return False
        self._glances += 1
        self.is_due = self._glances < _FIRST_GLANCES
        return True


class Account:
    """Counts and latencies of all experiments of one name, in this process.

    Runs append to buffers, which costs them one atomic step; the buffers are folded into the
    totals by whichever run fills a batch, and by every reader. It is a `Ledger` to publishers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._pairs: dict[tuple[str, str], Pairs] = {}
        self._events: deque[tuple[Any, ...]] = deque()
        self._tickers: dict[str, Ticker] = {}
        self._coins: dict[float, Coin] = {}
        self.word: float | None = None
        """The share that live control says; None where it says nothing: the code's own holds."""
        self.active: set[int] = set()
        """The threads that are inside a control now: what they call here runs the control only."""
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Start from nothing: what the parent has counted, the parent reports."""
        self.limit = 1  # so that the first run is folded at once, and publishers hear of it
        self.active.intersection_update({threading.get_ident()})  # only this thread lives on
        self.publishers: list[Any] = []  # those that have been told of this account
        self._lock = threading.RLock()
        self._busy = False
        for pairs in self._pairs.values():
            pairs.control_first.clear()
            pairs.control_last.clear()
        self._events.clear()
        for ticker in self._tickers.values():
            ticker.take()
        self._latest = Tally()
        self._is_read = True  # since then nothing was counted
        self._refused = 0
        self._experiments = 0
        self._outcomes: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
        self._ignored: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._counts: dict[str, Counter[str]] = {
            "error": Counter(),
            "skip": Counter(),
            "failure": Counter(),
            "drop": Counter(),
            "unstable": Counter(),
        }
        self._paired: defaultdict[str, PairCounter] = defaultdict(PairCounter)
        self._durations: defaultdict[str, Measured] = defaultdict(durations)
        self._ratios: defaultdict[str, defaultdict[str, Measured]] = defaultdict(ratios)

    def pairs(self, control: str, candidate: str) -> Pairs:
        """Give the buffer for matched runs of this candidate against this control."""
        return self._pairs.setdefault((control, candidate), Pairs(control, candidate))

    def ticker(self, reason: str) -> Ticker:
        """Give the counter of runs that are skipped for this reason."""
        return self._tickers.setdefault(reason, Ticker())

    def coin(self, share: float) -> Coin:
        """Give the coin that decides for a share; its refusals count as skipped: "sample".

        The share is the code's own: while live control says another, the coin decides for that.
        """
        with self._lock:
            coin = self._coins.setdefault(share, Coin(share, dice, self.used))
            if self.word is not None:
                coin.turn(self.word)
            return coin

    def say(self, share: float | None) -> None:
        """Have live control say another share, or nothing; it holds from the next run on."""
        with self._lock:
            self.word = share
            for own, coin in self._coins.items():
                coin.turn(own if share is None else share)

    def used(self) -> None:
        """Tell who waits for it that this experiment is being used in this process."""
        for tell in when_used:
            tell(self.name)

    def restart(self) -> None:
        """Have the next run, or call that is none, seem to be the first one."""
        self.limit = 1
        for coin in list(self._coins.values()):
            coin.turn()

    def skip(self, reason: str) -> None:
        """Count a run of the control alone."""
        self._note("skip", reason, 1)

    def fail(self, operation: str) -> None:
        """Count a callback that raised."""
        self._note("failure", operation, 1)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count records that a publisher could not keep."""
        self._note("drop", reason, count)

    def unstable(self, candidate: str) -> None:
        """Count a mismatch that did not repeat."""
        self._note("unstable", candidate, 1)

    def pair(
        self, candidate: str, ours: Divergence | None = None, baseline: Divergence | None = None
    ) -> None:
        """Count a run in which candidate and baseline were judged, and where each differed."""
        self._note("pair", candidate, ours, baseline)

    def record(
        self,
        control: str,
        control_ns: int,
        entries: tuple[Entry, ...],
    ) -> None:
        """Count one experiment.

        Each entry is a candidate's name, outcome, nanoseconds, whether it raised, whether the
        control ran before it, and the rules that ignored it.
        """
        self._note("run", control, control_ns, entries)

    def _note(self, *event: Any) -> None:
        self._events.append(event)
        if len(self._events) >= BATCH:
            self.fold()

    def fold(self) -> None:
        """Add what was gathered to the totals, unless that is being done just now."""
        if not self._busy:
            self._settle()

    def tally(self) -> Tally:
        """Read the account as it stands."""
        self._settle(read=True)
        return self._latest

    def _settle(self, read: bool = False) -> None:
        """Fold, and where asked take a new reading.

        The lock is left whatever a signal's handler raises, since `with` lets none come between.
        A handler, or a finalizer, that comes while its own thread folds finds the last reading.
        """
        with self._lock:
            if self._busy:
                return
            self._busy = True
            try:
                self._fold()
                if read and self._has_news():
                    self._latest = self._snapshot()
                    self._is_read = True
            finally:
                self._busy = False

    def _has_news(self) -> bool:
        """Say whether anything was counted since the last reading, which costs more than to ask."""
        refused = sum(coin.refusals() for coin in list(self._coins.values()))
        if self._is_read and refused == self._refused:
            return False
        self._refused = refused
        return True

    def _fold(self) -> None:
        """Add all that was gathered to the totals."""
        for pairs in list(self._pairs.values()):
            self._fold_pairs(pairs, CONTROL_FIRST, pairs.control_first)
            self._fold_pairs(pairs, CONTROL_LAST, pairs.control_last)
            pairs.is_due = True
        for _ in range(len(self._events)):
            self._is_read = False
            kind, name, *rest = self._events.popleft()
            if kind == "run":
                self._fold_run(name, *rest)
            elif kind == "pair":
                self._paired[name].add(*rest)
            else:
                self._counts[kind][name] += rest[0]
        for reason, ticker in list(self._tickers.items()):
            steps = ticker.take()
            if steps:
                self._is_read = False
                self._counts["skip"][reason] += steps

    def _fold_pairs(self, pairs: Pairs, order: str, buffer: list[tuple[int, int]]) -> None:
        """Fold matched runs, in steps that run in C for the most part."""
        if not buffer:
            return
        self._is_read = False
        batch = buffer[:]
        del buffer[: len(batch)]  # what other threads append meanwhile stays
        self._experiments += len(batch)
        self._outcomes[pairs.candidate][Outcome.MATCHED] += len(batch)
        controls, candidates = zip(*batch, strict=True)
        self._count(pairs.control, controls, [(pairs.candidate, order, candidates)])

    def _fold_run(self, control: str, control_ns: int, entries: tuple[Entry, ...]) -> None:
        self._experiments += 1
        durations: list[tuple[str, str, tuple[int, ...]]] = []
        for candidate, outcome, duration_ns, raised, control_first, rules in entries:
            self._outcomes[candidate][outcome] += 1
            if rules:
                self._ignored[candidate].update(set(rules))
            if raised:
                self._counts["error"][candidate] += 1
            order = CONTROL_FIRST if control_first else CONTROL_LAST
            durations.append((candidate, order, (duration_ns,)))
        self._count(control, (control_ns,), durations)

    def _count(
        self,
        control: str,
        control_ns: tuple[int, ...],
        candidates: list[tuple[str, str, tuple[int, ...]]],
    ) -> None:
        """Count the durations of runs, and of each candidate, by order, its ratios to them."""
        self._durations[control].add(control_ns)
        for candidate, order, candidate_ns in candidates:
            self._durations[candidate].add(candidate_ns)
            marks = map(mark_of.__getitem__, candidate_ns)
            ratios = map(sub, marks, map(mark_of.__getitem__, control_ns))
            self._ratios[candidate][order].add(ratios)

    def _snapshot(self) -> Tally:
        skipped = Counter(self._counts["skip"])
        skipped["sample"] += self._refused
        return Tally(
            experiments=self._experiments,
            outcomes={name: dict(counts) for name, counts in self._outcomes.items()},
            candidate_errors=dict(self._counts["error"]),
            skipped={reason: n for reason, n in skipped.items() if n},
            failures=dict(self._counts["failure"]),
            dropped=dict(self._counts["drop"]),
            durations={name: b.histogram() for name, b in self._durations.items()},
            ratios={
                name: {order: b.histogram() for order, b in orders.items()}
                for name, orders in self._ratios.items()
            },
            ignored={name: dict(counts) for name, counts in self._ignored.items()},
            unstable=dict(self._counts["unstable"]),
            paired={name: pairs.reading() for name, pairs in self._paired.items()},
        )


when_used: Final[list[Callable[[str], object]]] = []
"""What hears the name of an experiment when that is used: at first, and every now and then."""

_accounts: dict[str, Account] = {}


def account_of(name: str) -> Account:
    """Give the account of this name: experiments that share a name share it."""
    known = _accounts.get(name)
    return known if known is not None else _accounts.setdefault(name, Account(name))


def accounts() -> dict[str, Account]:
    """Give every account of this process by its experiment's name."""
    return dict(_accounts)


def restart_all() -> None:
    """Have each account's next use seem to be the first: publishers and controls hear of it."""
    for account in list(_accounts.values()):
        account.restart()


def tallies() -> dict[str, Tally]:
    """Read the tally of every experiment of this process, by its name."""
    return {name: account.tally() for name, account in accounts().items()}
