"""Where templates run: somebody else's text, so a closed list of what it can say, and a bound on what it can cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.templates.sandbox.filters import template_filters
from shared.templates.sandbox.operations import MAX_TEXT, add, bounded_range, modulo, multiply, power, printable
from shared.templates.sandbox.shape import shaped

#: what exists besides the variables
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
    """An environment in which ``compiled`` is the only way in; ``autoescape`` for HTML."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, *, autoescape: bool) -> None:
        # Not optimized: that computes what is constant while it compiles, where nothing is metered.
        super().__init__(
            autoescape=autoescape, undefined=StrictUndefined, finalize=printable, optimized=False, cache_size=0
        )
        self.binop_table.update({"+": add, "*": multiply, "**": power, "%": modulo})
        self.filters = template_filters()
        self.globals = dict(GLOBALS)

    def compiled(self, text: str) -> Template:
        """Ready to render. Raises TemplateError, SyntaxError, RecursionError or MemoryError."""
        if len(text) > MAX_TEXT:
            raise TemplateSyntaxError(f"a text of more than {MAX_TEXT} characters", 1)
        return self.from_string(shaped(self.parse(text), self))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """An object's own field before Python's method of that name: ``order.items`` is what the caller sent."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_callable(self, obj: Any) -> bool:
        """A closed list: whatever else can be called might build a gigabyte, as ``'a'.center(10**9)`` does."""
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
        # Jinja's own text would quote the object, and with it what the message says.
        if isinstance(__obj, Undefined) or __self.is_safe_callable(__obj):
            return __context.call(__obj, *args, **kwargs)
        raise SecurityError(f"{getattr(__obj, '__name__', type(__obj).__name__)} cannot be called")
