"""The house rules hold: the floors, the wall between the wings, sizes, names."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"

# Bottom up. A module may import only modules that stand before it; every module stands here.
FLOORS: dict[str, tuple[str, ...]] = {
    "ground": (
        "_forks",
        "_pickling",
        "_types",
        "_restraint",
        "_threads",
        "_wakeups",
        "observation",
        "difference",
        "result",
        "errors",
        "histogram",
        "paired",
        "tally",
        "typing",
    ),
    "first": (
        "_breaker",
        "samplers",
        "scrubbing._names",
        "scrubbing._shapes",
        "scrubbing._scrubber",
        "scrubbing",
        "tracebacks",
        "patterns",
        "comparators._parts",
        "comparators._verdicts",
        "comparators._libraries",
        "comparators._shapes",
        "comparators._fields",
        "comparators._glances",
        "comparators._alignment",
        "comparators._items",
        "comparators._rules",
        "comparators.structural",
        "comparators._content",
        "comparators.equality",
        "comparators.raised",
        "comparators.tolerance",
        "comparators.ordering",
        "comparators.places",
        "comparators.texts",
        "comparators.combined",
        "comparators",
        "fingerprints",
        "ignores",
        "cleaners._texts",
        "cleaners._walk",
        "cleaners._own",
        "cleaners._registry",
        "cleaners._libraries",
        "cleaners._readers",
        "cleaners._paths",
        "cleaners._payloads",
        "cleaners._lines",
        "cleaners",
    ),
    "hallway": (
        "store.schema",
        "store.records",
        "store.incoming",
        "store.writer",
        "store._times",
        "store._packing",
        "store._rows",
        "store._recent",
        "store.migrations",
        "store._sequences",
        "store.counting",
        "store.grouping",
        "store.writing",
        "store.reading",
        "store.controls",
        "store._places",
        "store._backend",
        "store._connections",
        "store._postgresql",
        "store.identity",
        "store.upkeep",
        "store.states",
        "store.database",
        "store.exchange",
        "store.lines",
        "store.taking",
        "store",
        "transit",
        "spool._frames",
        "spool._folder",
        "spool._owners",
        "spool._segments",
        "spool._locks",
        "spool._home",
        "spool._adoption",
        "spool._shelf",
        "spool._intake",
        "spool._durable",
        "spool",
    ),
    "running": (
        "_logging",
        "_kinds",
        "_delivery.counts",
        "_delivery.waiting",
        "_delivery.losses",
        "_delivery.sifting",
        "_delivery.spooled",
        "_delivery.exits",
        "_delivery",
        "delivery",
        "publishers.memory",
        "publishers.jsonl",
        "publishers.statsd",
        "publishers.structlog",
        "publishers.store",
        "publishers.redis",
        "publishers.buffered",
        "publishers",
        "_measured",
        "_accounts",
        "_steering",
        "controls.store",
        "controls.openfeature",
        "controls",
        "settings",
        "_runner.scope",
        "_runner.isolation",
        "_runner.arguments",
        "_runner.behaviours",
        "_runner.breaking",
        "_runner.recipe",
        "_runner.containment",
        "_runner.pool",
        "_runner.endings",
        "_runner.circumstances",
        "_runner.gates",
        "_runner.ignoring",
        "_runner.judging",
        "_runner.pairing",
        "_runner.reporting",
        "_runner.steps",
        "_runner.rechecking",
        "_runner.pending",
        "_runner.inline",
        "_runner.background",
        "_runner.templates",
        "_runner.handover",
        "_runner.quick",
        "_runner.abandoned",
        "_runner.awaiting",
        "_runner.driving",
        "_runner.tasks",
        "_runner.publishing",
        "_runner.asynchronous",
        "_runner.quick_awaited",
        "_runner.streams.closing",
        "_runner.streams.sides",
        "_runner.streams.lanes",
        "_runner.streams.records",
        "_runner.streams.watches",
        "_runner.streams.inline",
        "_runner.streams.served",
        "_runner.streams.asynchronous",
        "_runner.streams.functions",
        "_runner.streams",
        "_runner.choice",
        "_runner",
        "definition",
    ),
    "reading": (
        "analysis.wholes",
        "analysis.binomials",
        "analysis.bounds",
        "analysis.sequential",
        "analysis.latency",
        "analysis.projects",
        "analysis.policy",
        "analysis.retention",
        "analysis.noise",
        "analysis.against",
        "analysis.window",
        "analysis.verdict",
        "analysis.summary",
        "analysis",
        "reports.texts",
        "reports.figures",
        "reports.noise",
        "reports.values",
        "reports.passages",
        "reports.remarks",
        "reports.folding",
        "reports.tables",
        "reports.controls",
        "reports.json",
        "reports.terminal",
        "reports.control_log",
        "reports.beside",
        "reports.group",
        "reports.verdict_sentences",
        "reports.verdict",
        "reports.verdict_json",
        "reports.verdict_markdown",
        "reports",
        "storing",
        "recovery",
        "consumer",
        "collecting",
        "cli._output",
        "cli._program",
        "cli._stores",
        "cli._accept",
        "cli._report",
        "cli._show",
        "cli._upgrade",
        "cli._control",
        "cli._deliver",
        "cli._exchange",
        "cli._purge",
        "cli._check",
        "cli._collect",
        "cli",
    ),
    "top": (
        "",
        "demo.harvest",
        "demo.references",
        "demo.command",
        "demo",
        "__main__",
    ),
}

FORBIDDEN_NAMES = {"core", "utils", "util", "base", "common", "helpers", "helper", "manager"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 40
# A room that wants no wall, and why.
LONG_FUNCTIONS: dict[str, str] = {}

Tree: TypeAlias = dict[str, ast.Module]
Edges: TypeAlias = dict[str, set[str]]


def name_of(path: Path, src: Path) -> str:
    """The dotted name of a module's file."""
    parts = path.relative_to(src).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def parse(src: Path) -> Tree:
    """Parse every module under a source folder."""
    return {
        name_of(path, src): ast.parse(path.read_text("utf-8"), str(path))
        for path in sorted(src.rglob("*.py"))
    }


def packages_of(src: Path) -> set[str]:
    """The names of the packages under a source folder."""
    return {name_of(path, src) for path in src.rglob("__init__.py")}


def imported_names(module: str, tree: ast.Module, is_package: bool) -> Iterator[str]:
    """Every dotted name a module mentions in order to import it, lazily or for types too."""
    home = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = home[: len(home) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def named_modules(module: str, tree: ast.Module, is_package: bool) -> Iterator[str]:
    """Every text that may name a module, as in import_module("…") or a table of lazy attributes."""
    home = module if is_package else module.rpartition(".")[0]
    parts = {id(p) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for p in n.values}
    for node in ast.walk(tree):
        # A part of a formatted text is no whole name.
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value.partition(":")[0]
            yield f"{home}{text}" if text.startswith(".") else text


def edges_of(src: Path) -> Edges:
    """Which modules of the tree each module imports."""
    trees, packages = parse(src), packages_of(src)
    edges: Edges = {}
    for module, tree in trees.items():
        names = imported_names(module, tree, module in packages)
        found = {name if name in trees else name.rpartition(".")[0] for name in names}
        # A text without a dot is a logger's name or a title, not a module of ours.
        found |= {n for n in named_modules(module, tree, module in packages) if "." in n}
        edges[module] = found & trees.keys() - {module}
    return edges


def violations(edges: Edges, floors: dict[str, tuple[str, ...]]) -> list[str]:
    """What breaks the declared order or the wall between the wings, one line each."""
    order = [module for floor in floors.values() for module in floor]
    place = {module: position for position, module in enumerate(order)}
    floor_of = {module: floor for floor, modules in floors.items() for module in modules}
    found = [f"{module} is on no floor" for module in edges if module not in place]
    found += [f"{module} is declared and not there" for module in order if module not in edges]
    if len(order) != len(place):
        found.append("a module is declared twice")
    for module, targets in edges.items():
        for target in sorted(targets):
            if place.get(target, -1) >= place.get(module, len(order)):
                found.append(f"{module} imports {target}, which stands above it")
            if {floor_of.get(module), floor_of.get(target)} == {"running", "reading"}:
                found.append(f"{module} imports {target} through the wall")
    return found


def full_names(floors: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The floors with the package's name before every module's; "" is the package itself."""
    return {
        floor: tuple(f"twinrun.{module}".rstrip(".") for module in modules)
        for floor, modules in floors.items()
    }


def long_functions(path: Path, src: Path) -> Iterator[tuple[str, int]]:
    """The functions of a file that are longer than the house allows, with their lengths."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{name_of(path, src)}.{node.name}", length


def declared_all(tree: ast.Module) -> list[str] | None:
    """A module's `__all__`, None where it has none that can be read."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def test_every_module_imports_only_from_below_and_never_through_the_wall() -> None:
    """The declared order is complete and holds for lazy and TYPE_CHECKING imports too."""
    assert violations(edges_of(SRC), full_names(FLOORS)) == []


def files(*folders: str) -> list[Path]:
    """The Python files of the project's folders."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_file_is_longer_than_400_lines() -> None:
    """A longer file is a room that wants a wall."""
    lengths = {str(p): len(p.read_text("utf-8").splitlines()) for p in files("src", "benchmarks")}
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_longer_than_40_lines() -> None:
    """Exceptions are declared with their reason, and only while they are needed."""
    found = dict(pair for path in files("src") for pair in long_functions(path, SRC))
    found |= dict(pair for path in files("benchmarks") for pair in long_functions(path, ROOT))
    assert {name: n for name, n in found.items() if name not in LONG_FUNCTIONS} == {}
    assert set(LONG_FUNCTIONS) - set(found) == set()


def test_nothing_has_a_name_that_says_nothing() -> None:
    """No module or folder is called core, utils, base, common, helpers or manager."""
    parts = {part.strip("_") for name in parse(SRC) for part in name.split(".")}
    assert parts & FORBIDDEN_NAMES == set()


def public_names(tree: ast.Module) -> set[str]:
    """The public names that a module defines itself at its top level."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                t.id for t in targets if isinstance(t, ast.Name) and not is_type_variable(node)
            }
    return {name for name in names if not name.startswith("_")}


def is_type_variable(node: ast.Assign | ast.AnnAssign) -> bool:
    """Whether an assignment makes a type variable, which nobody imports."""
    value = node.value
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in {"TypeVar", "ParamSpec", "TypeVarTuple"}
    )


@pytest.mark.parametrize("module", sorted(parse(SRC)))
def test_every_module_has_a_docstring_and_names_what_is_public(module: str) -> None:
    """`__all__` is sorted into one list without doubles and holds what the module defines."""
    tree = parse(SRC)[module]
    assert ast.get_docstring(tree), "no docstring"
    declared = declared_all(tree)
    assert declared is not None, "no __all__"
    assert len(set(declared)) == len(declared)
    assert public_names(tree) <= set(declared)


FAKE = {
    "__init__": "from house.door import open_door",
    "values": "import os\nlogger = 'house'",
    "judge": "from house.values import os\nsuffix, event = '.py', 'house.mismatch'",
    "runner": "from house import judge, values",
    "reader": "from .values import os",
    "door": "from house import reader, runner",
}
FAKE_FLOORS = {
    "ground": ("house.values",),
    "first": ("house.judge",),
    "running": ("house.runner",),
    "reading": ("house.reader",),
    "top": ("house.door", "house"),
}


def build(folder: Path, **changes: str) -> Edges:
    """Write the fake house with changed rooms and read its imports."""
    (folder / "house").mkdir()
    for name, source in {**FAKE, **changes}.items():
        (folder / "house" / f"{name}.py").write_text(source)
    return edges_of(folder)


def test_a_sound_house_passes(tmp_path: Path) -> None:
    """The checker finds nothing where there is nothing, and sees the imports that are there."""
    edges = build(tmp_path)
    assert violations(edges, FAKE_FLOORS) == []
    assert edges["house.runner"] == {"house.judge", "house.values"}
    assert edges["house.reader"] == {"house.values"}


@pytest.mark.parametrize(
    ("room", "source", "complaint"),
    [
        ("values", "import house.judge", "house.values imports house.judge, which stands above it"),
        ("values", "from . import judge", "house.values imports house.judge, which stands above"),
        ("values", "from .judge import os", "house.values imports house.judge, which stands above"),
        ("values", "from house import judge", "house.values imports house.judge, which stands"),
        ("values", "from house import name", "house.values imports house, which stands above it"),
        ("judge", "def f():\n    from house import runner", "house.judge imports house.runner"),
        (
            "judge",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.door",
            "house.judge imports house.door",
        ),
        ("judge", "import_module('house.runner')", "house.judge imports house.runner"),
        ("judge", "import_module('.runner', __package__)", "house.judge imports house.runner"),
        ("judge", "LAZY = {'run': 'house.runner:run'}", "house.judge imports house.runner"),
        ("reader", "def f():\n    import house.runner", "imports house.runner through the wall"),
        ("runner", "from house.reader import os", "imports house.reader through the wall"),
        ("attic", "", "house.attic is on no floor"),
    ],
)
def test_a_planted_violation_is_found(
    tmp_path: Path, room: str, source: str, complaint: str
) -> None:
    """Absolute, relative, lazy, typing-only and textual imports against the order are all seen."""
    assert any(
        complaint in found for found in violations(build(tmp_path, **{room: source}), FAKE_FLOORS)
    )


def test_a_declared_module_that_is_gone_is_found(tmp_path: Path) -> None:
    """The declaration can't go stale."""
    floors = {**FAKE_FLOORS, "ground": ("house.values", "house.cellar")}
    assert violations(build(tmp_path), floors) == ["house.cellar is declared and not there"]


def test_a_long_function_is_found(tmp_path: Path) -> None:
    """A function of 41 lines is one line too long, nested in a class or not."""
    body = "\n".join(["        pass"] * (LONGEST_FUNCTION - 1))
    path = tmp_path / "room.py"
    path.write_text(
        f"class Room:\n    def fits(self):\n{body}\n    async def grew(self):\n{body}\n        pass"
    )
    assert list(long_functions(path, tmp_path)) == [("room.grew", LONGEST_FUNCTION + 1)]
