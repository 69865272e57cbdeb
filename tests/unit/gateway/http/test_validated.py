"""Tests that a query or a body is read strictly, and that every bad field is named."""

from __future__ import annotations

from typing import Annotated

import pytest
from flask import Flask, request
from pydantic import Field, StrictInt

from gateway.http.problem import Problem
from gateway.http.validated import IN_JSON, IN_QUERY, RequestModel, query_of, validated


class Query(RequestModel):
    limit: Annotated[StrictInt, Field(ge=1, le=100), IN_QUERY] = 20
    word: Annotated[str, Field(min_length=1)] | None = None


class Document(RequestModel):
    number: Annotated[StrictInt, Field(ge=0), IN_JSON]


def query(text: str) -> Query:
    with Flask(__name__).test_request_context(f"/?{text}"):
        return query_of(request, Query)


def refused(text: str) -> tuple[tuple[str, str], ...]:
    with pytest.raises(Problem) as caught:
        query(text)
    assert caught.value.status == 422
    return caught.value.errors


def test_it_is_read_with_its_defaults() -> None:
    assert query("") == Query(limit=20, word=None)
    assert query("limit=7&word=a%20b") == Query(limit=7, word="a b")


def test_every_bad_field_is_named() -> None:
    assert refused("limit=0&word=&x=1") == (
        ("limit", "must be at least 1"),
        ("word", "must not be empty"),
        ("x", "unknown field"),
    )


@pytest.mark.parametrize("text", ["", "+7", "%207", "7.0", "1_0", "0x7", "seven", "9" * 19, "\u0667"])
def test_only_digits_are_a_number(text: str) -> None:
    assert refused(f"limit={text}") == (("limit", "must be a whole number"),)


def test_no_field_is_given_twice() -> None:
    assert refused("limit=1&limit=1") == (("limit", "given more than once"),)


@pytest.mark.parametrize("value", [True, "7", 7.5, None])
def test_only_a_number_is_one_in_json(value: object) -> None:
    with pytest.raises(Problem) as caught:
        validated(Document, {"number": value}, "no")
    assert [field for field, _ in caught.value.errors] == ["number"]


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert validated(Document, {"number": 7.0}, "no").number == 7
