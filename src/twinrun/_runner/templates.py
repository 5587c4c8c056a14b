"""Makes run functions from texts, as attrs makes its methods: decided and shaped once.

They have the control's own parameters in place of `*args, **kwargs`, which costs less than half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeAlias

import attrs

__all__ = ["Template"]

_Shape: TypeAlias = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@attrs.frozen
class Template:
    """The text of a run function, with the file and the line in which it begins.

    Its names begin with an underscore, since the control's parameters stand beside them. It is
    filled in with `parameters` and what passes them on (`passing`; `args` and `kwargs` as a tuple
    and a dict), whether none of them needs a copy (`shared`), and what else is decided, which
    may contain all these.
    """

    text: str
    file: str
    line: int

    def made(
        self, control: Any, names: Mapping[str, Any], *, share: bool, **decisions: object
    ) -> Callable[..., Any]:
        """Make the run function of a control; `share` says that nothing is ever copied."""
        given = tuple(sorted((name, str(value)) for name, value in decisions.items()))
        code = _compiled(self, _shape(control), share, given)
        # A copy of its own, since the interpreter adapts code to the globals that it runs with.
        return FunctionType(code.replace(), dict(names))


def _shape(control: Any) -> _Shape | None:
    """Give a function's positional-only, other positional and keyword-only parameters.

    None where it has defaults (the candidate's may be others), takes any number of arguments, or
    is no plain function.
    """
    if type(control) is not FunctionType or control.__defaults__ or control.__kwdefaults__:
        return None
    code: CodeType = control.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if code.co_flags & 0x0C or any(name.startswith("_") for name in names):
        return None
    only, positional = code.co_posonlyargcount, code.co_argcount
    return names[:only], names[only:positional], names[positional:]


@lru_cache(maxsize=1024)
def _compiled(
    template: Template, shape: _Shape | None, share: bool, decisions: tuple[tuple[str, str], ...]
) -> CodeType:
    """Fill a template in for one shape of parameters and one set of decisions."""
    if shape is None:
        parameters = passing = "*args, **kwargs"
        args, kwargs = "args", "kwargs"
        shared = "_shared.issuperset(_map(_type, args)) and (not kwargs or "
        shared += "_shared.issuperset(_map(_type, kwargs.values())))"
    else:
        only, positional, keywords = shape
        parameters = ", ".join(
            (*only, *(["/"] if only else ()), *positional, *(["*", *keywords] if keywords else ()))
        )
        passing = ", ".join((*only, *positional, *(f"{name}={name}" for name in keywords)))
        args = "(" + "".join(f"{name}, " for name in (*only, *positional)) + ")"
        kwargs = "{" + ", ".join(f"{name!r}: {name}" for name in keywords) + "}"
        every = (*only, *positional, *keywords)
        shared = " and ".join(f"_type({name}) in _shared" for name in every) or "True"
    fields = {
        "parameters": parameters,
        "passing": passing,
        "args": args,
        "kwargs": kwargs,
        "shared": "True" if share else shared,
    }
    decided = {name: text.format(**fields) for name, text in decisions}
    text = template.text.format(**fields, **decided)
    # As many lines down as the template stands, so that tracebacks show the line that runs.
    module = compile("\n" * (template.line - 1) + text, template.file, "exec")
    return next(const for const in module.co_consts if isinstance(const, CodeType))
