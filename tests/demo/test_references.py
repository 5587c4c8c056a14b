"""The demo's migration: where both sides agree, and that they really differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.demo.references import Reference, split_by_regex, split_by_urllib

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=12)
SCHEMES = st.sampled_from(["http", "https", "ftp", "svn+ssh"])


@given(SCHEMES, NAMES, st.lists(NAMES), st.lists(NAMES), st.lists(NAMES))
def test_plain_urls_are_split_the_same_way(
    scheme: str, host: str, path: list[str], query: list[str], fragment: list[str]
) -> None:
    """Without upper-case schemes, brackets and control characters the two sides agree."""
    parts = Reference(
        scheme, host, "".join(f"/{name}" for name in path), "&".join(query), "".join(fragment)
    )
    reference = f"{parts.scheme}://{parts.authority}{parts.path}"
    reference += f"?{parts.query}" * bool(query) + f"#{parts.fragment}" * bool(fragment)
    assert split_by_regex(reference) == split_by_urllib(reference) == parts


@given(st.text())
def test_the_regular_expression_splits_every_text(reference: str) -> None:
    """RFC 3986: the expression matches any text, so the control never raises."""
    assert isinstance(split_by_regex(reference), Reference)


@pytest.mark.parametrize(
    ("reference", "part", "by_regex", "by_urllib"),
    [
        ("C:\\Windows", "scheme", "C", "c"),
        ("%s:%s", "scheme", "%s", ""),
        ("https://example.com/a\n", "path", "/a\n", "/a"),
        ("#a\nb", "fragment", "a", "ab"),
    ],
)
def test_the_two_sides_differ_by_themselves(
    reference: str, part: str, by_regex: str, by_urllib: str
) -> None:
    """Case, characters of a scheme, line ends: nothing here is made to differ."""
    assert getattr(split_by_regex(reference), part) == by_regex
    assert getattr(split_by_urllib(reference), part) == by_urllib


def test_brackets_that_hold_no_address_raise_in_the_candidate_only() -> None:
    """`urlsplit` refuses an unclosed bracket in the authority."""
    assert split_by_regex("http://[::1/").authority == "[::1"
    with pytest.raises(ValueError, match="Invalid IPv6 URL"):
        split_by_urllib("http://[::1/")
