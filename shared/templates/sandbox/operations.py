"""Defines the operators and the filters that a template can use, none of which makes a value too large.

A text stays below ``MAX_TEXT``. Lists and objects come from the variables and cannot be multiplied or printed: a list
that contains another one twice, nested thirty times, would be a gigabyte. A filter that is not listed here does not
exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from jinja2 import Environment, TemplateRuntimeError, Undefined, pass_environment, pass_eval_context
from jinja2.filters import FILTERS, make_attrgetter, sync_do_join
from jinja2.nodes import EvalContext
from markupsafe import Markup, escape, soft_str

from shared.templates.sandbox.meter import MAX_STEPS, METER

#: Longest text of a part, and of any intermediate value.
MAX_TEXT = 64 * 1024
#: Largest whole number, in bits.
MAX_BITS = 1024
_MAX_DIGITS = 20
_MAX_WIDTH = 999

Filter = Callable[..., Any]

#: The names under which the environment calls these functions. They contain a space, so a template cannot use them.
EACH, SCALAR, WATCHED, CUT = " each", " scalar", " watched", " cut"

_KINDS = {dict: "an object", list: "a list", tuple: "a list", type(None): "null"}


def number(value: Any) -> Any:
    """Returns ``value``. Raises TemplateRuntimeError if it is a number that is too large, infinite or no number."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise TemplateRuntimeError("the number is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateRuntimeError("the number is not finite")
    return value


def scalar(value: Any) -> Any:
    """Returns ``value`` if it is a text, a number, a boolean or null; else raises TemplateRuntimeError.

    An undefined value passes, because it raises by itself later.
    """
    if value is None or isinstance(value, (str, int, float, Undefined)):
        return number(value)
    raise TemplateRuntimeError(f"{_KINDS.get(type(value), 'this')} cannot be used as text")


def printable(value: Any) -> Any:
    """Returns ``value`` if it may be printed, else raises TemplateRuntimeError.

    Null and Python's form of a list are refused, because a person should not read them.
    """
    if isinstance(value, (str, Undefined)):
        return value
    if isinstance(value, (int, float)):
        return number(value)
    raise TemplateRuntimeError(f"{_KINDS.get(type(value), 'this')} cannot be printed")


def made(value: Any) -> Any:
    """Returns ``value``, which an operation has made, and counts its size.

    Raises TemplateRuntimeError for a text that is too long or a number that is too large, or if the rendering has made
    too much.
    """
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise _too_long()
    METER.created(value)
    return number(value)


def watched(value: Any) -> Any:
    """Returns ``value``, the left side of a comparison, as it is; a comparison may read two long texts."""
    METER.operation()
    return value


def cut(value: Any, start: Any, stop: Any, step: Any) -> Any:
    """Returns ``value[start:stop:step]``."""
    METER.operation()
    return made(value[start:stop:step])


def operator(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Returns an operator that takes scalars, watches the time, and makes no value that is too large."""

    @wraps(function)
    def bounded(left: Any, right: Any) -> Any:
        METER.operation()
        return made(function(scalar(left), scalar(right)))

    return bounded


def sign(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Does the same as ``operator`` for an operator with one side."""

    @wraps(function)
    def bounded(value: Any) -> Any:
        METER.operation()
        return made(function(scalar(value)))

    return bounded


def each(value: Iterable[Any]) -> Iterator[Any]:
    """Yields the items of ``value``, and counts a step for each."""
    for item in value:
        METER.step()
        yield item


def bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_STEPS:
        raise TemplateRuntimeError(f"range: more than {MAX_STEPS} numbers")
    return numbers


def add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str) and len(left) + len(right) > MAX_TEXT:
        raise _too_long()
    return left + right


def multiply(left: Any, right: Any) -> Any:
    text, times = (left, right) if isinstance(left, str) else (right, left)
    if isinstance(text, str) and isinstance(times, int) and len(text) * times > MAX_TEXT:
        raise _too_long()
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
        raise TemplateRuntimeError("*: the number would be too large")
    return left * right


def power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
        raise TemplateRuntimeError("**: the number would be too large")
    return left**right


def modulo(left: Any, right: Any) -> Any:
    METER.operation()
    if isinstance(left, str):
        return made(format_text(left, *(right if isinstance(right, tuple) else (right,))))
    return made(scalar(left) % scalar(right))


def format_text(value: str, *args: Any) -> str:
    """Formats a text as in ``"%.2f"|format(price)``.

    Widths are bounded. ``%(name)s`` and ``*`` are refused, because they take values or widths from elsewhere.
    """
    most = len(value) + value.count("%") * _MAX_WIDTH + sum(len(str(scalar(arg))) for arg in args)
    if most > MAX_TEXT:
        raise _too_long()
    if "%(" in value or "*" in value or _longest_number(value) > len(str(_MAX_WIDTH)):
        raise TemplateRuntimeError("format: a width or a name that is not allowed")
    return value % args


@pass_eval_context
def join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Joins like Jinja's join, but only scalars, and checks the length before it joins."""
    of = make_attrgetter(context.environment, attribute) if attribute is not None else scalar
    items, length = [], 0
    for item in each(value):
        part = scalar(of(item))
        length += len(str(part)) + len(d)
        if length > MAX_TEXT:
            raise _too_long()
        items.append(part)
    return sync_do_join(context, items, d)


@pass_eval_context
def replace(context: EvalContext, value: Any, old: str, new: str, count: int = -1) -> str:
    """Replaces like Jinja's replace, but checks the length before it replaces."""
    text = soft_str(scalar(value))
    if context.autoescape and (isinstance(old, Markup) or isinstance(new, Markup)):
        text = escape(text)
    old, new = (escape(old), escape(new)) if isinstance(text, Markup) else (str(old), str(new))
    if len(text) + text.count(old) * len(new) > MAX_TEXT:
        raise _too_long()
    return text.replace(old, new, count)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    **{
        symbol: operator(function)
        for symbol, function in {
            "+": add,
            "-": lambda left, right: left - right,
            "*": multiply,
            "/": lambda left, right: left / right,
            "//": lambda left, right: left // right,
            "**": power,
        }.items()
    },
    "%": modulo,
}
UNARY: dict[str, Callable[[Any], Any]] = {"+": sign(lambda value: +value), "-": sign(lambda value: -value)}


def round_number(value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > _MAX_DIGITS:
        raise TemplateRuntimeError(f"round: more than {_MAX_DIGITS} digits")
    rounded: float = FILTERS["round"](value, precision, method)
    return rounded


@pass_environment
def total(environment: Environment, value: Iterable[Any], attribute: str | int | None = None, start: float = 0) -> Any:
    """Adds like Jinja's sum, with the bounded ``add``."""
    of = make_attrgetter(environment, attribute) if attribute is not None else scalar
    result: Any = start
    for item in each(value):
        result = BINARY["+"](result, of(item))
    return result


# Filters of Jinja2, for scalars only: applied to a list, they would write it out with all its nested copies.
_OF_TEXT = (
    "abs capitalize e escape filesizeformat float int lower safe string striptags title trim truncate upper urlencode "
    "wordcount"
)
# Filters of Jinja2 that visit all items.
_OF_ITEMS = "list map max min reject rejectattr select selectattr sort unique"
_OF_ANYTHING = "count d default dictsort first items last length reverse"
_REPLACED: dict[str, Filter] = {"join": join, "sum": total}
_REPLACED_OF_TEXT: dict[str, Filter] = {"format": format_text, "replace": replace, "round": round_number}


def template_filters() -> dict[str, Filter]:
    """Returns every filter that a template can use, by its name, metered and with its input checked."""
    return {
        **{name: _metered(FILTERS[name], scalar) for name in _OF_TEXT.split()},
        **{name: _metered(function, scalar) for name, function in _REPLACED_OF_TEXT.items()},
        **{name: _metered(FILTERS[name], each) for name in _OF_ITEMS.split()},
        **{name: _metered(FILTERS[name], _as_is) for name in _OF_ANYTHING.split()},
        **{name: _metered(function, _as_is) for name, function in _REPLACED.items()},
        EACH: each,
        SCALAR: scalar,
        WATCHED: watched,
        CUT: cut,
    }


def _metered(function: Filter, check: Callable[[Any], Any]) -> Filter:
    # If a filter requests the context, Jinja passes it before the value.
    position = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        METER.step()
        value = check(args[position])
        result = function(*args[:position], value, *args[position + 1 :], **kwargs)
        # A filter such as ``default`` or ``first`` makes nothing, but passes on what is there.
        return result if result is value else made(result)

    return metered


def _as_is(value: Any) -> Any:
    return value


def _longest_number(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character.isdigit() else 0
        longest = max(longest, run)
    return longest


def _too_long() -> TemplateRuntimeError:
    return TemplateRuntimeError(f"a text of more than {MAX_TEXT} characters")
