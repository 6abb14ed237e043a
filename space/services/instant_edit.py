"""Answers of the first screen: an edit made from names while the visitor types, and what it does to pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import LRUCache
from PIL import Image

from hf_unlearn.errors import InputError
from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.limits import check_image
from space.services.adapter_store import AdapterStore
from space.services.floor_scores import FloorScores
from space.services.pictures import Picture, find_picture, other_pictures, picture_names, pictures_of
from space.services.real_model import REAL_MODEL
from space.services.recipe import OWN_PHOTO, Recipe
from space.services.verdict import NONE, Bar, Guess, Verdict, judge

if TYPE_CHECKING:
    from torch import Tensor

    from hf_unlearn import ForgetAdapter, TextEdit
    from space.services.thread_safe_clip import ThreadSafeClip

SHOWN, MOST_FORGOTTEN, FEWEST_KEPT = 12, 6, 6  # pictures of the strip
EDITS, FEATURES, PHOTOS = 256, 4_096, 256  # kept in memory


@dataclass(frozen=True)
class Cell:
    """A picture of the strip: what the model says before and after, and whether that is what was asked."""

    picture: Picture
    before: Guess
    after: Guess
    to_forget: bool
    as_asked: bool


@dataclass(frozen=True)
class Answer:
    """What the first screen shows for a recipe.

    Attributes:
        recipe: the recipe, complete.
        shown: key of the picture, `OWN_PHOTO`, or nothing.
        bars: all labels and "none of these", the highest before first; none without a picture.
        verdict: what came of it.
        strip: twelve pictures or fewer, those to forget first.
        adapter: the edit; None if nothing is to be forgotten.
    """

    recipe: Recipe
    shown: str
    bars: tuple[Bar, ...]
    verdict: Verdict
    strip: tuple[Cell, ...]
    adapter: ForgetAdapter | None


class InstantEdits:
    """Makes edits and scores pictures, both in memory.

    Args:
        store: the adapters, with the base models.
    """

    def __init__(self, store: AdapterStore) -> None:
        self.store = store
        self._edits: LRUCache[object, ForgetAdapter] = LRUCache(EDITS)
        self._scores: LRUCache[str, FloorScores] = LRUCache(8)
        self._features: LRUCache[tuple[str, str], Tensor] = LRUCache(FEATURES)
        self._photos: LRUCache[tuple[str, str], Tensor] = LRUCache(PHOTOS)
        self._lock, self._preparing = Lock(), Lock()

    def answer(self, recipe: Recipe, photo: Image.Image | None = None) -> Answer:
        """Scores a picture and the strip under a recipe.

        Args:
            photo: the visitor's picture, where the recipe says so.

        Raises:
            ValueError: if the model is not offered, a name does not fit it, or the photo can't be used.
        """
        from hf_unlearn.models.prompts import check_distinguishable

        scores = self.scores_of(recipe.base)
        check_distinguishable(self._model(recipe.base), list(dict.fromkeys([*recipe.forget, *recipe.labels])))
        adapter = self.adapter(recipe)
        strip, others = self._strip(scores, recipe, adapter)
        labels = tuple(dict.fromkeys([*recipe.forget, *(recipe.labels or others)]))
        shown, features, names = self._shown(recipe, strip, photo)
        if features is None:
            return Answer(recipe, shown, (), Verdict("no picture"), strip, adapter)
        bars = _bars(scores, features, labels, recipe, adapter)
        verdict = judge(
            bars,
            recipe,
            self._leak(scores, features, labels, [name for name in names if name not in recipe.keep], adapter),
        )
        return Answer(recipe, shown, bars, verdict, strip, adapter)

    def adapter(self, recipe: Recipe) -> ForgetAdapter | None:
        """The edit of a recipe; None if there is nothing to forget.

        Raises:
            ValueError: if the model is not offered, or a name does not fit it.
        """
        from hf_unlearn import unlearn

        if not recipe.forget:
            return None
        key = recipe.base, frozenset(recipe.forget), frozenset(recipe.keep), recipe.breadth
        with self._lock:
            found = self._edits.get(key)
        if found is None:
            model = self._model(recipe.base)
            self.scores_of(recipe.base)  # the model's words are read once, by one thread
            found = unlearn(
                model, forget=recipe.forget, keep=recipe.keep, breadth=recipe.breadth, progress=False
            ).adapter
            with self._lock:
                self._edits[key] = found
        return found

    @property
    def first_base(self) -> str:
        """The model that the page begins with: the embedded one, or the first of those offered."""
        bases = self.store.models.bases
        return EMBEDDED if EMBEDDED in bases else next(iter(bases))

    def names(self) -> dict[str, list[str]]:
        """The models offered, and the names that pictures here show."""
        return {"models": list(self.store.models.bases), "pictured": picture_names()}

    def _model(self, base: str) -> ThreadSafeClip:
        if base not in self.store.models.bases:
            offered = ", ".join(self.store.models.bases)
            raise InputError(f"Instant edits are offered for {offered}, not {base[:80]!r}; a run takes any CLIP.")
        return self.store.models.get(base)

    def scores_of(self, base: str) -> FloorScores:
        """Scores by a model with a floor.

        Raises:
            ValueError: if the model is not offered.
        """
        with self._lock:
            found = self._scores.get(base)
        if found is None:
            with self._preparing:
                model = self._model(base)
                with model.vocabulary:
                    found = FloorScores(model)
                with self._lock:
                    self._scores[base] = found
        return found

    def picture_features(self, base: str, pictures: Sequence[Picture]) -> Tensor:
        """`n` pictures -> unit features `(n, width)`, each encoded once."""
        import torch

        keys = [(base, picture.key) for picture in pictures]
        with self._lock:
            known = {key: row for key in keys if (row := self._features.get(key)) is not None}
        missing = [place for place, key in enumerate(keys) if key not in known]
        if missing:
            rows = self.scores_of(base).encode([pictures[place].load() for place in missing])
            known |= {keys[place]: row for place, row in zip(missing, rows, strict=True)}
            with self._lock:
                self._features.update(known)
        return torch.stack([known[key] for key in keys])

    def _photo_features(self, scores: FloorScores, base: str, photo: Image.Image) -> Tensor:
        image = check_image(photo)
        digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
        with self._lock:
            found = self._photos.get((base, digest))
        if found is None:
            found = scores.encode([image])
            with self._lock:
                self._photos[base, digest] = found
        return found

    def _strip(
        self, scores: FloorScores, recipe: Recipe, adapter: ForgetAdapter | None
    ) -> tuple[tuple[Cell, ...], list[str]]:
        """Pictures that the plain model recognizes, to be forgotten and kept; and the kept ones' names."""
        real = recipe.base == REAL_MODEL
        asked = pictures_of(recipe.forget, real)[: 2 * MOST_FORGOTTEN]
        others = other_pictures(recipe.forget, real)
        pictures = [*asked, *others]
        if not pictures:
            return (), []
        names = list(dict.fromkeys([*recipe.forget, *(picture.name for picture in others[:SHOWN])]))
        features = self.picture_features(recipe.base, pictures)
        before = scores.shares(features, names)
        after = scores.shares(features, names, _edit(recipe, adapter))
        gone = set(recipe.forget)
        cells = []
        for row, picture in enumerate(pictures):
            first, then = (_top([*names, NONE], shares[row].tolist()) for shares in (before, after))
            to_forget = row < len(asked)
            if first.name in gone if to_forget else first.name == picture.name:  # the plain model knows it
                as_asked = then.name not in gone if to_forget else then.name == picture.name
                cells.append(Cell(picture, first, then, to_forget, as_asked))
        forgotten = [cell for cell in cells if cell.to_forget][:MOST_FORGOTTEN]
        kept = [cell for cell in cells if not cell.to_forget][: max(FEWEST_KEPT, SHOWN - len(forgotten))]
        return (*forgotten, *kept), [cell.picture.name for cell in kept[:FEWEST_KEPT]]

    def _shown(
        self, recipe: Recipe, strip: Sequence[Cell], photo: Image.Image | None
    ) -> tuple[str, Tensor | None, tuple[str, ...]]:
        """The picture's key, its features, and the names of what it shows, where they are known."""
        scores = self.scores_of(recipe.base)
        if recipe.picture == OWN_PHOTO:
            features = None if photo is None else self._photo_features(scores, recipe.base, photo)
            return OWN_PHOTO, features, ()
        if recipe.picture:
            picture = find_picture(recipe.picture)
        elif strip:
            picture = strip[0].picture
        else:
            return "", None, ()
        return picture.key, self.picture_features(recipe.base, [picture]), picture.names

    def _leak(
        self, scores: FloorScores, features: Tensor, labels: Sequence[str], names: Sequence[str],
        adapter: ForgetAdapter | None,
    ) -> Guess | None:  # fmt: skip
        """Another name of the same thing that the edited model still gives to the picture."""
        if adapter is None or not names:
            return None
        found = [
            Guess(name, scores.shares(features, [*labels, name], adapter.edit)[0, len(labels)].item())
            for name in names
            if name not in labels
        ]
        return max(found, key=lambda guess: guess.share, default=None)


def _bars(
    scores: FloorScores, features: Tensor, labels: Sequence[str], recipe: Recipe, adapter: ForgetAdapter | None
) -> tuple[Bar, ...]:
    before = scores.shares(features, labels)[0].tolist()
    after = scores.shares(features, labels, _edit(recipe, adapter))[0].tolist()
    bars = [
        Bar(name, was, now, name in recipe.forget)
        for name, was, now in zip([*labels, NONE], before, after, strict=True)
    ]
    return tuple(sorted(bars, key=lambda bar: -bar.before))


def _edit(recipe: Recipe, adapter: ForgetAdapter | None) -> TextEdit | None:
    return adapter.edit if adapter is not None and recipe.enabled else None


def _top(names: Sequence[str], shares: Sequence[float]) -> Guess:
    place = max(range(len(shares)), key=shares.__getitem__)
    return Guess(names[place], shares[place])
