"""Scores of a population of contexts on training and validation images, computed by all processes together.

Micro-batches don't depend on the number of processes, so neither do the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_unlearn.data.synonyms import namings
from hf_unlearn.models.black_box import PROMPTS_AT_ONCE, SCORES_AT_ONCE, BlackBox
from hf_unlearn.models.box_answers import check_log_softmax, read_scores
from hf_unlearn.models.cuda_graphs import Replayed
from hf_unlearn.optimizers.methods import Recipe, build_objective
from hf_unlearn.training.forget_task import ForgetTask
from hf_unlearn.training.training_data import TrainingData
from hf_unlearn.training.workers import Workers

REPLAYED = 2**24  # log-scores of a batch whose figures are worth a CUDA graph; the graph copies them


@dataclass(frozen=True)
class PopulationScores:
    """Losses, accuracies and log-scores of `P` contexts.

    Attributes:
        losses: `(P,)`, the objective on the training images.
        err_for, acc_mem: `(P,)`, accuracies on the validation images.
        validation_losses: `(P,)`, the objective on the validation images.
        log_scores: `(P, n, C)` on the `n` training images that were requested.
    """

    losses: Tensor
    err_for: Tensor
    acc_mem: Tensor
    validation_losses: Tensor
    log_scores: Tensor


class Scorer:
    """Scores contexts of one task on one set of images.

    Attributes:
        objective: the loss on the training images.
        names: what the black box is asked for: the classes, then the synonyms.

    Raises:
        ValueError: if the images are all of classes to forget, or all of classes to keep.
    """

    def __init__(self, workers: Workers, model: BlackBox, data: TrainingData, plan: Recipe, task: ForgetTask) -> None:
        self._workers, self._model, self._images = workers, model, data.handle
        self.names = task.asked_names
        is_forget = torch.tensor([name in task.forget for name in data.names])
        columns = namings(data.names, task.synonyms)
        device = getattr(model, "device", torch.device("cpu"))  # a remote box answers with numbers
        self.objective = build_objective(plan, data.train, is_forget, columns).to(device)
        self._validation = build_objective(plan, data.validation, is_forget, columns).to(device)
        self._figures = Replayed(self._compute_figures)

    def score(self, contexts: Tensor, images: Tensor, *, check: bool = False) -> PopulationScores:
        """Scores `(P, m, dim)` contexts, one query each.

        Args:
            images: `(n,)`, indices of the training images whose log-scores are returned.
            check: whether the answers must be log-softmaxes; a GPU waits for that.

        Raises:
            InputError: if they are not, or have another shape; a ValueError.
            BudgetSpentError: if the black box answers no more queries.
            ProcessLostError: if another process ended.
        """
        width = 4 + len(images) * len(self.names)
        parts = self._workers.divide(len(contexts), self._batch_size(len(contexts)))
        mine = [self._score_batch(contexts[part], images, check) for part in parts[self._workers.rank]]
        rows = torch.cat(mine) if mine else torch.empty(0, width, device=self._workers.device)
        rows = self._workers.gather_rows(rows, parts)
        losses, errors, kept, validation_losses = rows[:, :4].unbind(1)
        log_scores = rows[:, 4:].unflatten(1, (len(images), len(self.names)))
        return PopulationScores(losses, errors, kept, validation_losses, log_scores)

    def _score_batch(self, contexts: Tensor, images: Tensor, check: bool) -> Tensor:
        """`(p, 4 + n * C)`: a row per context, as `score` takes them apart."""
        answer = self._model.log_scores(contexts, self._images, self.names)
        scores = read_scores(answer, (len(contexts), len(self._images), len(self.names)), self._model.model_id)
        if check:
            check_log_softmax(scores, self._model.model_id)
        self.objective, self._validation = self.objective.to(scores.device), self._validation.to(scores.device)
        with torch.no_grad():
            figures = self._figures(scores) if scores.numel() <= REPLAYED else self._compute_figures(scores)
        train = scores[:, : len(self.objective.labels)]
        return torch.cat([figures, train[:, images].flatten(1)], 1)

    def _compute_figures(self, scores: Tensor) -> Tensor:
        """`(p, N, C)` log-scores -> `(p, 4)`; hundreds of small steps, which a GPU replays as one graph."""
        trained = len(self.objective.labels)
        train, held_out = scores[:, :trained], scores[:, trained:]
        by_class = held_out[..., : len(self._validation.forget)]  # without the synonyms
        err_for, acc_mem = self._validation.hits(by_class)
        return torch.stack([self.objective(train), err_for, acc_mem, self._validation(held_out)], 1)

    def _batch_size(self, population: int) -> int:
        classes = len(self.names)
        most = max(1, getattr(self._model, "scores_at_once", SCORES_AT_ONCE) // (len(self._images) * classes))
        prompts = getattr(self._model, "prompts_at_once", PROMPTS_AT_ONCE)
        return min(most, micro_batch(population, classes, self._model.calls, prompts))


def micro_batch(population: int, classes: int, calls: int, prompts: int = PROMPTS_AT_ONCE) -> int:
    """Candidates per call of a black box: the same however many processes there are, so numbers are too."""
    return max(-(-population // calls), -(-prompts // classes))
