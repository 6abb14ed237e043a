"""A probe on image features: what an adapter, which only touches the text side, can't hide."""

from __future__ import annotations

import torch

from hf_unlearn.auditing.case import MODEL, Attack, Case
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.evaluation.metrics import recoverability
from hf_unlearn.models.black_box import ImageSet


def feature_probe(case: Case, own: LabeledImages) -> Attack:
    """A linear probe on the image features of forget images, fitted on the attacker's; needs the model's features."""
    fit = case.plain_box.add_images(own)
    question = "Do the image features still show the class? (As before: no adapter touches them, context or edit.)"
    recovered, used = None, "features that this black box does not give"
    if isinstance(fit, ImageSet) and isinstance(case.handle, ImageSet):
        used = "features"
        labels = torch.tensor(own.labels)
        rows, tested = case.forget[labels], case.forget[case.labels]
        value = recoverability(
            fit.features.cpu()[rows], labels[rows], case.handle.features.cpu()[tested], case.labels[tested]
        )
        recovered = value if value == value else None
    return Attack("probe on image features", MODEL, question, (), {"recovered": recovered, "used": used})
