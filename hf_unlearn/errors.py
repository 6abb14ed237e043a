"""Every exception of the library: one base class, and beside it a built-in one, so that `except ValueError` works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class HfUnlearnError(Exception):
    """The base class: an input, a file or an answer does not work; the message says what, and what to do.

    Any other exception is a bug in this library.
    """


class InputError(HfUnlearnError, ValueError):
    """An argument, a name or the content of a file is not what was expected."""


class MissingBaseError(InputError):
    """The base model of an adapter was a local folder on the machine that made it."""


class OtherVocabularyError(InputError):
    """An edit was made with another vocabulary than the one that is given now."""


class StorageError(HfUnlearnError, OSError):
    """A file or folder can't be read or written."""


class CallOrderError(HfUnlearnError, RuntimeError):
    """Methods were called in an order that makes no sense, such as reporting losses before asking for candidates."""


class AdapterError(HfUnlearnError, ValueError):
    """An adapter's files are missing, damaged, tampered with or too new."""


class WrongBaseError(HfUnlearnError, ValueError):
    """An adapter was made for another base model."""


class BrokenFilesError(HfUnlearnError, ValueError):
    """Image files can't be used.

    Attributes:
        files: which, and why (`BrokenFile`).
    """

    def __init__(self, files: Sequence[Any]) -> None:
        self.files = list(files)
        more = len(files) - 1
        others = f"; and {more} more file{'s' * (more > 1)}" if more else ""
        super().__init__(f"{files[0]}{others}; repair or remove {'them' if more else 'it'}")


class PixelError(HfUnlearnError, ValueError):
    """An object holds no pixels that can be read; the message does not name the object."""


class PromptTooLongError(HfUnlearnError, ValueError):
    """A prompt has more tokens than the text tower reads."""


class BudgetSpentError(HfUnlearnError, RuntimeError):
    """A black box has no query left to answer."""


class RunError(HfUnlearnError, ValueError):
    """A run folder can't be used; the message says why and what to do."""


class ProcessLostError(HfUnlearnError, ConnectionError):
    """Another process of this job ended, so this one can't continue."""


class ExportError(HfUnlearnError, ValueError):
    """A checkpoint can't carry an adapter by itself."""


class HubError(HfUnlearnError, OSError):
    """The Hub refused or is out of reach; the message says which repository, what happened, what to do.

    Attributes:
        what: the message without the command-line hint on how to log in.
    """

    def __init__(self, what: str, log_in: str = "") -> None:
        super().__init__(what + log_in)
        self.what = what


class RemoteError(HfUnlearnError, OSError):
    """A Space did not answer, or gave an invalid response."""
