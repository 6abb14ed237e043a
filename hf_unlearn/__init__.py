"""Make any CLIP checkpoint forget the categories you choose, without gradients, weights untouched."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {  # public name -> its module; everything that the reference documents is here
    "AdaptedClip": "adapters.adapted_clip",
    "AdapterConfig": "adapters.config",
    "AdapterError": "errors",
    "Audit": "auditing.report",
    "BlackBox": "models.black_box",
    "BrokenFile": "data.image_files",
    "BrokenFilesError": "errors",
    "BudgetSpentError": "errors",
    "ClipBlackBox": "models.clip",
    "EmbeddingBlackBox": "models.embedding_box",
    "ExportError": "errors",
    "ForgetAdapter": "adapters.adapter",
    "Gate": "models.text_edit",
    "HfUnlearnError": "errors",
    "HubError": "errors",
    "InputError": "errors",
    "LabeledImages": "data.labeled_images",
    "LatentContext": "optimizers.latent_context",
    "Ledger": "models.black_box",
    "Neighbour": "edits.neighbours",
    "Objective": "optimizers.objective",
    "Optimizer": "optimizers.base",
    "ProcessLostError": "errors",
    "PromptTooLongError": "errors",
    "Recipe": "optimizers.methods",
    "ReferenceBlackBox": "edits.by_score.box",
    "RemoteError": "errors",
    "Report": "evaluation.report",
    "Result": "training.result",
    "RunError": "errors",
    "SpaceBlackBox": "models.space_client",
    "Step": "training.history",
    "StopReason": "training.result",
    "StorageError": "errors",
    "TextEdit": "models.text_edit",
    "Thresholds": "auditing.thresholds",
    "WrongBaseError": "errors",
    "audit": "auditing.auditor",
    "combine": "training.composition",
    "describe_neighbours": "edits.neighbours",
    "evaluate": "evaluation.evaluator",
    "forget_by_name": "edits.by_name",
    "recipe": "optimizers.methods",
    "solve_edit": "edits.closed_form",
    "to_rgb": "data.pixels",
    "unlearn": "training.unlearning",
    "vocabulary_features": "edits.vocabulary",
    "vocabulary_words": "edits.vocabulary",
    "without": "training.composition",
}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from hf_unlearn.adapters.adapted_clip import AdaptedClip as AdaptedClip
    from hf_unlearn.adapters.adapter import ForgetAdapter as ForgetAdapter
    from hf_unlearn.adapters.config import AdapterConfig as AdapterConfig
    from hf_unlearn.auditing.auditor import audit as audit
    from hf_unlearn.auditing.report import Audit as Audit
    from hf_unlearn.auditing.thresholds import Thresholds as Thresholds
    from hf_unlearn.data.image_files import BrokenFile as BrokenFile
    from hf_unlearn.data.labeled_images import LabeledImages as LabeledImages
    from hf_unlearn.data.pixels import to_rgb as to_rgb
    from hf_unlearn.edits.by_name import forget_by_name as forget_by_name
    from hf_unlearn.edits.by_score.box import ReferenceBlackBox as ReferenceBlackBox
    from hf_unlearn.edits.closed_form import solve_edit as solve_edit
    from hf_unlearn.edits.neighbours import Neighbour as Neighbour
    from hf_unlearn.edits.neighbours import describe_neighbours as describe_neighbours
    from hf_unlearn.edits.vocabulary import vocabulary_features as vocabulary_features
    from hf_unlearn.edits.vocabulary import vocabulary_words as vocabulary_words
    from hf_unlearn.errors import AdapterError as AdapterError
    from hf_unlearn.errors import BrokenFilesError as BrokenFilesError
    from hf_unlearn.errors import BudgetSpentError as BudgetSpentError
    from hf_unlearn.errors import ExportError as ExportError
    from hf_unlearn.errors import HfUnlearnError as HfUnlearnError
    from hf_unlearn.errors import HubError as HubError
    from hf_unlearn.errors import InputError as InputError
    from hf_unlearn.errors import ProcessLostError as ProcessLostError
    from hf_unlearn.errors import PromptTooLongError as PromptTooLongError
    from hf_unlearn.errors import RemoteError as RemoteError
    from hf_unlearn.errors import RunError as RunError
    from hf_unlearn.errors import StorageError as StorageError
    from hf_unlearn.errors import WrongBaseError as WrongBaseError
    from hf_unlearn.evaluation.evaluator import evaluate as evaluate
    from hf_unlearn.evaluation.report import Report as Report
    from hf_unlearn.models.black_box import BlackBox as BlackBox
    from hf_unlearn.models.black_box import Ledger as Ledger
    from hf_unlearn.models.clip import ClipBlackBox as ClipBlackBox
    from hf_unlearn.models.embedding_box import EmbeddingBlackBox as EmbeddingBlackBox
    from hf_unlearn.models.space_client import SpaceBlackBox as SpaceBlackBox
    from hf_unlearn.models.text_edit import Gate as Gate
    from hf_unlearn.models.text_edit import TextEdit as TextEdit
    from hf_unlearn.optimizers.base import Optimizer as Optimizer
    from hf_unlearn.optimizers.latent_context import LatentContext as LatentContext
    from hf_unlearn.optimizers.methods import Recipe as Recipe
    from hf_unlearn.optimizers.methods import recipe as recipe
    from hf_unlearn.optimizers.objective import Objective as Objective
    from hf_unlearn.training.composition import combine as combine
    from hf_unlearn.training.composition import without as without
    from hf_unlearn.training.history import Step as Step
    from hf_unlearn.training.result import Result as Result
    from hf_unlearn.training.result import StopReason as StopReason
    from hf_unlearn.training.unlearning import unlearn as unlearn


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: `import hf_unlearn` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_unlearn' has no attribute {name!r}")
    return getattr(import_module(f"hf_unlearn.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
