"""What commands print: as it is, on any console, and never at the cost of the job."""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

ASCII = dict(zip("↑↓→←–—−─…•·“”‘’", "^v><----.**\"\"''", strict=True))  # one for one: tables stay straight
READABLE = "hf_unlearn.readable"  # an error handler of codecs: what to write for what an encoding lacks


def _readable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    return ASCII.get(char) or char.encode("ascii", "backslashreplace").decode("ascii"), error.start + 1


codecs.register_error(READABLE, _readable)


def say(line: str) -> None:
    """A line for people, on stdout: no markup in it, no wrapping of it, and no control character but for its end."""
    _console().print(visible(line), soft_wrap=True)


def tell(kind: str, line: str) -> None:
    """One line on stderr, such as `error: no such file`; line breaks in it become blanks."""
    style = "bold red" if kind == "error" else "bold yellow"
    text = Text.assemble((f"{kind}:", style), " ", visible(" ".join(line.split())))
    _console(stderr=True).print(text, soft_wrap=True)


def show(what: RenderableType) -> None:
    """A table or a report, on stdout."""
    _console().print(what)


def say_json(content: str) -> None:
    """JSON on stdout; what the console's encoding lacks is escaped as JSON escapes it, so nothing is lost."""
    try:
        content.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        content = json.dumps(json.loads(content), indent=2 if "\n" in content else None)
    print(content, flush=True)


def visible(text: str) -> str:
    """Without control characters and changes of the writing direction; blanks stay as they are."""
    return "".join(char if char.isprintable() or char in "\u200c\u200d" else "\ufffd" for char in text)


def fitting(text: str) -> str:
    """As stdout can print it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, READABLE).decode(encoding)


@contextmanager
def lasting() -> Iterator[None]:
    """Within the block no print fails: not for a character, and not because nobody reads it any more.

    Warnings of ours are one line on stderr. Output that a full disk lost is told at the end, with exit code 2.
    """
    out, err = (_Lasting(s) if isinstance(s, io.TextIOWrapper) else s for s in (sys.stdout, sys.stderr))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with ExitStack() as stack, warnings.catch_warnings():
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        others = warnings.showwarning

        def told(message: Any, category: Any, *rest: Any, **named: Any) -> None:
            if category is UserWarning:
                tell("warning", str(message))
            else:
                others(message, category, *rest, **named)

        warnings.showwarning = told
        try:
            yield
        finally:
            for stream in (out, err):
                if isinstance(stream, _Lasting):
                    stream.flush()
            if isinstance(out, _Lasting) and out.lost:
                tell("error", f"stdout can't be written ({out.lost}); what the command saved is there")
                raise SystemExit(2)


class _Lasting:
    """A stream that writes what it can."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream, self.lost = stream, ""
        stream.reconfigure(errors=READABLE)

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Any, *arguments: Any) -> None:
        try:
            act(*arguments)
        except OSError as error:
            if error.errno != errno.EPIPE:  # a reader may stop reading: that loses nothing that anybody wants
                self.lost = error.strerror or str(error)
            with suppress(OSError):  # what is still in the buffer goes nowhere, now and at exit
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
        except ValueError as error:  # a closed file
            self.lost = str(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _console(stderr: bool = False) -> Console:
    """Nothing in what it prints is markup, a highlight or the code of an emoji."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)
