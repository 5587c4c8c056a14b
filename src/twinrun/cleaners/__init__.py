"""Makes what leaves the process clean: JSON-ready, bounded, without secrets.

What is no JSON is tagged: `{"$type": "decimal.Decimal", "text": "1.50"}`. `"$more"` counts the
items that were left out, `"$cut"` says which bound a value met (`depth`, `size`, `time`, `cycle`),
`"$withheld"` why there is no value at all, `"$failed"` what kept a value from being read. A key
that starts with `$` in the value itself starts with `$$`.
"""

from __future__ import annotations

from twinrun.cleaners._lines import one_line
from twinrun.cleaners._payloads import clean, payload, places
from twinrun.cleaners._registry import register_cleaner

__all__ = ["clean", "one_line", "payload", "places", "register_cleaner"]
