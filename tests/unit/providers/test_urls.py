from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services.email import sendgrid, smtp
from services.push import fcm
from services.sms import twilio, vonage
from shared.errors import BadSettings
from shared.providers.urls import Builder, development_urls, is_loopback, parse_provider_urls, providers_for
from tests.support.messages import one_url, settings

BUILDERS: dict[str, dict[str, Builder]] = {
    "push": {"fcm": fcm.build},
    "email": {"smtp": smtp.build, "smtps": smtp.build, "sendgrid": sendgrid.build},
    "sms": {"twilio": twilio.build, "vonage": vonage.build},
}


def names(channel: str, monkeypatch: pytest.MonkeyPatch, urls: str | None = None, **fields: Any) -> list[str]:
    if urls is not None:
        monkeypatch.setenv(f"{channel.upper()}_PROVIDERS", urls)
    return [provider.name for provider in providers_for(channel, BUILDERS[channel], settings(**fields))]


def problems(channel: str, monkeypatch: pytest.MonkeyPatch, urls: str, **fields: Any) -> str:
    with pytest.raises(BadSettings) as caught:
        names(channel, monkeypatch, urls, **fields)
    return str(caught.value)


def test_an_url_is_taken_apart_and_decoded() -> None:
    url = one_url("smtp://me%40x:p%2Cw%23@mail.example.com:2525?from=a@b.example&starttls=1&timeout=3", "email")
    assert (url.username, url.password, url.host, url.port) == ("me@x", "p,w#", "mail.example.com", 2525)
    assert (url.options["from"], url.flag("starttls"), url.timeout_s) == ("a@b.example", True, 3.0)


def test_a_plus_sign_stays_one() -> None:
    assert one_url("twilio://a:b@?from=+15005550006", "sms").required("from") == "+15005550006"


def test_hosts_default_to_the_vendors() -> None:
    assert one_url("fcm:///project").http_base("fcm.googleapis.com") == "https://fcm.googleapis.com"
    assert one_url("sendgrid://KEY@?from=a@b", "email").http_base("api.sendgrid.com") == "https://api.sendgrid.com"
    assert one_url("fcm://[::1]:99/p?tls=0").http_base("x") == "http://[::1]:99"


def test_providers_with_the_same_scheme_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = "smtp://a.example?from=a@b,sendgrid://K@?from=a@b,smtp://c.example?from=a@b,smtps://d.example?from=a@b"
    assert names("email", monkeypatch, urls) == ["smtp", "sendgrid", "smtp2", "smtps"]


@pytest.mark.parametrize(
    ("channel", "expected"), [("push", ["fcm"]), ("email", ["smtp", "smtp2"]), ("sms", ["twilio", "vonage"])]
)
def test_in_development_the_sandbox_stands_in(
    channel: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{channel.upper()}_PROVIDERS", raising=False)
    assert names(channel, monkeypatch) == expected


def test_the_use_of_the_sandbox_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMS_PROVIDERS", raising=False)
    with capture_logs() as logged:
        names("sms", monkeypatch)
    assert [(line["event"], line["channel"]) for line in logged] == [("sandbox_providers", "sms")]


@pytest.mark.parametrize(
    ("channel", "url", "said"),
    [
        ("push", "fcm://10.0.0.1/p?tls=0", True),
        ("push", "fcm://127.0.0.1/p?tls=0", False),
        ("push", "fcm://10.0.0.1/p", False),
        ("email", "smtp://10.0.0.1?from=a@b.example", True),
        ("email", "smtp://10.0.0.1?from=a@b.example&starttls=1", False),
        ("email", "smtps://10.0.0.1?from=a@b.example", False),
    ],
)
def test_a_connection_that_others_could_read_is_logged(
    channel: str, url: str, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as logged:
        names(channel, monkeypatch, url)
    assert [line["event"] for line in logged] == (["provider_without_tls"] if said else [])


def test_the_sandboxs_accounts_and_callback_are_where_it_looks_for_them() -> None:
    here = settings(sandbox_port=1234, sandbox_smtp_port=1235)
    mail = parse_provider_urls(development_urls("email", here), ["smtp"], "email")
    assert [(url.username, url.port) for url in mail] == [("smtp", 1235), ("smtp2", 1235)]
    sms = parse_provider_urls(development_urls("sms", here), ["twilio", "vonage"], "sms")
    assert sms[0].options["callback"] == "http://127.0.0.1:1234/sandbox/callback"


@pytest.mark.parametrize("channel", BUILDERS)
def test_in_production_the_sandbox_is_not_used(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{channel.upper()}_PROVIDERS", raising=False)
    with pytest.raises(BadSettings, match=f"{channel.upper()}_PROVIDERS: required"):
        names(channel, monkeypatch, notify_env="production")


def test_production_asks_for_the_firebase_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "FIREBASE_KEY" in problems("push", monkeypatch, "fcm:///p", notify_env="production")


@pytest.mark.parametrize(
    ("channel", "url", "why"),
    [
        ("push", "gcm:///p", "unknown scheme 'gcm'"),
        ("push", "fcm", "must be scheme://"),
        ("push", "fcm://h:port/p", "the host or the port"),
        ("push", "fcm://[h/p", "the host or the port"),
        ("push", "fcm://h:0/p", "the port must be 1 to 65535"),
        ("push", "fcm://h", "must contain the project"),
        ("push", "fcm://h/p?tls=yes", "tls must be 0 or 1"),
        ("push", "fcm://h/p?tsl=0", "unknown option 'tsl'"),
        ("push", "fcm://h/p?timeout=soon", "timeout must be a number"),
        ("push", "fcm://h/p?timeout=0", "timeout must be above 0"),
        ("push", "fcm://h/p?timeout=nan", "timeout must be above 0"),
        ("push", "fcm://h/p?timeout=60", "below HANDLING_BUDGET_S"),
        ("push", "fcm://h/p?tls=0&tls=1", "given twice"),
        ("email", "smtp://u:secret@h", "option from is required"),
        ("email", "smtp://u:secret@?from=a@b", "must contain a host"),
        ("email", "smtp://u:secret@h?from=nobody", "must be an e-mail address"),
        ("email", "smtps://u:secret@h?from=a@b&starttls=1", "use only one of tls and starttls"),
        ("email", "smtp://u:sec#ret@h?from=a@b", "'#' must be written as %23"),
        ("email", "sendgrid://?from=a@b", "must contain the API key"),
        ("email", "sendgrid://secret@?from=nobody", "must be an e-mail address"),
        ("sms", "twilio://secret@?from=+1", "must contain SID:TOKEN"),
        ("sms", "twilio://a:secret@", "option from is required"),
        ("sms", "vonage://a:secret@", "option from is required"),
        ("sms", "vonage://a:secret@?from=N&callback=x", "unknown option 'callback'"),
        ("sms", "secret-with-many-letters-and-signs://x", "unknown scheme (not shown)"),
    ],
)
def test_a_bad_entry_is_named_without_its_secrets(
    channel: str, url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = problems(channel, monkeypatch, url)
    assert text.startswith(f"{channel.upper()}_PROVIDERS: entry 1") and why in text
    assert "secret" not in text


def test_every_bad_entry_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = problems("email", monkeypatch, "pop://a,smtp://h?from=a@b,imap://c")
    assert "entry 1" in text and "entry 3" in text and "entry 2" not in text
    text = problems("email", monkeypatch, "smtp://h,smtp://h?from=a@b,sendgrid://?from=a@b")
    assert "entry 1" in text and "entry 3" in text and "entry 2" not in text


def test_its_repr_holds_no_secret() -> None:
    url = one_url("sendgrid://secret:secret@h?from=secret", "email")
    assert "secret" not in repr(url)


@given(st.lists(st.text() | st.from_regex(r"(smtp|twilio)://.*", fullmatch=True), max_size=4))
def test_any_text_is_parsed_or_named(urls: list[str]) -> None:
    try:
        parsed = parse_provider_urls(urls, ["smtp", "twilio"], "email")
    except BadSettings as caught:
        assert all(name == "EMAIL_PROVIDERS" and why.startswith("entry ") for name, why in caught.problems)
    else:
        assert len({url.name for url in parsed}) == len(urls)


@pytest.mark.parametrize(
    ("host", "expected"), [("localhost", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("a.b", False)]
)
def test_loopback_is_known_by_name(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
