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
ARTICLES = {"a", "an", "the"}
ENDINGS = {
    "ie": "y",
    "ve": "f",
    "fe": "f",
    "sse": "ss",
    "xe": "x",
    "che": "ch",
    "she": "sh",
}  # of a plural without its s
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
    """Pictures that show a name to forget, the names in turn; first those of which it is a name."""
    shelves = [_shelf(name, of_photographs) for name in forget]
    return list(dict.fromkeys(_in_turn(shelves)))


def other_pictures(names: Sequence[str], of_photographs: bool = False) -> list[Picture]:
    """Everyday pictures that share no word with the names, one of each thing."""
    words = {word for name in names for word in _words(name)}
    everyday = all_pictures(of_photographs=True) if of_photographs else pictures_named(KEPT)
    return [picture for picture in everyday if not any(words & set(_words(own)) for own in picture.names)]


def shows(picture: Picture, name: str) -> bool:
    """Whether a picture shows what a name means: one of its names is this name, or ends with it."""
    return any(is_kind_of(name, own) for own in picture.names)


def is_kind_of(name: str, other: str) -> bool:
    """Whether another name is this name, or ends with it, in the singular or plural: a "toy gun" is a kind of gun."""
    asked = _words(name)
    return bool(asked) and _words(other)[-len(asked) :] == asked


def same_words(one: str, other: str) -> bool:
    """Whether two names differ by an article, the plural or letter case alone."""
    return _words(one) == _words(other)


@lru_cache(maxsize=1)
def _pictures() -> dict[str, Picture]:
    from hf_unlearn.demo import emoji_tasks as demo

    if not demo.ARCHIVE.is_file():
        return {}
    found = {}
    for name, concept in demo.concepts().items():
        if concept["category"] == UNUSED:
            continue
        names = tuple(dict.fromkeys([name, *concept["names"], name.removesuffix(" face")]))  # a "cat face" is a cat
        for artist, _ in demo.drawings(name, "test"):
            key = f"{concept['slug']}-{artist}"
            found[key] = Picture(key, name, names, artist)
    return found


@lru_cache(maxsize=1)
def _photographs() -> dict[str, Picture]:
    found = [Picture(f"{file}-{PHOTOGRAPH}", names[0], names, PHOTOGRAPH) for file, names in photographs.NAMES.items()]
    return {picture.key: picture for picture in found}


@lru_cache(maxsize=4_096)
def _shelf(name: str, of_photographs: bool) -> tuple[Picture, ...]:
    words = set(_words(name))

    def distance(picture: Picture) -> tuple[bool, bool]:
        return not any(same_words(name, own) for own in picture.names), not words <= set(_words(picture.name))

    return tuple(sorted((each for each in all_pictures(of_photographs) if shows(each, name)), key=distance))


def _in_turn(shelves: Sequence[Sequence[Picture]]) -> Iterator[Picture]:
    for place in range(max(map(len, shelves), default=0)):
        yield from (shelf[place] for shelf in shelves if place < len(shelf))


@lru_cache(maxsize=4_096)
def _words(name: str) -> tuple[str, ...]:
    """Words in lower case and the singular, without articles."""
    words = re.findall(r"\w+", name.casefold())
    return tuple(_singular(word) for word in words if word not in ARTICLES) or tuple(words)


def _singular(word: str) -> str:
    """A form that a word shares with its plural: "knif" of knife and knives."""
    if len(word) > len("gas") and word.endswith("s") and word[-2] not in "sui":
        word = word[:-1]
    ending = next((ending for ending in ENDINGS if word.endswith(ending)), "")
    return word.removesuffix(ending) + ENDINGS.get(ending, "")
