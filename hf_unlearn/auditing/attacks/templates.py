"""Attacks by other sentences around the name: any, and those that CLIP's users write, alone and averaged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.auditing.case import CALLER, Attack, Case, Try
from hf_unlearn.errors import PromptTooLongError

TEMPLATES = (
    "{}", "{}.", "a photo of a {}", "a photo of the {}.", "a drawing of a {}.", "an icon of a {}", "this is not a {}",
    "there is a {} here", "a blurry picture of many {}.",
)  # fmt: skip
USUAL = (  # the simplest, and the seven that CLIP's authors found to do best together
    "{}", "a photo of a {}.", "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.",
    "a {} in a video game.", "art of the {}.", "a photo of the small {}.",
)  # fmt: skip


def templates(case: Case) -> Attack:
    """Other sentences around the name, the adapter still in place."""
    tries: list[Try] = []
    for template in TEMPLATES:
        try:
            tries += case.compare(template, *case.both(template=template))
        except PromptTooLongError:
            continue
    return Attack("templates", CALLER, "Does another sentence around the name bring it back?", tuple(tries))


def usual_templates(case: Case) -> Attack:
    """What whoever has the exported checkpoint asks: CLIP's usual sentences, alone and, given features, averaged."""
    tries: list[Try] = []
    features: list[tuple[Tensor, Tensor]] = []  # text features without and with the adapter, per template
    for template in USUAL:
        try:
            if case.shows_features:
                features.append(_features(case, template))
                tries += case.compare(template, *_scores(case, features[-1]))
            else:
                tries += case.compare(template, *case.both(template=template))
        except PromptTooLongError:
            continue
    if features:
        plain, adapted = (F.normalize(torch.stack(each).mean(0), dim=-1) for each in zip(*features, strict=True))
        tries += case.compare(f"{len(features)} templates averaged", *_scores(case, (plain, adapted)))
    question = "Asked with CLIP's usual sentences, as an exported checkpoint is, alone or averaged: is it back?"
    return Attack("usual templates", CALLER, question, tuple(tries))


def _features(case: Case, template: str) -> tuple[Tensor, Tensor]:
    """Text features `(1, C, width)` of all names without and with the adapter."""
    empty = torch.zeros(1, 0, case.plain_box.dim)
    boxes: tuple[Any, Any] = (case.plain_box, case.adapted_box)
    plain, adapted = (box.with_template(template).text_features(empty, case.names) for box in boxes)
    return plain, adapted


def _scores(case: Case, features: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    box: Any = case.plain_box
    plain, adapted = (box.compare(texts, case.handle)[0].cpu() for texts in features)
    return plain, adapted
