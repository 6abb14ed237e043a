"""What every attack works on: a model with and without the adapter, images encoded once, shares named right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.auditing.attack_results import KNOWN, Try
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.evaluation.class_checks import check_classes
from hf_unlearn.evaluation.score_memory import ScoreMemory
from hf_unlearn.models.black_box import BlackBox, TextEncoder, is_text_encoder
from hf_unlearn.models.box_answers import read_scores


class Case:
    """The adapter under audit, and the images that it is tried on.

    Attributes:
        adapter: under audit.
        memory: of images encoded and scores asked, for all attacks together.
        plain_box: the base under the adapter's template.
        adapted_box: the same under the adapter. Contexts that it is asked about follow the adapter's context.
        images, handle: the images, and the same encoded.
        labels: `(N,)`.
        names: `C` class names.
        forget: `(C,)` bool.
        plain, adapted: `(N, C)` log-scores without and with the adapter.
        known: how many forget classes the plain model knows.

    Raises:
        InputError: if the images are not of the adapter's classes, or lack forget or retain classes. Also if the
            plain model knows no forget class.
        WrongBaseError: if `model` is not the adapter's base.
    """

    def __init__(self, model: BlackBox, adapter: ForgetAdapter, images: LabeledImages) -> None:
        adapter.check_base(model)
        check_classes(adapter, images.names)
        self.adapter, self.images, self.names = adapter, images, images.names
        self.plain_box: BlackBox = model.with_template(adapter.config.template)
        self.adapted_box: BlackBox = adapter.applied_to(self.plain_box)
        self.memory = ScoreMemory(self.plain_box)
        self.labels = torch.tensor(images.labels)
        self.forget = torch.tensor([name in set(adapter.config.forget) for name in images.names])
        of_forget = self.forget[self.labels]
        if not of_forget.any() or of_forget.all():
            missing = "retain" if of_forget.any() else "forget"
            raise InputError(f"an audit needs images of forget and of retain classes; none is of a {missing} class")
        self.handle = self.encode(images)
        self.plain, self.adapted = self.score_both()
        self.known = sum(item.plain >= KNOWN for item in self.compare("", self.plain, self.adapted))
        if not self.known:
            raise InputError(
                "nothing to audit: the model without the adapter names less than half of the images of every forget "
                "class right; use images of things that it knows"
            )

    @property
    def forget_names(self) -> tuple[str, ...]:
        """The forget classes, in the order of the images' classes."""
        return tuple(name for name, hidden in zip(self.names, self.forget.tolist(), strict=True) if hidden)

    @property
    def retain_names(self) -> tuple[str, ...]:
        """All other classes of the images."""
        return tuple(name for name, hidden in zip(self.names, self.forget.tolist(), strict=True) if not hidden)

    @property
    def takes_contexts(self) -> bool:
        """Whether the model can be given token embeddings; an endpoint that answers to text can't."""
        return self.plain_box.dim > 0

    @property
    def text_encoders(self) -> tuple[TextEncoder, TextEncoder] | None:
        """The model without and with the adapter if it gives text features; None if it answers with scores only."""
        plain, adapted = self.plain_box, self.adapted_box
        return (plain, adapted) if is_text_encoder(plain) and is_text_encoder(adapted) else None

    def encode(self, images: Iterable[Image.Image]) -> Any:
        """The model's handle of `images`, which are encoded once."""
        return self.memory.encode(images)

    def score(
        self,
        box: BlackBox,
        names: Sequence[str] | None = None,
        handle: Any = None,
        template: str | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Log-scores `(N, C)` of the plain or the adapted box, asked once unless there is a context.

        Args:
            names: instead of the class names.
            handle: instead of the images'.
            template: instead of the adapter's.
            context: `(m, dim)`, before the names; behind the adapter's context, if the box has one.

        Raises:
            PromptTooLongError: if a prompt does not fit the text tower.
        """
        box = box if template is None else box.with_template(template)
        names = self.names if names is None else names
        handle = self.handle if handle is None else handle
        if context is None:
            return self.memory.score(box, handle, names)
        answer = box.log_scores(context[None], handle, names)
        return read_scores(answer, (1, len(handle), len(names)), box.model_id)[0].cpu()

    def score_both(
        self, names: Sequence[str] | None = None, handle: Any = None, template: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-scores without and with the adapter.

        Raises:
            PromptTooLongError: if a prompt does not fit the text tower.
        """
        plain = self.score(self.plain_box, names, handle, template)
        return plain, self.score(self.adapted_box, names, handle, template)

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
            columns: class name -> the column that is right for it, if not the class's.
            labels: `(N,)` indices into `names`, if the images are others.
        """
        labels = self.labels if labels is None else labels
        tries = []
        for label in self.forget.nonzero().flatten().tolist():
            name, members = self.names[label], labels == label
            if not members.any() or (not isinstance(what, str) and name not in what):
                continue
            column = label if columns is None else columns[name]
            before, after = ((x[members].argmax(-1) == column).float().mean().item() for x in (plain, adapted))
            tries.append(Try(what if isinstance(what, str) else what[name], name, int(members.sum()), before, after))
        return tries
