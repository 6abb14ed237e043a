"""The endpoints of the remote black box, for `hf_unlearn.SpaceBlackBox`; of no use in a browser."""

from __future__ import annotations

from typing import Any

import gradio as gr

from space.services.scoring_service import ScoringService
from space.ui.page import in_words, session_of


def offer_remote_box(scoring: ScoringService) -> None:
    """Makes the endpoints, which no agent and no page of documentation lists."""

    @in_words
    def describe(base: str, template: str, request: gr.Request) -> dict[str, Any]:
        """A base model as a black box: width, token statistics, fingerprint, bounds, queries left."""
        return scoring.describe(base, template, session_of(request))

    @in_words
    def images(base: str, handle: str, pictures: list[str], request: gr.Request) -> dict[str, Any]:
        """Encodes images (PNG in base64) once; the handle returned refers to them in this session."""
        return scoring.add_images(base, handle, pictures, session_of(request))

    @in_words
    def score(
        base: str, template: str, handle: str, names: list[str], contexts: str, shape: list[int], request: gr.Request
    ) -> dict[str, Any]:
        """Log-scores (float32 in base64) of the handle's images under contexts, candidates × tokens × width."""
        return scoring.score(base, template, handle, names, contexts, shape, session_of(request))

    for function in (describe, images, score):
        gr.api(
            function,
            api_name=function.__name__,
            api_visibility="undocumented",
            concurrency_limit=2,
            concurrency_id="model",
        )
