"""Secrets are found by their names and by their shapes, and innocent texts stay as they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.scrubbing import REDACTED, _scrubber, is_secret_name, scrub

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
MARK = r"\[redacted [0-9a-f]{8}\]"
SECRETS = [
    JWT,
    PEM,
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
    "xoxb-123456789012-abcdefghijkl",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "glpat-abcdefghijklmnopqrst",
    "4111111111111111",
    "4111 1111 1111 1111",
    "3782-822463-10005",
    "5555-5555-5555-4444",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "before {} after", "x={};", '"{}"', "2024 {}\n", "({})"])
def test_a_secret_is_found_by_its_shape(secret, around):
    """Wherever it stands in a text."""
    found = scrub(around.format(secret))
    assert "[redacted " in found
    assert secret not in found


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdef123456", "abcdef123456"),
        ("authorization=Digest username=me, response=6629fae4", "6629fae4"),
        ("Bearer abcdef123456", "abcdef123456"),
        ("sent Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
        ("postgresql://app:hunter2@db/main", "hunter2"),
        ("postgresql://app:p@ss/w:rd@db/main", "p@ss/w:rd"),
        ("redis://:hunter2@cache:6379/0", "hunter2"),
        ("https://me:12345@host/", "12345"),
        ("host=db password=hunter2 user=me", "hunter2"),
        ("/login?token=hunter2&next=1", "hunter2"),
        ('{"api_key": "hunter 2"}', "hunter 2"),
        ('{\\"password\\": \\"hunter 2\\"}', "hunter 2"),
        ("{'client_secret': 'hunter2', 'a': 1}", "hunter2"),
        ("Set-Cookie: a=hunter2; Path=/\nNext: line", "hunter2"),
        ("DB_PASSWORD: hunter2", "hunter2"),
        ("password=hunter2(x)]y", "(x)]y"),
        ('<a><ns:Password type="plain">hunter2</ns:Password></a>', "hunter2"),
        ("next=%2Flogin%3Fpassword%3Dhunter2", "hunter2"),
        ("postgresql://h1:5432/,postgresql://me:hunter2@h2/", "hunter2"),
        ('{"pin": "hunter2"}', "hunter2"),
        ("https://host/?X-Amz-Signature=hunter2", "hunter2"),
        ("https://host/?sig=hunter2&se=1", "hunter2"),
        ("Token 9944b09199c62bcf9418ad846dd0e4bb", "9944b09199c62bcf"),
    ],
)
def test_a_secret_is_found_by_what_stands_before_it(text, secret):
    """A name, a scheme or a URL's user announces it."""
    assert secret not in scrub(text)
    assert "[redacted " in scrub(text)


@pytest.mark.parametrize("cut", range(30, len(JWT), 7))
def test_a_token_whose_end_was_cut_off_is_found(cut):
    """What was shortened before is as secret as the whole."""
    assert re.fullmatch(MARK, scrub(JWT[:cut]))
    assert "MIIE" not in scrub(PEM[: cut + 20])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "KeyError: 'password'",
        "a basic question about the bearer of bad news",
        "http://localhost:8080/users?mail=me@example.com",
        "2026-11-24T06:02:40.424647+00:00",
        "1700000000000000000 ns, order 4111111111111112",
        "0.4111111111111111",
        "if token == expected: pass",
        "123e4567-e89b-12d3-a456-426614174000",
        "tel +49 30 1234567",
    ],
)
def test_an_innocent_text_stays_as_it_is(text):
    """Words, numbers, times, addresses and comparisons are no secrets."""
    assert scrub(text) == text


@given(st.text())
def test_scrubbing_twice_is_scrubbing_once(text):
    """What was scrubbed holds nothing more to scrub."""
    assert scrub(scrub(text)) == scrub(text)


def test_a_text_that_cannot_be_searched_is_redacted_whole(monkeypatch):
    """Scrubbing fails closed."""

    def broken(text, mark):
        raise RuntimeError("no patterns")

    monkeypatch.setattr(_scrubber, "redacted", broken)
    assert scrub("nothing: secret in here") == REDACTED


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "userPassword2",
        "X-Api-Key",
        "apiKey",
        "Authorization",
        "proxy-authorization",
        "Set-Cookie",
        "session_id",
        "sessionId",
        "private-key",
        "refresh_token",
        "client secret",
        "auth",
        "pin",
        "_Account__passwd",
    ],
)
def test_a_name_that_announces_a_secret_is_known(name):
    """However it is written."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "name",
        "author",
        "pinned",
        "key",
        "id",
        "passed",
        "panel",
        "primary_key",
        "passport",
        "max_tokens",
        "totalTokens",
        "tokens_per_second",
        "token_type",
        "tokenizer",
        "secretary",
        "password_changed_at",
        "cookies_enabled",
    ],
)
def test_an_innocent_name_is_not_taken_for_a_secret(name):
    """Short words count only as the whole name."""
    assert not is_secret_name(name)
