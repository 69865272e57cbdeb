import json
from typing import Any

import pytest
from pydantic import ValidationError

from shared.users.user import User


def user(**fields: Any) -> User:
    return User.model_validate_json(json.dumps({"id": "u", **fields}))


def test_a_whole_record_is_read_and_what_it_adds_is_ignored() -> None:
    record = user(
        email="a@example.com", phone="+4912345", push_tokens=["t"], preferences={"sms": False}, locale="de", age=3
    )
    assert (record.email, record.phone, record.push_tokens, record.locale) == (
        "a@example.com",
        "+4912345",
        ("t",),
        "de",
    )


def test_a_missing_preference_means_yes() -> None:
    record = user(preferences={"push": False, "email": True, "sms": None})
    assert [record.wants(channel) for channel in ("push", "email", "sms", "websocket")] == [False, True, True, True]
    assert user().wants("push")
    assert user(preferences=None).wants("push")


def test_preferences_about_other_things_are_no_fault() -> None:
    assert user(preferences={"theme": {"dark": True}, "push": "false"}).wants("push") is False


@pytest.mark.parametrize("odd", [{"marketing": False}, [], "maybe", 7, {}])
def test_a_preference_of_another_shape_is_ignored_and_the_others_apply(odd: Any) -> None:
    record = user(preferences={"email": odd, "sms": False})
    assert [record.wants(channel) for channel in ("push", "email", "sms")] == [True, True, False]


@pytest.mark.parametrize(
    "email", ["a@example.com\r\nBcc: b@example.com", "a@b, c@d", "nobody", "", 5, None, "a@" + "x" * 400]
)
def test_an_address_that_cannot_be_one_reads_as_none(email: Any) -> None:
    assert user(email=email, phone="+1").email is None


@pytest.mark.parametrize("tokens", [None, [], "abc", {"a": 1}, ["", None, 3, "x\n", "t" * 5_000]])
def test_tokens_that_cannot_be_any_read_as_none(tokens: Any) -> None:
    assert user(push_tokens=tokens).push_tokens == ()


def test_each_token_once_and_at_most_a_hundred() -> None:
    assert user(push_tokens=["a", "b", "a"]).push_tokens == ("a", "b")
    assert len(user(push_tokens=[f"t{n}" for n in range(300)]).push_tokens) == 100


def test_a_number_is_an_id_too() -> None:
    assert user(id=7).id == "7"


@pytest.mark.parametrize("record", ["[]", "{}", '{"id": true}', '{"id": "u", "preferences": 3}', "", "<html>"])
def test_a_record_that_is_no_user_cannot_be_read(record: str) -> None:
    with pytest.raises(ValidationError):
        User.model_validate_json(record)
