"""What an exception says, where it came from, and its twin, without calling its own code."""

from __future__ import annotations

import gc
import json
import sys
import traceback
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun import Experiment, tracebacks


class Meta(type):
    """A metaclass that answers nothing."""

    def __getattribute__(cls, name):
        raise AssertionError(f"the metaclass was asked for {name}")

    def __hash__(cls):
        raise AssertionError("the metaclass was asked for a hash")

    def __instancecheck__(cls, other):
        raise AssertionError("the metaclass was asked for an instance check")


class Hostile(Exception, metaclass=Meta):
    """An exception none of whose own code may be called."""

    def __getattribute__(self, name):
        raise AssertionError(f"the exception was asked for {name}")

    def __setattr__(self, name, value):
        raise AssertionError(f"{name} was to be set")

    def __str__(self):
        raise AssertionError("str() was called")

    __repr__ = __format__ = __reduce__ = __hash__ = __eq__ = __bool__ = __dir__ = __str__

    @property
    def args(self):
        """Stand in the way."""
        raise AssertionError("args was read")

    __traceback__ = __cause__ = __context__ = __dict__ = args


def caught(function, *args):
    """Give the exception that a call raises."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail(error):
    """Raise an exception."""
    raise error


def deep(depth, error):
    """Raise an exception from so many frames below."""
    if depth:
        deep(depth - 1, error)
    raise error


def chained(length):
    """Give an exception that was caused by another one, and so on."""
    error = ValueError("number 0")
    for number in range(1, length):
        try:
            raise ValueError(f"number {number}") from error
        except ValueError as later:
            error = later
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        ValueError(),
        KeyError("missing"),
        FileNotFoundError(2, "No such file", "/nowhere"),
        json.JSONDecodeError("Expecting value", "", 0),
        ValueError("several", 1, None),
    ],
    ids=repr,
)
def test_the_text_of_a_plain_exception_is_pythons_own(error):
    """With its frames and lines of source, but for the carets."""
    raised = caught(fail, error)
    lines = [line for line in traceback.format_exception(raised) if line]
    theirs = [row for row in "".join(lines).splitlines() if set(row.strip()) - set("^~")]
    ours = tracebacks.text(raised).splitlines()
    if type(error) is not json.JSONDecodeError and len(error.args) != 3:
        assert ours == theirs
    assert ours[:-1] == theirs[:-1]


def test_causes_and_contexts_are_shown_in_pythons_order():
    """The cause comes first, with the words that Python uses."""

    def handle():
        try:
            fail(KeyError("first"))
        except KeyError:
            fail(ValueError("second"))

    text = tracebacks.text(caught(handle))
    first, second = text.index("KeyError: 'first'"), text.index("ValueError: second")
    assert first < text.index("During handling of the above exception") < second


def test_a_context_that_was_suppressed_is_not_shown():
    """`raise … from None` hides what came before."""

    def handle():
        try:
            fail(KeyError("first"))
        except KeyError:
            raise ValueError("second") from None

    assert "first" not in tracebacks.text(caught(handle))


def test_a_long_chain_is_cut_at_its_old_end():
    """The exception itself and its last five causes are there."""
    text = tracebacks.text(chained(50))
    assert text.count("ValueError: number") == 6
    assert "ValueError: number 49" in text
    assert "number 43" not in text


def test_a_chain_that_bites_its_tail_ends():
    """Each exception of a cycle is shown once."""
    one, two = ValueError("one"), ValueError("two")
    one.__context__, two.__context__ = two, one
    assert tracebacks.text(one).count("ValueError") == 2


def test_only_the_last_twenty_frames_are_shown():
    """The others are counted."""
    text = tracebacks.text(caught(deep, 100, ValueError("far down")))
    assert text.count("  File ") == 20
    assert "[82 earlier frames left out]" in text


def test_frames_of_the_engine_at_the_outer_end_are_left_out():
    """They would tell nobody anything; the first frame shown is the behaviour's own."""
    engine = {"__name__": "twinrun._runner.inline"}
    exec("def run(function, *args):\n    function(*args)", engine)
    error = caught(engine["run"], fail, ValueError("wrong"))
    error.__traceback__ = error.__traceback__.tb_next  # where the test itself called
    assert "in run" not in tracebacks.text(error)
    assert tracebacks.text(error).count("  File ") == 1


def test_a_group_shows_its_first_members():
    """The others are counted, and members of members are shown too."""
    inner = ExceptionGroup("inner", [KeyError("deep")])
    group = ExceptionGroup("outer", [inner, *(ValueError(n) for n in range(20))])
    text = tracebacks.text(group)
    assert "ExceptionGroup: outer (21 sub-exceptions)" in text
    assert "KeyError: 'deep'" in text
    assert "and 16 more" in text


def test_notes_are_shown():
    """Notes that were added follow the message."""
    error = ValueError("wrong")
    error.add_note("while reading line 3")
    assert tracebacks.text(error) == "ValueError: wrong\nwhile reading line 3\n"


@given(st.text(min_size=1), st.integers(1, 6), st.integers(0, 30), st.integers(1, 3000))
def test_the_text_is_never_longer_than_16_kib(word, chain, depth, repeats):
    """Whatever is said, from however deep, caused by however many."""
    error = None
    for _ in range(chain):
        later = caught(deep, depth, ValueError(word * repeats))
        later.__cause__ = error
        error = later
    group = BaseExceptionGroup(word, [error] * 7)
    for each in (error, group):
        text = tracebacks.text(each)
        assert 0 < len(text.encode("utf-8", "surrogatepass")) <= 16 * 1024
    assert len(tracebacks.message(error)) <= 2048


def test_no_code_of_the_exception_or_of_its_type_is_called():
    """Neither for its text, message and place nor for its twin."""
    error = BaseException.__new__(Hostile, "said", object())
    BaseException.__dict__["args"].__set__(error, ("said", object()))
    try:
        raise error
    except Exception as raised:
        assert raised is error
    assert tracebacks.message(error) == "said, <object>"
    assert tracebacks.text(error).endswith("Hostile: said, <object>\n")
    assert "test_tracebacks" in tracebacks.text(error)
    assert tracebacks.place(error).startswith("test_tracebacks:test_no_code")
    twin = tracebacks.twin(error)
    assert type(twin) is Hostile
    assert BaseException.__dict__["args"].__get__(twin) == ("said", error_args(error)[1])
    tracebacks.detach(error)
    assert BaseException.__dict__["__traceback__"].__get__(error) is None


def error_args(error):
    """Read an exception's arguments past its type."""
    return BaseException.__dict__["args"].__get__(error)


def test_a_message_names_unknown_arguments_by_type():
    """Containers of plain values are written out, other things are not asked for their text."""

    class Loud:
        def __repr__(self):
            raise AssertionError("repr was called")

        __str__ = __repr__

    name = Loud.__qualname__
    assert tracebacks.message(ValueError([1, "a"], Loud())) == f"[1, 'a'], <{__name__}.{name}>"
    assert tracebacks.message(KeyError(Loud())) == f"<{__name__}.{name}>"
    assert tracebacks.message(OSError(2, "gone", Loud())) == "2, gone"


def test_a_message_of_any_size_is_made_fast_and_short():
    """Numbers that Python refuses to print are named by their type."""
    assert tracebacks.message(ValueError(10**10_000)) == "<int>"
    assert len(tracebacks.message(ValueError("x" * 10**7, b"y" * 10**7))) == 2048


def test_the_place_is_the_innermost_function():
    """It is named by module and qualified name."""
    assert tracebacks.place(caught(deep, 3, ValueError())) == f"{__name__}:deep"
    assert tracebacks.place(ValueError()) is None


def loads(text):
    """Call the standard library."""
    return json.loads(text)


def test_what_the_standard_library_raised_comes_from_its_caller():
    """Or, where nothing else called it, from the function of it that was called first."""
    assert tracebacks.place(caught(loads, "{")) == f"{__name__}:loads"
    error = caught(json.loads, "{")
    BaseException.__dict__["__traceback__"].__set__(error, error.__traceback__.tb_next)
    assert tracebacks.place(error) == "json:loads"


def test_what_never_came_to_a_function_has_no_place():
    """Our own calling of it is not where it came from."""
    result = Experiment("x", publishers=()).observe(control=lambda: 1, candidate=loads)
    raised = result.candidates[0]
    assert type(raised.exception) is TypeError
    assert raised.raised_at is None


ERRORS = [
    ValueError("plain", 1),
    KeyError("key"),
    FileNotFoundError(2, "gone", "/nowhere", None, "/other"),
    BlockingIOError(11, "busy", 3),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError("ascii", "é", 0, 1, "bad"),
    SyntaxError("bad", ("file.py", 1, 2, "text", 1, 3)),
    ImportError("no", name="module", path="/path"),
    StopIteration(42),
    SystemExit(3),
    json.JSONDecodeError("Expecting value", "{", 1),
    caught(lambda: object().nothing),
    caught(lambda: nothing),  # noqa: F821
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_twin_has_the_type_arguments_and_attributes(error):
    """What the interpreter keeps in C is there too; traceback, cause and context are not."""
    raised = caught(fail, error)
    twin = tracebacks.twin(raised)
    assert twin is not error
    assert type(twin) is type(error)
    assert twin.args == error.args
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)
    for name in dir(error):
        value = getattr(error, name, None)
        if not name.startswith("__") and not callable(value):
            other = getattr(twin, name, None)
            assert other is value or other == value
    assert (twin.__traceback__, twin.__cause__, twin.__context__) == (None, None, None)


def test_a_twin_is_made_without_init_and_has_slots():
    """A constructor with arguments of its own is not called."""

    class Odd(Exception):
        __slots__ = ("code",)

        def __init__(self, *, code):
            super().__init__("odd")
            self.code = code
            self.me = self

    twin = tracebacks.twin(Odd(code=7))
    assert (twin.code, twin.args, twin.me) == (7, ("odd",), twin)


def test_a_twin_of_a_group_has_twins_as_members():
    """Their tracebacks stay behind as well."""
    member = caught(fail, KeyError("inner"))
    twin = tracebacks.twin(ExceptionGroup("outer", [member, ValueError()]))
    assert type(twin) is ExceptionGroup
    assert twin.message == "outer"
    assert [type(each) for each in twin.exceptions] == [KeyError, ValueError]
    assert twin.exceptions[0] is not member
    assert twin.exceptions[0].__traceback__ is None


def test_a_twin_keeps_no_frame_alive():
    """Neither by itself nor through exceptions and tracebacks that the original holds."""

    class Local:
        pass

    def wrapped():
        local = Local()
        seen.append(weakref.ref(local))
        try:
            fail(ValueError("inner"))
        except ValueError as inner:
            error = RuntimeError("outer", inner)
            error.inner, error.tb = inner, sys.exc_info()[2]
            raise error from inner

    seen = []
    twin = tracebacks.twin(caught(wrapped))
    gc.collect()
    assert seen[0]() is None
    assert type(twin.inner) is ValueError


def test_a_note_added_later_is_not_in_the_twin():
    """The list of notes is the twin's own."""
    error = ValueError()
    error.add_note("before")
    twin = tracebacks.twin(error)
    error.add_note("after")
    assert twin.__notes__ == ["before"]


def test_what_cannot_have_a_twin_is_named():
    """A RuntimeError stands for a type whose attributes can't be read."""
    error = ExceptionGroup("level", [ValueError()])
    for _ in range(5000):
        error = ExceptionGroup("level", [error])
    twin = tracebacks.twin(error)
    assert type(twin) is RuntimeError
    assert "ExceptionGroup could not be represented" in str(twin)
    tracebacks.detach(error)


def test_detach_drops_traceback_cause_and_context_of_members_too():
    """Nothing that keeps a frame alive is left."""
    member = caught(fail, KeyError("inner"))
    group = caught(fail, ExceptionGroup("outer", [ExceptionGroup("middle", [member])]))
    group.__cause__ = member.__context__ = caught(fail, ValueError())
    tracebacks.detach(group)
    for each in (group, group.exceptions[0], member):
        assert (each.__traceback__, each.__cause__, each.__context__) == (None, None, None)


def test_type_names_are_those_of_tracebacks():
    """With the module, unless that is the builtins."""
    assert tracebacks.type_name(ValueError) == "ValueError"
    assert tracebacks.type_name(json.JSONDecodeError) == "json.decoder.JSONDecodeError"
    assert tracebacks.type_name(Hostile) == f"{__name__}.Hostile"
