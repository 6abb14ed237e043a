"""A box that gives scores and nothing else, as a Space does."""

from collections.abc import Callable

import torch


class ScoresOnly:
    """A black box without text features.

    Args:
        box: what it asks.
        answer: what becomes of the log-scores, such as `torch.exp` for a box that answers with probabilities.
        most: names that it takes at once.
    """

    def __init__(self, box, answer: Callable[[torch.Tensor], torch.Tensor] = lambda scores: scores, most: int = 10**6):
        self._box, self._answer, self._most = box, answer, most
        for name in ("model_id", "revision", "template", "dim", "max_n_ctx", "token_mean", "token_std", "calls"):
            setattr(self, name, getattr(box, name))
        self.ledger = box.ledger

    def add_images(self, images):
        return self._box.add_images(images)

    def log_scores(self, contexts, images, names):
        assert len(names) <= self._most
        return self._answer(self._box.log_scores(contexts, images, names))

    def with_template(self, template):
        return ScoresOnly(self._box.with_template(template), self._answer, self._most)

    def fingerprint(self):
        return self._box.fingerprint()
