"""What a black box answers with: its shape, and whether it is the log-softmax that a search and the metrics need."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from hf_unlearn.errors import InputError

LEAST_SCORE = -20.0  # log-score of a name that a box gives the probability 0
LEAST_SUM, MOST_SUM = 0.1, 1.5  # of a row's probabilities, on average: some are cut off, all are rounded


def read_scores(answer: object, shape: Sequence[int], box: str) -> Tensor:
    """A box's log-scores in float32; a probability of 0, as rounding makes it, counts as `exp(LEAST_SCORE)`.

    A row in which no name has a probability becomes NaN.

    Args:
        answer: what the box returned.
        shape: `(P, N, C)`.
        box: its name in messages.

    Raises:
        InputError: if the answer is no tensor of that shape; a ValueError.
    """
    if not isinstance(answer, Tensor) or answer.shape != tuple(shape):
        what = type(answer).__name__
        came = f"a {what} of shape {tuple(answer.shape)}" if hasattr(answer, "shape") else f"a {what}"
        raise InputError(f"{box} answered with {came}, expected a tensor of log-scores of shape {tuple(shape)}")
    silent, scores = answer == -math.inf, answer.detach().float()
    if answer.device.type == "cpu" and not silent.any():  # a GPU would wait for the answer
        return scores
    return scores.masked_fill(silent, LEAST_SCORE).masked_fill(silent.all(-1, keepdim=True), math.nan)


def check_log_softmax(scores: Tensor, box: str) -> Tensor:
    """The log-scores `(..., C)` themselves, once their rows were found to be log-softmaxes.

    Args:
        scores: as `read_scores` returns them.
        box: its name in messages.

    Raises:
        InputError: if one is no finite number, or a row's probabilities don't add up to 1; a ValueError.
    """
    if not scores.isfinite().all():
        raise InputError(
            f"{box} answered with scores that are no numbers; expected log-scores, each row a log-softmax over the "
            "names"
        )
    total = float(scores.logsumexp(-1).exp().mean())
    if not LEAST_SUM <= total <= MOST_SUM:
        raise InputError(
            f"{box} answered with scores that are no log-softmax over the names: the probabilities of a row add up to "
            f"{total:.3g}, expected 1; return logits.log_softmax(-1), or the logarithm of probabilities"
        )
    return scores
