"""Names of classes and words: when two spellings are one name, and what counts as a list of names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any

from hf_unlearn.errors import InputError
from hf_unlearn.text import MANY, brief, listed

# Unicode's Default_Ignorable_Code_Point, the annotation marks, and control characters: nothing of them is seen
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")  # Scotland's, say: a black flag and unseen letters
BLANKS = str.maketrans({"\u2800": " "})  # Braille's; str.split knows the others
JOINERS = "\u200c\u200d"
JOINING = {  # scripts whose letters a joiner changes
    "ARABIC", "SYRIAC", "MANDAIC", "NKO", "MONGOLIAN", "ADLAM", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI",
    "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "KHMER", "MYANMAR", "TIBETAN", "BALINESE",
}  # fmt: skip
VIRAMA = 9  # its combining class


def clean_name(name: str) -> str:
    """The spelling of a name that is compared and prompted with; names that look alike become one.

    It is in Unicode's composed form (NFC), as keyboards write it. Every run of blanks is one space, with none around
    the name. Invisible characters are removed: control characters, zero-width spaces, byte-order marks, soft hyphens,
    marks of direction. Joiners stay in emoji and in scripts that join letters, variation selectors after symbols.
    """
    if name.isascii() and name.isprintable() and "  " not in name:
        return name.strip()
    name = unicodedata.normalize("NFC", _decoded(name))
    if UNSEEN.search(name):
        name = unicodedata.normalize("NFC", _seen(name))
    return " ".join(name.translate(BLANKS).split())


def _decoded(name: str) -> str:
    """An argument that the system's locale (LC_ALL=C) could not decode, read as UTF-8; any other name unchanged."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return name


def _seen(name: str) -> str:
    """The name without the invisible characters that change nothing visible."""
    flags = {place for flag in FLAG.finditer(name) for place in range(*flag.span())}
    kept = ""
    for place, letter in enumerate(name):
        selector = _selects(letter) and _takes_selectors(kept[-1:])
        if selector or place in flags or not UNSEEN.match(letter):
            kept += letter
        elif letter in JOINERS:
            rest = UNSEEN.sub("", name[place + 1 :])
            kept += letter if _joins(kept.rstrip("\ufe0e\ufe0f")[-1:], letter, rest[:1]) else ""
    return kept


def _selects(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\u180b" <= letter <= "\u180f" or "\U000e0100" <= letter <= "\U000e01ef"


def _takes_selectors(letter: str) -> bool:
    """Symbols, digits (keycaps), Chinese and Mongolian letters."""
    if not letter or letter.isspace() or UNSEEN.match(letter):
        return False
    wide = unicodedata.east_asian_width(letter) in "WF"
    return not letter.isalpha() or wide or _script(letter) == "MONGOLIAN"


def _joins(before: str, joiner: str, after: str) -> bool:
    if not before or before in JOINERS:
        return False
    if unicodedata.combining(before) == VIRAMA or _script(before) in JOINING:
        return True
    emoji = unicodedata.category(before) in ("So", "Sk") or before == "\U000e007f"
    return joiner == "\u200d" and emoji and bool(after) and unicodedata.category(after) in ("So", "Sm")


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0]


def name_list(what: str, names: Any, *, in_order: bool = False) -> list[str]:
    """The names of a list, clean. The list is read once, so an iterator will do; a set, which has no order, is sorted.

    Args:
        what: the argument's name, for messages.
        names: any list of text: also NumPy's and pandas's, the keys of a dict, an iterator.
        in_order: whether places matter to the caller; then a set is refused.

    Raises:
        InputError: for one text, a set where places matter, no list, or an element that is not text; a ValueError.
    """
    return [clean_name(name) for name in _texts_of(what, names, in_order)]


def _texts_of(what: str, names: Any, in_order: bool) -> list[str]:
    """The names, not cleaned."""
    wanted = f"{what} must be a list of {'texts' if what == 'texts' else 'names'}"
    if isinstance(names, str):
        raise InputError(f"{wanted}, got the text {brief(names)}; write [{brief(names)}]")
    if isinstance(names, bytes | bytearray | PurePath):
        hint = "read the file: path.read_text().splitlines()" if isinstance(names, PurePath) else "decode them"
        raise InputError(f"{wanted}, got {type(names).__name__} {brief(names)}; {hint}")
    if isinstance(names, set | frozenset):
        if in_order:
            raise InputError(f"{wanted}, got a set, which has no order; write sorted(...)")
        names = sorted(names, key=str)
    try:
        found = list(names)
    except TypeError:
        raise InputError(f"{wanted}, got {brief(names)}; write ['cat', 'dog']") from None
    if odd := [name for name in found if not isinstance(name, str)]:
        raise InputError(f"{what}: {_explain_element(odd[0])}")
    return [str(name) for name in found]


def _check_unicode(what: str, texts: Sequence[str]) -> None:
    """Refuses halves of characters, which no tokenizer and no file takes. Raises: InputError: with the first such."""
    for text in texts:
        if not text.isascii() and text != text.encode("utf-8", "replace").decode():
            raise InputError(f"{what} must be valid Unicode, {brief(text)} is not; give it another name")


def _explain_element(odd: object) -> str:
    """What is wrong with an element that is not text."""
    if isinstance(odd, list | tuple | set) or getattr(odd, "ndim", False):
        return f"class names must be text, got a list inside the list, {brief(odd)}; write one flat list"
    if isinstance(odd, int) or hasattr(odd, "__index__"):
        return f"class names must be text, got the number {brief(odd)}; write the name, such as names[{brief(odd)}]"
    if odd is None or isinstance(odd, float):
        return f"class names must be text, got {brief(odd)}, a missing value; leave it out"
    return f"class names must be text, got {type(odd).__name__} {brief(odd)}"


def check_names(names: Any, what: str = "classes", *, in_order: bool = False) -> list[str]:
    """The names of a list, clean, see `name_list`.

    Raises:
        InputError: if they are not a list of text, or names are missing, empty or not unique; a ValueError.
    """
    given = _texts_of(what, names, in_order)
    found = [clean_name(name) for name in given]
    if not found:
        raise InputError("expected at least one class name, got none")
    if not all(found):
        raise InputError("class names must be text of at least one visible character")
    _check_unicode("class names", found)
    places: dict[str, int] = {}
    for place, name in enumerate(found):
        if name in places:
            raise InputError(_explain_duplicate(given[places[name]], given[place], name))
        places[name] = place
    return found


def _explain_duplicate(one: str, other: str, name: str) -> str:
    if one == other:
        return f"class names must differ, {brief(one)} is listed twice"
    return f"class names must differ, {_spell_out(one)} and {_spell_out(other)} are one name, {brief(name)}"


def _spell_out(name: str) -> str:
    """The name in ASCII, so that invisible and composed characters show."""
    shown = ascii(name)
    return shown[:200] + "…" if len(shown) > 200 else shown


def split_names(names: Sequence[str], forget: Any) -> tuple[list[int], list[int]]:
    """Indices of the forget and of the retain classes among `names`.

    Raises:
        InputError: if a forget name is unknown or missing, or no class is left to retain; a ValueError.
    """
    names = check_names(names)
    forget = name_list("forget", forget)
    if len(names) < 2:
        raise InputError(f"expected at least two classes, one to forget and one to retain; got only {brief(names[0])}")
    if not forget:
        raise InputError("expected at least one class to forget, got none")
    if unknown := [name for name in forget if name not in names]:
        first = f"{brief(unknown[0])}{like(unknown[0], names)}"
        raise InputError(f"unknown class {first}; the classes are: {listed(names)}")
    retain = [i for i, name in enumerate(names) if name not in forget]
    if not retain:
        raise InputError(f"all {len(names)} classes would be forgotten; leave at least one to retain")
    return [i for i, name in enumerate(names) if name in forget], retain


def like(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'beer mug'?)`; empty where no name is close."""
    folded = {other.casefold(): other for other in names}
    close = get_close_matches(name.casefold()[:200], folded, n=1, cutoff=0.75)
    return f" (did you mean {brief(folded[close[0]])}?)" if close else ""


def difference(wanted: Iterable[str], found: Iterable[str]) -> str:
    """`missing: …; not expected: …`, for two lists that should name the same classes; empty if they do."""
    wanted, found = list(wanted), list(found)
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    shown = [f"{brief(name)}{like(name, extra)}" for name in missing[:MANY]]
    parts = [f"missing: {listed(shown)}{', …' if missing[MANY:] else ''}"] if missing else []
    return "; ".join(parts + ([f"not expected: {listed(map(brief, extra))}"] if extra else []))


def synonym_lists(synonyms: Any, what: str = "synonyms") -> dict[str, list[str]]:
    """Class -> its other names, all clean; classes without any are left out. A single name counts as a list of one.

    Raises:
        InputError: if they are not such a mapping, or two classes are one name; a ValueError.
    """
    if synonyms is None:
        return {}
    if not isinstance(synonyms, Mapping):
        raise InputError(f"{what} must be a dict, class -> list of other names, got {brief(synonyms)}")
    keys = check_names(list(synonyms), what) if synonyms else []
    lists = (
        name_list(f"{what} of {brief(key)}", [others] if isinstance(others, str) else [] if others is None else others)
        for key, others in zip(keys, synonyms.values(), strict=True)
    )
    return {key: others for key, others in zip(keys, lists, strict=True) if others}


def text_list(what: str, given: Any, *, empty: bool = True) -> list[str]:
    """Texts for a text tower, in Unicode's composed form and otherwise unchanged.

    Args:
        what: the argument's name, for messages.
        given: a list of texts.
        empty: whether a text may be empty.

    Raises:
        InputError: for one text, a set, no list, no text, an element that is not text, not Unicode, or an empty one.
    """
    found = _texts_of(what, given, in_order=True)
    if not found:
        raise InputError(f"expected at least one {what.removesuffix('s')}, got none")
    _check_unicode(what, found)
    if not empty and not all(map(clean_name, found)):
        raise InputError(f"{what} must have at least one visible character each")
    return [unicodedata.normalize("NFC", text) for text in found]
