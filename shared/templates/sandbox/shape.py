"""What a template may consist of, and where its loops are metered: decided on its syntax tree, before it runs."""

from __future__ import annotations

from typing import Any, cast

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from shared.templates.sandbox.filters import EACH, SCALAR

#: parts of the syntax tree: what runs without a loop is bounded by it
MAX_NODES = 4_000
#: how deep they nest: well before Python's own limit, which depends on who calls
MAX_DEPTH = 50

# No macros, calls, imports, blocks or captured output: they recurse, or gather text where no bound is looked at.
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


def shaped(tree: nodes.Template, environment: Environment) -> nodes.Template:
    """``tree``, checked and metered. Raises TemplateSyntaxError."""
    checked: nodes.Template = _Shape().visit(tree)
    return checked.set_lineno(1).set_environment(environment)  # type: ignore[return-value]


class _Shape(NodeTransformer):
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

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """``a ~ b`` as a join, which knows the length before it makes the text."""
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
    # A list that holds a variable twice, thirty times over, writes itself out in a thousand million pieces.
    return item if isinstance(item, _LITERALS) else _filtered(item, SCALAR)


def _filtered(value: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast("nodes.Expr", value), name, [], [], None, None)
