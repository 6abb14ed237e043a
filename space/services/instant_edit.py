"""Answers of the first screen: an edit made from names while the visitor types, and what it does to pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import LRUCache
from PIL import Image

from hf_unlearn.errors import InputError
from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.limits import check_image
from space.services.adapter_store import AdapterStore
from space.services.floor_scores import FloorScores, floor_scores
from space.services.picture_strip import Cell, Unseen, build_strip, find_unseen, kept_names, plainest
from space.services.pictures import Picture, find_picture, picture_names
from space.services.recipe import NEWEST, OWN_PHOTO, Recipe
from space.services.verdict import NONE, Bar, Guess, Verdict, find_related, judge, without_floor

if TYPE_CHECKING:
    from torch import Tensor

    from hf_unlearn import ForgetAdapter, TextEdit
    from space.services.thread_safe_clip import ThreadSafeClip

EDITS, FEATURES, PHOTOS = 256, 4_096, 256  # kept in memory


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
        unseen: names to forget that the plain model says of no picture.
        repeats: by name that is not counted, the one that the model reads the same way.
    """

    recipe: Recipe
    shown: str
    bars: tuple[Bar, ...]
    verdict: Verdict
    strip: tuple[Cell, ...]
    adapter: ForgetAdapter | None
    unseen: tuple[Unseen, ...] = ()
    repeats: Mapping[str, str] = field(default_factory=dict)


class InstantEdits:
    """Makes edits and scores pictures, both in memory.

    Args:
        store: the adapters, with the base models.
    """

    def __init__(self, store: AdapterStore) -> None:
        self.store = store
        self._edits: LRUCache[object, ForgetAdapter] = LRUCache(EDITS)
        self._features: LRUCache[tuple[str, str], Tensor] = LRUCache(FEATURES)
        self._photos: LRUCache[tuple[str, str], Tensor] = LRUCache(PHOTOS)
        self._lock = Lock()

    def answer(self, recipe: Recipe, photo: Image.Image | None = None) -> Answer:
        """Scores a picture and the strip under a recipe.

        Args:
            photo: the visitor's picture, where the recipe says so.

        Raises:
            ValueError: if the model is not offered, a name does not fit it, or the photo can't be used.
        """
        scores = self.scores_of(recipe.base)
        recipe, repeats = self.merge(recipe)
        adapter = self.adapter(recipe)
        edit = adapter.edit if adapter is not None and recipe.enabled else None
        strip = build_strip(self, recipe, edit)
        unseen = find_unseen(self, recipe, strip)
        photo = photo if recipe.picture == OWN_PHOTO else None
        picture = None if recipe.picture == OWN_PHOTO else self._choose(recipe, strip, edit)
        if recipe.picture.startswith(NEWEST):
            recipe = recipe.showing(picture.key if picture else "")
        shown = picture.key if picture else recipe.picture
        if picture is not None:
            features = self.picture_features(recipe.base, [picture])
        elif photo is not None:
            features = self._photo_features(scores, recipe.base, photo)
        else:
            return Answer(recipe, shown, (), Verdict("no picture"), strip, adapter, unseen, repeats)
        labels = without_floor([*recipe.forget, *(recipe.labels or kept_names(strip))])
        bars = _bars(scores, features, labels, recipe.forget, edit)
        names = [] if picture is None else [name for name in picture.names if name not in recipe.keep]
        leak = self._leak(scores, features, labels, names, adapter)
        verdict = judge(bars, recipe, find_related(labels, recipe, picture), bool(unseen), leak)
        return Answer(recipe, shown, bars, verdict, strip, adapter, unseen, repeats)

    def adapter(self, recipe: Recipe) -> ForgetAdapter | None:
        """The edit of a recipe; None if there is nothing to forget.

        Raises:
            ValueError: if the model is not offered, or a name does not fit it.
        """
        from hf_unlearn import unlearn

        if not recipe.forget:
            return None
        recipe, _ = self.merge(recipe)
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

    def merge(self, recipe: Recipe) -> tuple[Recipe, dict[str, str]]:
        """A recipe in which every name is another one to the model, and what was merged: by name, its first form.

        Raises:
            ValueError: if the model is not offered.
        """
        repeats = self._model(recipe.base).find_repeats([*recipe.forget, *recipe.keep, *recipe.labels])
        return (recipe.renamed(repeats) if repeats else recipe), repeats

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
        return floor_scores(self._model(base))

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

    def _choose(self, recipe: Recipe, strip: Sequence[Cell], edit: TextEdit | None) -> Picture | None:
        """The picture that a recipe names or, where it leaves the choice, one on which the effect is plain."""
        if recipe.picture and not recipe.picture.startswith(NEWEST):
            return find_picture(recipe.picture)
        of_newest = build_strip(self, replace(recipe, forget=recipe.newest), edit) if recipe.newest else ()
        return plainest([cell for cell in of_newest if cell.to_forget]) or plainest(strip)

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
    scores: FloorScores, features: Tensor, labels: Sequence[str], forgotten: Collection[str], edit: TextEdit | None
) -> tuple[Bar, ...]:
    before, after = (scores.shares(features, labels, each)[0].tolist() for each in (None, edit))
    rows = zip([*labels, NONE], before, after, strict=True)
    bars = [Bar(name, was, now, name in forgotten and name != NONE) for name, was, now in rows]
    return tuple(sorted(bars, key=lambda bar: -bar.before))
