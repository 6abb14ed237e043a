"""Base models for visitors: an id is looked at before anything large is fetched, few are kept, all share them."""

from __future__ import annotations

import gc
import json
import re
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from hf_unlearn.hub.client import commit_of
from hf_unlearn.hub.error_messages import explained
from hf_unlearn.models.embedded import EMBEDDED
from hf_unlearn.text import brief
from space.services.hub_cache import HubCache
from space.services.zero_gpu import device

if TYPE_CHECKING:
    from space.services.thread_safe_clip import SharedClip

PRESETS = {
    "openai/clip-vit-base-patch16": "OpenAI ViT-B/16, 150 M parameters",
    "openai/clip-vit-large-patch14": "OpenAI ViT-L/14, 428 M parameters",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "LAION ViT-B/32, 151 M parameters",
    "google/siglip-base-patch16-224": "SigLIP B/16, 203 M parameters",
}
FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2", "chinese_clip")
MAX_PARAMETERS, MAX_CACHED = 500_000_000, 1_000_000_000  # 2 and 4 GB in float32; the free tier has 16
MOST_CACHED = 8  # models, each with texts it remembers
SIDE_FILES, MAX_SIDE_FILE = (".json", ".txt", ".model", ".jinja"), 64 * 2**20  # configs, tokenizers
MOST_SIDE_FILES = 64
JSONS = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
NO_HEADER = (AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)  # in the Hub's client
BOUNDS = {  # what a config may ask for; else its few weights could stand in a model of any size
    "num_hidden_layers": 64, "hidden_size": 4_096, "intermediate_size": 16_384, "num_attention_heads": 64,
    "vocab_size": 512_000, "max_position_embeddings": 1_024, "image_size": 1_024, "projection_dim": 4_096,
    "num_channels": 4, "height": 1_024, "width": 1_024, "shortest_edge": 1_024, "longest_edge": 2_048,
}  # fmt: skip


class Models:
    """Base models by name, loaded when first asked for; the least recently used go when there is no room.

    Args:
        bases: base models that the operator offers, as adapters name them -> Hub id or folder. These are trusted.
        any_on_hub: whether visitors may name any other model on the Hub.
        hub: where what they name is fetched to.
    """

    def __init__(
        self, bases: Mapping[str, str] | None = None, any_on_hub: bool = True, hub: HubCache | None = None
    ) -> None:
        self.bases = dict(bases or {EMBEDDED: EMBEDDED})
        self.any_on_hub, self.hub = any_on_hub, hub or HubCache()
        self._kept: OrderedDict[tuple[str, str | None], SharedClip] = OrderedDict()
        self._lock, self._loading = Lock(), Lock()

    def get(self, base: str, revision: str | None = None) -> SharedClip:
        """The model, with a ledger of the caller's own; the weights are shared, and are only read.

        Args:
            revision: the commit, for one on the Hub.

        Raises:
            ValueError: if the name is no model we may load; the message says why.
            OSError: if it can't be had from the Hub.
        """
        from hf_unlearn.models.black_box import Ledger

        if not isinstance(base, str):
            raise ValueError(f"Expected a base model's name as text, got {type(base).__name__}.")
        key = (base, None if base in self.bases else revision)
        model = self._cached(key)
        if model is None:
            with self._loading:  # else two first visitors load the same model twice
                model = self._cached(key) or self._load(*key)
        own = copy(model)
        own.ledger = Ledger()
        return own

    def _cached(self, key: tuple[str, str | None]) -> SharedClip | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _load(self, base: str, revision: str | None) -> SharedClip:
        from space.services.thread_safe_clip import SharedClip, parameters

        if base in self.bases:
            model = SharedClip(self.bases[base], device=device())
        elif self.any_on_hub:
            model = self._fetched(base, revision)
        else:
            raise ValueError(f"This Space offers {', '.join(self.bases)}, not '{str(base)[:80]}'.")
        with self._lock:
            self._kept[base, revision] = model
            while len(self._kept) > 1 and (
                len(self._kept) > MOST_CACHED or sum(map(parameters, self._kept.values())) > MAX_CACHED
            ):
                self._kept.popitem(last=False)
                gc.collect()  # a model refers to itself; its weights would stay for long
        return model

    def _fetched(self, base: str, revision: str | None) -> SharedClip:
        from huggingface_hub import hf_hub_download

        from space.services.thread_safe_clip import SharedClip

        commit, files = checked(base, revision, self.hub)
        with self.hub.holding(base, commit, files) as folder:
            with explained(base, commit):
                paths = [
                    hf_hub_download(base, path, revision=commit, cache_dir=folder, token=False)
                    for path in sorted(files, key=lambda path: path != "config.json")
                ]
            return SharedClip.of_snapshot(Path(paths[0]).parent, base, commit, device())


def checked(repo_id: str, revision: str | None = None, hub: HubCache | None = None) -> tuple[str, dict[str, int]]:
    """A stranger's model that is safe to load: known kind, no code, safetensors, bearable size.

    Read without a token, so that nobody sees through this Space what its owner may see.

    Returns: its commit, and the files to fetch, path -> bytes.

    Raises:
        ValueError: if it is not; the message says why and what to do.
        OSError: if the Hub can't be asked.
    """
    from huggingface_hub import HfApi

    name, hub = str(repo_id)[:80], hub or HubCache()
    if not isinstance(repo_id, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?", repo_id, re.A):
        raise ValueError(f"'{name}' is no model id; expected one from the Hub such as openai/clip-vit-base-patch16.")
    sha = commit_of(repo_id, revision, token=False, cache_dir=hub.folder)
    api = HfApi(token=False)
    with explained(repo_id, sha):
        sizes = {file.path: file.size for file in api.list_repo_tree(repo_id, revision=sha) if hasattr(file, "size")}
        if "config.json" not in sizes:
            raise ValueError(f"{name} has no config.json; expected a CLIP that transformers loads.")
        files = {path: size for path, size in sizes.items() if path.endswith(SIDE_FILES)}
        if len(files) > MOST_SIDE_FILES:
            raise ValueError(f"{name} has {len(files):,} files beside its weights; at most {MOST_SIDE_FILES} are read.")
        if large := [path for path, size in files.items() if size > MAX_SIDE_FILE]:
            raise ValueError(f"{name}: {large[0][:60]} is larger than {MAX_SIDE_FILE >> 20} MB; choose another model.")
        read = {path: files[path] for path in JSONS if path in files}
        with hub.holding(repo_id, sha, read) as folder:
            _check_configs(name, {path: _json(api, repo_id, path, sha, folder) for path in read})
            files |= _weights(api, repo_id, sha, sizes)
    return sha, files


def _weights(api: Any, repo_id: str, sha: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """The safetensors that transformers would load, path -> bytes."""
    from huggingface_hub import errors

    name = repo_id[:80]
    try:
        weights = api.get_safetensors_metadata(repo_id, revision=sha)
    except errors.NotASafetensorsRepoError:
        raise ValueError(_not_safetensors(api, repo_id)) from None
    except (errors.SafetensorsParsingError, *NO_HEADER):
        raise ValueError(f"{name}: its safetensors file is damaged; choose another model.") from None
    parameters = sum(weights.parameter_count.values())
    if not parameters <= MAX_PARAMETERS:  # NaN is not
        raise ValueError(
            f"{name} has {parameters / 1e6:,.0f} million parameters; this Space loads up to "
            f"{MAX_PARAMETERS // 10**6:,} million. Use hf_unlearn on a machine of your own for it."
        )
    if astray := [path for path in weights.files_metadata if path not in sizes]:
        raise ValueError(f"{name}: its weights are not beside its config ({astray[0][:60]}); choose another model.")
    files = {path: sizes[path] for path in weights.files_metadata}
    if sum(files.values()) > 8 * parameters + MAX_SIDE_FILE:  # of float64, and its header
        raise ValueError(f"{name}: its safetensors file is larger than what it says is in it; choose another model.")
    return files


def _check_configs(name: str, configs: Mapping[str, Any]) -> None:
    if coded := [path for path, content in configs.items() if any(key == "auto_map" for key, _ in _inside(content))]:
        raise ValueError(f"{name} brings code of its own ({coded[0]} has auto_map); this Space runs none.")
    kind = configs["config.json"].get("model_type")
    if kind not in FAMILIES:
        raise ValueError(f"{name} is of type {brief(kind)}, no CLIP we know; expected {', '.join(FAMILIES)}.")
    for path, content in configs.items():
        for key, value in _inside(content):
            if isinstance(value, int | float) and key in BOUNDS and not value <= BOUNDS[key]:  # NaN is not
                raise ValueError(f"{name}: {path} asks for {key} {brief(value)}; at most {BOUNDS[key]:,} is loaded.")


def _json(api: Any, repo_id: str, path: str, sha: str, folder: Path) -> dict[str, Any]:
    try:
        found = api.hf_hub_download(repo_id, path, revision=sha, cache_dir=folder)
        content = json.loads(Path(found).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{repo_id[:80]}: {path} is damaged; choose another model.")
    return content


def _not_safetensors(api: Any, repo_id: str) -> str:
    pulls = [ref.ref for ref in api.list_repo_refs(repo_id, include_pull_requests=True).pull_requests or ()]
    hint = f"; one of its pull requests may hold them (revision {pulls[-1]})" if pulls else ""
    return f"{repo_id[:80]} has no weights as safetensors, and this Space loads no pickles{hint}."


def _inside(content: Any) -> Iterator[tuple[str, Any]]:
    """Everything in a config, however deep, with the key that it stands under."""
    left = deque([("", content)])
    while left:
        key, value = left.popleft()
        yield key, value
        if isinstance(value, dict):
            left.extend(value.items())
        elif isinstance(value, list):
            left.extend((key, inner) for inner in value)
