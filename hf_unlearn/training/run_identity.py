"""What identifies a run, so that a checkpoint resumes only that run and a search continues only on its data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.training.forget_task import ForgetTask
from hf_unlearn.training.resolved_method import ResolvedMethod
from hf_unlearn.training.training_data import TrainingData


@dataclass(frozen=True)
class RunIdentity:
    """All that decides a run's result, but for its budget and patience, which may change between two calls.

    Attributes:
        scored_with: what log-scores depend on: base model, template, classes and digests of the data.
        asked_names: the classes, then the synonyms.
        method: recipes before and after `strength`, and the context to start from.
        forget: sorted names to forget.
        synonyms: name to forget -> its other names.
        seed: of the draw, the projection and the optimizer.
        continues: whether the run continues the search of an earlier one.
    """

    scored_with: dict[str, Any]
    asked_names: tuple[str, ...]
    method: ResolvedMethod
    forget: list[str]
    synonyms: dict[str, list[str]]
    seed: int
    continues: bool = False

    @classmethod
    def of(
        cls, model: BlackBox, task: ForgetTask, method: ResolvedMethod, data: TrainingData, seed: int
    ) -> RunIdentity:
        """The identity of a run that does not continue another one's search."""
        base = {"base model": model.fingerprint(), "template": model.template, "classes": list(data.names)}
        return cls({**base, **data.digests}, task.asked_names, method, sorted(task.forget), task.synonyms, seed)

    def has_same_search(self, other: RunIdentity) -> bool:
        """Whether the search of one run may continue in the other: only names to forget and `strength` differ."""
        return self._of_search() == other._of_search()

    def _of_search(self) -> tuple[Any, ...]:
        return self.scored_with, self.asked_names, self.method.base_recipe, self.seed

    def as_json(self) -> dict[str, Any]:
        """The identity as a checkpoint stores it, name -> value; the names are those of its error message."""
        return {
            **self.scored_with,
            "classes to forget": self.forget,
            "method": json.loads(json.dumps(asdict(self.method.recipe))),
            "seed": self.seed,
            "context to start from": self.method.start and self.method.start.config.weights_sha256,
            **({"synonyms": self.synonyms} if self.synonyms else {}),
            **({"search that it continues": True} if self.continues else {}),
        }
