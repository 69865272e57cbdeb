import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.email.mail.html_text import text_of_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello <b>Ada</b>,</p>\n<p>good\n to have you.</p>", "Hello Ada,\n\ngood to have you."),
        ("one<br>two<div>three</div>four", "one\ntwo\nthree\nfour"),
        ('<a href="https://a.example/?x=1&amp;y=2">see</a>.', "see (https://a.example/?x=1&y=2)."),
        ('<a href="https://a.example">https://a.example</a>', "https://a.example"),
        ('<a href="mailto:a@b.example">a@b.example</a> <a href="javascript:x">y</a>', "a@b.example y"),
        ("<ul><li>one<li>two</ul>", "- one\n\n- two"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\n\nc"),
        ("<head><title>T</title><style>s{}</style></head><script>x</script>&lt;i&gt; &amp; &eacute;", "<i> & é"),
        ('<img src="x" alt="Logo">', "Logo"),
        ("a&#27;[2J&#x9b;&#0;b", "a[2J›\ufffdb"),
        ("<img src=x><!-- c -->", ""),
    ],
)
def test_the_text_is_what_a_person_would_read(html: str, text: str) -> None:
    assert text_of_html(html) == text


@pytest.mark.parametrize(
    "piece", ["<a ", "<a b='", "<!--", "<div>", "<a><b><i>", "<table><td>", "<a href=x><p>", "</", "&"]
)
def test_64_kib_of_anything_take_no_long_time(piece: str) -> None:
    began = time.perf_counter()
    text_of_html((piece * 65_536)[:65_536])
    assert time.perf_counter() - began < 5


@given(
    st.text()
    | st.lists(st.sampled_from(["<p>", "</p>", "<a href='http://x'>", "</a>", "<br>", "t ", "<li>"])).map("".join)
)
def test_any_text_can_be_read(html: str) -> None:
    text = text_of_html(html)
    assert text == text.strip()
    assert "\n\n\n" not in text
