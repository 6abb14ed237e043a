"""What the tests of the Space's own cache do in another process, whose Hub is the one of the tests."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download

from space.services.hub_cache import HubCache


def use(folder: str, most: int, repo_ids: list[str], crash: bool = False) -> dict[str, list[str] | int]:
    """Fetches from each in turn; what the cache holds after it."""
    cache = HubCache(Path(folder), most)
    for repo_id in repo_ids:
        with _holding(cache, repo_id) as commit:
            fetch(cache, repo_id, commit)
            if crash:
                os._exit(1)
    return {"there": sorted(path.name for path in Path(folder).glob("models--*")), "used": cache.used()}


def use_beside(folder: str, most: int, held: str, wanted: str) -> dict[str, str | bool]:
    """Wants one while another is in use: why not, and whether that other is still whole."""
    cache = HubCache(Path(folder), most)
    with _holding(cache, held) as commit:
        path = fetch(cache, held, commit)
        try:
            with _holding(cache, wanted) as other:
                fetch(cache, wanted, other)
            why = ""
        except ValueError as error:
            why = str(error)
        return {"why": why, "whole": path.is_file(), "used": cache.used() <= most}


def use_from_threads(folder: str, most: int, repo_ids: list[str], threads: int, each: int) -> dict[str, int]:
    """Many at once; counts what went wrong, and the largest number of bytes ever seen."""
    cache, seen = HubCache(Path(folder), most), {"lost": 0, "used": 0, "done": 0, "full": 0}

    def go(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(each):
            repo_id = draw.choice(repo_ids)
            try:
                with _holding(cache, repo_id) as commit:
                    path = fetch(cache, repo_id, commit)
                    time.sleep(draw.random() / 100)
                    seen["lost"] += not path.is_file()
                seen["done"] += 1
            except ValueError:
                seen["full"] += 1
            seen["used"] = max(seen["used"], cache.used())

    running = [threading.Thread(target=go, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return seen


def load(folder: str, most: int, base: str) -> dict[str, object]:
    """A visitor's model, by the way that visitors' models go."""
    from space.services.model_cache import ModelCache

    models = ModelCache(hub=HubCache(Path(folder), most))
    model = models.get(base)
    again = models.get(base)
    return {
        "id": model.model_id, "revision": model.revision, "print": again.fingerprint(), "used": models.hub.used(),
        "elsewhere": [str(path) for path in Path(os.environ["HF_HOME"]).rglob("*.safetensors")],
    }  # fmt: skip


def _holding(cache: HubCache, repo_id: str):
    from contextlib import contextmanager

    @contextmanager
    def held():
        commit = str(HfApi().model_info(repo_id).sha)
        files = {file.path: file.size for file in HfApi().list_repo_tree(repo_id, revision=commit)}
        with cache.holding(repo_id, commit, files):
            yield commit

    return held()


def fetch(cache: HubCache, repo_id: str, commit: str) -> Path:
    paths = [
        hf_hub_download(repo_id, name, revision=commit, cache_dir=cache.folder)
        for name in ("config.json", "model.safetensors")
    ]
    return Path(paths[-1])
