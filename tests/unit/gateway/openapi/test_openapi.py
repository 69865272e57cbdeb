"""Tests the OpenAPI document and its page: valid, complete, with correct examples, and without other hosts' files."""

import re
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from gateway.api.notifications import BATCH, BATCH_ANSWER, BOTH, EMAIL, INBOX, PUSH, SEVERAL, SMS
from gateway.api.resources import RESOURCES
from gateway.openapi import openapi_document
from tests.support.fakes.gateway_client import Gateway

_OPERATIONS = [
    pytest.param(operation, id=f"{method} {path}")
    for path, methods in openapi_document(RESOURCES)["paths"].items()
    for method, operation in methods.items()
]


def test_the_served_document_is_the_generated_one_and_valid(made: Gateway) -> None:
    served = made.client.get("/openapi.json").get_json()
    assert served == openapi_document(RESOURCES)
    assert served["openapi"].startswith("3.1")
    validate(served)


def test_every_route_is_in_the_document(made: Gateway) -> None:
    about_itself = {"/", "/apidocs/", "/apidocs/<path:name>", "/openapi.json"}
    for_browsers = {"/notify-inbox.js", "/demo", "/demo/", "/demo/<path:name>", "/demo/settings.json"}
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in made.app.url_map.iter_rules()
        if rule.rule not in about_itself | for_browsers
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {
        (path, method) for path, methods in openapi_document(RESOURCES)["paths"].items() for method in methods
    }
    assert routes == documented


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_every_operation_has_a_summary_and_every_answer_an_example_that_fits(
    operation: dict[str, Any],
) -> None:
    document = openapi_document(RESOURCES)
    assert operation["summary"]
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        assert answer["description"]
        for media in answer["content"].values():
            schema = {**media["schema"], "components": document["components"]}
            jsonschema_rs.validate(schema, media["example"])
            assert media["example"], status


def test_every_body_has_examples_that_the_document_allows() -> None:
    document = openapi_document(RESOURCES)
    bodies = {
        operation["operationId"]: operation["requestBody"]["content"]["application/json"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    }
    assert {"markInbox", "markNotification", "makeToken", "makeTicketForUser", "refreshToken"} < bodies.keys()
    # Its example shows what becomes of an item that is not valid.
    del bodies["acceptBatch"]
    for body in bodies.values():
        schema = {**body["schema"], "components": document["components"]}
        assert body["examples"]
        for example in body["examples"].values():
            jsonschema_rs.validate(schema, example["value"])


def test_the_examples_are_accepted_as_they_stand(made: Gateway) -> None:
    for number, example in enumerate((PUSH, EMAIL, SMS, INBOX, BOTH, SEVERAL)):
        answer = made.client.post("/notifications", json=example | {"request_id": f"example-{number}"})
        assert answer.status_code == 202, answer.data
    batch = made.client.post("/notifications/batch", json=BATCH)
    assert batch.get_json() == BATCH_ANSWER.model_dump(mode="json")


def test_every_field_of_the_envelope_is_described() -> None:
    schemas = openapi_document(RESOURCES)["components"]["schemas"]
    for name in ("Envelope", "EnvelopeContent", "Recipient"):
        assert schemas[name]["additionalProperties"] is False
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


def test_the_page_fetches_nothing_from_elsewhere(made: Gateway) -> None:
    page = made.client.get("/apidocs/")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    page.close()
    assert len(links) >= 3
    for link in links:
        assert not re.match(r"(\w+:)?//", link)
        answer = made.client.get(f"/apidocs/{link}")
        assert answer.status_code == 200, link
        answer.close()
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    start = made.client.get("/apidocs/start.js")
    assert "validatorUrl: null" in start.text
    assert "//" not in re.sub(r"^//.*$", "", start.text, flags=re.MULTILINE)
    start.close()


def test_nothing_outside_the_page_is_served(made: Gateway) -> None:
    for path in ("/apidocs/../app.py", "/apidocs/%2e%2e/%2e%2e/app.py", "/flasgger_static/x"):
        assert made.client.get(path).status_code == 404
    answer = made.client.get("/")
    assert answer.headers["Location"].endswith("/apidocs/")
