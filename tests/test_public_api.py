"""What is public is declared here, name by name, and says what it is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import twinrun

PUBLIC: dict[str, set[str]] = {
    "twinrun": {
        "Comparison",
        "ConfigurationError",
        "Difference",
        "DifferenceKind",
        "Experiment",
        "Histogram",
        "MismatchError",
        "NOTHING",
        "Observation",
        "Outcome",
        "Result",
        "Stream",
        "Tally",
        "aflush",
        "configure",
        "disabled",
        "experiment",
        "flush",
        "in_candidate",
        "raising",
        "recording",
        "tallies",
    },
    "twinrun.analysis": set(),
    "twinrun.analysis.against": {"Against", "Between", "Pardon", "pardons", "weigh"},
    "twinrun.analysis.binomials": {
        "at_least",
        "at_most",
        "check",
        "log_beta",
        "log_probability",
        "turning_point",
    },
    "twinrun.analysis.bounds": {"interval", "lower", "ranks", "runs_needed", "upper"},
    "twinrun.analysis.latency": {
        "SlowerRuns",
        "medians_by_order",
        "orders_disagree",
        "quantile_interval",
        "ratio_interval",
        "slower_runs",
    },
    "twinrun.analysis.noise": {
        "Finding",
        "LEVEL",
        "Noise",
        "Source",
        "judged",
        "mcnemar",
        "rejected",
    },
    "twinrun.analysis.policy": {"DEFAULT", "Policy", "find", "parse_age", "quantile", "read"},
    "twinrun.analysis.projects": {"load", "nearest"},
    "twinrun.analysis.retention": {"Retention", "find", "read"},
    "twinrun.analysis.sequential": {
        "Decision",
        "Gate",
        "confidence_sequence",
        "log_likelihood_ratio",
        "log_mixture",
        "ranks",
        "sprt",
    },
    "twinrun.analysis.summary": {
        "CandidateSummary",
        "Example",
        "ExperimentSummary",
        "GroupSummary",
        "Quantiles",
        "Raised",
        "example",
        "finding",
        "observed",
        "read",
        "summarise",
    },
    "twinrun.analysis.verdict": {
        "AgeCheck",
        "Check",
        "HiddenCheck",
        "InconclusiveCheck",
        "PairedCheck",
        "QuantileCheck",
        "RateCheck",
        "RunsCheck",
        "Status",
        "Verdict",
        "candidates",
        "judge",
        "read",
        "worst",
    },
    "twinrun.analysis.wholes": {"Kept", "kept", "sides"},
    "twinrun.analysis.window": {"LATE", "Window", "members", "open_window"},
    "twinrun.cleaners": {"clean", "one_line", "payload", "places", "register_cleaner"},
    "twinrun.cli": {
        "COULD_NOT_TELL",
        "CouldNotTellError",
        "INTERRUPTED",
        "accept",
        "check",
        "collect",
        "deliver",
        "export",
        "import_",
        "log",
        "merge",
        "pause",
        "purge",
        "ramp",
        "report",
        "resume",
        "run",
        "show",
        "twinrun",
        "upgrade",
    },
    "twinrun.collecting": {"Stop", "collect_all", "reason"},
    "twinrun.comparators": {
        "approx",
        "both",
        "budgeted",
        "by",
        "by_field",
        "case_insensitive",
        "either",
        "equal",
        "exact",
        "ignoring",
        "json_text",
        "loose",
        "only",
        "same_error",
        "same_fields",
        "unordered",
        "xml_text",
    },
    "twinrun.comparators.combined": {"both", "by", "either"},
    "twinrun.comparators.equality": {"budgeted", "equal", "exact", "loose"},
    "twinrun.comparators.ordering": {"unordered"},
    "twinrun.comparators.places": {"by_field", "ignoring", "only", "same_fields"},
    "twinrun.comparators.raised": {"same_error"},
    "twinrun.comparators.structural": {"Budget", "BudgetExceededError", "differences", "found_by"},
    "twinrun.comparators.texts": {"Span", "case_insensitive", "json_text", "spans", "xml_text"},
    "twinrun.comparators.tolerance": {"approx"},
    "twinrun.consumer": {"Consumer", "Totals"},
    "twinrun.controls": {"OpenFeatureControls", "StoreControls"},
    "twinrun.controls.openfeature": {"OpenFeatureControls"},
    "twinrun.controls.store": {"StoreControls"},
    "twinrun.definition": {"Experiment", "Experimental", "experiment"},
    "twinrun.delivery": {
        "BATCH",
        "CAPACITY",
        "Counts",
        "Delivery",
        "INTERVAL",
        "MAX_BYTES",
        "before_exit",
    },
    "twinrun.demo": {"demo"},
    "twinrun.demo.command": {"NAME", "demo"},
    "twinrun.demo.harvest": {"files", "references"},
    "twinrun.demo.references": {"Reference", "split_by_regex", "split_by_urllib"},
    "twinrun.difference": {"Difference", "DifferenceKind", "Differences"},
    "twinrun.errors": {"ConfigurationError", "MismatchError", "needing"},
    "twinrun.fingerprints": {"VERSION", "fingerprint", "generalise", "generalise_text"},
    "twinrun.histogram": {"Histogram", "SCALE", "bucket_index"},
    "twinrun.ignores": {"Rule", "kind", "name_of", "path", "raised", "rule", "when"},
    "twinrun.observation": {"NOTHING", "Nothing", "Observation", "Stream"},
    "twinrun.paired": {
        "CUT",
        "Divergence",
        "LIMIT",
        "MORE",
        "PairCounter",
        "PairCounts",
        "PairedRuns",
    },
    "twinrun.patterns": {"Pattern", "compiled", "split", "step"},
    "twinrun.publishers": {
        "Buffered",
        "JSONLinesPublisher",
        "MemoryPublisher",
        "RedisPublisher",
        "StatsdPublisher",
        "StorePublisher",
        "StructlogPublisher",
    },
    "twinrun.publishers.buffered": {"Buffered"},
    "twinrun.publishers.jsonl": {"JSONLinesPublisher"},
    "twinrun.publishers.memory": {"MemoryPublisher"},
    "twinrun.publishers.redis": {"RedisPublisher"},
    "twinrun.publishers.statsd": {"StatsdPublisher", "TIMINGS", "spread"},
    "twinrun.publishers.store": {"StorePublisher"},
    "twinrun.publishers.structlog": {"StructlogPublisher"},
    "twinrun.recovery": {"deliver"},
    "twinrun.reports": set(),
    "twinrun.reports.beside": {"side_by_side"},
    "twinrun.reports.control_log": {"log"},
    "twinrun.reports.controls": {"as_json", "change_fields", "holds", "percent", "said"},
    "twinrun.reports.figures": {"NONE", "count", "duration", "moment", "percentage", "ratio"},
    "twinrun.reports.folding": {"folded"},
    "twinrun.reports.group": {"show"},
    "twinrun.reports.json": {"VERSION", "group", "report"},
    "twinrun.reports.noise": {"LISTED", "left_out", "rows", "sentence"},
    "twinrun.reports.passages": {"are_long", "passages", "spanned"},
    "twinrun.reports.remarks": {"differences", "ignored", "legend", "unstable"},
    "twinrun.reports.tables": {"TABLES", "Table", "write_csv", "write_parquet"},
    "twinrun.reports.terminal": {"NARROWEST", "SHORT", "indented", "print_out", "report", "table"},
    "twinrun.reports.texts": {"block", "line", "plain"},
    "twinrun.reports.values": {"SHORT", "common", "contrast", "lines", "named", "short"},
    "twinrun.reports.verdict": {"by_weight", "text"},
    "twinrun.reports.verdict_json": {"document"},
    "twinrun.reports.verdict_markdown": {"document"},
    "twinrun.reports.verdict_sentences": {"notes", "reason", "subject"},
    "twinrun.result": {"BASELINE", "Comparison", "Outcome", "Recheck", "Result"},
    "twinrun.samplers": {"Breaker", "Coin", "Dice", "chosen"},
    "twinrun.scrubbing": {"REDACTED", "Scrubber", "current", "is_secret_name", "scrub", "use"},
    "twinrun.settings": {
        "Gate",
        "Settings",
        "aflush",
        "checked_publishers",
        "configure",
        "current",
        "disabled",
        "flush",
        "is_evidence_only",
        "raising",
        "recording",
        "under_way",
    },
    "twinrun.spool": {"Counts", "Position", "Spool"},
    "twinrun.store": {
        "Exemplar",
        "ExperimentRecord",
        "GroupRecord",
        "Mismatch",
        "Store",
        "StoreNotFoundError",
        "StoreVersionError",
        "TallyIncrement",
    },
    "twinrun.store.controls": {"Action", "Change", "add", "changes", "last"},
    "twinrun.store.counting": {"add_tallies", "add_to_rows", "tally_row"},
    "twinrun.store.database": {"MAX_BYTES", "Store", "StoreNotFoundError", "StoreVersionError"},
    "twinrun.store.exchange": {"Line", "VERSION", "exported"},
    "twinrun.store.grouping": {
        "FIRST_KEPT",
        "PAYLOAD_LIMIT",
        "RESERVOIR",
        "add_mismatches",
        "bounded_json",
    },
    "twinrun.store.identity": {"ORIGIN", "is_origin", "name"},
    "twinrun.store.incoming": {"KEPT", "mismatches", "record"},
    "twinrun.store.lines": {
        "Count",
        "DAY",
        "ExampleLine",
        "ExperimentLine",
        "ExportError",
        "GroupLine",
        "KnownLine",
        "TallyLine",
        "read_lines",
    },
    "twinrun.store.migrations": {"MIGRATIONS", "migrate", "newest"},
    "twinrun.store.reading": {
        "exemplars",
        "experiments",
        "groups",
        "named",
        "releases",
        "span",
        "starting",
        "tallies",
    },
    "twinrun.store.records": {
        "Exemplar",
        "ExperimentRecord",
        "GroupRecord",
        "Mismatch",
        "TallyIncrement",
        "key_text",
        "storable_text",
    },
    "twinrun.store.schema": {
        "controls",
        "exemplars",
        "experiments",
        "identity",
        "imported_groups",
        "metadata",
        "mismatch_groups",
        "recent_mismatches",
        "schema_version",
        "tallies",
        "writers",
    },
    "twinrun.store.states": {"State", "decide"},
    "twinrun.store.taking": {"Taken", "take"},
    "twinrun.store.upkeep": {
        "EVERY",
        "FIRST",
        "KNOWN",
        "Purged",
        "ROLLED",
        "Transactions",
        "compact",
        "make_room",
        "purge",
        "roll_up",
        "tend",
    },
    "twinrun.store.writer": {"Writer", "is_kept", "writer_to"},
    "twinrun.store.writing": {"add_records", "experiment_ids", "widen"},
    "twinrun.storing": {"BATCH", "RefusedError", "STORE_ERRORS", "store_records"},
    "twinrun.tally": {"CONTROL_FIRST", "CONTROL_LAST", "Tally"},
    "twinrun.tracebacks": {
        "detach",
        "links",
        "members",
        "message",
        "place",
        "stack",
        "standing",
        "text",
        "twin",
        "type_name",
    },
    "twinrun.transit": {
        "GROUP",
        "IDLE",
        "Keys",
        "RECORD",
        "STREAM",
        "client",
        "contents",
        "location",
        "place",
        "tally_record",
    },
    "twinrun.typing": {
        "AfterRun",
        "Behaviour",
        "Clean",
        "CompareErrors",
        "CompareValues",
        "Context",
        "Controls",
        "Ignore",
        "Ledger",
        "OnFailure",
        "Publisher",
        "PublisherLike",
        "Sink",
    },
}


def public_modules() -> set[str]:
    """The modules that a user may import: no part of their name begins with an underscore."""
    found = {info.name for info in pkgutil.walk_packages(twinrun.__path__, "twinrun.")}
    return {"twinrun"} | {
        name for name in found if not any(part.startswith("_") for part in name.split("."))
    }


def test_every_public_module_is_declared() -> None:
    """A module becomes public by intention only."""
    assert public_modules() == set(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_exactly_the_declared_names_are_public(name: str) -> None:
    """`__all__` holds the declared names, each once, and each is there."""
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(PUBLIC[name])
    assert [missing for missing in module.__all__ if not hasattr(module, missing)] == []


def undocumented(module: ModuleType) -> list[str]:
    """The public functions, classes and their public methods that have no docstring."""
    objects = {name: getattr(module, name) for name in module.__all__}
    for name, value in list(objects.items()):
        if inspect.isclass(value) and value.__module__.startswith("twinrun"):
            objects |= {f"{name}.{n}": m for n, m in vars(value).items() if not n.startswith("_")}
    return [name for name, value in objects.items() if needs_docstring(value) and not doc(value)]


def needs_docstring(value: object) -> bool:
    """Whether a thing is one that can carry a docstring of its own."""
    return isinstance(value, type | property | classmethod | staticmethod) or inspect.isroutine(
        value
    )


def doc(value: object) -> str | None:
    """A thing's own docstring, not one that it inherits."""
    return getattr(value, "__doc__", None)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_thing_says_what_it_is(name: str) -> None:
    """Functions, classes, methods and properties have docstrings."""
    module = importlib.import_module(name)
    assert doc(module)
    assert undocumented(module) == []


def test_a_missing_docstring_is_found() -> None:
    """The check sees bare functions, bare classes and bare methods."""
    module = ModuleType("twinrun.fake")
    source = "def bare(): pass\nclass Bare:\n    def method(self): pass\nclass Told:\n    'Told.'"
    exec(source, vars(module))
    vars(module)["__all__"] = ["bare", "Bare", "Told"]
    for cls in ("Bare", "Told"):
        getattr(module, cls).__module__ = "twinrun.fake"
    assert undocumented(module) == ["bare", "Bare", "Bare.method"]
