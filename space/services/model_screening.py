"""Screening of a stranger's model on the Hub: what is safe to load is decided before anything large is fetched."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hf_unlearn.errors import InputError
from hf_unlearn.hub.client import commit_of
from hf_unlearn.hub.error_messages import explained
from hf_unlearn.hub.ids import is_repo_id
from hf_unlearn.text import brief
from space.services.hub_cache import HubCache

FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2", "chinese_clip")
MAX_PARAMETERS = 500_000_000  # 2 GB in float32
SIDE_FILES, MAX_SIDE_FILE = (".json", ".txt", ".model", ".jinja"), 64 * 2**20  # configs, tokenizers
MOST_SIDE_FILES = 64
JSONS = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
NO_HEADER = (AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)  # in the Hub's client
BOUNDS = {  # of a config: without them a few weights could demand a model of any size
    "num_hidden_layers": 64, "hidden_size": 4_096, "intermediate_size": 16_384, "num_attention_heads": 64,
    "vocab_size": 512_000, "max_position_embeddings": 1_024, "image_size": 1_024, "projection_dim": 4_096,
    "num_channels": 4, "height": 1_024, "width": 1_024, "shortest_edge": 1_024, "longest_edge": 2_048,
}  # fmt: skip


def screen_model(repo_id: str, revision: str | None = None, hub: HubCache | None = None) -> tuple[str, dict[str, int]]:
    """Checks that a stranger's model is safe to load: known kind, no code, safetensors, limited size.

    It is read without a token, so that visitors do not see through this Space what only its owner may see.

    Returns:
        The model's commit, and the files to download, path -> bytes.

    Raises:
        InputError: if it is not safe; the message says why and what to do.
        HubError: if the Hub does not answer.
    """
    from huggingface_hub import HfApi

    name, hub = str(repo_id)[:80], hub or HubCache()
    if not is_repo_id(repo_id):
        raise InputError(f"'{name}' is no model id; expected one from the Hub such as openai/clip-vit-base-patch16.")
    sha = commit_of(repo_id, revision, token=False, cache_dir=hub.folder)
    api = HfApi(token=False)
    with explained(repo_id, sha):
        sizes = {file.path: file.size for file in api.list_repo_tree(repo_id, revision=sha) if hasattr(file, "size")}
        if "config.json" not in sizes:
            raise InputError(f"{name} has no config.json; expected a CLIP that transformers loads.")
        files = {path: size for path, size in sizes.items() if path.endswith(SIDE_FILES)}
        if len(files) > MOST_SIDE_FILES:
            raise InputError(f"{name} has {len(files):,} files beside its weights; at most {MOST_SIDE_FILES} are read.")
        if large := [path for path, size in files.items() if size > MAX_SIDE_FILE]:
            raise InputError(f"{name}: {large[0][:60]} is larger than {MAX_SIDE_FILE >> 20} MB; choose another model.")
        read = {path: files[path] for path in JSONS if path in files}
        with hub.holding(repo_id, sha, read) as folder:
            _check_configs(name, {path: _json(api, repo_id, path, sha, folder) for path in read})
            files |= _weights(api, repo_id, sha, sizes)
    return sha, files


def _weights(api: Any, repo_id: str, sha: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """The safetensors that transformers loads, path -> bytes."""
    from huggingface_hub import errors

    name = repo_id[:80]
    try:
        weights = api.get_safetensors_metadata(repo_id, revision=sha)
    except errors.NotASafetensorsRepoError:
        raise InputError(_not_safetensors(api, repo_id)) from None
    except (errors.SafetensorsParsingError, *NO_HEADER):
        raise InputError(f"{name}: its safetensors file is damaged; choose another model.") from None
    parameters = sum(weights.parameter_count.values())
    if not parameters <= MAX_PARAMETERS:  # NaN is not
        raise InputError(
            f"{name} has {parameters / 1e6:,.0f} million parameters; this Space loads up to "
            f"{MAX_PARAMETERS // 10**6:,} million. Use hf_unlearn on a machine of yours for it."
        )
    if astray := [path for path in weights.files_metadata if path not in sizes]:
        raise InputError(f"{name}: its weights are not beside its config ({astray[0][:60]}); choose another model.")
    files = {path: sizes[path] for path in weights.files_metadata}
    if sum(files.values()) > 8 * parameters + MAX_SIDE_FILE:  # of float64, and its header
        raise InputError(f"{name}: its safetensors file is larger than its header says; choose another model.")
    return files


def _check_configs(name: str, configs: Mapping[str, Any]) -> None:
    if coded := [path for path, content in configs.items() if any(key == "auto_map" for key, _ in _walk(content))]:
        raise InputError(f"{name} brings code ({coded[0]} has auto_map); this Space runs none.")
    kind = configs["config.json"].get("model_type")
    if kind not in FAMILIES:
        raise InputError(f"{name} is of type {brief(kind)}, no CLIP we know; expected {', '.join(FAMILIES)}.")
    for path, content in configs.items():
        for key, value in _walk(content):
            if isinstance(value, int | float) and key in BOUNDS and not value <= BOUNDS[key]:  # NaN is not
                raise InputError(f"{name}: {path} asks for {key} {brief(value)}; at most {BOUNDS[key]:,} is loaded.")


def _json(api: Any, repo_id: str, path: str, sha: str, folder: Path) -> dict[str, Any]:
    try:
        found = api.hf_hub_download(repo_id, path, revision=sha, cache_dir=folder)
        content = json.loads(Path(found).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{repo_id[:80]}: {path} is damaged; choose another model.")
    return content


def _not_safetensors(api: Any, repo_id: str) -> str:
    pulls = [ref.ref for ref in api.list_repo_refs(repo_id, include_pull_requests=True).pull_requests or ()]
    hint = f"; one of its pull requests may hold them (revision {pulls[-1]})" if pulls else ""
    return f"{repo_id[:80]} has no weights as safetensors, and this Space loads no pickles{hint}."


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Every value in a config, however deep, with its key."""
    left = deque([("", content)])
    while left:
        key, value = left.popleft()
        yield key, value
        if isinstance(value, dict):
            left.extend(value.items())
        elif isinstance(value, list):
            left.extend((key, inner) for inner in value)
