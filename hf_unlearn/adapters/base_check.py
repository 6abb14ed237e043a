"""Whether a model is the base that an adapter was made for, and what to do where it is not."""

from __future__ import annotations

import torch

from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.errors import MissingBaseError, WrongBaseError
from hf_unlearn.models.black_box import BlackBox, check_box
from hf_unlearn.text import brief

SAME_BASE = 0.99  # least cosine between the fingerprints of one base at two precisions
OF_SCORES = (
    "this adapter was made from scores; put it over a box that gives scores of {}: "
    "ReferenceBlackBox(box).under(adapter), with the images and words that it was made with, if any were given"
)


def check_base(config: AdapterConfig, model: BlackBox) -> None:
    """Raises: WrongBaseError: if `model` is not the base that the adapter with this config was made for."""
    check_box(model)
    mine, theirs = torch.tensor(config.base_fingerprint), torch.tensor(model.fingerprint())
    if config.kind == "context":
        same = model.dim == config.dim
    else:
        same = getattr(model, "width", config.width) == config.width
    same = same and mine.shape == theirs.shape
    if not (same and torch.cosine_similarity(mine, theirs).min() >= SAME_BASE):  # NaN is refused too
        if config.method == SCORE_EDIT:
            raise WrongBaseError(OF_SCORES.format(brief(config.base_model)))
        other = "another model" if model.model_id != config.base_model else "another model under that name"
        if getattr(model, "edit_method", None) == SCORE_EDIT:
            other = "a box with scores only, whose edits are others"
        raise WrongBaseError(
            f"this adapter was made for {brief(config.base_model)}, and {brief(model.model_id)} is {other}; "
            "load the adapter's own base, or train an adapter for this one"
        )


def check_has_base(config: AdapterConfig, here: bool) -> None:
    """Checks that the base can be loaded from what the config says.

    Args:
        here: whether the base is embedded, a folder on this machine, or has a revision on the Hub.

    Raises:
        WrongBaseError: if the adapter was made from scores, which no checkpoint gives.
        MissingBaseError: if the config names a folder that is not here.
    """
    if config.method == SCORE_EDIT:
        raise WrongBaseError(OF_SCORES.format(brief(config.base_model)))
    if not here:
        raise MissingBaseError(
            f"the base {brief(config.base_model)} was a local folder when this adapter was made, or an endpoint. For "
            "an endpoint write EmbeddingBlackBox(...).under(adapter), or adapter.edit_vectors(array). For a folder "
            "say where it is now: load_base(base=FOLDER) or export(..., base=FOLDER)"
        )
