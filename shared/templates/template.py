"""Describes a template: the texts of its parts, read from a record of another system."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _absent_as_empty(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_absent_as_empty)]


class Template(BaseModel):
    """Holds a template's texts before rendering; a missing part is ''. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    subject: Text = ""
    title: Text = ""
    body: Text = ""
    html: Text = ""
