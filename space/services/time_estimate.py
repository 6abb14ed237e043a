"""How long a search will take, from a few queries and encodings measured now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PIL import Image

from space.inputs.run_request import NAMES, RunRequest

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox

MEASURED_QUERIES, MEASURED_IMAGES = 8, 8
IMAGES_PER_CLASS = 40
SEARCH_OVERHEAD = 1.6  # the search's arithmetic beside the queries, as measured with the embedded CLIP


def estimate_seconds(model: ClipBlackBox, request: RunRequest) -> float:
    """Seconds that the search for a context will take with this model, on this machine under its present load."""
    import torch

    names = [*request.forget, *request.keep]
    images = IMAGES_PER_CLASS * len(names) if request.source != NAMES else 0
    start = time.monotonic()
    few = model.add_images([Image.new("RGB", (64, 64))] * MEASURED_IMAGES)
    encoding = (time.monotonic() - start) / MEASURED_IMAGES
    contexts = model.token_mean.expand(MEASURED_QUERIES, 4, -1) + torch.zeros(MEASURED_QUERIES, 4, model.dim)
    start = time.monotonic()
    model.log_scores(contexts, few, names)
    query = (time.monotonic() - start) / MEASURED_QUERIES
    return images * encoding + request.budget * query * SEARCH_OVERHEAD
