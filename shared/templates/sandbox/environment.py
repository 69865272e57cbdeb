"""Runs untrusted templates: limits what a template can contain, how large its values grow and what it costs.

Threat model: neither the author of a template nor the sender of its variables is trusted. Plain Jinja2 runs a template
as code. Jinja2's own sandbox prevents that, but ``'a' * 10**9`` still allocates a gigabyte, and a loop in a loop still
takes minutes and blocks the event loop for every other message of the worker. Four bounds work together:

* Syntax, before anything runs (``_Shape``): only listed kinds of nodes, at most 4 000 of them, nested at most 50 deep.
* Names (``TemplateSandbox``): the listed methods, the filters of ``operations`` and ``range``. A missing variable is an
  error, and no variable can be changed.
* Sizes (``operations``): no value grows beyond 64 KiB of text or 1 024 bits. ``render`` bounds the whole output.
* Cost (``meter``): at most 10 000 turns of loops, filters and methods, 4 MiB of texts and lists made on the way, and
  0.1 s of CPU time, in one rendering.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from jinja2 import Environment, StrictUndefined, Template, TemplateRuntimeError, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from shared.templates.sandbox.meter import METER
from shared.templates.sandbox.operations import (
    BINARY,
    CUT,
    EACH,
    SCALAR,
    UNARY,
    WATCHED,
    bounded_range,
    made,
    number,
    printable,
    template_filters,
)

#: Largest number of nodes in the syntax tree: it bounds everything that runs outside loops.
MAX_NODES = 4_000
#: Deepest nesting of nodes: far below Python's own limit, which depends on the depth of the caller.
MAX_DEPTH = 50

# There are no macros, call blocks, imports, blocks or captured output: they recurse, or collect text without a bound.
_ALLOWED: frozenset[type[nodes.Node]] = frozenset(
    {
        nodes.Add, nodes.And, nodes.Assign, nodes.Call, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const,
        nodes.Dict, nodes.Div, nodes.Filter, nodes.FloorDiv, nodes.For, nodes.Getattr, nodes.Getitem, nodes.If,
        nodes.Keyword, nodes.List, nodes.Mod, nodes.Mul, nodes.Name, nodes.Neg, nodes.Not, nodes.Operand, nodes.Or,
        nodes.Output, nodes.Pair, nodes.Pos, nodes.Pow, nodes.Slice, nodes.Sub, nodes.Template, nodes.TemplateData,
        nodes.Test, nodes.Tuple, nodes.With,
    }
)  # fmt: skip
_LITERALS = (nodes.Const, nodes.List, nodes.Tuple, nodes.Dict)

#: The names that exist besides the variables.
GLOBALS: Mapping[str, Any] = {"range": bounded_range}

_TEXT_METHODS = frozenset(
    {
        "capitalize", "endswith", "isalpha", "isdigit", "lower", "lstrip", "removeprefix", "removesuffix", "rstrip",
        "split", "startswith", "strip", "title", "upper",
    }
)  # fmt: skip
_OBJECT_METHODS = frozenset({"get", "items", "keys", "values"})
_LOOP_METHODS = frozenset({"changed", "cycle"})


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Compiles templates; use only ``compiled``. ``autoescape`` is for HTML."""

    intercepted_binops = frozenset(BINARY)
    intercepted_unops = frozenset(UNARY)

    def __init__(self, *, autoescape: bool) -> None:
        # ``optimized`` is off, because it evaluates constant expressions while compiling, where nothing is metered.
        super().__init__(
            autoescape=autoescape, undefined=StrictUndefined, finalize=printable, optimized=False, cache_size=0
        )
        self.binop_table = dict(BINARY)
        self.unop_table = dict(UNARY)
        self.filters = template_filters()
        self.globals = dict(GLOBALS)

    def compiled(self, text: str) -> Template:
        """Returns ``text``, at most ``MAX_TEXT`` long, ready to render.

        Raises TemplateError, SyntaxError, RecursionError or MemoryError.
        """
        return self.from_string(_shaped(self.parse(text), self))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Returns an object's own field before Python's method of that name: ``order.items`` is the caller's field."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_callable(self, obj: Any) -> bool:
        """Admits only a closed list, because other callables could build a gigabyte, as ``'a'.center(10**9)`` does."""
        if obj is bounded_range:
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        match owner:
            case str():
                return name in _TEXT_METHODS
            case dict():
                return name in _OBJECT_METHODS
            case LoopContext():
                return name in _LOOP_METHODS
            case _:
                return False

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        # Jinja's own text would quote the object, and with it content of the message.
        if isinstance(__obj, Undefined) or __self.is_safe_callable(__obj):
            METER.step()
            answer = __context.call(__obj, *args, **kwargs)
            # A method of a text makes a text or a list; one of an object returns what is there.
            return made(answer) if isinstance(getattr(__obj, "__self__", None), str) else answer
        raise SecurityError(f"{getattr(__obj, '__name__', type(__obj).__name__)} cannot be called")


def _shaped(tree: nodes.Template, environment: Environment) -> nodes.Template:
    """Returns ``tree``, checked, with its loops and its lists metered. Raises TemplateSyntaxError."""
    checked: nodes.Template = _Shape().visit(tree)
    return checked.set_lineno(1).set_environment(environment)  # type: ignore[return-value]


class _Shape(NodeTransformer):
    """Checks every node of a template, and puts the meter into its loops and lists."""

    def __init__(self) -> None:
        self._nodes = self._depth = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TemplateSyntaxError(f"more than {MAX_NODES} parts", node.lineno)
        if type(node) not in _ALLOWED:
            raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not available here", node.lineno)
        if self._depth >= MAX_DEPTH:
            raise TemplateSyntaxError(f"nested more than {MAX_DEPTH} deep", node.lineno)
        self._depth += 1
        visited = super().visit(node, *args, **kwargs)
        self._depth -= 1
        return visited

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise TemplateSyntaxError("a loop cannot be recursive", node.lineno)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, EACH)
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        try:
            number(node.value)
        except TemplateRuntimeError as exc:
            raise TemplateSyntaxError(str(exc), node.lineno) from exc
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, WATCHED)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        """Makes a filter of a slice, which Jinja would write as Python's own, out of reach of the environment."""
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = [bound or nodes.Const(None) for bound in (node.arg.start, node.arg.stop, node.arg.step)]
        return nodes.Filter(node.node, CUT, bounds, [], None, None)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """Turns ``a ~ b`` into a join, which checks the length before it builds the text."""
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), "join")

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        node.items = [_leaf(item) for item in node.items]
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        if node.ctx == "load":
            node.items = [_leaf(item) for item in node.items]
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        self.generic_visit(node)
        node.value = _leaf(node.value)
        return node


def _leaf(item: nodes.Expr) -> nodes.Expr:
    # A list that contains a variable twice, nested thirty times, would be written out as a thousand million pieces.
    return item if isinstance(item, _LITERALS) else _filtered(item, SCALAR)


def _filtered(value: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast("nodes.Expr", value), name, [], [], None, None)
