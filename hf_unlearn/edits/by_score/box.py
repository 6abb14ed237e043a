"""The black box that reads text features off another box's scores, so that edits work with scores alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from cachetools import LRUCache
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.arguments import whole_number
from hf_unlearn.data.class_names import text_list
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.edits.by_score.centred_scores import PIVOTS, CentredScores, ask
from hf_unlearn.edits.by_score.reference_images import make_reference_images
from hf_unlearn.edits.by_score.score_space import ScoreSpace
from hf_unlearn.edits.vocabulary import distinct, vocabulary_words
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import PROBES, BlackBox, Ledger, check_adapter, check_box, check_template
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.models.embedded import EMBEDDED

if TYPE_CHECKING:
    from hf_unlearn.models.adapted_box import AdaptedBox, Adapter

IMAGES, WORDS = 480, 300  # where the caller gives none; half as many images are enough for the embedded CLIP
FEWEST, MOST = 48, 4_096  # reference images; words have the same lower bound
ENOUGH = 0.95  # of the variance of held-out scores that the others predict
ENOUGH_DIRECTIONS = 20  # in which reference images differ; 5 to 8 forget half or nothing, 20 as much as 80
REMEMBERED = 20_000  # texts; 40 MB with 480 reference images


class ReferencedImages:
    """Images of a `ReferenceBlackBox`.

    Attributes:
        handle: of the box that gives the scores.
        features: `(N, n)` float64, once something asked for them.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.handle)


class ReferenceBlackBox:
    """A box that gives scores only, with text features read off its scores on reference images.

    So it supports edits: a name's scores on the reference images take the place of its text feature. It does not
    support contexts.

        model = ReferenceBlackBox(box)  # `box` gives scores only, as a SpaceBlackBox does
        adapter = unlearn(model, forget=["gun", "knife"]).adapter  # about a dozen queries
        scores = model.under(adapter).log_scores(torch.zeros(1, 0, 0), model.add_images(images), labels)

    The reference images need no labels and need not show what is to be forgotten. Without `images` the library makes
    some from a fixed seed: coloured tiles and shapes. An adapter works with the images and words that it was made with.

    Scores of the box itself stay unchanged. An edit adds to them what it changes. That takes one query of the anchor
    words for each set of images. It takes another for names that were not asked before.

    Args:
        model: the box that gives scores.
        images: `n` images without labels, some 240 to 480, as the box accepts them.
        words: `m` everyday words, some 300: the anchors. An edit holds them in place. Without them, words of the
            embedded CLIP's tokenizer.
        names_at_once: names that the box takes in a query. Where there are more, 32 anchor words come with every
            part, so that the parts fit together.

    Attributes:
        words: the anchor words.
        explained: how much of the scores of held-out words on held-out images the others predict, at most 1.
            Images that are all alike predict each other, whatever others show.

    Raises:
        InputError: if there are fewer than 48 words, or not 48 to 4,096 images. Also if the box answers with
            probabilities, or numbers that are not finite. A ValueError. A warning says if `explained` is below 0.95, or
            if the images are too much alike.
    """

    calls = 1
    dim = 0
    max_n_ctx = 0
    token_std = 0.0
    device = torch.device("cpu")
    edit_method = SCORE_EDIT
    features_in_memory = True  # not cached on disk: they belong to these reference images

    def __init__(
        self, model: BlackBox, images: Any = None, words: Sequence[str] | None = None, *, names_at_once: int = 1_000
    ) -> None:
        check_box(model)
        if getattr(model, "edit_method", None) == SCORE_EDIT:
            raise InputError("this box reads text features off scores already; use it as it is")
        self._given = images is not None, words is not None
        self.words = _everyday_words() if words is None else distinct(words)
        if len(self.words) < FEWEST:
            raise InputError(f"expected {FEWEST} anchor words or more, better {WORDS}, got {len(self.words)}")
        at_once = whole_number("names_at_once", names_at_once, PIVOTS + 1)
        self.template, self.model_id, self.revision = model.template, model.model_id, model.revision
        self.subfolder: str | None = getattr(model, "subfolder", None)
        self.token_mean = torch.zeros(0)
        self._inner = model.with_template("{}")
        self.ledger: Ledger = self._inner.ledger
        self._scores = CentredScores(self._inner, self._prompts(self.words), at_once)
        self._references = self._inner.add_images(make_reference_images(IMAGES) if images is None else images)
        if not FEWEST <= len(self._references) <= MOST:
            raise InputError(
                f"expected {FEWEST} to {MOST:,} reference images, better {IMAGES}, got {len(self._references)}"
            )
        self._space = ScoreSpace(self._scores.of_anchors(self._references))
        self._known: LRUCache[str, Tensor] = LRUCache(REMEMBERED)
        self._anchors = dict(zip(self._scores.anchors, self._space.anchors.T, strict=True))
        self._columns(PROBES)
        self._warn_if_too_few()

    @property
    def explained(self) -> float:
        """See the class."""
        return self._space.explained

    @property
    def edit_facts(self) -> dict[str, Any]:
        """What an adapter's config says of how its edit was made."""
        return {
            "reference_images": len(self._references),
            "images_given": self._given[0],
            "anchor_words": len(self.words),
            "words_given": self._given[1],
            "explained": round(self.explained, 4),
        }

    @property
    def width(self) -> int:
        """Numbers in a text feature: one for each reference image, and a constant."""
        return self._space.width

    def add_images(self, images: Any) -> ReferencedImages:
        """Encodes `N` images once. Raises what the inner box raises."""
        return ReferencedImages(self._inner.add_images(images))

    def log_scores(self, contexts: Tensor, images: ReferencedImages, names: Sequence[str]) -> Tensor:
        """The inner box's; the only contexts are those of no tokens, `(P, 0, 0)`.

        Raises:
            InputError: for any other context; a ValueError.
        """
        self._check_contexts(contexts)
        return ask(self._inner, images.handle, self._prompts(names)).float().expand(len(contexts), -1, -1)

    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """`(P, 0, 0)`, `C` names -> unit text features `(P, C, width)` float32; one query if a name is not known yet.

        Raises:
            InputError: for any other context; a ValueError.
        """
        self._check_contexts(contexts)
        features = self._space.text_features(self._columns(self._prompts(names)))
        return features.expand(len(contexts), -1, -1)

    def compare(self, texts: Tensor, images: ReferencedImages) -> Tensor:
        """Unit text features `(P, C, width)` -> log-scores `(P, N, C)` float32; one query for new images."""
        return self._space.compare(self._image_features(images), texts.cpu()).log_softmax(-1).float()

    def compare_edited(self, names: Sequence[str], texts: Tensor, images: ReferencedImages) -> Tensor:
        """Log-scores `(P, N, C)` of names whose features an edit changed to `texts`, `(P, C, width)`.

        They are the inner box's and what the change adds, so a name that the edit leaves alone keeps its scores.
        """
        prompts = self._prompts(names)
        scores = ask(self._inner, images.handle, prompts)
        features, before = self._image_features(images), self._space.text_features(self._columns(prompts))
        change = self._space.compare(features, texts.cpu()) - self._space.compare(features, before)
        return (scores + change).log_softmax(-1).float()

    def under(self, adapter: Adapter) -> AdaptedBox:
        """This model under an adapter, as a black box.

        Raises:
            WrongBaseError: if the adapter was made for another base, other reference images or other words.
        """
        check_adapter(adapter)
        return adapter.applied_to(self)

    def with_template(self, template: str) -> ReferenceBlackBox:
        """The same model under another template; references, ledger and known scores are shared.

        Raises:
            InputError: if the template does not have exactly one `{}`; a ValueError.
        """
        other = copy(self)
        other.template = check_template(template)
        return other

    def fingerprint(self) -> list[list[float]]:
        """Text features of eight fixed texts, 32 numbers of each: model, reference images and words decide them."""
        features = F.normalize(self._space.text_features(self._columns(PROBES))[:, :32], dim=-1)
        return [[round(value, 4) for value in row] for row in features.tolist()]

    def _prompts(self, names: Sequence[str]) -> list[str]:
        return [self.template.format(name) for name in text_list("names", names)]

    def _columns(self, texts: Sequence[str]) -> Tensor:
        """Centred scores of `C` texts on the `n` reference images, `(C, n)`; only texts not known yet are asked."""
        known = self._anchors | {text: self._known[text] for text in texts if text in self._known}
        if missing := [text for text in dict.fromkeys(texts) if text not in known]:
            new = self._scores.of_texts(self._references, missing, self._space.anchors)
            self._known.update(new)
            known |= new
        return torch.stack([known[text] for text in texts])

    def _image_features(self, images: ReferencedImages) -> Tensor:
        if images.features is None:
            images.features = self._space.image_features(self._scores.of_anchors(images.handle))
        return images.features

    def _check_contexts(self, contexts: Tensor) -> None:
        if contexts.ndim != 3 or contexts.shape[1] or contexts.shape[2]:
            raise InputError(
                f"{self.model_id}: this box can't be searched for a context; use an edit, or search on the box that "
                f"gives the scores (expected contexts of shape (P, 0, 0), got {tuple(contexts.shape)})"
            )

    def _warn_if_too_few(self) -> None:
        if self.explained < ENOUGH:
            warnings.warn(
                f"{len(self._references)} reference images and {len(self.words)} anchor words explain "
                f"{max(0.0, self.explained):.0%} of the scores of others, {ENOUGH:.0%} are enough: forgetting will be "
                "weak, and other names will change; give more images, more varied ones, or more words (if the box cuts "
                "off or rounds its scores, finer ones)",
                stacklevel=3,
            )
        elif self._space.directions < ENOUGH_DIRECTIONS:
            warnings.warn(
                f"the {len(self._references)} reference images differ in {self._space.directions} directions only, "
                f"{ENOUGH_DIRECTIONS} are enough: forgetting will be weak; give more varied images, or none, then the "
                "library makes some",
                stacklevel=3,
            )


def read_off_scores(model: BlackBox, words: Sequence[str] | None = None) -> BlackBox:
    """The model if it reads text features off scores already, else one that does. Raises as `ReferenceBlackBox`."""
    return model if getattr(model, "edit_method", None) == SCORE_EDIT else ReferenceBlackBox(model, words=words)


def _everyday_words() -> list[str]:
    """Words of the embedded CLIP's tokenizer, evenly from frequent to rare."""
    words = vocabulary_words(ClipBlackBox(EMBEDDED))
    return [words[number * len(words) // WORDS] for number in range(WORDS)]
