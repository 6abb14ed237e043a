"""Attack by the sentences that CLIP's users write, alone and averaged."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.auditing.attack_results import CALLER, Attack, Try
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step
from hf_unlearn.errors import PromptTooLongError
from hf_unlearn.models.black_box import TextEncoder

TEMPLATES = (  # the simplest, and the seven that did best together (Radford et al., 2021, notebook on prompts)
    "{}", "a photo of a {}.", "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.",
    "a {} in a video game.", "art of the {}.", "a photo of the small {}.",
)  # fmt: skip


def plan_usual_templates(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step, for every adapter."""
    yield Step("templates", 20, lambda _: try_usual_templates(case))


def try_usual_templates(case: Case) -> Attack:
    """CLIP's usual sentences, as users of an exported checkpoint write them.

    They are tried alone and, if the model gives text features, averaged as features. A sentence that is too long is
    not tried.
    """
    tries: list[Try] = []
    features: list[tuple[Tensor, Tensor]] = []  # text features without and with the adapter, per template
    encoders = case.text_encoders
    for template in TEMPLATES:
        try:
            if encoders is None:
                scores = case.score_both(template=template)
            else:
                features.append(_find_features(case, encoders, template))
                scores = _score_features(case, encoders[0], features[-1])
        except PromptTooLongError:
            continue
        tries += case.compare(template, *scores)
    if encoders is not None and features:
        plain, adapted = (F.normalize(torch.stack(each).mean(0), dim=-1) for each in zip(*features, strict=True))
        averaged = _score_features(case, encoders[0], (plain, adapted))
        tries += case.compare(f"{len(features)} templates averaged", *averaged)
    question = "Do CLIP's usual sentences, alone or averaged, bring it back? Users of an exported checkpoint ask so."
    return Attack("usual templates", CALLER, question, tuple(tries))


def _find_features(case: Case, encoders: tuple[TextEncoder, TextEncoder], template: str) -> tuple[Tensor, Tensor]:
    """Text features `(1, C, width)` of all names without and with the adapter."""
    empty = torch.zeros(1, 0, case.plain_box.dim)
    plain, adapted = (box.with_template(template).text_features(empty, case.names) for box in encoders)
    return plain, adapted


def _score_features(case: Case, encoder: TextEncoder, features: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Log-scores `(N, C)` of the case's images without and with the adapter."""
    plain, adapted = (encoder.compare(texts, case.handle)[0].cpu() for texts in features)
    return plain, adapted
