"""Renders a template with its variables into the text that a person reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import jinja2
from jinja2 import TemplateError, TemplateSyntaxError

from shared.errors import TemplateInvalid
from shared.message.envelope import MAX_SUBJECT, MAX_TITLE
from shared.message.privacy import without_values
from shared.message.text import one_line, plain_text
from shared.providers.provider import Content
from shared.templates.sandbox.environment import GLOBALS, TemplateSandbox
from shared.templates.sandbox.meter import METER
from shared.templates.sandbox.operations import MAX_TEXT
from shared.templates.template import Template

#: Number of compiled texts kept in each of the two caches, for plain text and for HTML.
_MOST_COMPILED = 1_024
_DETAIL_CHARACTERS = 300

# Errors that an expression can raise with a caller's variables: division by zero, a text plus a number, deep nesting.
_TEMPLATE_FAULTS = (
    TemplateError,
    SyntaxError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)

Compile = Callable[[str], jinja2.Template | str]


#: The parts that a template can have.
ALL_PARTS = frozenset({"subject", "title", "body", "html"})


def render(template: Template, variables: Mapping[str, Any], parts: Set[str] = ALL_PARTS) -> Content:
    """Returns the content for these variables; HTML is escaped in the HTML part only.

    A part has at most 64 KiB, a title and a subject as many characters as those of an envelope.

    Parts that are not in ``parts`` stay empty, so an error in a part that a channel never shows does not stop it.

    Raises TemplateInvalid that names the part, and the variable that is missing. Its time is limited: see
    ``sandbox.meter``. The same template and variables always give the same result.
    """
    METER.start()
    scope = {**GLOBALS, **variables}
    return Content(
        body=_checked("body", plain_text, _part("body", _compile_text, template.body, scope))
        if "body" in parts
        else "",
        title=_line("title", template.title, scope, MAX_TITLE) if "title" in parts else "",
        subject=_line("subject", template.subject, scope, MAX_SUBJECT) if "subject" in parts else "",
        html=_checked("html", plain_text, _part("html", _compile_html, template.html, scope))
        if "html" in parts
        else "",
    )


def _line(part: str, text: str, scope: dict[str, Any], longest: int) -> str:
    if not text:
        return ""
    # A line break in the middle would let a variable add headers.
    line = _checked(part, one_line, _part(part, _compile_text, text, scope).strip())
    if len(line) > longest:
        raise TemplateInvalid("templates", f"{part}: {len(line)} characters; at most {longest}")
    return line


def _part(part: str, compile_: Compile, text: str, scope: dict[str, Any]) -> str:
    if not text:
        return ""
    if len(text) > MAX_TEXT:
        # This is checked before compiling, because the compiler's cache would keep the whole text as a key.
        raise TemplateInvalid("templates", f"{part}: a text of more than {MAX_TEXT} characters")
    compiled = compile_(text)
    if isinstance(compiled, str):
        raise TemplateInvalid("templates", f"{part}: {compiled}")
    try:
        return _filled(compiled, scope)
    except _TEMPLATE_FAULTS as exc:
        raise TemplateInvalid("templates", f"{part}: {_reason(exc, scope)}") from exc


def _filled(compiled: jinja2.Template, scope: dict[str, Any]) -> str:
    pieces: list[str] = []
    length = 0
    # ``generate`` would merge the globals with the variables again for each part, which takes longer than the
    # rendering, and ``new_context`` would list the globals for imports, which the sandbox refuses. The text is built
    # piece by piece, so that one that is too long is never complete.
    environment = compiled.environment
    context = environment.context_class(environment, scope, compiled.name, compiled.blocks)
    for piece in compiled.root_render_func(context):
        length += len(piece)
        if length > MAX_TEXT:
            break
        pieces.append(piece)
    text = "".join(pieces)
    if length > MAX_TEXT or (not text.isascii() and len(text.encode()) > MAX_TEXT):
        raise ValueError(f"more than {MAX_TEXT} bytes")
    return text


def _checked(part: str, rule: Callable[[str], str], text: str) -> str:
    try:
        return rule(text)
    except ValueError as exc:
        raise TemplateInvalid("templates", f"{part}: {exc}") from exc


def _reason(exc: BaseException, scope: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Returns what is wrong, without the values in ``scope``: some errors of Python quote what they were given."""
    if isinstance(exc, TemplateSyntaxError):
        text = f"line {exc.lineno}: {exc.message}"
    elif isinstance(exc, (TemplateError, ValueError)):
        text = str(exc)
    else:
        text = f"{type(exc).__name__}: {exc}"
    return without_values(text, scope)[:_DETAIL_CHARACTERS]


def _compiler(*, autoescape: bool) -> Compile:
    sandbox = TemplateSandbox(autoescape=autoescape)

    # A text that cannot be compiled is cached too, so it is compiled once and not once per message.
    @lru_cache(maxsize=_MOST_COMPILED)
    def compile_(text: str) -> jinja2.Template | str:
        try:
            return sandbox.compiled(text)
        except _TEMPLATE_FAULTS as exc:
            return _reason(exc)

    return compile_


_compile_text = _compiler(autoescape=False)
_compile_html = _compiler(autoescape=True)
