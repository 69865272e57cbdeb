"""The filters that exist for a template, each with what it may be applied to."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from jinja2.filters import FILTERS

from shared.templates.sandbox.meter import METER
from shared.templates.sandbox.operations import each, format_text, join, replace, round_number, scalar, small, total

Filter = Callable[..., Any]

# Applied to a list these would write it out, as often as it holds itself.
_OF_TEXT = (
    "abs capitalize e escape filesizeformat float int lower safe string striptags title trim truncate upper urlencode "
    "wordcount"
)
# These go through all items.
_OF_ITEMS = "list map max min reject rejectattr select selectattr sort unique"
_OF_ANYTHING = "count d default dictsort first items last length reverse"
_OURS: dict[str, Filter] = {"join": join, "sum": total}
_OURS_OF_TEXT: dict[str, Filter] = {"format": format_text, "replace": replace, "round": round_number}

#: the names under which ``template_shape`` calls what templates cannot: a space is in no name
EACH, SCALAR = " each", " scalar"


def template_filters() -> dict[str, Filter]:
    """Every filter by its name."""
    return {
        **{name: _metered(FILTERS[name], scalar) for name in _OF_TEXT.split()},
        **{name: _metered(function, scalar) for name, function in _OURS_OF_TEXT.items()},
        **{name: _metered(FILTERS[name], each) for name in _OF_ITEMS.split()},
        **{name: _metered(FILTERS[name], _as_is) for name in _OF_ANYTHING.split()},
        **{name: _metered(function, _as_is) for name, function in _OURS.items()},
        EACH: each,
        SCALAR: scalar,
    }


def _metered(function: Filter, check: Callable[[Any], Any]) -> Filter:
    # Jinja passes its context, where a filter asks for it, before the value.
    position = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        METER.step()
        value = check(args[position])
        return small(function(*args[:position], value, *args[position + 1 :], **kwargs))

    return metered


def _as_is(value: Any) -> Any:
    return value
