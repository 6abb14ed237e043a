"""A model under an adapter, which the rest of the code uses like any other black box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hf_unlearn.models.black_box import BlackBox, as_text_encoder, check_adapter
from hf_unlearn.models.text_edit import TextEdit, digest


class Adapter(Protocol):
    """Anything that can be applied to a black box; `ForgetAdapter` is one."""

    def applied_to(self, model: BlackBox) -> AdaptedBox:
        """The model under this adapter.

        Raises:
            WrongBaseError: if the adapter was made for another base.
        """
        ...


class AdaptedBox:
    """A black box with a context before every name, an edit behind the text tower, or both.

    Contexts that a caller gives follow the adapter's, so a context can be trained on top of an adapter. Images,
    template, ledger and fingerprint are the base's. Adapters stack: `model.under(one).under(other)`.

    Args:
        model: the base; an edit needs a `TextEncoder`.
        context: `(m, dim)`.
        edit: of the text features.

    Raises:
        InputError: if there is an edit and the base answers with scores only; a ValueError.
    """

    def __init__(self, model: BlackBox, context: Tensor | None = None, edit: TextEdit | None = None) -> None:
        self._model = model if edit is None else as_text_encoder(model)
        self._context, self._edit = context, edit
        self.max_n_ctx: int = max(0, model.max_n_ctx - (0 if context is None else len(context)))  # what it leaves

    @property
    def adapted_by(self) -> list[str]:
        """Digests of the contexts and edits over the base, the innermost first."""
        digests = [digest(weights) for weights in (self._context, self._edit) if weights is not None]
        return [*getattr(self._model, "adapted_by", ()), *digests]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_model":
            raise AttributeError(name)
        return getattr(self._model, name)

    def log_scores(self, contexts: Tensor, images: Any, names: Sequence[str]) -> Tensor:
        """See `BlackBox`; a context of no tokens, `(1, 0, dim)`, is the model under its adapter."""
        if self._edit is None:
            return self._model.log_scores(self._prepend_context(contexts), images, names)
        encoder, features = as_text_encoder(self._model), self.text_features(contexts, names)
        if (compare_edited := getattr(encoder, "compare_edited", None)) is not None:  # of a box that gives scores only
            scores: Tensor = compare_edited(names, features, images)
            return scores
        return encoder.compare(features, images)

    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """`(P, m, dim)`, `C` names -> unit text features `(P, C, width)`, edited.

        Raises:
            InputError: if the base answers with scores only; a ValueError.
        """
        features = as_text_encoder(self._model).text_features(self._prepend_context(contexts), names)
        return features if self._edit is None else self._edit(features)

    def with_template(self, template: str) -> AdaptedBox:
        """The same model under the same adapter with another template."""
        return AdaptedBox(self._model.with_template(template), self._context, self._edit)

    def under(self, adapter: Adapter) -> AdaptedBox:
        """This model under one more adapter.

        Raises:
            WrongBaseError: if the adapter was made for another base.
        """
        check_adapter(adapter)
        return adapter.applied_to(self)

    def _prepend_context(self, contexts: Tensor) -> Tensor:
        if self._context is None:
            return contexts
        return torch.cat([self._context.to(contexts).expand(len(contexts), -1, -1), contexts], 1)
