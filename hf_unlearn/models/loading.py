"""Reads a checkpoint of transformers or open_clip: finds it, pins its commit, refuses what is no whole zero-shot CLIP.

Only safetensors are read, and no code of the checkpoint runs. Whatever transformers raises for bad files becomes one
sentence; `hf_unlearn.models.checkpoint_checks` refuses what transformers loads with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hf_unlearn.arguments import is_file, is_folder
from hf_unlearn.errors import HfUnlearnError, HubError, InputError, StorageError
from hf_unlearn.hub.client import commit_of, files_at
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
from hf_unlearn.models.embedded import EMBEDDED, MODEL_FOLDER
from hf_unlearn.models.open_clip import OpenClip
from hf_unlearn.models.open_clip_config import OPEN_CLIP_CONFIG
from hf_unlearn.text import brief

FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2", "chinese_clip")
LONGEST = 4_096  # characters of a path


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose config was read and accepted; weights and processor are read on demand.

    Attributes:
        name: as the caller gave it: a Hub id, a folder, or `"embedded"`.
        source: what transformers is given: a Hub id or a folder.
        requested: the revision that the caller gave, for messages.
        revision: the commit on the Hub; None for a folder.
        config: transformers' config.
        subfolder: where in the repository or folder it is; nothing for the folder itself.
        open_clip: its files, where they are in open_clip's format alone.
    """

    name: str
    source: str
    requested: str | None
    revision: str | None
    config: Any
    subfolder: str = ""
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
                    self.source, dtype=dtype, use_safetensors=True, output_loading_info=True, **self._place()
                )
            except (OSError, SafetensorError):
                self._check_safetensors()
                raise
            check_weights(self.name, model, report)
        return model.eval().requires_grad_(False)

    def load_processor(self) -> Any:
        """The tokenizer and the image processor.

        Raises:
            HubError: if the download breaks.
            StorageError: if files of one of them are missing.
            InputError: if the tokenizer needs a package that is not installed, or its files fit no CLIP.
        """
        from transformers import AutoProcessor

        with self.explained():
            if self.open_clip is not None:
                return self.open_clip.load_processor()
            try:
                return AutoProcessor.from_pretrained(self.source, **self._place())
            except OSError as error:
                if "load image processor" in str(error):
                    raise lacks(self.name, IMAGE_PROCESSOR) from error
                raise
            finally:  # transformers may have made a tokenizer without words
                self._check_files()

    def _place(self) -> dict[str, Any]:
        return _pinned(self.revision, self.subfolder)

    def _folder(self) -> Path:
        return _folder_of(self.source, self.revision, self.subfolder)

    def _check_files(self) -> None:
        """Refuses a checkpoint without tokenizer or image processor, and one whose files did not arrive.

        Raises:
            StorageError: if their files are missing, or pointers.
            HubError: if the Hub has them, or does not say.
        """
        folder = self._folder()
        check_pointers(self.name, folder)
        try:
            check_files(self.name, (path.name for path in folder.iterdir()))
        except StorageError:
            if self.revision is None:
                raise
            check_files(self.name, files_at(self.source, self.revision, self.subfolder))
            raise HubError(f"{self.name}: files of its processor did not arrive; try again in a minute") from None

    def _check_safetensors(self) -> None:
        """Refuses weights in other formats and pointers. Raises: StorageError: naming what there is instead."""
        check_pointers(self.name, self._folder())
        if self.revision is None:
            names = [path.name for path in self._folder().iterdir()]
        else:
            names = files_at(self.source, self.revision, self.subfolder)
        check_safetensors(self.name, names)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Whatever transformers raises for the files of this checkpoint becomes an error of one sentence."""
        with _explained(self.name, self.family), loading(self.source, self.requested):
            yield


def open_checkpoint(model: str, revision: str | None = None, subfolder: str | None = None) -> Checkpoint:
    """Finds a checkpoint, resolves its revision to a commit, and reads its config.

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
    config, open_clip = _read_config(model, source, revision, commit, inner)
    if config.model_type not in FAMILIES:
        raise InputError(
            f"{model}: {brief(config.model_type)} is no zero-shot CLIP we know; expected {', '.join(FAMILIES)}"
        )
    return Checkpoint(model, source, revision, commit, config, inner, open_clip)


def _check_folder(model: str, folder: Path, revision: str | None) -> None:
    if revision is not None:
        raise InputError(f"{model} is a folder, which has no revisions; leave the revision out, or give a Hub id")
    if not is_folder(folder):
        raise StorageError(f"{model}: no folder {folder} there; give the subfolder of a checkpoint, or none")
    check_pointers(str(folder), folder)


def _read_config(
    model: str, source: str, revision: str | None, commit: str | None, subfolder: str
) -> tuple[Any, OpenClip | None]:
    """The config; and the files in open_clip's format, where transformers finds no config."""
    from transformers import AutoConfig

    try:
        with loading(source, revision):
            return AutoConfig.from_pretrained(source, **_pinned(commit, subfolder)), None
    except HubError:
        raise
    except Exception as error:
        if _has_file(source, OPEN_CLIP_CONFIG, commit, subfolder):
            open_clip = _read_open_clip(model, source, revision, commit, subfolder)
            return open_clip.config, open_clip
        if not _has_file(source, "config.json", commit, subfolder):
            if _has_file(source, UNMERGED, commit, subfolder):
                check_files(model, [UNMERGED])
            where = f"its subfolder {subfolder}" if subfolder else "it"
            raise StorageError(
                f"{model}: no such CLIP, as {where} has no config.json; expected the folder of a checkpoint, or an id"
            ) from error
        check_pointers(model, _folder_of(source, commit, subfolder))
        if not isinstance(error, OSError):
            raise _fits_no_clip(model, error) from error
        raise StorageError(
            f"{model}: no such CLIP, as a folder or on the Hub ({str(error).splitlines()[0]})"
        ) from error


def _read_open_clip(model: str, source: str, revision: str | None, commit: str | None, subfolder: str) -> OpenClip:
    from transformers.utils.hub import cached_file

    place = _pinned(commit, subfolder)

    def file(name: str) -> Path | None:
        if not _has_file(source, name, commit, subfolder):
            return None
        return Path(str(cached_file(source, name, revision=commit, subfolder=subfolder)))

    with _explained(model, "open_clip"), loading(source, revision):
        return OpenClip.read(model, file, lambda kind: kind.from_pretrained(source, **place))


def _pinned(commit: str | None, subfolder: str) -> dict[str, Any]:
    return {"revision": commit, "subfolder": subfolder, "trust_remote_code": False}


@contextmanager
def _explained(model: str, family: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
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


def _folder_of(source: str, revision: str | None, subfolder: str) -> Path:
    """The folder of a checkpoint's files; on the Hub the cache's, which holds those that were fetched."""
    from transformers.utils.hub import cached_file

    return Path(str(cached_file(source, "config.json", revision=revision, subfolder=subfolder))).parent


def _has_file(source: str, name: str, revision: str | None, subfolder: str) -> bool:
    from transformers.utils.hub import cached_file

    try:
        return cached_file(source, name, revision=revision, subfolder=subfolder) is not None
    except OSError:
        return False
