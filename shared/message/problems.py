"""Says what is wrong with a field, in this product's own words.

The texts reach callers and operators. The validating library's own texts change with its versions, and speak of its
types ("Input should be a valid dictionary").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_A_TIME = "must be an RFC 3339 date and time with an offset"

#: The library's type of an error -> the text; https://docs.pydantic.dev/latest/errors/validation_errors/
_FIXED: Mapping[str, str] = {
    "missing": "required",
    "extra_forbidden": "unknown field",
    "string_type": "must be a string",
    "string_unicode": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be an array",
    "tuple_type": "must be an array",
    "set_type": "must be an array",
    "frozen_set_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    **dict.fromkeys(
        (
            "datetime_type",
            "datetime_parsing",
            "datetime_object_invalid",
            "datetime_from_date_parsing",
            "timezone_aware",
            "timezone_offset",
        ),
        _A_TIME,
    ),
}

_COMPUTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "string_too_long": lambda limit: f"must have at most {_counted(limit['max_length'], 'character')}",
    "string_too_short": lambda limit: _least(limit["min_length"], "character"),
    "too_long": lambda limit: f"must have at most {_counted(limit['max_length'], 'item')}",
    "too_short": lambda limit: _least(limit["min_length"], "item"),
    "string_pattern_mismatch": lambda limit: f"must match {limit['pattern']}",
    "literal_error": lambda limit: f"must be {str(limit['expected']).replace(chr(39), '')}",
    "greater_than": lambda limit: f"must be greater than {limit['gt']}",
    "greater_than_equal": lambda limit: f"must be at least {limit['ge']}",
    "less_than": lambda limit: f"must be less than {limit['lt']}",
    "less_than_equal": lambda limit: f"must be at most {limit['le']}",
}


def problem_of(error: Any) -> tuple[str, str]:
    """Returns one of a ValidationError's errors as (field path, text); the path is '' if no single field is meant.

    A ValueError of this product's own validators keeps its text; one that belongs to a whole model names its field
    before a colon.
    """
    field = ".".join(str(part) for part in error["loc"])
    kind: str = error["type"]
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        if not field and ": " in text:
            field, _, text = text.partition(": ")
        return field, text
    if kind in _FIXED:
        return field, _FIXED[kind]
    return field, _COMPUTED[kind](error["ctx"]) if kind in _COMPUTED else "is not valid"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _least(number: int, what: str) -> str:
    return "must not be empty" if number == 1 else f"must have at least {_counted(number, what)}"
