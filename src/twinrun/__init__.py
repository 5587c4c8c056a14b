"""twinrun: run trusted code and its replacement side by side, and learn what differs.

The caller always gets what the trusted code (the control) gave; what the replacement (the
candidate) did is evidence, which publishers store and reports show.
"""

from twinrun._accounts import tallies
from twinrun._runner.scope import in_candidate
from twinrun.definition import Experiment, experiment
from twinrun.difference import Difference, DifferenceKind
from twinrun.errors import ConfigurationError, MismatchError
from twinrun.histogram import Histogram
from twinrun.observation import NOTHING, Observation, Stream
from twinrun.result import Comparison, Outcome, Result
from twinrun.settings import aflush, configure, disabled, flush, raising, recording
from twinrun.tally import Tally

__all__ = [
    "NOTHING",
    "Comparison",
    "ConfigurationError",
    "Difference",
    "DifferenceKind",
    "Experiment",
    "Histogram",
    "MismatchError",
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
]
