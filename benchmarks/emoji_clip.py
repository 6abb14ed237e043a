"""The CLIP that the training script begins with: random weights, an image processor, a tokenizer made from captions."""

import argparse
import json
import math
from collections.abc import Iterable

from emoji_data import TEMPLATES
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers import PreTrainedTokenizerFast as FastTokenizer

BOS, EOS, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"
POSITIONS = 77
TOKENIZERS = ("bpe", "words")


def build(args: argparse.Namespace, names: list[str]) -> tuple[CLIPModel, CLIPProcessor]:
    """Model and processor of the sizes that the command line gives, for captions with these names."""
    words = args.tokenizer == "words"
    tokenizer = word_level([*names, *(text.format("") for text in TEMPLATES)]) if words else byte_level(names, args)
    size = {"height": args.pixels, "width": args.pixels}
    image_processor = CLIPImageProcessorPil(
        size=size, crop_size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": args.text_width,
        "intermediate_size": 4 * args.text_width,
        "num_hidden_layers": args.text_layers,
        "num_attention_heads": args.text_width // 64,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": args.dim,
    }
    vision = {
        "hidden_size": args.width,
        "intermediate_size": 4 * args.width,
        "num_hidden_layers": args.layers,
        "num_attention_heads": args.width // 32,
        "image_size": args.pixels,
        "patch_size": args.patch,
        "projection_dim": args.dim,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=args.dim)
    # On CPUs with bf16, eager attention trains twice as fast as SDPA, whose backward falls back to float32.
    model = CLIPModel._from_config(config, attn_implementation="eager")
    return model, CLIPProcessor(image_processor=image_processor, tokenizer=tokenizer)


def fix_temperature(model: CLIPModel, temperature: float) -> None:
    """Divides similarities by `temperature` from here on: it is not trained."""
    model.logit_scale.requires_grad_(False).fill_(-math.log(temperature))


def word_level(texts: Iterable[str]) -> FastTokenizer:
    """A token for every lowercase word and mark of the texts, frequent ones first; one token for all other words."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=[UNKNOWN], show_progress=False))
    tokenizer.add_special_tokens([BOS, EOS])  # the last ids, as CLIP's are
    ends = [(piece, tokenizer.token_to_id(piece)) for piece in (BOS, EOS)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[BOS, "$A", EOS], pair=[BOS, "$A", "$B", EOS], special_tokens=ends
    )
    return FastTokenizer(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=POSITIONS,
    )


def byte_level(names: list[str], args: argparse.Namespace) -> CLIPTokenizer:
    """The byte-level BPE; of a resumed run the one it began with, as the trainer breaks ties by chance."""
    begun = args.resume.with_name("bpe.json") if args.resume else None
    if begun and begun.exists():
        vocab, merges = json.loads(begun.read_text(encoding="utf-8"))
        merges = [tuple(pair) for pair in merges]
    else:
        vocab, merges = byte_level_bpe(names, args.merges)
    (args.out / "bpe.json").write_text(json.dumps([vocab, merges]), encoding="utf-8", newline="\n")
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=POSITIONS)


def byte_level_bpe(texts: list[str], merges: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary like CLIP's: every byte, every byte at a word's end, merges, the two specials last.

    All bytes are in it, so no text is unknown and any two texts differ.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=10**6, min_frequency=2, end_of_word_suffix="</w>", initial_alphabet=[], show_progress=False
    )
    words = [word for text in texts for word in text.split()]
    tokenizer.train_from_iterator(words, trainer)
    learned = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]][:merges]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(byte + "</w>" for byte in alphabet), *("".join(pair) for pair in learned)]
    pieces = [*dict.fromkeys(pieces), BOS, EOS]
    return {piece: number for number, piece in enumerate(pieces)}, learned
