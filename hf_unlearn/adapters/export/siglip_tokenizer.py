"""SigLIP's tokenizer, which is Python around SentencePiece, rebuilt as a `tokenizer.json` that needs neither."""

from __future__ import annotations

import re
import string
from typing import Any

from hf_unlearn.errors import InputError


def as_tokenizer_json(tokenizer: Any) -> Any:
    """The same tokenizer on the `tokenizers` library, with a post-processor that puts EOS last.

    Follows `SiglipTokenizer.canonicalize_text`: lower case, no ASCII punctuation, single spaces. The caller checks
    that both read texts alike.

    Raises:
        InputError: if its SentencePiece model is no unigram model.
    """
    from sentencepiece.sentencepiece_model_pb2 import ModelProto
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    model = ModelProto.FromString(tokenizer.sp_model.serialized_model_proto())
    if model.trainer_spec.model_type != model.trainer_spec.UNIGRAM:
        raise InputError("expected a unigram SentencePiece model")
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    backend = Tokenizer(models.Unigram(pieces, unk_id=model.trainer_spec.unk_id, byte_fallback=False))
    steps: list[Any] = [normalizers.Lowercase()] if tokenizer.do_lower_case else []
    steps += [
        normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    if model.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap))
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single=["$A", tokenizer.eos_token], special_tokens=[(tokenizer.eos_token, tokenizer.eos_token_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=tokenizer.eos_token, pad_token=tokenizer.pad_token,
        unk_token=tokenizer.unk_token, padding_side=tokenizer.padding_side,
        model_max_length=tokenizer.model_max_length,
    )  # fmt: skip
