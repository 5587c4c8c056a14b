"""A real migration: from the regular expression of RFC 3986 to the standard library's parser."""

import re
from urllib.parse import urlsplit

import attrs

__all__ = ["Reference", "split_by_regex", "split_by_urllib"]


@attrs.frozen
class Reference:
    """A URI reference in its five parts; a part that is absent is empty."""

    scheme: str
    authority: str
    path: str
    query: str
    fragment: str


# RFC 3986, appendix B, as it stands there.
_PARTS = re.compile(r"^(([^:/?#]+):)?(//([^/?#]*))?([^?#]*)(\?([^#]*))?(#(.*))?")


def split_by_regex(reference: str) -> Reference:
    """Split a reference with the regular expression of RFC 3986, appendix B."""
    match = _PARTS.match(reference)
    assert match is not None  # every part is optional, so every text matches
    scheme, authority, path, query, fragment = match.group(2, 4, 5, 7, 9)
    return Reference(scheme or "", authority or "", path, query or "", fragment or "")


def split_by_urllib(reference: str) -> Reference:
    """Split a reference with `urllib.parse.urlsplit`."""
    return Reference(*urlsplit(reference))
