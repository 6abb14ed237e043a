"""Tiny random models of every family, each with a tokenizer built the way that family's are."""

from collections.abc import Sequence

import torch

FAMILIES = ["clip", "metaclip_2", "siglip", "siglip2", "chinese_clip"]


def word_tokenizer(specials: list[str], before: list[str], after: list[str], **roles):
    """Byte-level, a space before every word; `specials` have the first ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "▁"]  # the last one is SigLIP 2's space
    vocabulary = {piece: number for number, piece in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pattern = [*before, "$A", *after]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=pattern, pair=[*pattern, "$B"], special_tokens=[(s, vocabulary[s]) for s in {*before, *after}]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles), len(vocabulary)


def whole_word_tokenizer(words: Sequence[str], **roles):
    """A token for every word, `<unk>` for any other, EOS last."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {piece: number for number, piece in enumerate(["</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles), len(vocabulary)


def write_family(
    folder, family: str, padding_side: str = "right", positions: int = 64, words: Sequence[str] = ()
) -> str:
    """A tiny random model of another family with a tokenizer built the way that family's are.

    `positions` and `words`, in place of bytes, are for SigLIP's text tower.
    """
    import transformers as t

    torch.manual_seed(0)
    towers = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 48}
    vision = {**towers, "image_size": 24, "patch_size": 8}
    size = {"height": 24, "width": 24}
    if family == "metaclip_2":  # XLM-R's specials: EOS is 2, and no token is larger than all others
        tokenizer, size_of_it = word_tokenizer(
            ["<s>", "<pad>", "</s>", "<unk>"], ["<s>"], ["</s>"],
            bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        )  # fmt: skip
        text = {**towers, "vocab_size": size_of_it, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
        model = t.MetaClip2Model(t.MetaClip2Config(text_config=text, vision_config=vision, projection_dim=24))
        pixels = t.CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
        processor = t.CLIPProcessor(image_processor=pixels, tokenizer=tokenizer)
    elif family in ("siglip", "siglip2"):  # no BOS; EOS is the padding too, which is attended to
        roles = {
            "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>", "model_input_names": ["input_ids"],
            "padding_side": padding_side,
        }  # fmt: skip
        if words:
            tokenizer, size_of_it = whole_word_tokenizer(words, **roles)
        else:
            tokenizer, size_of_it = word_tokenizer(["</s>", "<unk>"], [], ["</s>"], **roles)
        text = {**towers, "vocab_size": size_of_it, "max_position_embeddings": positions, "projection_size": 32}
        if family == "siglip":
            model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision))
            pixels = t.SiglipImageProcessorPil(size=size)
            processor = t.SiglipProcessor(image_processor=pixels, tokenizer=tokenizer)
        else:
            vision = {**towers, "num_patches": 9, "patch_size": 8}
            model = t.Siglip2Model(t.Siglip2Config(text_config=text, vision_config=vision))
            pixels = t.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=9)
            processor = t.Siglip2Processor(image_processor=pixels, tokenizer=tokenizer)
    else:
        letters = "abcdefghijklmnopqrstuvwxyz0123456789-,."
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
        tokenizer = t.BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
        text = {**towers, "vocab_size": len(pieces), "max_position_embeddings": 77, "pad_token_id": 0}
        config = t.ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
        model = t.ChineseCLIPModel(config)
        pixels = t.ChineseCLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
        processor = t.ChineseCLIPProcessor(image_processor=pixels, tokenizer=tokenizer)
    with torch.no_grad():  # so that two texts differ by much more than rounding
        model.text_model.get_input_embeddings().weight.mul_(20)
        if family.startswith("siglip"):  # a new one's is zero
            model.text_model.head.bias.normal_(std=0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
