"""What a visitor of the first screen asks for, as one value; a link carries all of it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from hf_unlearn.data.class_names import clean_name
from hf_unlearn.errors import InputError
from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.json_values import as_number, as_switch
from space.inputs.limits import MAX_LABEL, parse_labels
from space.services.pictures import find_picture

MAX_NAMES = 60  # of each kind, so that an answer takes less than a second
PRESETS = {
    "weapons": ("gun", "bomb", "dagger", "knife", "sword"),
    "alcohol": ("beer", "wine", "cocktail", "sake", "champagne"),
    "gambling": ("slot machine", "dice", "playing card", "joker"),
    "spiders": ("spider", "spider web"),
}
OWN_PHOTO = "photo"  # the picture is the visitor's; a link can't carry it
NEWEST = "of:"  # the picture is one of the names behind it, those that a visitor added last
DEFAULT_BREADTH = 0.5
LINKED = ("forget", "keep", "labels", "image", "model", "breadth")


@dataclass(frozen=True)
class Recipe:
    """Names to forget, and what to look at.

    Attributes:
        forget: names to forget; none of them makes the plain model.
        keep: names to protect.
        labels: names to compare the picture with; none: the names of the pictures shown.
        picture: key of a picture, `OWN_PHOTO`, or nothing: one on which the effect is plain. `NEWEST` with names
            behind it is the same for these names.
        base: the base model's name.
        breadth: how far around a name the edit reaches, 0 to 1.
        enabled: False leaves the edit out.
    """

    forget: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    picture: str = ""
    base: str = EMBEDDED
    breadth: float = DEFAULT_BREADTH
    enabled: bool = True

    @classmethod
    def parse(
        cls,
        forget: object,
        keep: object = (),
        labels: object = (),
        picture: object = "",
        base: object = EMBEDDED,
        breadth: object = DEFAULT_BREADTH,
        enabled: object = True,
    ) -> Recipe:
        """Reads what the page or a client sends, which may be anything that JSON holds.

        A name that is to be forgotten is not protected.

        Raises:
            InputError: if a value is of another kind, names are too many or too long, or the breadth is not 0 to 1.
        """
        names = parse_names(forget, "names to forget")
        kept = tuple(name for name in parse_names(keep, "names to protect") if name not in names)
        breadth = as_number(breadth)
        if isinstance(breadth, bool) or not isinstance(breadth, int | float) or not 0 <= breadth <= 1:
            raise InputError(f"Expected a breadth from 0 to 1, got {str(breadth)[:20]}.")
        for what, value in (("picture", picture), ("model", base)):
            if not isinstance(value, str) or len(value) > MAX_LABEL:
                raise InputError(f"Expected the {what} as a short text, got {str(value)[:40]!r}.")
        return cls(
            names, kept, parse_names(labels, "labels"), str(picture), str(base), float(breadth), as_switch(enabled)
        )

    def link(self) -> str:
        """The query of a link that opens the page with this recipe."""
        default = Recipe()
        parts = {
            "forget": ",".join(self.forget),
            "keep": ",".join(self.keep),
            "labels": ",".join(self.labels),
            "image": "" if self.picture == OWN_PHOTO or self.picture.startswith(NEWEST) else self.picture,
            "model": self.base if self.base != default.base else "",
            "breadth": f"{self.breadth:g}" if self.breadth != default.breadth else "",
        }
        return "?" + urlencode({key: value for key, value in parts.items() if value or key == "forget"}, safe=",")

    def adding(self, name: str) -> Recipe:
        """The same with one more name to forget."""
        return self._changed(forget=(*self.forget, *parse_names(name, "names to forget")))

    def protecting(self, name: str) -> Recipe:
        """The same with one more name to protect."""
        return self._changed(keep=(*self.keep, *parse_names(name, "names to protect")))

    def showing(self, picture: str) -> Recipe:
        """The same with another picture."""
        return self._changed(picture=picture)

    @property
    def newest(self) -> tuple[str, ...]:
        """The names to forget that the picture is to show, if it is chosen by them."""
        names = parse_names(self.picture.removeprefix(NEWEST), "names") if self.picture.startswith(NEWEST) else ()
        return tuple(name for name in self.forget if name in names)

    def renamed(self, names: Mapping[str, str]) -> Recipe:
        """The same with other names in place of some; what becomes a repetition counts once."""
        parts = {part: getattr(self, part) for part in ("forget", "keep", "labels")}
        return self._changed(**{part: [names.get(name, name) for name in asked] for part, asked in parts.items()})

    def _changed(self, **parts: object) -> Recipe:
        return Recipe.parse(**{**vars(self), **parts})


EXAMPLE = Recipe(PRESETS["weapons"])


def read_link(query: Mapping[str, str], bases: Container[str]) -> tuple[Recipe, list[str]]:
    """The recipe of a link, and a sentence for every part of it that can't be used; such a part is left out.

    Args:
        bases: names of the models that are offered.
    """
    recipe, problems = Recipe(), []
    for key in LINKED:
        value = str(query.get(key, "")).strip()
        if not value:
            continue
        try:
            recipe = _with_part(recipe, key, value, bases)
        except InputError as error:
            problems.append(f"{key}: {error}")
    return recipe, problems


def _with_part(recipe: Recipe, key: str, value: str, bases: Container[str]) -> Recipe:
    if key == "breadth":
        return recipe._changed(breadth=_number(value))
    if key == "image":
        return recipe._changed(picture=find_picture(value).key)
    if key == "model" and value not in bases:
        raise InputError(f"this page does not offer {value[:80]!r}")
    return recipe._changed(**{"base" if key == "model" else key: value})


def parse_names(value: object, what: str) -> tuple[str, ...]:
    """Names from a list or a text, separated by commas or lines; maybe none. Duplicates count once.

    Raises:
        InputError: if the value is neither, or the names are more than 60 or too long.
    """
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise InputError(f"Expected the {what} as text, separated by commas or lines; got {type(value).__name__}.")
    text = "\n".join(parts).replace(",", "\n")
    if not any(clean_name(line) for line in text.splitlines()):
        return ()
    try:
        return tuple(parse_labels(text, MAX_NAMES, what))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"expected a number, got {text[:20]!r}") from None
