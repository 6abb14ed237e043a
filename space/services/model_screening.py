"""Screening of a stranger's model on the Hub: what is safe to load is decided before anything large is fetched."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_unlearn.errors import InputError
from hf_unlearn.hub.client import commit_of
from hf_unlearn.hub.error_messages import explained
from hf_unlearn.hub.ids import inside, is_repo_id
from hf_unlearn.text import brief
from space.services.hub_cache import HubCache
from space.services.hub_folder import HubFolder, naming

FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2", "chinese_clip")
MAX_PARAMETERS = 500_000_000  # 2 GB in float32
SIDE_FILES, MAX_SIDE_FILE = (".json", ".txt", ".model", ".jinja"), 64 * 2**20  # configs, tokenizers
MOST_SIDE_FILES = MOST_WEIGHT_FILES = 64
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"  # of hf_unlearn.models.open_clip_config, which loads torch
JSONS = (CONFIG, OPEN_CLIP_CONFIG, "preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
BOUNDS = {  # of a config: without them a few weights could demand a model of any size
    "num_hidden_layers": 64, "hidden_size": 4_096, "intermediate_size": 16_384, "num_attention_heads": 64,
    "vocab_size": 512_000, "max_position_embeddings": 1_024, "image_size": 1_024, "projection_dim": 4_096,
    "num_channels": 4, "height": 1_024, "width": 1_024, "shortest_edge": 1_024, "longest_edge": 2_048,
}  # fmt: skip


def screen_model(
    repo_id: str, revision: str | None = None, hub: HubCache | None = None, subfolder: str | None = None
) -> tuple[str, dict[str, int]]:
    """Checks that a stranger's model is safe to load: known kind, no code, safetensors, limited size.

    It is read without a token, so that visitors do not see through this Space what only its owner may see.

    Args:
        subfolder: where in the repository it is.

    Returns:
        The model's commit, and the files to download, path -> bytes.

    Raises:
        InputError: if it is not safe; the message says why and what to do.
        HubError: if the Hub does not answer.
    """
    name, hub, place = str(repo_id)[:80], hub or HubCache(), inside(subfolder)
    if not is_repo_id(repo_id):
        raise InputError(f"'{name}' is no model id; expected one from the Hub such as openai/clip-vit-base-patch16.")
    sha = commit_of(repo_id, revision, token=False, cache_dir=hub.folder)
    with explained(repo_id, sha):
        folder = HubFolder.listed(repo_id, sha, place)
        if not {CONFIG, OPEN_CLIP_CONFIG} & folder.sizes.keys():
            raise InputError(f"{folder} has no config.json; expected a CLIP that transformers or open_clip loads.")
        side = _list_side_files(folder)
        read = [path for path in (*JSONS, INDEX) if path in side]
        with hub.holding(repo_id, sha, folder.paths(read)) as cache:
            configs = {path: folder.read_json(path, cache) for path in JSONS if path in side}
            if _is_open_clip(str(folder), configs):
                weights = _find_open_clip(folder, configs[OPEN_CLIP_CONFIG])
                with hub.holding(repo_id, sha, folder.paths(side)):
                    _check_open_clip(str(folder), [folder.fetch(path, cache) for path in side])
            else:
                weights = _find_weights(folder, cache)
                _read_shapes(folder, weights)
    return sha, folder.paths([*side, *weights])


def _list_side_files(folder: HubFolder) -> list[str]:
    """Configs, and the files of the tokenizer."""
    side = [name for name in folder.sizes if name.endswith(SIDE_FILES)]
    if len(side) > MOST_SIDE_FILES:
        raise InputError(f"{folder} has {len(side):,} files beside its weights; at most {MOST_SIDE_FILES} are read.")
    if large := [name for name in side if folder.sizes[name] > MAX_SIDE_FILE]:
        raise InputError(f"{folder}: {large[0][:60]} is larger than {MAX_SIDE_FILE >> 20} MB; choose another model.")
    return side


def _find_weights(folder: HubFolder, cache: Path) -> list[str]:
    """The files of safetensors that transformers loads."""
    if "model.safetensors" in folder.sizes:
        return ["model.safetensors"]
    if INDEX not in folder.sizes:
        raise InputError(_not_safetensors(folder))
    parts = folder.read_json(INDEX, cache).get("weight_map")
    names = sorted({str(name) for name in parts.values()}) if isinstance(parts, dict) else []
    if not 0 < len(names) <= MOST_WEIGHT_FILES:
        raise InputError(f"{folder}: its {INDEX} is damaged; choose another model.")
    if astray := [name for name in names if name not in folder.sizes]:
        raise InputError(f"{folder}: its weights are not beside its config ({astray[0][:60]}); choose another model.")
    return names


def _find_open_clip(folder: HubFolder, content: Mapping[str, Any]) -> list[str]:
    """The file of weights in open_clip's format, if config and shapes are those of a model that can be converted."""
    from hf_unlearn.models.open_clip import WEIGHTS
    from hf_unlearn.models.open_clip_config import read_config, sized

    with naming(str(folder)):
        config = read_config(str(folder), content)
    name = next((one for one in WEIGHTS if one in folder.sizes), None)
    if name is None:
        raise InputError(_not_safetensors(folder))
    shapes = _read_shapes(folder, [name])
    with naming(str(folder)):
        _check_bounds(str(folder), OPEN_CLIP_CONFIG, sized(str(folder), config, shapes).to_dict())
    return [name]


def _check_open_clip(name: str, files: Sequence[Path]) -> None:
    """Refuses a tokenizer or a preparation of images that can't be converted, by all files but the weights."""
    from hf_unlearn.models.loading import open_checkpoint

    folder = files[0].parent
    with naming(name, folder):
        open_checkpoint(str(folder))


def _read_shapes(folder: HubFolder, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of all weights, by the headers of their files alone. Refuses weights that are too many."""
    names = list(names)
    headers = [folder.read_header(name) for name in names]
    parameters = sum(sum(header.parameter_count.values()) for header in headers)
    if not parameters <= MAX_PARAMETERS:  # NaN is not
        raise InputError(
            f"{folder} has {parameters / 1e6:,.0f} million parameters; this Space loads up to "
            f"{MAX_PARAMETERS // 10**6:,} million. Use hf_unlearn on a machine of yours for it."
        )
    if sum(folder.sizes[name] for name in names) > 8 * parameters + MAX_SIDE_FILE:  # of float64, and its header
        raise InputError(f"{folder}: its safetensors file is larger than its header says; choose another model.")
    return {key: tuple(tensor.shape) for header in headers for key, tensor in header.tensors.items()}


def _is_open_clip(name: str, configs: Mapping[str, Any]) -> bool:
    """Whether a model is in open_clip's format alone; refuses one that brings code, asks for too much, or is no CLIP.

    Args:
        configs: name of a file -> content. What open_clip's asks for is checked later, as transformers reads it.
    """
    if coded := [path for path, content in configs.items() if any(key == "auto_map" for key, _ in _walk(content))]:
        raise InputError(f"{name} brings code ({coded[0]} has auto_map); this Space runs none.")
    kind = configs.get(CONFIG, {}).get("model_type")
    is_open_clip = kind not in FAMILIES and OPEN_CLIP_CONFIG in configs
    if kind not in FAMILIES and not is_open_clip:
        raise InputError(f"{name} is of type {brief(kind)}, no CLIP we know; expected {', '.join(FAMILIES)}.")
    for path, content in configs.items():
        if path != OPEN_CLIP_CONFIG:
            _check_bounds(name, path, content)
    return is_open_clip


def _check_bounds(name: str, path: str, content: Any) -> None:
    for key, value in _walk(content):
        if isinstance(value, int | float) and key in BOUNDS and not value <= BOUNDS[key]:  # NaN is not
            raise InputError(f"{name}: {path} asks for {key} {brief(value)}; at most {BOUNDS[key]:,} is loaded.")


def _not_safetensors(folder: HubFolder) -> str:
    from huggingface_hub import HfApi

    refs = HfApi(token=False).list_repo_refs(folder.repo_id, include_pull_requests=True)
    pulls = [ref.ref for ref in refs.pull_requests or ()]
    hint = f"; one of its pull requests may hold them (revision {pulls[-1]})" if pulls else ""
    return f"{folder} has no weights as safetensors, and this Space loads no pickles{hint}."


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
