"""Secrets of thirty shapes, planted in eight places, do not leave; innocent data does."""

from __future__ import annotations

import base64
import json
import os
import random
import string
import subprocess
import sys

import pytest

import twinrun
from twinrun import ConfigurationError, Difference, DifferenceKind, configure
from twinrun.cleaners import _walk, clean, payload
from twinrun.scrubbing import Scrubber, scrub

COUNT = 10_080  # 42 of each shape at each place

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
CAPITALS = string.ascii_uppercase + string.digits


@pytest.fixture(autouse=True)
def _timeless(monkeypatch):
    """Let no value be cut because the machine is busy."""
    monkeypatch.setattr(_walk, "thread_time_ns", lambda: 0)


def some(rng, letters, size):
    """Give random text."""
    return "".join(rng.choice(letters) for _ in range(size))


def luhn(digits):
    """Add the check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def jwt(rng):
    """Give a JSON Web Token."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(b'{"sub":"%d"}' % rng.randrange(10**9)).decode().rstrip("=")
    return f"{head}.{body}.{some(rng, LETTERS, 43)}"


def card(rng, separator=""):
    """Give a card number."""
    digits = luhn(
        rng.choice(("4", "51", "55", "2221", "6011", "65")).ljust(6, "1") + some_digits(rng)
    )
    return separator.join(digits[n : n + 4] for n in range(0, 16, 4))


def some_digits(rng):
    """Give nine digits."""
    return some(rng, string.digits, 9)


# A text that holds a secret, and the part of it that must not leave. Shapes that are known by
# themselves and those that are announced by what stands before them.
SHAPES = {
    "jwt": lambda r: (s := jwt(r), s),
    "private key": lambda r: (
        f"-----BEGIN PRIVATE KEY-----\n{(s := some(r, LETTERS, 64))}\n-----END PRIVATE KEY-----",
        s,
    ),
    "pgp key": lambda r: (
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{(s := some(r, LETTERS, 64))}",
        s,
    ),
    "aws": lambda r: (s := "AKIA" + some(r, CAPITALS, 16), s),
    "aws session": lambda r: (s := "ASIA" + some(r, CAPITALS, 16), s),
    "github": lambda r: (s := "ghp_" + some(r, LETTERS, 36), s),
    "github fine": lambda r: (s := "github_pat_" + some(r, LETTERS, 60), s),
    "gitlab": lambda r: (s := "glpat-" + some(r, LETTERS, 20), s),
    "slack": lambda r: (s := "xoxb-" + some(r, LETTERS, 24), s),
    "slack hook": lambda r: (
        f"https://hooks.slack.com/services/{(s := 'T' + some(r, CAPITALS, 20))}",
        s,
    ),
    "stripe": lambda r: (s := "sk_live_" + some(r, LETTERS, 24), s),
    "google": lambda r: (s := "AIza" + some(r, LETTERS, 35), s),
    "google oauth": lambda r: (s := "ya29." + some(r, LETTERS, 40), s),
    "openai": lambda r: (s := "sk-" + some(r, LETTERS, 48), s),
    "npm": lambda r: (s := "npm_" + some(r, LETTERS, 36), s),
    "pypi": lambda r: (s := "pypi-" + some(r, LETTERS, 60), s),
    "sendgrid": lambda r: (s := f"SG.{some(r, LETTERS, 22)}.{some(r, LETTERS, 43)}", s),
    "twilio": lambda r: (s := "SK" + some(r, HEX, 32), s),
    "telegram": lambda r: (s := f"{r.randrange(10**8, 10**9)}:AA{some(r, LETTERS, 33)}", s),
    "shopify": lambda r: (s := "shpat_" + some(r, HEX, 32), s),
    "vault": lambda r: (s := "hvs." + some(r, LETTERS, 24), s),
    "hugging face": lambda r: (s := "hf_" + some(r, LETTERS, 34), s),
    "card": lambda r: (s := card(r), s),
    "spaced card": lambda r: (s := card(r, " "), s),
    "bearer": lambda r: ("Bearer " + (s := some(r, LETTERS, 24)), s),
    "basic": lambda r: (
        "Basic " + (s := base64.b64encode(some(r, LETTERS, 18).encode()).decode().rstrip("=")),
        s,
    ),
    "url": lambda r: (f"postgresql://app:{(s := some(r, LETTERS, 12))}@db/main", s),
    "query": lambda r: (f"/login?next=1&access_token={(s := some(r, LETTERS, 16))}&n=2", s),
    "assigned": lambda r: (f"host=db password={(s := some(r, LETTERS, 10))} user=me", s),
    "written": lambda r: (f'{{"api_key": "{(s := some(r, LETTERS, 20))}", "n": 1}}', s),
}


def result_with(control=1, candidate=2, context=None, **options):
    """Run an experiment that finds these values to differ."""
    with twinrun.recording() as results:
        twinrun.Experiment("planted", publishers=(), compare=differs, **options).run(
            control=lambda: control, candidate=lambda: candidate, context=context or {}
        )
    return payload(results[0])


def differs(a, b):
    """Let nothing be equal."""
    return False


class Placed:
    """A comparator that finds one difference at a place."""

    def __init__(self, path, side):
        self.path, self.side = path, side

    def __call__(self, a, b):
        """Let nothing be equal."""
        return False

    def differences(self, a, b):
        """Give one difference."""
        return [Difference(self.path, DifferenceKind.CHANGED, self.side, 2)]


class Holder:
    """Something with a field."""

    def __init__(self, value):
        self.field = value


def raising(text):
    """Run an experiment whose candidate says this."""

    def candidate():
        raise ValueError(f"refused: {text}")

    with twinrun.recording() as results:
        twinrun.Experiment("planted", publishers=()).run(control=lambda: 1, candidate=candidate)
    return payload(results[0])


def placed(path, side, **options):
    """Run an experiment with one difference."""
    with twinrun.recording() as results:
        twinrun.Experiment("planted", publishers=(), compare=Placed(path, side), **options).run(
            control=lambda: 1, candidate=lambda: 2
        )
    return payload(results[0])


PLACES = {
    "value": lambda text: result_with(control={"items": [{"note": f"see {text} there"}]}),
    "key": lambda text: result_with(candidate={text: [1]}),
    "field": lambda text: result_with(candidate=Holder((text,))),
    "message": raising,
    "context": lambda text: result_with(context={"note": text, "nested": [{"x": {text}}]}),
    "difference": lambda text: placed("$.note", text),
    "path": lambda text: placed(f"$[{json.dumps(text)}].note", 1),
    "bytes": lambda text: result_with(control=text.encode()),
}


def test_there_are_thirty_shapes_and_eight_places():
    """As many as are claimed."""
    assert (len(SHAPES), len(PLACES)) == (30, 8)


@pytest.mark.parametrize("place", PLACES)
def test_no_planted_secret_leaves(place):
    """Whatever its shape."""
    rng = random.Random(place)
    leaked = []
    for shape, make in SHAPES.items():
        for _ in range(COUNT // len(SHAPES) // len(PLACES)):
            text, secret = make(rng)
            written = json.dumps(PLACES[place](text))
            if secret in written or "[redacted" not in written:
                leaked.append((shape, text, written))
    assert leaked == []


def innocent(rng):
    """Give data as a shop has it: no secret in it."""
    number = rng.randrange(10**9)
    word = some(rng, string.ascii_lowercase, rng.randrange(3, 12))
    return rng.choice(
        (
            {
                "sku": f"{word[:3].upper()}-{number}",
                "name": f"{word} {word}",
                "price": number / 100,
            },
            {"created_at": "2026-01-02T03:04:05.678901+00:00", "id": number, "ok": True},
            {"url": f"https://example.com:8443/{word}?page={number % 9}&sort=price&q={word}"},
            {"mail": f"{word}@example.com", "phone": f"+49 30 {number % 10**7}"},
            {"text": f"Order {number}: {word} was sent at 12:30, basic price {number % 99} EUR."},
            {"uuid": f"{some(rng, HEX, 8)}-{some(rng, HEX, 4)}-4{some(rng, HEX, 3)}-8abc-{number}"},
            {
                "sha": some(rng, HEX, 40),
                "etag": some(rng, HEX, 32),
                "time_ns": 17 * 10**17 + number,
            },
            {"log": f"[INFO] {word}.views: GET /{word}/{number} 200 in {number % 99} ms"},
            {
                "author": word,
                "keyboard": word,
                "passenger": word,
                "compass": word,
                "tokens": number,
            },
            {"max_tokens": number, "token_type": "bearer", "password_changed_at": "2026-01-02"},
            {"ean": f"{4 * 10**12 + number}", "iban": f"DE{number:018d}", "size": number},
            {"code": f"def {word}(password: str, token=None): return {word}(x={number})"},
        )
    )


def leaves(data):
    """Give what stands at the ends of JSON data."""
    if isinstance(data, dict):
        return [leaf for item in data.values() for leaf in leaves(item)]
    return [leaf for item in data for leaf in leaves(item)] if isinstance(data, list) else [data]


def test_at_most_one_in_a_hundred_innocent_values_is_redacted():
    """Names, addresses, numbers, hashes, times, logs and code stay what they are."""
    rng = random.Random(7)
    found = [leaf for _ in range(3_000) for leaf in leaves(clean(innocent(rng)))]
    lost = [leaf for leaf in found if "[redacted" in str(leaf)]
    assert len(found) > 5_000
    assert len(lost) <= len(found) / 100, lost[:9]


# A policy of one's own ---------------------------------------------------------------------------


def test_more_names_are_secret_where_they_are_given():
    """However they are written; `*` stands for anything."""
    configure(scrub=Scrubber(names=["iban", "patient*"]))
    data = clean({"IBAN": "DE1", "my_iban": "DE2", "patient-name": "Ann", "n": 1})
    assert data["IBAN"].startswith("[redacted ")
    assert data["patient-name"].startswith("[redacted ")
    assert (data["my_iban"], data["n"]) == ("DE2", 1)


def test_a_name_may_be_called_safe():
    """Where it only looks secret."""
    configure(scrub=Scrubber(safe=["pin", "token"]))
    data = clean({"pin": "A4", "token": "noun", "password": "x"})
    assert (data["pin"], data["token"]) == ("A4", "noun")
    assert data["password"].startswith("[redacted ")


def test_more_texts_are_secret_by_a_pattern():
    """In values and in what exceptions say."""
    configure(scrub=Scrubber(patterns=[r"P-\d{6}"]))
    assert clean("see P-123456").startswith("see [redacted ")
    assert "123456" not in json.dumps(raising("P-123456"))
    assert clean("P-1234") == "P-1234"


def test_only_what_is_allowed_by_name_leaves():
    """Keys of the data, messages, tracebacks and contexts are none of it; fields' names stay."""
    configure(scrub=Scrubber(allow=["price", "items"]))
    data = clean({"items": [{"price": 5, "customer": "Ann"}], "Ann": True})
    assert data["items"][0]["price"] == 5
    assert "Ann" not in json.dumps(data)
    assert list(clean(Holder("Ann"))) == ["$type", "field"]
    secret = "Ann lives here"
    written = json.dumps(
        [
            raising(secret),
            result_with(control=secret, candidate={secret: 1}, context={"customer": secret}),
            placed(f"$.items[{json.dumps(secret)}]", secret),
            result_with(control=Holder({"items": secret.encode()}.values()), candidate=7),
        ]
    )
    assert secret not in written
    assert "lives" not in written


def test_what_is_allowed_is_scrubbed_all_the_same():
    """An allowed name does not make a secret innocent."""
    configure(scrub=Scrubber(allow=["note", "password", "value"]))
    data = clean({"note": "Bearer abcdef123456", "password": "hunter2"})
    assert "abcdef123456" not in json.dumps(data)
    assert "hunter2" not in json.dumps(data)
    assert clean([1, "x"]) == [1, "x"]


def test_equal_secrets_are_marked_alike_and_others_are_not():
    """Under a name or in a text, in this process."""
    data = clean({"password": "hunter2!", "text": "password=hunter2! token=other123"})
    mark = data["password"]
    assert data["text"] == f"password={mark} token={scrub('token=other123')[6:]}"
    assert mark != clean({"password": "hunter3!"})["password"]
    nested = [clean({"credentials": {"user": "me", "word": word}}) for word in "aab"]
    assert nested[0] == nested[1] != nested[2]


MARK = "from twinrun.scrubbing import scrub; print(scrub('password=hunter2'))"


def marks(key):
    """Give what two processes mark a secret with."""
    environment = {**os.environ, "TWINRUN_SCRUB_KEY": key}
    command = [sys.executable, "-c", MARK]
    return {
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }


def test_processes_mark_alike_only_where_they_share_a_key():
    """By the environment, or by the option."""
    assert len(marks("")) == 2
    shared = marks("the key of a fleet of processes")
    assert len(shared) == 1
    configure(scrub=Scrubber(key="the key of a fleet of processes"))
    assert scrub("password=hunter2") == shared.pop().strip()


def test_the_key_is_never_shown():
    """Not by the policy's own text."""
    assert "fleet" not in repr(Scrubber(key="the key of a fleet of processes"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"names": "iban"}, "names of a Scrubber is a collection of texts"),
        ({"names": [5]}, "names of a Scrubber is a collection of texts"),
        ({"safe": None}, "safe of a Scrubber"),
        ({"allow": [""]}, "allow of a Scrubber"),
        ({"patterns": ["("]}, "regular expressions"),
        ({"key": "short"}, "at least 16 characters"),
        ({"key": 5}, "at least 16 characters"),
    ],
)
def test_a_wrong_policy_says_what_is_wrong(options, text):
    """When it is made, and without showing a key."""
    with pytest.raises(ConfigurationError, match=text):
        Scrubber(**options)


@pytest.mark.parametrize("value", [5, True, ["iban"], Scrubber])
def test_what_is_no_policy_is_refused(value):
    """And the one that holds stays."""
    configure(scrub=Scrubber(names=["iban"]))
    with pytest.raises(ConfigurationError, match="scrub is a"):
        configure(scrub=value)
    assert clean({"iban": "DE1"}) != {"iban": "DE1"}


def test_a_secret_named_late_is_taken_out_of_what_came_before():
    """Of texts, keys and cut texts alike."""
    secret = "hunter2-hunter2"
    data = clean({"note": f"it is {secret}", secret: 1, "long": "x" * 4090 + secret, "pw": secret})
    assert "hunter" not in json.dumps(data)


def test_own_clean_hides_the_keys_of_what_it_left_out():
    """A path into it shows only what the program named."""
    before = {"total": 1, "by": {"ann@example.com": Holder(1)}}
    after = {"total": 2, "by": {"ann@example.com": Holder(2)}}
    with twinrun.recording() as results:
        twinrun.Experiment("planted", publishers=(), clean=lambda v: {"total": v["total"]}).run(
            control=lambda: before, candidate=lambda: after
        )
    data = payload(results[0])
    assert "ann@example.com" not in json.dumps(data)
    assert data["candidates"][0]["differences"][0] == {
        "path": "$.total",
        "kind": "changed",
        "control": 1,
        "candidate": 2,
    }
