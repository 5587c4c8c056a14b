"""Records on their way that survive the process: in files of its own, until they are delivered."""

from twinrun.spool._durable import Spool
from twinrun.spool._segments import Position
from twinrun.spool._shelf import Counts

__all__ = ["Counts", "Position", "Spool"]
