"""The stand-in directory and templates."""

import re

import aiohttp
import pytest

from sandbox.server import Sandbox


async def test_a_user_has_every_field(http: aiohttp.ClientSession) -> None:
    async with http.get("/users/user_id1") as response:
        user = await response.json()
    assert set(user) == {"id", "email", "phone", "push_tokens", "preferences", "locale"}
    assert (user["id"], len(user["push_tokens"]), user["preferences"]["push"]) == ("user_id1", 1, True)


async def test_one_user_has_two_devices_and_one_wants_no_sms(http: aiohttp.ClientSession) -> None:
    async with http.get("/users/user_id2") as response:
        assert len(set((await response.json())["push_tokens"])) == 2
    async with http.get("/users/user_id3") as response:
        preferences = (await response.json())["preferences"]
    assert preferences == {"push": True, "email": True, "sms": False, "websocket": True}


async def test_numbered_users_are_made_up_and_differ(http: aiohttp.ClientSession) -> None:
    phones = set()
    for name in ("user-1", "user-2", "user-999999999", "user_id1"):
        async with http.get(f"/users/{name}") as response:
            user = await response.json()
        assert user["id"] == name
        assert re.fullmatch(r"\+[1-9]\d{1,14}", user["phone"])
        phones.add(user["phone"])
    assert len(phones) == 4


@pytest.mark.parametrize("code", ["PRODUCT_UPDATE", "WELCOME", "OTP"])
async def test_a_template_has_every_field(http: aiohttp.ClientSession, code: str) -> None:
    async with http.get(f"/templates/{code}") as response:
        template = await response.json()
    assert set(template) == {"code", "subject", "title", "body", "html"}
    assert template["code"] == code


async def test_product_update_has_name_and_link(http: aiohttp.ClientSession) -> None:
    async with http.get("/templates/PRODUCT_UPDATE") as response:
        template = await response.json()
    found = {name for text in template.values() for name in re.findall(r"{{ (\w+) }}", text)}
    assert found == {"name", "link"}


@pytest.mark.parametrize("path", ["/users/nobody", "/users/user-x", "/templates/NONE"])
async def test_the_unknown_is_a_404_problem(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_lookups_are_counted_and_can_fail_for_one_key(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await http.put("/sandbox/faults/users", json={"mode": "status", "status": 503, "target": "user-1"})
    async with http.get("/users/user-1") as response:
        assert (response.status, response.content_type) == (503, "application/problem+json")
    async with http.get("/users/user-2") as response:
        assert response.status == 200
    async with http.get("/users/nobody") as response:
        assert response.status == 404
    assert sandbox.ledger.totals(["users"]) == {"users": {"calls": 3, "accepted": 1}}
    assert not sandbox.ledger.deliveries
