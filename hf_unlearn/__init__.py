"""Make any CLIP checkpoint forget the categories you choose, without gradients, weights untouched."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AdaptedClip": "adapter",
    "ClipBlackBox": "black_box",
    "ForgetAdapter": "adapter",
    "LabeledImages": "data",
    "evaluate": "evaluate",
    "unlearn": "unlearn",
}
__all__ = ["AdaptedClip", "ClipBlackBox", "ForgetAdapter", "LabeledImages", "evaluate", "unlearn"]

if TYPE_CHECKING:
    from hf_unlearn.adapter import AdaptedClip, ForgetAdapter
    from hf_unlearn.black_box import ClipBlackBox
    from hf_unlearn.data import LabeledImages
    from hf_unlearn.evaluate import evaluate
    from hf_unlearn.unlearn import unlearn


def __getattr__(name: str) -> Any:
    """Names are imported when first used: `import hf_unlearn` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_unlearn' has no attribute {name!r}")
    value = getattr(import_module(f"hf_unlearn.{_HOMES[name]}"), name)
    globals()[name] = value  # also over the submodule of the same name, which the import just put there
    return value
