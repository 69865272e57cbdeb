"""What a template says, from the template service."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from shared.lookup.cached import Source
from shared.metrics import Metrics
from shared.settings.settings import Settings


def _absent_as_empty(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_absent_as_empty)]


class Template(BaseModel):
    """A template's texts, not yet rendered; '' for a part it does not have. What the service adds is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    subject: Text = ""
    title: Text = ""
    body: Text = ""
    html: Text = ""


class Templates(Source[Template]):
    """Templates by code: ``get`` raises SourceNotFound, SourceUnavailable."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__("templates", Template, settings, metrics)
