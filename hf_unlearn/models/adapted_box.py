"""A model under an adapter: to the rest of the code one black box like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.text_edit import TextEdit, digest


class Adapter(Protocol):
    """Whatever can be put over a black box; `ForgetAdapter` is one."""

    def applied_to(self, model: BlackBox) -> AdaptedBox:
        """Raises: WrongBaseError: if it was made for another base."""
        ...


class AdaptedBox:
    """A black box with a context before every name, an edit behind the text tower, or both.

    Contexts it is asked about follow its own, so a context can be learned on top of an adapter. Everything else
    (images, template, ledger, fingerprint) is the base's. Adapters stack: `model.under(one).under(other)`.

    Args:
        model: the base; for an edit one that gives text features (`text_features`, `compare`).
        context: `(m, dim)`.
        edit: of the text features.

    Raises:
        ValueError: if there is an edit and the base answers with scores only.
    """

    def __init__(self, model: BlackBox, context: Tensor | None = None, edit: TextEdit | None = None) -> None:
        if edit is not None and not hasattr(model, "text_features"):
            raise InputError(
                f"{model.model_id} answers with scores only, and an edit needs its text features; "
                "use a context adapter here, or load the model itself"
            )
        self._model: Any = model
        self._context, self._edit = context, edit
        self.max_n_ctx: int = model.max_n_ctx - (0 if context is None else len(context))  # what its own leaves

    @property
    def adapted_by(self) -> list[str]:
        """Digests of the contexts and edits over the base, the innermost first."""
        own = [digest(weights) for weights in (self._context, self._edit) if weights is not None]
        return [*getattr(self._model, "adapted_by", ()), *own]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_model":
            raise AttributeError(name)
        return getattr(self._model, name)

    def log_scores(self, contexts: Tensor, images: Any, names: Sequence[str]) -> Tensor:
        """See `BlackBox`; a context of no tokens, `(1, 0, dim)`, is the model under its adapter."""
        if self._edit is None:
            return self._model.log_scores(self._behind_own(contexts), images, names)
        return self._model.compare(self.text_features(contexts, names), images)

    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """`(P, m, dim)` -> unit text features `(P, C, width)`, edited."""
        features = self._model.text_features(self._behind_own(contexts), names)
        return features if self._edit is None else self._edit(features)

    def with_template(self, template: str) -> AdaptedBox:
        """The same model under the same adapter with another template."""
        return AdaptedBox(self._model.with_template(template), self._context, self._edit)

    def under(self, adapter: Adapter) -> AdaptedBox:
        """This, under one more adapter. Raises: WrongBaseError: if it was made for another base."""
        return adapter.applied_to(self)

    def _behind_own(self, contexts: Tensor) -> Tensor:
        if self._context is None:
            return contexts
        return torch.cat([self._context.to(contexts).expand(len(contexts), -1, -1), contexts], 1)
