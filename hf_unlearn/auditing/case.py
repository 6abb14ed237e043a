"""What every attack works on: a model behind its adapter, images encoded once, shares named right per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.auditing.intervals import bootstrap
from hf_unlearn.data.class_names import difference, like
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.models.adapted_box import AdaptedBox, Adapter
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.text import brief

KNOWN = 0.5  # a try counts for a class if the plain model names at least this share of its images under it
NOBODY, CALLER, PROMPT, MODEL = "nothing", "caller", "prompt", "model"


@dataclass(frozen=True)
class Try:
    """One thing tried on one forget class: shares of its images named right.

    Attributes:
        what: the name, template, picture change or context tried.
        of: the forget class.
        images: how many.
        plain: share that the model without adapter names right under the same try.
        right: share with the adapter, so attacked.
    """

    what: str
    of: str
    images: int
    plain: float
    right: float


@dataclass(frozen=True)
class Attack:
    """One attack: all its tries, and what they come to.

    Attributes:
        name: of the attack.
        access: what the attacker needs: `nothing` is no attack; `caller` chooses names, sentences and pictures;
            `prompt` also changes the tokens of the prompt; `model` sees the model's features.
        question: what it finds out, in plain words.
        tries: one per thing tried and forget class.
        details: whatever else it measured.
        own_limit: whether the verdict has a limit for it alone, so that the worst attack's limit passes it over.
    """

    name: str
    access: str
    question: str
    tries: tuple[Try, ...]
    details: dict[str, Any] = field(default_factory=dict)
    own_limit: bool = False

    @property
    def judged(self) -> bool:
        """Whether the limit for the worst attack counts it: nobody promises to withstand a rewritten prompt."""
        return self.access == CALLER and not self.own_limit

    @property
    def known(self) -> tuple[Try, ...]:
        """The tries that the plain model knows: failing on the others says nothing about forgetting."""
        return tuple(item for item in self.tries if item.plain >= KNOWN)

    def summary(self) -> dict[str, Any]:
        """Figures for the JSON; shares are means over classes of the means over their known tries."""
        known = self.known
        classes = sorted({item.of for item in known})
        of = {name: [item for item in known if item.of == name] for name in classes}
        right = [_mean([item.right for item in items]) for items in of.values()]
        plain = [_mean([item.plain for item in items]) for items in of.values()]
        low, high = bootstrap(right) if right else (None, None)
        strongest: dict[str, Any] | None = None
        if known:
            best = max(known, key=lambda item: (item.right, item.plain))
            strongest = {"what": best.what, "of": best.of, "right": best.right, "plain": best.plain}
        return {
            "name": self.name,
            "access": self.access,
            "judged": self.judged,
            "question": self.question,
            "right": _mean(right) if right else None,
            "low": low,
            "high": high,
            "plain": _mean(plain) if plain else None,
            "tries": len(self.tries),
            "known": len(known),
            "classes": len(classes),
            "strongest": strongest,
            **self.details,
        }


class Remembering:
    """A black box that encodes every set of images once, however often it is handed in.

    Everything else is the box's own.
    """

    def __init__(self, model: BlackBox) -> None:
        self._model = model
        self._handles: dict[int, tuple[Any, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def add_images(self, images: Any) -> Any:
        if id(images) not in self._handles:
            self._handles[id(images)] = (images, self._model.add_images(images))  # kept alive: an id may be reused
        return self._handles[id(images)][1]

    def with_template(self, template: str) -> Remembering:
        other = Remembering(self._model.with_template(template))
        other._handles = self._handles
        return other

    def under(self, adapter: Adapter) -> AdaptedBox:
        """Under an adapter it remembers the same images."""
        return adapter.applied_to(cast(BlackBox, self))


class Case:
    """The adapter under audit, and the images that it is tried on.

    Attributes:
        adapter: under audit.
        plain_box: the base under the adapter's template; it remembers what it encoded.
        adapted_box: the same under the adapter. Contexts that it is asked about follow the adapter's own.
        images, handle: the images, and the same encoded.
        labels: `(N,)`.
        names: `C` class names.
        forget: `(C,)` bool.
        plain, adapted: `(N, C)` log-scores without and with the adapter.
        known: how many forget classes the plain model knows.

    Raises:
        ValueError: if the images are not of the adapter's classes, there are none to forget or none to retain, or
            the plain model knows no forget class.
        WrongBaseError: if `model` is not the adapter's base.
    """

    def __init__(self, model: BlackBox, adapter: ForgetAdapter, images: LabeledImages) -> None:
        adapter.check_base(model)
        check_classes(adapter, images)
        plain_box = Remembering(model).with_template(adapter.config.template)
        self.adapter = adapter
        self.plain_box, self.adapted_box = (cast(BlackBox, box) for box in (plain_box, plain_box.under(adapter)))
        self.images, self.names = images, images.names
        self.labels = torch.tensor(images.labels)
        self.forget = torch.tensor([name in set(adapter.config.forget) for name in images.names])
        of_forget = self.forget[self.labels]
        if not of_forget.any() or of_forget.all():
            missing = "retain" if of_forget.any() else "forget"
            raise InputError(f"an audit needs images of forget and of retain classes; none is of a {missing} class")
        self.handle = self.plain_box.add_images(images)
        self.plain, self.adapted = self.both()
        self.known = sum(item.plain >= KNOWN for item in self.compare("", self.plain, self.adapted))
        if not self.known:
            raise InputError(
                "nothing to audit: on these images the model without the adapter already names less than half of "
                "every forget class right; use images of things that it knows"
            )

    @property
    def forget_names(self) -> tuple[str, ...]:
        return tuple(name for name, gone in zip(self.names, self.forget.tolist(), strict=True) if gone)

    @property
    def retain_names(self) -> tuple[str, ...]:
        return tuple(name for name, gone in zip(self.names, self.forget.tolist(), strict=True) if not gone)

    @property
    def takes_contexts(self) -> bool:
        """Whether the model can be given token embeddings; an endpoint that answers to text can't."""
        return self.plain_box.dim > 0

    @property
    def shows_features(self) -> bool:
        """Whether the model gives text features, not only scores."""
        return hasattr(self.plain_box, "compare")

    def scores(
        self,
        box: BlackBox,
        names: Sequence[str] | None = None,
        handle: Any = None,
        template: str | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Log-scores `(N, C)` of the plain or the adapted box; of other names or images if given.

        Args:
            template: instead of the adapter's.
            context: `(m, dim)`, before the names; behind the adapter's own context, if the box has one.

        Raises:
            PromptTooLongError: if a prompt does not fit the text tower.
        """
        box = box if template is None else box.with_template(template)
        context = torch.zeros(0, box.dim) if context is None else context
        handle = self.handle if handle is None else handle
        return box.log_scores(context[None], handle, self.names if names is None else names)[0].cpu()

    def both(
        self, names: Sequence[str] | None = None, handle: Any = None, template: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """`scores` without and with the adapter.

        Raises:
            PromptTooLongError: if a prompt does not fit the text tower.
        """
        plain, adapted = (self.scores(box, names, handle, template) for box in (self.plain_box, self.adapted_box))
        return plain, adapted

    def compare(
        self,
        what: str | Mapping[str, str],
        plain: Tensor,
        adapted: Tensor,
        columns: Mapping[str, int] | None = None,
        labels: Tensor | None = None,
    ) -> list[Try]:
        """A `Try` for every forget class with images.

        Args:
            what: what was tried, or that per class; then only on those classes.
            plain, adapted: `(N, C')` scores without and with the adapter under attack.
            columns: class name -> the column that is right for it, if not its own.
            labels: `(N,)` indices into `names`, if the images are others.
        """
        labels = self.labels if labels is None else labels
        found = []
        for label in self.forget.nonzero().flatten().tolist():
            name, own = self.names[label], labels == label
            if not own.any() or (not isinstance(what, str) and name not in what):
                continue
            column = label if columns is None else columns[name]
            before, after = ((x[own].argmax(-1) == column).float().mean().item() for x in (plain, adapted))
            found.append(Try(what if isinstance(what, str) else what[name], name, int(own.sum()), before, after))
        return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def check_classes(adapter: ForgetAdapter, images: LabeledImages) -> None:
    """Raises: ValueError: if the images' classes are not the adapter's.

    An edit keeps whatever it is not asked to forget, so its images may be of any other classes as well.
    """
    forget, retain, theirs = adapter.config.forget, adapter.config.retain, images.names
    if adapter.kind == "edit":
        if missing := [name for name in forget if name not in theirs]:
            close = like(missing[0], theirs)
            raise InputError(
                f"the adapter forgets {brief(missing[0])}, which is no class of the images{close} (--names)"
            )
    elif told := difference([*forget, *retain], theirs):
        raise InputError(f"images and adapter must have the same classes; of the images' {told} (--names)")
