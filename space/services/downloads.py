"""Files that visitors take away: each in a folder of its own, gone after ten minutes."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from space.inputs.limits import one_line
from space.inputs.transient_files import DOWNLOADS, TransientFiles, process_files

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter
    from space.services.adapter_store import AdapterStore

MAX_EXPORTED = 200_000_000  # parameters


class Downloads:
    """Zips; Gradio copies what it serves from here."""

    def __init__(self, files: TransientFiles | None = None) -> None:
        self._files = files or process_files()

    def reserve(self, name: str, size: int) -> Path:
        """The path of a file to come. Raises: ValueError: if there is no room for so many bytes, twice."""
        self._files.expect(2 * size)
        return Path(tempfile.mkdtemp(dir=self._files.folder(DOWNLOADS))) / name

    def write(self, name: str, content: bytes) -> str:
        """The path of a new file with this content."""
        path = self.reserve(name, len(content))
        path.write_bytes(content)
        return str(path)

    def zip_adapter(self, adapter: ForgetAdapter) -> str:
        """The adapter as a zip: what `save_pretrained` writes, in one folder."""
        name = file_name(adapter)
        files = adapter.stored().files()
        return self.write(f"{name}.zip", zip_files({f"{name}/{path}": content for path, content in files.items()}))

    def zip_checkpoint(self, store: AdapterStore, adapter: ForgetAdapter, hardened: bool = False) -> str:
        """A plain transformers checkpoint that forgets by itself, as a zip.

        Raises:
            ValueError: if the base is too large to send or can't carry a context, or an edit is to be hardened.
        """
        from hf_unlearn.adapters.export.checkpoint import export
        from space.services.thread_safe_clip import count_parameters

        model = store.apply(adapter).model
        if count_parameters(model) > MAX_EXPORTED:
            raise ValueError(
                f"{adapter.config.base_model} is too large to send as a checkpoint; download the adapter and run "
                "'hf-unlearn export ADAPTER FOLDER' on a machine of your own."
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
    """A name for an adapter's files, from what it forgets."""
    words = one_line("-".join(adapter.config.forget[:2])).lower()
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in words).strip("-")[:40]
    return f"no-{kept or 'adapter'}"


def zip_files(files: Mapping[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return whole.getvalue()
