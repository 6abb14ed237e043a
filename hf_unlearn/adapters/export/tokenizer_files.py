"""What the tokenizer files of an exported context say, so that transformers keeps the context or refuses to load it.

`AutoTokenizer`, processors and pipelines then load `tokenizer.json` unchanged. `CLIPTokenizer` and `BertTokenizer` of
transformers 5 rebuild it with another post-processor, so they would drop the context without notice: here they raise.
`XLMRobertaTokenizer` can't be stopped; the model card says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTE = "this checkpoint carries a context that {} drops; load it with AutoTokenizer"


def keep_context(folder: Path) -> None:
    """Has the files in `folder` loaded by transformers with their post-processor, or not at all."""
    _name_plain_tokenizer(folder / "tokenizer_config.json")
    path = folder / "tokenizer.json"
    content = _read(path)
    model = content["model"]
    if model["type"] == "BPE" and model["end_of_word_suffix"] == "</w>":  # CLIP's
        if not any(" " in part for pair in model["merges"] for part in pair):  # else pairs can't be lines
            model["merges"] = [_refusing_merge(), *map(" ".join, model["merges"])]
            _write(path, content)
    elif model["type"] == "WordPiece":  # BertTokenizer wants true, false or null
        config = folder / "tokenizer_config.json"
        _write(config, {**_read(config), "strip_accents": NOTE.format("BertTokenizer")})


def attend_to_padding(folder: Path) -> None:
    """Makes the tokenizer give no attention mask: SigLIP was trained without one, and scores differ with it."""
    path = folder / "tokenizer_config.json"
    _write(path, {**_read(path), "model_input_names": ["input_ids"]})


def _name_plain_tokenizer(path: Path) -> None:
    """Makes transformers load `tokenizer.json` unchanged: some classes rebuild it without the post-processor."""
    content = {key: value for key, value in _read(path).items() if key not in ("add_bos_token", "add_eos_token")}
    _write(path, {**content, "tokenizer_class": "TokenizersBackend"})


def _refusing_merge() -> str:
    """A merge of a BPE model that `tokenizers` skips in a file, as it does a version, and refuses from Python.

    transformers' classes hand merges over in Python. Their error then shows the line.
    """
    return f"#version: {NOTE.format('CLIPTokenizer')}".replace(" ", "\N{NO-BREAK SPACE}") + " -"


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
