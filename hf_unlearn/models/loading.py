"""Reads a checkpoint of transformers or open_clip: finds it, pins its commit, refuses what is no whole zero-shot CLIP.

Only safetensors are read, and no code of the checkpoint runs. Whatever transformers raises for bad files becomes one
sentence; `hf_unlearn.models.checkpoint_checks` refuses what transformers loads with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from hf_unlearn.arguments import is_file, is_folder
from hf_unlearn.errors import HfUnlearnError, HubError, InputError, StorageError
from hf_unlearn.hub.client import commit_of
from hf_unlearn.hub.error_messages import loading
from hf_unlearn.hub.ids import inside
from hf_unlearn.models.checkpoint_checks import (
    IMAGE_PROCESSOR,
    UNMERGED,
    check_files,
    check_pointers,
    check_safetensors,
    check_weights,
    lacks,
)
from hf_unlearn.models.checkpoint_files import CheckpointFiles
from hf_unlearn.models.embedded import EMBEDDED, MODEL_FOLDER
from hf_unlearn.models.open_clip import OpenClip
from hf_unlearn.models.open_clip_config import OPEN_CLIP_CONFIG
from hf_unlearn.text import brief

FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2", "chinese_clip")
LONGEST = 4_096  # characters of a path


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose config was read and accepted; weights are read on demand.

    Attributes:
        files: where its files are.
        config: transformers' config.
        open_clip: what was read of it, where its files are in open_clip's format.
    """

    files: CheckpointFiles
    config: Any
    open_clip: OpenClip | None = None

    @property
    def family(self) -> str:
        """One of `FAMILIES`."""
        return str(self.config.model_type)

    def load_weights(self, dtype: torch.dtype) -> Any:
        """The whole model, in evaluation mode, without gradients, on the CPU.

        Raises:
            HubError: if the download breaks.
            StorageError: if weights are missing, damaged, not finite or not in safetensors.
            InputError: if the config fits no CLIP.
        """
        from safetensors import SafetensorError
        from transformers import AutoModel

        with self.explained():
            if self.open_clip is not None:
                return self.open_clip.load_weights(dtype).eval().requires_grad_(False)
            try:
                model, report = AutoModel.from_pretrained(
                    self.files.source, dtype=dtype, use_safetensors=True, output_loading_info=True, **self.files.place
                )
            except (OSError, SafetensorError):
                check_pointers(self.files.name, self.files.folder())
                check_safetensors(self.files.name, self.files.names())
                raise
            check_weights(self.files.name, model, report)
        return model.eval().requires_grad_(False)

    def load_processor(self) -> Any:
        """The tokenizer and the image processor.

        Raises:
            HubError: if the download breaks.
            StorageError: if files of one of them are missing.
            InputError: if the tokenizer needs a package that is not installed, or its files fit no CLIP.
        """
        from transformers import AutoProcessor

        if self.open_clip is not None:
            return self.open_clip.processor
        with self.explained():
            try:
                return AutoProcessor.from_pretrained(self.files.source, **self.files.place)
            except OSError as error:
                if "load image processor" in str(error):
                    raise lacks(self.files.name, IMAGE_PROCESSOR) from error
                raise
            finally:  # transformers may have made a tokenizer without words
                self._check_files()

    def _check_files(self) -> None:
        """Refuses a checkpoint without tokenizer or image processor, and one whose files did not arrive.

        Raises:
            StorageError: if their files are missing, or pointers.
            HubError: if the Hub has them, or does not say.
        """
        name, folder = self.files.name, self.files.folder()
        check_pointers(name, folder)
        try:
            check_files(name, (path.name for path in folder.iterdir()))
        except StorageError:
            if self.files.commit is None:
                raise
            check_files(name, self.files.names())
            raise HubError(f"{name}: files of its processor did not arrive; try again in a minute") from None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Whatever transformers raises for the files of this checkpoint becomes an error of one sentence."""
        with _explained(self.files, self.family):
            yield


def open_checkpoint(model: str, revision: str | None = None, subfolder: str | None = None) -> Checkpoint:
    """Finds a checkpoint, resolves its revision to a commit, and reads its config, and open_clip's tokenizer.

    Args:
        model: a Hub id, a folder, or `"embedded"`.
        revision: commit, tag or branch on the Hub.
        subfolder: where in the repository or folder it is.

    Raises:
        HubError: if the Hub does not give it.
        StorageError: if there is no such checkpoint, or Git LFS pointers are in place of its files.
        InputError: if it is a file, of another family, or an open_clip model that can't be converted. Also if a
            revision of a folder is asked for, or the subfolder leads out of the folder.
    """
    source = str(MODEL_FOLDER) if model == EMBEDDED else model
    if not 0 < len(source.strip()) <= len(source) <= LONGEST:
        raise InputError(f"expected a Hub id or a folder, got {len(source):,} characters: {brief(source)}")
    if is_file(source):
        raise InputError(f"{source}: a file; expected the folder of a transformers checkpoint, or a Hub id")
    inner = inside(subfolder)
    commit = None if is_folder(source) else commit_of(source, revision)
    if commit is None:
        _check_folder(model, Path(source, inner), revision)
    return _read(CheckpointFiles(model, source, revision, commit, inner))


def _check_folder(model: str, folder: Path, revision: str | None) -> None:
    if revision is not None:
        raise InputError(f"{model} is a folder, which has no revisions; leave the revision out, or give a Hub id")
    if not is_folder(folder):
        raise StorageError(f"{model}: no folder {folder} there; give the subfolder of a checkpoint, or none")
    check_pointers(str(folder), folder)


def _read(files: CheckpointFiles) -> Checkpoint:
    """The checkpoint that transformers finds there; if it finds no CLIP, the one in open_clip's format."""
    from transformers import AutoConfig

    refusal: Exception
    try:
        with loading(files.source, files.requested):
            config = AutoConfig.from_pretrained(files.source, **files.place)
        if config.model_type in FAMILIES:
            return Checkpoint(files, config)
        refusal = InputError(
            f"{files.name}: {brief(config.model_type)} is no zero-shot CLIP we know; expected {', '.join(FAMILIES)}"
        )
    except HubError:
        raise
    except Exception as error:
        refusal = error
    if files.find(OPEN_CLIP_CONFIG) is None:
        _refuse(files, refusal)
    with _explained(files, "open_clip"):
        open_clip = OpenClip.read(files)
    return Checkpoint(files, open_clip.config, open_clip)


def _refuse(files: CheckpointFiles, error: Exception) -> NoReturn:
    """Raises what says best why transformers found no CLIP there."""
    if isinstance(error, InputError):
        raise error
    if files.find("config.json") is None:
        if files.find(UNMERGED) is not None:
            check_files(files.name, [UNMERGED])
        where = f"its subfolder {files.subfolder}" if files.subfolder else "it"
        raise StorageError(
            f"{files.name}: no such CLIP, as {where} has no config.json; expected the folder of a checkpoint, or an id"
        ) from error
    check_pointers(files.name, files.folder())
    if not isinstance(error, OSError):
        raise _fits_no_clip(files.name, error) from error
    raise StorageError(
        f"{files.name}: no such CLIP, as a folder or on the Hub ({str(error).splitlines()[0]})"
    ) from error


@contextmanager
def _explained(files: CheckpointFiles, family: str) -> Iterator[None]:
    from safetensors import SafetensorError

    model = files.name
    try:
        with loading(files.source, files.requested):
            yield
    except SafetensorError as error:
        again = "get the folder again" if is_folder(model) else f"hf cache rm model/{model}, then load it again"
        raise StorageError(f"{model}: its weights are damaged ({error}); {again}") from error
    except ImportError as error:
        needed = " ".join(str(error).split())[:200]
        raise InputError(
            f"{model}: its {family} tokenizer needs packages that are not installed ({needed}); "
            "pip install 'hf_unlearn[siglip]'"
        ) from error
    except (HfUnlearnError, MemoryError):
        raise
    except Exception as error:
        raise _fits_no_clip(model, error) from error


def _fits_no_clip(model: str, error: Exception) -> InputError | StorageError:
    """What to raise for files that transformers can't use."""
    why = " ".join(str(error).split())[:200]
    if isinstance(error, OSError):
        return StorageError(f"{model}: its files can't be read ({why})")
    if "trust_remote_code" in str(error):
        return InputError(f"{model}: it needs code from its repository, and none is run; choose another one")
    kind = InputError if isinstance(error, ValueError) else StorageError
    return kind(f"{model}: its files fit no CLIP ({type(error).__name__}: {why}); get it again, or choose another one")
