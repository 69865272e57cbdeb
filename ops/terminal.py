"""Prints for operators. Nothing else in ``ops`` writes to a terminal.

Much of what is printed was written by others: a caller's request_id, a provider's error, a line of a log. A terminal
must not obey it, and rich must not read it as markup.
"""

import json
import sys
from collections.abc import Iterable
from typing import IO, Any

from pydantic import BaseModel
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment
from rich.text import Text

from shared.process.printable import printable_lines


class Terminal(Console):
    """Prints texts as they are, except characters that a terminal would obey: those are shown as escapes.

    A text is never cut or wrapped, and never read as markup: ``styled`` makes a Text from markup of this program. With
    ``unfailing`` a line that cannot be written is lost, as a process that must go on needs it.
    """

    def __init__(self, *, stderr: bool = False, unfailing: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        file: Any = _Unfailing(stream) if unfailing else stream
        super().__init__(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.push_render_hook(_OnlyPrintable())

    def write_json(self, document: BaseModel | dict[str, Any]) -> None:
        """Prints JSON that stays the same document; what a terminal would obey is written as JSON's own escapes."""
        plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
        self.file.write(printable_json(json.dumps(plain, indent=2, ensure_ascii=False)) + "\n")
        self.file.flush()


def styled(markup: str) -> Text:
    """Returns a Text from rich's markup. The caller escapes every text that this program did not write itself."""
    return Text.from_markup(markup)


def printable_json(text: str) -> str:
    """Returns the same JSON with every character that is not printable as JSON's escape; they occur in strings only."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(letter if letter == "\n" or letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


class _OnlyPrintable(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(renderable) for renderable in renderables]


class _Printable:
    """Renders another renderable, and then escapes its texts: tables and styles are rich's own by then."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        segments: Iterable[Segment] = console.render(self._renderable, options)
        for text, style, control in segments:
            yield Segment(text if control else printable_lines(text), style, control)


class _Unfailing:
    """Writes to a file, and gives up what cannot be written."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            if self._file is not None:
                self._file.write(text)
        except (OSError, ValueError):
            pass
        return len(text)

    def flush(self) -> None:
        try:
            if self._file is not None:
                self._file.flush()
        except (OSError, ValueError):
            pass

    def isatty(self) -> bool:
        try:
            return self._file is not None and self._file.isatty()
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
