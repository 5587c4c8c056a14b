"""The command line: what is known of the experiments in a store, and what is on its way there."""

from __future__ import annotations

from twinrun.cli._accept import accept
from twinrun.cli._check import check
from twinrun.cli._collect import collect
from twinrun.cli._control import log, pause, ramp, resume
from twinrun.cli._deliver import deliver
from twinrun.cli._exchange import export, import_, merge
from twinrun.cli._program import COULD_NOT_TELL, INTERRUPTED, CouldNotTellError, run, twinrun
from twinrun.cli._purge import purge
from twinrun.cli._report import report
from twinrun.cli._show import show
from twinrun.cli._upgrade import upgrade

__all__ = [
    "COULD_NOT_TELL",
    "INTERRUPTED",
    "CouldNotTellError",
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
]
