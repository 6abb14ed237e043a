"""What commands print: unchanged, on any console, and never at the cost of the job."""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from hf_unlearn.errors import HfUnlearnError

ASCII = dict(zip("↑↓→←–—−─…•·“”‘’", "^v><----.**\"\"''", strict=True))  # one for one: tables stay straight
READABLE = "hf_unlearn.readable"  # an error handler of codecs: a likeness of what an encoding lacks
BUG = "this is a bug in hf_unlearn; please report it with the lines above and the command"


def _readable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    return ASCII.get(char) or char.encode("ascii", "backslashreplace").decode("ascii"), error.start + 1


codecs.register_error(READABLE, _readable)


def print_line(line: str) -> None:
    """Prints one line on stdout, without markup or wrapping; control characters become visible."""
    _console().print(visible(line), soft_wrap=True)


def print_notice(kind: str, line: str) -> None:
    """Prints one line on stderr, such as `error: no such file`; line breaks in it become blanks."""
    style = "bold red" if kind == "error" else "bold yellow"
    text = Text.assemble((f"{kind}:", style), " ", visible(" ".join(line.split())))
    _console(stderr=True).print(text, soft_wrap=True)


def print_rich(what: RenderableType) -> None:
    """Prints a table or a report on stdout."""
    _console().print(what)


def print_json(content: str) -> None:
    """Prints JSON on stdout; characters that its encoding lacks become JSON escapes, so nothing is lost."""
    try:
        content.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        content = json.dumps(json.loads(content), indent=2 if "\n" in content else None)
    print(content, flush=True)


def visible(text: str) -> str:
    """Replaces control characters and changes of the writing direction; blanks stay."""
    return "".join(char if char.isprintable() or char in "\u200c\u200d" else "\ufffd" for char in text)


def fitting(text: str) -> str:
    """Replaces what the encoding of stdout lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, READABLE).decode(encoding)


@contextmanager
def reporting_errors(hints: Mapping[type[HfUnlearnError], str] | None = None) -> Iterator[None]:
    """Within the block an error of the library is one line on stderr; a bug is a traceback and a request to report it.

    Both end the process with exit code 2, an interrupt with 130.

    Args:
        hints: what to add to the messages of some classes.
    """
    try:
        yield
    except HfUnlearnError as error:
        hint = next((text for kind, text in (hints or {}).items() if isinstance(error, kind)), "")
        print_notice("error", f"{error}{hint}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print_notice("error", "interrupted")
        raise SystemExit(130) from None
    except Exception:
        traceback.print_exc()
        print_notice("error", BUG)
        raise SystemExit(2) from None


@contextmanager
def lasting() -> Iterator[None]:
    """Within the block no print fails, whatever the console's encoding, and whether or not anyone reads it.

    A warning of the library is one line on stderr. Output that a full disk lost is reported at the end, with exit
    code 2.
    """
    out, err = (_Lasting(s) if isinstance(s, io.TextIOWrapper) else s for s in (sys.stdout, sys.stderr))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with ExitStack() as stack, warnings.catch_warnings():
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        show_others = warnings.showwarning

        def show_warning(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if category is UserWarning:
                print_notice("warning", str(message))
            else:
                show_others(message, category, *rest, **named)

        warnings.showwarning = show_warning
        try:
            yield
        finally:
            for stream in (out, err):
                if isinstance(stream, _Lasting):
                    stream.flush()
            if isinstance(out, _Lasting) and out.lost:
                print_notice("error", f"stdout can't be written ({out.lost}); what the command saved is there")
                raise SystemExit(2)


class _Lasting:
    """A stream that never fails; it writes what it can."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream, self.lost = stream, ""
        stream.reconfigure(errors=READABLE)

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[..., object], *arguments: object) -> None:
        try:
            act(*arguments)
        except OSError as error:
            if error.errno != errno.EPIPE:  # a reader may stop reading: nothing wanted is lost
                self.lost = error.strerror or str(error)
            with suppress(OSError):  # drop what is still in the buffer, now and at exit
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
        except ValueError as error:  # a closed file
            self.lost = str(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _console(stderr: bool = False) -> Console:
    """A console that prints text unchanged: no markup, no highlights, no emoji codes."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)
