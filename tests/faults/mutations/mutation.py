"""Defines one deliberate defect: some code of one function of the product, and the code that replaces it.

The function is named, not the file, and the code is compared token by token: a mutation still finds its place after the
function has moved to another module or was formatted anew.
"""

from __future__ import annotations

import ast
import io
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: packages in which the functions of the product are looked up
PRODUCT = ("shared", "gateway", "services")
_LAYOUT = frozenset(
    {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}
)


@dataclass(frozen=True)
class Mutation:
    """Describes one defect. ``old`` stands exactly once in ``function`` (``Class.method`` or ``function``); ``new``
    replaces it.
    """

    name: str
    #: what the changed product does
    does: str
    function: str
    old: str
    new: str
    #: scenarios of which one should notice, in the order in which they are tried
    noticed_by: tuple[str, ...]
    #: the promises that break; the scenario must name one of them, because a scenario that is red for another reason
    #: has not caught the defect
    breaks: tuple[str, ...] = ("I1",)


@dataclass(frozen=True)
class _Token:
    """Holds a token with its place in the text: ``begins`` and ``ends`` count characters."""

    string: str
    begins: int
    ends: int


class DoesNotApply(Exception):
    """Says that the function, or the code in it, is not there exactly once: the product has changed, and the mutation
    must follow.
    """


def mutate(tree: Path, mutation: Mutation) -> Path:
    """Puts ``new`` in the place of ``old`` under ``tree``. Returns the changed file. Raises DoesNotApply."""
    found = [
        (file, text, span)
        for package in PRODUCT
        for file in sorted((tree / package).rglob("*.py"))
        if mutation.function.rpartition(".")[2] in (text := file.read_text())
        for span in _spans(text, mutation.function)
    ]
    if len(found) != 1:
        raise DoesNotApply(f"{mutation.name}: there are {len(found)} functions {mutation.function}")
    file, text, (first, last) = found[0]
    file.write_text(_replaced(text, first, last, mutation))
    return file


def _spans(text: str, function: str) -> Iterator[tuple[int, int]]:
    """Yields the first and last line of every function with this qualified name."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[int, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = prefix + child.name
                if name == function and not isinstance(child, ast.ClassDef):
                    yield child.lineno, child.end_lineno or child.lineno
                yield from walk(child, f"{name}.")
            else:
                yield from walk(child, prefix)

    yield from walk(ast.parse(text), "")


def _replaced(text: str, first: int, last: int, mutation: Mutation) -> str:
    lines = text.splitlines(keepends=True)
    begins, ends = len("".join(lines[: first - 1])), len("".join(lines[:last]))
    tokens = [each for each in _tokens(text) if begins <= each.begins < ends]
    wanted = [each.string for each in _tokens(mutation.old)]
    strings = [each.string for each in tokens]
    places = [at for at in range(len(tokens)) if strings[at : at + len(wanted)] == wanted]
    if len(places) != 1:
        raise DoesNotApply(
            f"{mutation.name}: {mutation.function} has {len(places)} times {' '.join(mutation.old.split())!r}"
        )
    start, end = tokens[places[0]].begins, tokens[places[0] + len(wanted) - 1].ends
    line = text[text.rfind("\n", 0, start) + 1 : start]
    margin = " " * (len(line) - len(line.lstrip()))
    new = textwrap.indent(textwrap.dedent(mutation.new).strip("\n"), margin).lstrip()
    return text[:start] + (new or "pass") + text[end:]


def _tokens(text: str) -> Iterator[_Token]:
    """Yields the tokens that carry meaning, without layout and comments; ``text`` may be a part of a statement."""
    text = textwrap.dedent(text)
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    read = tokenize.generate_tokens(io.StringIO(text).readline)
    try:
        for token in read:
            if token.type not in _LAYOUT:
                (row, column), (end_row, end_column) = token.start, token.end
                yield _Token(token.string, starts[row - 1] + column, starts[end_row - 1] + end_column)
    except tokenize.TokenError as exc:
        raise DoesNotApply(f"unreadable: {text!r}") from exc
