"""Files that visitors download: each in a separate folder, removed after ten minutes."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hf_unlearn.errors import InputError
from space.inputs.limits import one_line
from space.inputs.transient_files import DOWNLOADS, TransientFiles, process_files

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter
    from space.services.adapter_store import AdapterStore

MAX_EXPORTED = 200_000_000  # parameters


class Downloads:
    """Zips for visitors; Gradio serves copies of them."""

    def __init__(self, files: TransientFiles | None = None) -> None:
        self._files = files or process_files()

    def reserve(self, name: str, size: int) -> Path:
        """The path for a new file. Raises: InputError: if there is no room for two copies of it."""
        self._files.expect(2 * size)
        return Path(tempfile.mkdtemp(dir=self._files.folder(DOWNLOADS))) / name

    def write(self, name: str, content: bytes) -> str:
        """Writes a file and returns its path."""
        path = self.reserve(name, len(content))
        path.write_bytes(content)
        return str(path)

    def zip_adapter(self, adapter: ForgetAdapter) -> str:
        """Zips what `save_pretrained` writes, in one folder, and returns the path."""
        name = file_name(adapter)
        return self.write(f"{name}.zip", zip_adapter_as(name, adapter))

    def zip_checkpoint(self, store: AdapterStore, adapter: ForgetAdapter, hardened: bool = False) -> str:
        """Zips a plain transformers checkpoint that forgets without this library, and returns the path.

        Raises:
            ValueError: if the base is too large to send, can't carry a context, or `hardened` is set for an edit.
        """
        from hf_unlearn.adapters.export.checkpoint import export
        from space.services.thread_safe_clip import count_parameters

        model = store.apply(adapter).model
        if count_parameters(model) > MAX_EXPORTED:
            raise InputError(
                f"{adapter.config.base_model} is too large to send as a checkpoint; download the adapter and run "
                "'hf-unlearn export ADAPTER FOLDER' on a machine of yours."
            )
        name = f"{file_name(adapter)}-checkpoint"
        with tempfile.TemporaryDirectory(dir=self._files.folder(DOWNLOADS)) as home:
            folder = Path(home) / name
            export(adapter.weights, adapter.config, model, folder, hardened)
            files = sorted(folder.iterdir())
            target = self.reserve(f"{name}.zip", sum(path.stat().st_size for path in files))
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    archive.write(path, f"{name}/{path.name}")
        return str(target)


def file_name(adapter: ForgetAdapter) -> str:
    """A name for an adapter's files, made of the first names it forgets."""
    words = one_line("-".join(adapter.config.forget[:2])).lower()
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in words).strip("-")[:40]
    return f"no-{kept or 'adapter'}"


def zip_adapter_as(name: str, adapter: ForgetAdapter) -> bytes:
    """A zip of what `save_pretrained` writes, in one folder of this name."""
    return zip_files({f"{name}/{path}": content for path, content in adapter.stored().files().items()})


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """A zip with these files, path -> content."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return whole.getvalue()
