"""Asks a black box that gives scores only, and removes from its answers what its softmax put in.

A row of log-scores holds a number that depends on every name of the query. It is the same for all names of a row, so a
difference to other names of the same query does not hold it. That is why a few anchor words, the pivots, are
part of every query: however many names a box takes at once, the answers fit together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox, batches
from hf_unlearn.models.box_answers import check_log_softmax, read_scores

PIVOTS = 32  # anchor words in every query; their mean also evens out the rounding of a box


class CentredScores:
    """Log-scores less each image's mean over all anchor words.

    Args:
        box: gives scores; its template is `{}`.
        anchors: texts.
        names_at_once: texts in a query at most, the pivots among them.
    """

    def __init__(self, box: BlackBox, anchors: Sequence[str], names_at_once: int) -> None:
        self.box, self.anchors, self._at_once = box, list(anchors), names_at_once
        self.pivots = self.anchors[:: max(1, -(-len(self.anchors) // PIVOTS))]

    def of_anchors(self, images: Any) -> Tensor:
        """Scores of the anchors on `N` images, `(N, m)` float32; one query if the box takes as many names."""
        others = [text for text in self.anchors if text not in self.pivots]
        columns = dict(self._columns(images, others))
        table = torch.stack([columns[text] for text in self.anchors], 1)
        return (table - table.mean(1, keepdim=True)).float()

    def of_texts(self, images: Any, texts: Sequence[str], of_anchors: Tensor) -> dict[str, Tensor]:
        """Scores of texts that are no anchors on `N` images, text -> `(N,)` float32.

        Args:
            of_anchors: `(N, m)`, the anchors' scores on these images.
        """
        level = of_anchors.double()[:, [self.anchors.index(text) for text in self.pivots]].mean(1)
        columns = dict(self._columns(images, texts))
        return {text: (columns[text] + level).float() for text in texts}

    def _columns(self, images: Any, texts: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """The pivots and texts, each with its scores `(N,)` less the mean over the pivots, in float64."""
        count = len(self.pivots)
        for part in list(batches(texts, self._at_once - count)) or [[]]:
            asked = [*self.pivots, *part]
            scores = ask(self.box, images, asked)
            scores = scores - scores[:, :count].mean(1, keepdim=True)
            yield from zip(asked, scores.T, strict=True)


def ask(box: BlackBox, images: Any, texts: Sequence[str]) -> Tensor:
    """Log-scores of `C` texts on `N` images, `(N, C)` float64 on the CPU; one query.

    Raises:
        InputError: if the answer has another shape, holds infinity or NaN, or is no log-softmax, such as probabilities.
    """
    answer = box.log_scores(torch.zeros(1, 0, box.dim), images, list(texts))
    read = read_scores(answer, (1, len(images), len(texts)), box.model_id)
    scores = answer[0].detach().double().cpu()
    if not scores.isfinite().all():
        raise InputError(
            f"{box.model_id} answered with scores that are not finite; a probability that was rounded to 0 has no "
            "logarithm: return log-scores, or probabilities before they are rounded"
        )
    check_log_softmax(read, box.model_id)
    return scores
