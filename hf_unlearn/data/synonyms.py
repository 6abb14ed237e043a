"""Other names of what is to be forgotten: which names the black box scores, and which scores form which naming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hf_unlearn.data.class_names import check_names
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


def asked_names(names: Sequence[str], forget: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The names of the classes, then the other names of the forgotten ones.

    Raises:
        InputError: if a class with other names is not to be forgotten, or two names are equal; a ValueError.
    """
    to_forget = set(forget)
    if kept := [name for name in synonyms if name not in to_forget]:
        raise InputError(f"synonyms are for classes to forget; {brief(kept[0])} is not one of them")
    asked = (*names, *(other for others in synonyms.values() for other in others))
    try:
        check_names(asked)
    except ValueError as error:
        raise InputError(f"classes and synonyms together: {error}") from error
    return asked


def namings(names: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> list[list[int]]:
    """A row of `C` places among `asked_names` per naming; no row if no class has another name.

    The first naming has the names of the classes. The others replace each forgotten name by one of its other names. A
    class with fewer other names repeats them.
    """
    most = max(map(len, synonyms.values()), default=0)
    rows = [list(range(len(names))) for _ in range(1 + most)] if most else []
    place, after = {name: i for i, name in enumerate(names)}, len(names)
    for name, others in synonyms.items():
        for turn in range(most if others else 0):
            rows[1 + turn][place[name]] = after + turn % len(others)
        after += len(others)
    return rows
