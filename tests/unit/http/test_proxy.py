"""Checks which calls go through the egress proxy."""

from __future__ import annotations

import pytest

from shared.http.proxy import Proxy
from shared.http.request import Target
from shared.settings.load import load_settings


@pytest.mark.parametrize(
    ("no_proxy", "url", "served"),
    [
        ("", "https://fcm.googleapis.com/x", True),
        ("*", "https://fcm.googleapis.com/x", False),
        ("googleapis.com", "https://fcm.googleapis.com/x", False),
        (".googleapis.com", "https://fcm.googleapis.com/x", False),
        ("*.googleapis.com", "https://fcm.googleapis.com/x", False),
        ("apis.com", "https://fcm.googleapis.com/x", True),
        ("FCM.GoogleApis.com", "https://fcm.googleapis.com/x", False),
        ("fcm.googleapis.com:443", "https://fcm.googleapis.com/x", False),
        ("fcm.googleapis.com:8443", "https://fcm.googleapis.com/x", True),
        ("other.example, 10.0.0.0/8", "https://10.1.2.3/x", False),
        ("10.0.0.0/8", "https://11.1.2.3/x", True),
        ("10.1.2.3", "http://10.1.2.3:8080/x", False),
        ("10.0.0.0/8", "https://ten.example/x", True),
        ("fd00::/8", "https://[fd00::1]:5/x", False),
        ("[fd00::1]", "https://[fd00::1]/x", False),
        ("::/129,,.", "https://fcm.googleapis.com/x", True),
        ("", "http://localhost:5070/x", False),
        ("", "http://127.0.0.2:5070/x", False),
        ("", "http://[::1]:5070/x", False),
    ],
)
def test_calls_to_this_machine_and_to_what_no_proxy_names_are_direct(no_proxy: str, url: str, served: bool) -> None:
    settings = load_settings(None, egress_proxy="http://me:a%40b@proxy.example:3128", no_proxy=no_proxy)
    proxy = Proxy.of(settings.providers)
    assert proxy is not None
    assert proxy.serves(Target(url).origin) is served
    assert (proxy.host, proxy.port, proxy.credentials) == ("proxy.example", 3128, "me:a@b")
    assert proxy.url_with_credentials == "http://me:a%40b@proxy.example:3128"
    assert "a@b" not in repr(proxy)


def test_without_the_setting_there_is_no_proxy() -> None:
    assert Proxy.of(load_settings(None).providers) is None
