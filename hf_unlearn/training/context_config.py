"""The config of a learned context: what it is for, how it was trained, what it cost."""

from __future__ import annotations

from dataclasses import asdict

from hf_unlearn.adapters.adapter import base_name
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.text_edit import digest
from hf_unlearn.training.forget_task import ForgetTask, Settings
from hf_unlearn.training.resolved_method import precision_of
from hf_unlearn.training.result import validation_of
from hf_unlearn.training.run import Run
from hf_unlearn.training.training_data import TrainingData


def write_config(model: BlackBox, task: ForgetTask, settings: Settings, data: TrainingData, run: Run) -> AdapterConfig:
    """Describes the best context of a finished run; every process must call this."""
    step, identity = run.history.steps[-1], run.search.identity
    method, weights_sha256 = identity.method, digest(step.context)
    return AdapterConfig(
        base_model=base_name(model.model_id),
        base_revision=model.revision,
        base_subfolder=getattr(model, "subfolder", None),
        base_fingerprint=model.fingerprint(),
        n_ctx=method.recipe.n_ctx,
        dim=model.dim,
        template=model.template,
        forget=[name for name in data.names if name in task.forget],
        retain=[name for name in data.names if name not in task.forget],
        synonyms=task.synonyms,
        method=method.name,
        hyperparameters={
            **asdict(method.recipe), "options": dict(method.recipe.options), "shots": settings.shots,
            "patience": settings.patience, "max_queries": settings.max_queries, "images": data.kind,
            "strength": settings.strength, "init": method.start and method.start.config.weights_sha256,
            "continued": identity.continues, **({"dtype": precision} if (precision := precision_of(model)) else {}),
        },
        seed=settings.seed,
        ledger=run.cost.summary(),
        metrics=validation_of(step),
        weights_sha256=weights_sha256,
        few_shot_digest=data.images.salted_digest(weights_sha256[:32]) if data.images else {},
    )  # fmt: skip
