"""Pictures to try: test drawings of the demo, which the embedded model never saw in training, and photographs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from hf_unlearn.errors import InputError
from space.services import photographs

PHOTOGRAPH = "photograph"  # the artist of every photograph
UNUSED = "People & Body"  # professions: drawn for the audit of groups
KEPT = (
    "guitar", "bicycle", "pizza", "house", "rose", "dog face", "banana", "airplane", "hamburger", "sailboat", "camera",
    "strawberry", "soccer ball", "key", "violin", "tractor", "panda", "trumpet",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture by its key.

    Attributes:
        key: names it in links.
        name: what it shows.
        names: all names of what it shows, `name` among them.
        artist: who drew it, or `PHOTOGRAPH`.
    """

    key: str
    name: str
    names: tuple[str, ...]
    artist: str

    def load(self) -> Image.Image:
        """The picture, RGB on white."""
        if self.artist == PHOTOGRAPH:
            return photographs.load_photograph(self.key.removesuffix(f"-{PHOTOGRAPH}"))
        from hf_unlearn.data.pixels import to_rgb
        from hf_unlearn.demo import emoji_tasks as demo

        return to_rgb(dict(demo.drawings(self.name, "test"))[self.artist])


def find_picture(key: str) -> Picture:
    """The picture of a key. Raises: InputError: if there is no such picture."""
    found = _photographs().get(key) or _pictures().get(key)
    if found is None:
        raise InputError(f"There is no picture {key[:40]!r}; choose one of those shown.")
    return found


def picture_names() -> list[str]:
    """What there are pictures of."""
    return sorted({picture.name for picture in _pictures().values()})


def pictures_named(names: Sequence[str]) -> list[Picture]:
    """One picture of each of the things that there are pictures of."""
    by_name: dict[str, Picture] = {}
    for picture in _pictures().values():
        by_name.setdefault(picture.name, picture)
    return [by_name[name] for name in names if name in by_name]


def all_pictures(of_photographs: bool = False) -> list[Picture]:
    """Every drawing, or every photograph."""
    return list((_photographs() if of_photographs else _pictures()).values())


def pictures_of(forget: Sequence[str], of_photographs: bool = False) -> list[Picture]:
    """Pictures that show a name to forget, the names in turn; first those that are named after it."""
    shelves = [_shelf(name, all_pictures(of_photographs)) for name in forget]
    return list(dict.fromkeys(_in_turn(shelves)))


def other_pictures(names: Sequence[str], of_photographs: bool = False) -> list[Picture]:
    """Everyday pictures that share no word with the names, one of each thing."""
    words = {word for name in names for word in _words(name)}
    everyday = all_pictures(of_photographs=True) if of_photographs else pictures_named(KEPT)
    return [picture for picture in everyday if not any(words & set(_words(own)) for own in picture.names)]


def shows(picture: Picture, name: str) -> bool:
    """Whether a picture shows what a name means: one of its names is this name, or ends with it."""
    asked = _words(name)
    return bool(asked) and any(_words(own)[-len(asked) :] == asked for own in picture.names)


@lru_cache(maxsize=1)
def _pictures() -> dict[str, Picture]:
    from hf_unlearn.demo import emoji_tasks as demo

    if not demo.ARCHIVE.is_file():
        return {}
    found = {}
    for name, concept in demo.concepts().items():
        if concept["category"] == UNUSED:
            continue
        for artist, _ in demo.drawings(name, "test"):
            key = f"{concept['slug']}-{artist}"
            found[key] = Picture(key, name, tuple(dict.fromkeys([name, *concept["names"]])), artist)
    return found


@lru_cache(maxsize=1)
def _photographs() -> dict[str, Picture]:
    found = [Picture(f"{file}-{PHOTOGRAPH}", names[0], names, PHOTOGRAPH) for file, names in photographs.NAMES.items()]
    return {picture.key: picture for picture in found}


def _shelf(name: str, pictures: Sequence[Picture]) -> list[Picture]:
    words = set(_words(name))
    found = [picture for picture in pictures if shows(picture, name)]
    return sorted(found, key=lambda picture: not words <= set(_words(picture.name)))


def _in_turn(shelves: Sequence[Sequence[Picture]]) -> Iterator[Picture]:
    for place in range(max(map(len, shelves), default=0)):
        yield from (shelf[place] for shelf in shelves if place < len(shelf))


@lru_cache(maxsize=4_096)
def _words(name: str) -> tuple[str, ...]:
    """Words in lower case, a plural's last letter removed."""
    return tuple(word.removesuffix("s") for word in re.findall(r"\w+", name.casefold()))
