"""Reads the query and the body of a request as a model, and names every field that is wrong."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from flask import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from gateway.http.body import read_json
from gateway.http.problem import Problem
from shared.message.envelope import MAX_BODY_BYTES, whole
from shared.message.problems import problem_of

M = TypeVar("M", bound=BaseModel)

#: The largest whole number that JavaScript reads exactly.
LARGEST = 2**53 - 1
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class RequestModel(BaseModel):
    """Is the base of what callers send: an unknown field is refused, because it is probably misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _in_query(value: Any) -> Any:
    """Returns the number that a text of digits stands for; pydantic alone would accept '1_000' and ' 7 ' too."""
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise ValueError("must be a whole number")
        return int(value)
    return value


#: Stand behind the bounds of a StrictInt, for a number in a query and for one in a JSON body. In front of the bounds,
#: they would keep them out of the OpenAPI document.
IN_QUERY, IN_JSON = BeforeValidator(_in_query), BeforeValidator(whole)


def query_of(request: Request, model: type[M]) -> M:
    """Returns the query. Raises Problem 422."""
    repeated = [(name, "given more than once") for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise Problem(422, "the query is not valid", repeated)
    return validated(model, request.args.to_dict(), "the query is not valid")


def body_of(request: Request, model: type[M]) -> M:
    """Returns the JSON body. Raises Problem 400, 413, 415, 422 or 503."""
    document = read_json(request, MAX_BODY_BYTES)
    if not isinstance(document, dict):
        raise Problem(422, "the body is not valid", [("", "must be a JSON object")])
    return validated(model, document, "the body is not valid")


def validated(model: type[M], fields: dict[str, Any], detail: str) -> M:
    """Returns the fields as a model. Raises Problem 422 with ``detail``, which names each bad field."""
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        raise Problem(422, detail, [problem_of(error) for error in exc.errors(include_url=False)]) from exc
