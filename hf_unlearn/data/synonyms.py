"""Other names of what is to be forgotten: what the black box is asked, and which scores belong to which naming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hf_unlearn.data.class_names import check_names
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


def asked_names(names: Sequence[str], forget: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The classes' own names, then the other names of the forgotten ones.

    Raises:
        ValueError: if a class with other names is not to be forgotten, or two names are the same.
    """
    to_forget = set(forget)
    if kept := [name for name in synonyms if name not in to_forget]:
        raise InputError(f"synonyms are for classes to forget; {brief(kept[0])} is none of them")
    asked = (*names, *(other for others in synonyms.values() for other in others))
    try:
        check_names(asked)
    except ValueError as error:
        raise InputError(f"classes and synonyms together: {error}") from error
    return asked


def namings(names: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> list[list[int]]:
    """Rows of `C` places among `asked_names`, a row per naming; none if no class has another name.

    The first naming has the classes' own names, the others have other names in the place of the forgotten ones, which
    take turns where a class has fewer than another.
    """
    most = max(map(len, synonyms.values()), default=0)
    rows = [list(range(len(names))) for _ in range(1 + most)] if most else []
    place, after = {name: i for i, name in enumerate(names)}, len(names)
    for name, others in synonyms.items():
        for turn in range(most if others else 0):
            rows[1 + turn][place[name]] = after + turn % len(others)
        after += len(others)
    return rows
