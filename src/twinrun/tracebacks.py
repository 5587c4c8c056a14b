"""What an exception says, where it came from, and a copy of it that keeps no frame alive.

Nothing here calls the exception's own code: no `__str__`, `__repr__`, property, `__getattribute__`
or metaclass of its type. All is read through the descriptors of the built-in types.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType, GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any, Final

from twinrun._types import exact_text, is_heap, mro

__all__ = [
    "detach",
    "links",
    "members",
    "message",
    "place",
    "stack",
    "standing",
    "text",
    "twin",
    "type_name",
]

_FRAMES: Final = 20  # of each exception: the last ones
_CHAIN: Final = 5  # causes and contexts
_MEMBERS: Final = 5  # of an exception group
_NESTED: Final = 3  # groups within groups
_MESSAGE: Final = 2048  # characters
_LINE: Final = 160  # characters of a line of source, a path or a name
_BYTES: Final = 16 * 1024
_INT: Final = 1 << 2000  # ints from here on are not written out: Python may refuse to

_ENGINE: Final = f"{__package__}._runner"  # whose frames at the outer end tell nobody anything
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_NEVER_COPIED: Final = frozenset(
    {
        "__cause__",
        "__context__",
        "__dict__",
        "__suppress_context__",
        "__traceback__",
        "__weakref__",
        "args",
    }
)

_type: Final = type.__dict__
_error: Final = BaseException.__dict__
_group: Final = BaseExceptionGroup.__dict__


def text(error: BaseException) -> str:
    """Give the traceback as text, much as Python prints it, within 16 KiB of UTF-8."""
    parts: list[str] = []
    left = _BYTES - 100  # room for the line that says what was left out
    chain = list(_chain(error))
    for number, (each, link) in enumerate(chain):
        part = _fitting(each, left) + link
        left -= _size(part)
        if left < 0:
            parts.append(f"[{len(chain) - number} earlier exceptions left out]\n\n")
            break
        parts.append(part)
    return "".join(reversed(parts))


def stack(frame: FrameType | None, outside: CodeType) -> str | None:
    """Give where a call stands that is still under way: its innermost frames, without any values.

    The frames are those inside the one that runs `outside`; None where the call is over.
    """
    inside: list[FrameType] = []
    while frame is not None and frame.f_code is not outside:
        inside.append(frame)
        frame = frame.f_back
    return None if frame is None else standing(inside[::-1])


def standing(frames: Sequence[FrameType]) -> str | None:
    """Write down where these frames stand, the innermost last; None where there are none."""
    if not frames:
        return None
    lines = ["Stack when it was given up (most recent call last):"]
    if len(frames) > _FRAMES:
        lines.append(f"  [{len(frames) - _FRAMES} earlier frames left out]")
    for each in frames[-_FRAMES:]:
        lines += _place_lines(each.f_code, each.f_lineno)
    return "".join(f"{line}\n" for line in lines)


def message(error: BaseException) -> str:
    """Give the exception's message, within 2048 characters.

    It is Python's own text where that is made by the interpreter out of plain values alone;
    otherwise it is put together from the arguments, of which unknown ones are named by type.
    """
    try:
        return _message(error)
    except Exception:  # a type of an extension module may refuse anything
        return ""


def place(error: BaseException) -> str | None:
    """Name the function that raised: `module:qualname`, or None where it never came to one.

    What the standard library raised comes from the function that called it: how it is built is
    another matter in each Python. Where nothing else called it, it is the function called first.
    """
    step, found = _error["__traceback__"].__get__(error), None
    while step is not None:
        frame: FrameType = step.tb_frame
        module, step = _module(frame) or "?", step.tb_next
        if module.startswith(_ENGINE):
            continue
        if found is None or module.partition(".")[0] not in sys.stdlib_module_names:
            found = f"{module}:{exact_text(frame.f_code.co_qualname)}"
    return found


def twin(error: BaseException) -> BaseException:
    """Make an exception of the same type, arguments and attributes that keeps no frame alive.

    It is made without `__init__` and has no traceback, cause or context; exceptions that it holds
    directly are twins too. Where the type can't be made so, a `RuntimeError` says which it was.
    """
    try:
        return _twin(error, {})
    except Exception:
        return RuntimeError(f"{type_name(type(error))} could not be represented")


def detach(error: BaseException) -> None:
    """Drop the traceback, cause and context of an exception and of a group's members."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        for name in ("__traceback__", "__cause__", "__context__"):
            _error[name].__set__(each, None)
        # Setting a cause has set this; Python would recycle a MemoryError with it.
        _error["__suppress_context__"].__set__(each, False)
        waiting.extend(members(each))


def members(error: BaseException) -> tuple[BaseException, ...]:
    """The members of an exception group, none of any other exception."""
    if not issubclass(type(error), BaseExceptionGroup):
        return ()
    inside: tuple[BaseException, ...] = _group["exceptions"].__get__(error)
    return inside


def links(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cause and the context of an exception."""
    return _error["__cause__"].__get__(error), _error["__context__"].__get__(error)


def type_name(cls: type) -> str:
    """Give the name of a type as tracebacks write it, within 160 characters."""
    name = exact_text(_type["__qualname__"].__get__(cls))
    module = _type["__module__"].__get__(cls)
    if type(module) is not str or module in ("builtins", "__main__"):
        return _cut(name)
    return _cut(f"{module}.{name}")


# The text ----------------------------------------------------------------------------------------


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Walk from an exception back through what caused it, each with the words that follow it."""
    link, seen = "", set[int]()
    each: BaseException | None = error
    while each is not None and id(each) not in seen and len(seen) <= _CHAIN:
        seen.add(id(each))
        yield each, link
        cause = _error["__cause__"].__get__(each)
        if cause is not None:
            each, link = cause, "direct cause of the following exception"
            link = f"\nThe above exception was the {link}:\n\n"
        elif _error["__suppress_context__"].__get__(each):
            return
        else:
            each = _error["__context__"].__get__(each)
            link = "\nDuring handling of the above exception, another exception occurred:\n\n"


def _fitting(error: BaseException, left: int) -> str:
    """Format one exception with as many of its frames as fit, if any do."""
    frames, nested = _FRAMES, _NESTED
    while True:
        block = "".join(f"{line}\n" for line in _block(error, frames, nested))
        if _size(block) <= left or not (frames or nested):
            return block
        frames, nested = frames // 2, nested // 2


def _block(error: BaseException, frames: int, nested: int) -> Iterator[str]:
    """Format one exception line by line."""
    yield from _frame_lines(_error["__traceback__"].__get__(error), frames)
    said = message(error)
    yield f"{type_name(type(error))}: {said}" if said else type_name(type(error))
    yield from _notes(error)
    inside = members(error)
    if not nested:
        return
    for number, member in enumerate(inside[:_MEMBERS], 1):
        yield f"  +---------------- {number} ----------------"
        for line in _block(member, min(frames, 5), nested - 1):
            yield "  | " + line.replace("\n", "\n  | ")
    if len(inside) > _MEMBERS:
        yield f"  + and {len(inside) - _MEMBERS} more"


def _frame_lines(step: TracebackType | None, frames: int) -> Iterator[str]:
    """Format the last frames of a traceback; twinrun's own ones at its outer end are left out."""
    while step is not None and (_module(step.tb_frame) or "").startswith(_ENGINE):
        step = step.tb_next
    if step is None or not frames:
        return
    kept: deque[TracebackType] = deque(maxlen=frames)
    count = 0
    while step is not None:
        kept.append(step)
        count += 1
        step = step.tb_next
    yield "Traceback (most recent call last):"
    if count > frames:
        yield f"  [{count - frames} earlier frames left out]"
    for each in kept:
        yield from _place_lines(each.tb_frame.f_code, each.tb_lineno)


def _place_lines(code: CodeType, number: int) -> Iterator[str]:
    """Format one frame: where it is, and the line of source."""
    file, function = _cut(exact_text(code.co_filename)), _cut(exact_text(code.co_name))
    yield f'  File "{file}", line {number}, in {function}'
    source = _source(code.co_filename, number)
    if source:
        yield f"    {source}"


def _source(file: str, line: int) -> str:
    """Read a line of source, empty where there is none."""
    import linecache

    try:
        return _cut(linecache.getline(file, line).strip())
    except Exception:  # whatever a replaced reader may raise
        return ""


def _notes(error: BaseException) -> Iterator[str]:
    """Give the notes that were added to an exception, the first ones."""
    notes = dict.get(_error["__dict__"].__get__(error), "__notes__")
    if type(notes) is list:
        for note in notes[:_MEMBERS]:
            if type(note) is str:
                yield note[:_MESSAGE]


def _size(part: str) -> int:
    """The length of a text in UTF-8."""
    return len(part.encode("utf-8", "surrogatepass"))


def _cut(line: str) -> str:
    """Shorten what may not be longer than a line."""
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


# The message -------------------------------------------------------------------------------------


def _message(error: BaseException) -> str:
    args = _error["args"].__get__(error)
    if issubclass(type(error), BaseExceptionGroup):
        said, count = exact_text(_group["message"].__get__(error)), len(members(error))
        return f"{said[:_MESSAGE]} ({count} sub-exception{'s' if count != 1 else ''})"
    for cls in mro(type(error)):
        own = _type["__dict__"].__get__(cls)
        if "__str__" not in own:
            continue
        # The interpreter's own texts use the arguments and the fields of the type that makes them.
        if not is_heap(cls) and all(map(_is_short, [*args, *_fields(error, cls).values()])):
            return exact_text(own["__str__"](error))[:_MESSAGE]
        break
    shown = [_shown(arg, 2) if type(arg) is not str else arg[:_MESSAGE] for arg in args[:10]]
    return ", ".join(shown)[:_MESSAGE]


def _is_short(value: Any) -> bool:
    """Whether a value is plain and its text is made quickly."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= 16 * _MESSAGE
    if kind is tuple:  # a SyntaxError's place
        return len(value) <= 10 and all(type(v) is not tuple and _is_short(v) for v in value)
    return _is_plain(value, kind)


def _is_plain(value: Any, kind: type) -> bool:
    """Whether a value is plain; a type with a metaclass, which may define `__hash__`, never is."""
    return type(kind) is type and kind in _PLAIN and (kind is not int or -_INT < value < _INT)


def _shown(value: Any, depth: int) -> str:
    """Write plain values and the built-in containers of them as Python does, others by type."""
    kind = type(value)
    if _is_plain(value, kind):
        return repr(value[:_MESSAGE] if kind is str or kind is bytes else value)
    if depth and (kind is list or kind is tuple):
        inside = ", ".join(_shown(item, depth - 1) for item in value[:10])
        return f"[{inside}]" if kind is list else f"({inside}{',' if len(value) == 1 else ''})"
    if depth and kind is dict and len(value) <= 10:
        pairs = [(_shown(k, 0), _shown(v, depth - 1)) for k, v in value.items()]
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    return f"<{type_name(kind)}>"


# The twin ----------------------------------------------------------------------------------------


def _twin(error: BaseException, made: dict[int, BaseException]) -> BaseException:
    """Make the twin of one exception; `made` holds those already made, by id."""
    if id(error) in made:
        return made[id(error)]
    cls = type(error)
    maker = next(k for k in mro(cls) if not is_heap(k) and issubclass(k, BaseException))
    if issubclass(cls, BaseExceptionGroup):
        twins = [_twin(member, made) for member in members(error)]
        said = exact_text(_group["message"].__get__(error))
        other: BaseException = _group["__new__"](cls, said, twins)
    else:
        other = maker.__new__(cls)
        made[id(error)] = other
        args = _error["args"].__get__(error)
        _error["args"].__set__(other, tuple(_alone(arg, made) for arg in args))
    made[id(error)] = other
    own = dict.items(_error["__dict__"].__get__(error))
    attributes = {key: _alone(value, made) for key, value in own if type(key) is str}
    _error["__dict__"].__set__(other, attributes)
    for each in mro(cls):
        for name, value in _fields(error, each).items():
            if value is None and not is_heap(each):
                continue  # unset reads as None, but an OSError tells one from the other
            try:
                _type["__dict__"].__get__(each)[name].__set__(other, _alone(value, made))
            except (AttributeError, TypeError):
                continue  # read-only, and set by __new__ already
    return other


def _alone(value: Any, made: dict[int, BaseException]) -> Any:
    """Give what stands for an attribute in a twin: something that holds no frame itself."""
    kind = type(value)
    if kind is TracebackType or kind is FrameType:
        return None
    if issubclass(kind, BaseException):
        return _twin(value, made)
    return list(value) if kind is list else value  # notes may be added to the original's list


def _fields(error: BaseException, cls: type) -> dict[str, Any]:
    """Read what a type in the exception's ancestry stores in C: `errno`, `code`, slots …"""
    fields: dict[str, Any] = {}
    for name, descriptor in _type["__dict__"].__get__(cls).items():
        kind = type(descriptor)
        if name in _NEVER_COPIED or not (
            kind is MemberDescriptorType or (kind is GetSetDescriptorType and not is_heap(cls))
        ):
            continue
        try:
            fields[name] = descriptor.__get__(error)
        except (AttributeError, TypeError):
            continue  # never set, or a descriptor of some other type
    return fields


def _module(frame: FrameType) -> str | None:
    """The name of the module in which a frame runs."""
    name = dict.get(frame.f_globals, "__name__")
    return name if type(name) is str else None
