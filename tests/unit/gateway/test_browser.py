"""Tests that the gateway serves the browser's module to every page, and the demo page only where it is wanted."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from shared.settings.load import load_settings
from tests.support.fakes.gateway_client import Gateway, gateway

STATIC = Path(__file__).parents[3] / "gateway" / "static"
#: What a page with a strict policy may not have, because it would need 'unsafe-inline' or 'unsafe-eval'.
INLINE = re.compile(r"\son\w+=|\sstyle=|<style|javascript:|\beval\(|new Function|setAttribute\(.style")


def test_the_module_can_be_loaded_by_pages_of_every_origin(made: Gateway) -> None:
    answer = made.client.get("/notify-inbox.js", headers={"Origin": "https://app.example.org"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.data == (STATIC / "inbox" / "notify-inbox.js").read_bytes()
    answer.close()


def test_the_module_is_sent_again_only_if_it_has_changed(made: Gateway) -> None:
    first = made.client.get("/notify-inbox.js")
    first.close()
    again = made.client.get("/notify-inbox.js", headers={"If-None-Match": first.headers["ETag"]})
    again.close()
    assert again.status_code == 304


def test_the_module_is_compressed_for_those_who_can_read_that(made: Gateway) -> None:
    answer = made.client.get("/notify-inbox.js", headers={"Accept-Encoding": "gzip, br"})
    answer.close()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(answer.data) < 40_000
    assert gzip.decompress(answer.data) == (STATIC / "inbox" / "notify-inbox.js").read_bytes()
    known = {"Accept-Encoding": "gzip", "If-None-Match": answer.headers["ETag"]}
    for headers in (known, {"If-None-Match": answer.headers["ETag"]}):
        again = made.client.get("/notify-inbox.js", headers=headers)
        again.close()
        assert again.status_code == 304
    plain = made.client.get("/notify-inbox.js", headers={"Accept-Encoding": "gzip;q=0"})
    plain.close()
    assert "Content-Encoding" not in plain.headers


def test_the_module_depends_on_nothing() -> None:
    text = (STATIC / "inbox" / "notify-inbox.js").read_text()
    assert re.findall(r"^\s*import\s|\bimport\(|^export .* from ", text, re.MULTILINE) == []
    assert re.findall(r"https?://(?!gateway\.example\.org|www\.w3\.org)\S+", text) == []


@pytest.mark.parametrize(
    "path", sorted(STATIC.glob("inbox/*")) + sorted(STATIC.glob("demo/*")), ids=lambda path: path.name
)
def test_nothing_is_inline_and_no_text_becomes_html(path: Path) -> None:
    text = path.read_text()
    if path.suffix != ".css":
        assert INLINE.findall(text) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser", text) == []


def test_the_demo_page_loads_only_what_the_gateway_serves(made: Gateway) -> None:
    page = made.client.get("/demo", follow_redirects=True)
    assert page.request.path == "/demo/"
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    page.close()
    assert links == ["demo.css", "../notify-inbox.js", "demo.js"]
    for link in links:
        answer = made.client.get(f"/demo/{link}" if "/" not in link else "/notify-inbox.js")
        assert answer.status_code == 200
        answer.close()
    assert made.client.get("/demo/settings.json").json == {"socket_port": 5055, "token_required": False}


def test_the_policy_of_the_demo_page_allows_the_gateway_and_the_sockets_beside_it(tmp_path: Path) -> None:
    with gateway(tmp_path, SOCKET_PORT=5999) as made:
        answer = made.client.get("/demo/", headers={"Host": "localhost:5050"})
        answer.close()
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"].split()[:3] == ["'self'", "ws://localhost:5999", "http://localhost:5999"]


@pytest.mark.parametrize(
    ("settings", "served"),
    [({}, True), ({"GATEWAY_DEMO": "off"}, False), ({"NOTIFY_ENV": "production"}, False)],
    ids=["development", "off", "production"],
)
def test_the_demo_page_is_for_development(settings: dict[str, str], served: bool) -> None:
    assert load_settings(env_file=None, **settings).demo_page is served
    assert load_settings(env_file=None, **settings | {"GATEWAY_DEMO": "on"}).demo_page is True


def test_a_demo_page_that_is_off_is_not_there(tmp_path: Path) -> None:
    with gateway(tmp_path, GATEWAY_DEMO="off") as made:
        for path in ("/demo", "/demo/", "/demo/demo.js", "/demo/settings.json"):
            assert made.client.get(path).status_code == 404
        module = made.client.get("/notify-inbox.js")
        module.close()
        assert module.status_code == 200
