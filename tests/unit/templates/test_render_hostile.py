"""Tests templates that try to run code, to fill the memory or to run without end."""

import time
import tracemalloc
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.errors import TemplateInvalid
from shared.templates.render import render
from shared.templates.template import Template
from tests.support.run.examples import examples

#: Limit for one rendering, seconds: far above what each of these takes, far below what an unbounded one would take.
MOST_S = 2.0
MOST_BYTES = 24 * 1024 * 1024

BIG = "a" * 60_000
VARIABLES = {"s": BIG, "amp": "&" * 60_000, "l": [0] * 20_000, "n": 10**9, "d": {"k": BIG}, "f": "%s%s%s"}
VARIABLES |= {"w": "a " * 30_000, "t": "a" * 59_999 + "b", "z": "b" * 30_000 + "a", "h": "f" * 60_000}
AS_GIVEN = deepcopy(VARIABLES)

CODE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ s|attr('__class__') }}",
    "{{ range.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ cycler.__init__ }}",
    "{{ '{0.__class__}'.format(s) }}",
    "{{ '{a.__class__}'.format_map(d) }}",
    "{{ l.append(1) }}",
    "{{ d.update({'k': 1}) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
    "{{ loop }}",
    "{% for i in [1] %}{{ loop.__init__ }}{% endfor %}",
    "{% for i in [1] %}{{ loop([1]) }}{% endfor %}",
]
MEMORY = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ s * n }}",
    "{{ [0] * n }}",
    "{{ (l * n)|length }}",
    "{{ 10**(10**10) }}",
    "{{ n**n }}",
    "{{ 2**1000 * 2**1000 * 2**1000 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (n, 1) }}",
    "{{ '%(k)999999999s' % d }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%.1000000000f'|format(1) }}",
    "{{ ('%s' * 20000)|format(s, s) }}",
    "{{ f|format(s, s, s) }}",
    "{{ ('%s' * 900)|format(" + "s, " * 900 + ") }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ s.replace('a', s) }}",
    "{{ s|replace('a', s) }}",
    "{{ s|replace('', s) }}",
    "{{ s.join(s) }}",
    "{{ s|join(s) }}",
    "{{ l|join(s) }}",
    "{{ [s, s]|join }}",
    "{{ s ~ s }}",
    "{{ s + s }}",
    "{{ l|batch(1000000000, s)|list }}",
    "{{ l|slice(1000000000)|list }}",
    "{{ s|indent(1000000000, true) }}",
    "{{ l|tojson(1000000000) }}",
    "{{ amp|urlencode|urlencode }}",
    "{{ range(10**9)|list|length }}",
    "{{ range(10**30)|length }}",
    "{{ lipsum(1000000) }}",
    "{{ 1.5|round(1000000000, 'ceil') }}",
    "{{ [[s], [s]]|sum(start=[]) }}",
    "{% set x = s %}" + "{% set x = x ~ x %}" * 30 + "{{ x }}",
    "{% set x = s %}" + "{% set x = x + x %}" * 30 + "{{ x }}",
    "{% set x = l %}" + "{% set x = x + x %}" * 30 + "{{ x|length }}",
    "{% set x = l %}" + "{% set x = [x, x] %}" * 30 + "{{ x|string }}",
    "{% set x = l %}" + "{% set x = {'a': x, 'b': x} %}" * 30 + "{{ x|upper }}",
    "{% set x = l %}" + "{% set x = (x, x) %}" * 30 + "{{ x == x|list }}",
    # Each of these is small, and there are many of them at once.
    "{{ [" + "w.split(), " * 600 + "]|length }}",
    "".join(f"{{% set x{n} = w.split() %}}" for n in range(300)) + "{{ x1|length }}",
    "".join(f"{{% set x{n} = s.upper() %}}" for n in range(900)) + "{{ x1|length }}",
    "".join(f"{{% set x{n} = s[{n}:] %}}" for n in range(600)) + "{{ x1|length }}",
    "".join(f"{{% set x{n} = l[{n}:] %}}" for n in range(600)) + "{{ x1|length }}",
    "".join(f"{{% set x{n} = s ~ {n} %}}" for n in range(600)) + "{{ x1|length }}",
    "".join(f"{{% set x{n} = s + '{n}' %}}" for n in range(600)) + "{{ x1|length }}",
    "".join(f"{{% set x{n} = '%s!' % s %}}" for n in range(600)) + "{{ x1|length }}",
    "".join(f"{{% set x{n} = d|dictsort|list + [] %}}" for n in range(600)) + "{{ x1|length }}",
    "{{ l|map('string')|map('replace', '0', s)|list|length }}",
    "{% for i in range(1000) %}{{ s }}{% endfor %}",
    "{% set x %}{% for i in range(9000) %}{{ s }}{% endfor %}{% endset %}{{ x|length }}",
    "{% filter length %}{% for i in range(9000) %}{{ s }}{% endfor %}{% endfilter %}",
    "{% set ns = namespace(x=s) %}{% for i in range(30) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
]
TIME = [
    "{% set x = h|int(0, 16) %}{% set y = h[:30000]|int(0, 16) %}"
    "{% for i in range(31) %}" + "{% if x // y %}{% endif %}" * 600 + "{% endfor %}",
    "{% set x = 10 ** 300 %}" + "{% set x = x // 3 * 3 - x %}" * 600,
    "{% for i in range(9999) %}" + "{{ i // 7 - i % 5 }}" * 200 + "{% endfor %}",
    "{% for i in range(9999) %}" + "{% if s == t %}{% endif %}" * 600 + "{% endfor %}",
    "{% for i in range(9999) %}" + "{% if s[1:] < t[1:] %}{% endif %}" * 300 + "{% endfor %}",
    "{% if s.strip(z) %}{% endif %}" * 600,
    "{% if s.split('a', 9999) %}{% endif %}" * 600,
    "{% if t.endswith(s) or s.startswith(t) %}{% endif %}" * 400,
    "{% if z in t %}{% endif %}" * 900,
    "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "{% for i in s %}{% for j in s %}{% endfor %}{% endfor %}",
    "{% for i in l recursive %}{{ loop(l) }}{% endfor %}",
    "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "{% for i in range(9999) %}{% if 'b' in s or 'ab' in s %}{% endif %}{% endfor %}",
    "{% for i in range(9999) %}" + "{% if l == [] or s|upper == s|lower %}{% endif %}" * 300 + "{% endfor %}",
    "{% for i in range(9999) %}{% if l|map('string')|list %}{% endif %}{% endfor %}",
    "{{ l|map('replace', '0', s)|map('upper')|list|length }}",
    "{% for i in range(9999) %}{% if l|sort %}{% endif %}{% endfor %}",
    "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "{{ 1" + "+1" * 30_000 + " }}",
    "{{ s" + "|upper" * 9_000 + " }}",
    "{{ s" + "|upper" * 150 + " }}",
    "{{ " + "not " * 190 + "s }}",
    "{{ s" + ".a" * 150 + " }}",
    ("{% if s" + "|title" * 40 + " %}{% endif %}") * 90,
    "{% if true %}" * 2_000 + "{% endif %}" * 2_000,
    "{% for i in [1] %}" * 50 + "{% endfor %}" * 50,
    "{{ " + "[" * 9_000 + "]" * 9_000 + " }}",
    "{{ 0x" + "f" * 60_000 + " }}",
    "{{ " + "9" * 60_000 + " }}",
    "{{ " * 20_000,
    "{% raw %}" * 6_000,
]


@pytest.mark.parametrize("text", CODE)
def test_no_code_runs(text: str) -> None:
    assert attempt(text) is None


@pytest.mark.parametrize("text", MEMORY)
def test_no_value_grows_beyond_bounds(text: str) -> None:
    tracemalloc.start()
    try:
        rendered = attempt(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MOST_BYTES
    assert rendered is None


@pytest.mark.parametrize("text", TIME, ids=lambda text: text[:40])
def test_nothing_takes_long(text: str) -> None:
    began = time.thread_time()
    attempt(text)
    assert time.thread_time() - began < MOST_S


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{% for i in range(9999) %}{% endfor %}" * 2, "more than 10000 turns"),
        ("{% for i in range(9999) %}" + "{% if 'b' in s %}{% endif %}" * 50 + "{% endfor %}", "more than 0.1 s"),
        ("{% if w.split() and w.split() and w.split() %}{% endif %}", "creates more than 4096 KiB"),
        ("{{ 0x" + "f" * 300 + " // 3 }}", "the number is too large"),
        ("{% if h|int(0, 16) %}{% endif %}", "the number is too large"),
        ("{{ x" + ".a" * 60 + " }}", "nested more than 50 deep"),
        ("{{ x }}" * 4_100, "more than 4000 parts"),
    ],
    ids=["turns", "time", "created", "number", "number read", "depth", "parts"],
)
def test_the_exceeded_limit_is_named(text: str, why: str) -> None:
    with pytest.raises(TemplateInvalid, match=why):
        render(Template(code="X", body=text), VARIABLES)


def test_a_text_that_cannot_be_compiled_is_looked_at_once() -> None:
    broken = Template(code="X", body="{{ x }}" * 5_000)
    costs = []
    for _ in range(100):
        began = time.thread_time()
        with pytest.raises(TemplateInvalid):
            render(broken, {"x": 1})
        costs.append(time.thread_time() - began)
    assert sum(costs[1:]) < costs[0]


_PIECES = st.sampled_from(
    [
        "{{", "}}", "{%", "%}", "{#", "#}", "-%}", "for", "i", "in", "endfor", "if", "else", "endif", "set", "x", "=",
        "s", "l", "d", "n", "range(99)", "~", "+", "*", "**", "%", "|", "upper", "join", "replace", "format", "list",
        "default", ".", "[", "]", "(", ")", ",", "'a'", "0", "9", "loop.index", "__class__", "items()",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40).map(" ".join) | st.text(max_size=80))
@hypothesis_settings(max_examples=examples(150))
def test_every_text_is_rendered_or_refused(text: str) -> None:
    rendered = attempt(text)
    assert rendered is None or len(rendered) <= 65_536


def attempt(text: str) -> str | None:
    """Returns the rendered text, or None if it was refused; no other error may occur, and no variable may change."""
    try:
        return render(Template(code="X", body=text), VARIABLES).body
    except TemplateInvalid as exc:
        assert len(str(exc)) < 1_000
        return None
    finally:
        assert VARIABLES == AS_GIVEN
