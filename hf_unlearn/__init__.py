"""Make any CLIP checkpoint forget the categories you choose, without gradients, weights untouched."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AdaptedClip": "adapter",
    "ClipBlackBox": "clip",
    "EmbeddingBlackBox": "embedding_box",
    "ForgetAdapter": "adapter",
    "LabeledImages": "data",
    "SpaceBlackBox": "remote",
    "audit": "audit",
    "combine": "compose",
    "evaluate": "evaluate",
    "unlearn": "unlearn",
    "without": "compose",
}
__all__ = [
    "AdaptedClip",
    "ClipBlackBox",
    "EmbeddingBlackBox",
    "ForgetAdapter",
    "LabeledImages",
    "SpaceBlackBox",
    "audit",
    "combine",
    "evaluate",
    "unlearn",
    "without",
]

if TYPE_CHECKING:
    from hf_unlearn.adapter import AdaptedClip, ForgetAdapter
    from hf_unlearn.audit import audit
    from hf_unlearn.clip import ClipBlackBox
    from hf_unlearn.compose import combine, without
    from hf_unlearn.data import LabeledImages
    from hf_unlearn.embedding_box import EmbeddingBlackBox
    from hf_unlearn.evaluate import evaluate
    from hf_unlearn.remote import SpaceBlackBox
    from hf_unlearn.unlearn import unlearn


def __getattr__(name: str) -> Any:
    """Names are imported when first used: `import hf_unlearn` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_unlearn' has no attribute {name!r}")
    return getattr(import_module(f"hf_unlearn.{_HOMES[name]}"), name)


class _Package(ModuleType):
    """Keeps `hf_unlearn.unlearn`, `evaluate` and `audit` the functions, not the modules of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
