"""What visitors read of errors."""

import pytest

from hf_unlearn.errors import HubError, InputError, StorageError
from space.error_words import first_line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("a.heic: a HEIC photo; pip install 'hf_unlearn[heic]' to read it, or save it as JPEG."),
         "a.heic: a HEIC photo; save it as JPEG."),
        (InputError("m: its tokenizer needs packages (x); pip install 'hf_unlearn[siglip]'"),
         "m: its tokenizer needs packages (x)."),
        (InputError("made by a newer version; upgrade: pip install -U hf_unlearn"), "made by a newer version."),
        (StorageError("m: offline (local_files_only or HF_HUB_OFFLINE)"), "The Hub can't be reached from this Space."),
        (HubError("m is gated", ", or log in (hf auth login)"), "m is gated."),
        (FileNotFoundError(2, "x", "/srv/secret"), "A file could not be read or written here: x."),
        (InputError("one\ntwo"), "one."), (InputError(""), "Something went wrong."),
        (HubError("u/m: no connection to the Hub, or it broke (ConnectError): check the network, then try again"),
         "u/m: the Hub did not answer this Space; try again later."),
        (HubError("u/m: no room for its files on this disk; make some, or give another cache_dir"),
         "u/m: this Space has no room for its files now; try again later."),
        (HubError("u/m: no such folder here and no such repository on the Hub, or it is private: check the spelling"),
         "u/m: no such repository on the Hub, or it is private: check the spelling."),
        (InputError("a context of 0 tokens and the prompt of 'xx…' take 202 tokens, the text tower of u/m reads 77; "
                    "use a shorter context or name"),
         "The name 'xx…' is too long: it takes 202 tokens, and this model reads 77; use a shorter one."),
        (InputError("unknown class 'x'; the classes are: 'y'"), "Unknown class 'x'; the classes are: 'y'."),
        (InputError("a" * 2_000), "a" * 999 + "."),
    ],
)  # fmt: skip
def test_an_error_is_one_sentence_without_advice_for_operators(error, words):
    assert first_line(error) == words
