"""Forgotten names projected out of a text projection, in closed form.

Least squares on the text features `x` (unit length) of plain prompts, without the context:

    P = argmin  Σ over forgotten names |P x − μ|²  +  Σ over what is kept |P x − x|²  +  ridge·|P − I|²

with `μ` the mean of the kept names. It is the closed-form edit of Gandikota et al. (Unified Concept Editing,
arXiv 2308.14761), applied behind the projection: `P W` in place of `W`. Without the second sum and with `μ = 0` it is
the projection onto the null space of the forgotten names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_unlearn.models.clip import ClipBlackBox

TEMPLATES = ("{}", "a photo of a {}", "This is a photo of {}.", "an image of {}", "a {}")
RIDGE = 0.01


def compute_hardening(model: ClipBlackBox, context: Tensor, forget: Sequence[str], retain: Sequence[str]) -> Tensor:
    """The matrix to put behind `model`'s text projection, `(width, width)` float32.

    The retain names are kept: plain in five templates, and under the context `(m, dim)` in the model's template.
    """
    plain = torch.zeros(1, 0, model.dim)
    forgotten, kept = (
        torch.cat([model.with_template(template).text_features(plain, names)[0].cpu() for template in TEMPLATES])
        for names in (forget, retain)
    )
    target = kept.mean(0)
    kept = torch.cat([kept, model.text_features(context[None], retain)[0].cpu()])
    return edit(torch.cat([forgotten, kept]), torch.cat([target.expand_as(forgotten), kept]), RIDGE)


def edit(features: Tensor, wanted: Tensor, ridge: float) -> Tensor:
    """The `P` nearest to the identity with `features @ P.T` near `wanted`, both `(n, width)`, in float64."""
    features, wanted = features.double(), wanted.double()
    identity = torch.eye(features.shape[1], dtype=torch.float64)
    gram = features.T @ features + ridge * identity
    change: Tensor = torch.linalg.solve(gram, features.T @ (wanted - features)).T
    return (identity + change).float()
