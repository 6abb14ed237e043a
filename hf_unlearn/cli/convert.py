"""The command `hf-unlearn convert`: a checkpoint of open_clip as one of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_unlearn.cli import options as given
from hf_unlearn.console import print_line
from hf_unlearn.errors import InputError


def convert_command(
    model: Annotated[str, typer.Argument(help="The checkpoint of open_clip: a Hub id, or a folder.")],
    folder: Annotated[Path, typer.Argument(help="Where to write it: a new or empty folder.")],
    revision: given.Revision = None,
    subfolder: given.Subfolder = None,
    dtype: given.Precision = given.Dtype.float32,
) -> None:
    """Convert a checkpoint of open_clip to transformers: model, tokenizer and image processor in one folder.

    It holds open_clip_config.json, open_clip_model.safetensors and tokenizer.json. A ViT with the built-in text tower
    becomes a CLIPModel, timm's SigLIP a SiglipModel; what has other parts is refused, naming the part. The other
    commands read such a checkpoint without this.

    Example: hf-unlearn convert timm/ViT-B-16-SigLIP checkpoints/siglip
    """
    from hf_unlearn.adapters.export.checkpoint import check_out
    from hf_unlearn.models.device import precision_of
    from hf_unlearn.models.loading import open_checkpoint

    check_out(folder)
    checkpoint = open_checkpoint(model, revision, subfolder)
    if checkpoint.open_clip is None:
        raise InputError(f"{model}: it is a checkpoint of transformers already; use it as it is")
    with checkpoint.explained():
        checkpoint.open_clip.save(folder, precision_of(dtype.value))
    print_line(f"checkpoint saved in {folder}: --model {folder}")
