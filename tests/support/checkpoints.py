"""A tiny random CLIP with a real tokenizer."""

from collections.abc import Sequence

import torch


def byte_vocabulary(words: Sequence[str] = ()) -> dict[str, int]:
    """Every byte, every byte at a word's end, words, the two specials last: without words the smallest vocabulary."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(byte + "</w>" for byte in [*alphabet, *words]), "<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}


def write_clip(folder, seed: int, dim: int = 32, words: Sequence[str] = ()) -> str:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(seed)
    vocabulary = byte_vocabulary(words)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    common = {"num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 24}
    text = {
        **common, "vocab_size": len(vocabulary), "hidden_size": dim, "intermediate_size": 48,
        "max_position_embeddings": 77, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {**common, "hidden_size": 32, "intermediate_size": 48, "image_size": 24, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    size = {"height": 24, "width": 24}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    model.save_pretrained(folder)
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return str(folder)
