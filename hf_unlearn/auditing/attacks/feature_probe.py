"""Attack by a probe on image features, which no adapter touches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from hf_unlearn.auditing.attack_results import MODEL, Attack, NotRun
from hf_unlearn.auditing.attacks.relearning import NO_PICTURES
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.evaluation.metrics import recoverability
from hf_unlearn.models.black_box import ImageSet

NAME = "probe on image features"
QUESTION = "Do the image features still show the class? (As before: no adapter touches them, context or edit.)"


def plan_feature_probe(case: Case, given: Inputs) -> Iterator[Step[Attack] | NotRun]:
    """One step; it needs the attacker's pictures."""
    if (pictures := given.validation) is None:
        yield NotRun(NAME, NO_PICTURES)
    else:
        yield Step("probes", 10, lambda _: probe_features(case, pictures))


def probe_features(case: Case, pictures: LabeledImages) -> Attack:
    """A linear probe on the features of forget images, fitted on the attacker's pictures.

    A black box that gives no image features has nothing to probe; the details say so.
    """
    fit = case.encode(pictures)
    if not (isinstance(fit, ImageSet) and isinstance(case.handle, ImageSet)):
        used = "features that this black box does not give"
        return Attack(NAME, MODEL, QUESTION, (), {"recovered": None, "used": used})
    labels = torch.tensor(pictures.labels)
    rows, tested = case.forget[labels], case.forget[case.labels]
    share = recoverability(
        fit.features.cpu()[rows], labels[rows], case.handle.features.cpu()[tested], case.labels[tested]
    )
    return Attack(NAME, MODEL, QUESTION, (), {"recovered": None if math.isnan(share) else share, "used": "features"})
