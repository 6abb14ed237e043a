"""What the tests of the Hub do in another process, where the clients were imported with that Hub's address."""

from __future__ import annotations

import io
import os
import resource
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from typing import Any


class Client:
    """A long-lived process; what is called on it runs there, and what is raised there is raised here."""

    def __init__(self, environment: dict[str, str]) -> None:
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            self.start(os.getpid).result()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def start(self, function: Any, *arguments: Any, **named: Any) -> Future:
        return self.pool.submit(function, *arguments, **named)

    def __call__(self, function: Any, *arguments: Any, **named: Any) -> Any:
        return self.start(function, *arguments, **named).result()


def environment(endpoint: str, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "5", "HF_TOKEN": "", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def push(folder: str, repo_id: str, without_report: bool = False, **options: Any) -> dict[str, Any]:
    from dataclasses import replace

    from hf_unlearn import ForgetAdapter

    adapter = ForgetAdapter.from_pretrained(folder)
    adapter = replace(adapter, report=None) if without_report else adapter
    commit = adapter.push_to_hub(repo_id, **options)
    return {"oid": commit.oid, "url": commit.commit_url, "pr": commit.pr_url}


def pull(repo_id: str, **options: Any) -> dict[str, Any]:
    from hf_unlearn import ForgetAdapter

    adapter = ForgetAdapter.from_pretrained(repo_id, **options)
    return {
        "context": adapter.context is not None and adapter.context.tolist(), "forget": adapter.config.forget,
        "seed": adapter.config.seed, "report": adapter.report, "kind": adapter.kind,
        "edit": adapter.edit and [adapter.edit.up.tolist(), adapter.edit.down.tolist()],
    }  # fmt: skip


def pull_on_a_full_disk(repo_id: str, room: int, **options: Any) -> dict[str, Any]:
    """No file may grow past `room` bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        return pull(repo_id, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def commit_of_base(model_id: str, revision: str | None) -> str | None:
    from hf_unlearn import ClipBlackBox

    return ClipBlackBox(model_id, revision=revision, device="cpu").revision


def edit_of_a_subfolder(model_id: str, folder: str, **place: str) -> dict[str, Any]:
    """Saves an edit of a base in a subfolder, loads the base as the adapter says, and as the caller says."""
    from hf_unlearn import ClipBlackBox, ForgetAdapter, unlearn

    words = [f"word{number}" for number in range(60)]
    unlearn(ClipBlackBox(model_id, device="cpu", **place), forget=["red"], vocabulary=words).adapter.save_pretrained(
        folder
    )
    adapter = ForgetAdapter.from_pretrained(folder)
    bases = [adapter.load_base(device="cpu").model, adapter.load_base(model_id, device="cpu", **place).model]
    return {
        "config": [adapter.config.base_revision, adapter.config.base_subfolder],
        "bases": [[base.revision, base.subfolder] for base in bases],
    }


def files_of_dataset(address: str, split: str) -> dict[bytes, str]:
    """The images of a split as they are on this disk -> their classes."""
    from hf_unlearn.data.hub_datasets import find_dataset

    dataset = find_dataset(address)
    assert dataset is not None
    images = dataset.read(split)
    return {path.read_bytes(): images.names[label] for path, label in zip(images.items, images.labels, strict=True)}


def find(base: str | None) -> list[str]:
    from hf_unlearn.hub.client import find

    return [info.id for info in find(base)]


def command(*arguments: str, token: str = "") -> tuple[int, str, str]:
    """`hf-unlearn` with these arguments: exit code, stdout, stderr."""
    from hf_unlearn.cli import hub as cli_hub
    from hf_unlearn.cli import main as cli

    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv, os.environ["HF_TOKEN"] = ["hf-unlearn", *map(str, arguments)], token
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv, os.environ["HF_TOKEN"] = before, ""
    assert cli_hub
    return code, out.getvalue(), err.getvalue()


def train(model_id: str, repo_id: str, token: str) -> dict[str, Any]:
    """From a model on the Hub to an adapter on the Hub."""
    from hf_unlearn import AdaptedClip, ClipBlackBox, evaluate, unlearn
    from tests.support.images import COLOURS, coloured

    model = ClipBlackBox(model_id, device="cpu")
    adapter = unlearn(model, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter
    adapter = adapter.with_report(evaluate(model, coloured(4, seed=1), adapter).content)
    adapter.push_to_hub(repo_id, token=token)
    scores = AdaptedClip(model, adapter).classify(list(coloured(1, seed=2)), list(COLOURS))
    return {"revision": model.revision, "scores": scores.tolist()}
