"""The console script: the command line, and one clear sentence where it is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_COULD_NOT_TELL = 3  # as the command line has it: 1 is the answer of `check`, not ready
_EXTRAS = {"click": "cli", "rich": "cli", "sqlalchemy": "store"}


def main() -> None:
    """Run the command line; exits with its status, or with 3 where an extra is missing."""
    try:
        from twinrun.cli import run, twinrun
        from twinrun.demo import demo
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in _EXTRAS:
            raise
        print(_advice(module), file=sys.stderr)
        sys.exit(_COULD_NOT_TELL)
    except KeyboardInterrupt:
        sys.exit(130)
    twinrun.add_command(demo)
    run(twinrun)


def _advice(module: str) -> str:
    """Say which extra is missing beside this module, and how to get it."""
    missing = [name for name in _EXTRAS if name == module or find_spec(name) is None]
    extras = {_EXTRAS[module] for module in missing}
    extra = extras.pop() if len(extras) == 1 else "review"
    names = " and ".join(missing)
    return f'twinrun: the command line needs {names}: pip install "twinrun[{extra}]"'


if __name__ == "__main__":
    main()
