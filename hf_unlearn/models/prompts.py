"""How a checkpoint reads prompts: their token ids, where a context goes, padding, and how long they may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import PROBES
from hf_unlearn.text import brief

NAME_ROOM = 16  # tokens that the longest possible context leaves for a class name; half of few tokens
TRAINED_LENGTH = 64  # tokens that SigLIP was trained to read, and attend to, padding among them
OLD_EOS = 2  # in configs of CLIP before transformers 4.31


class PromptReader:
    """The tokenizer of a checkpoint beside the bounds of its text tower.

    Args:
        tokenizer: of transformers.
        model_id: for messages.
        config: transformers' config of the checkpoint.
        embeddings: tokens that the text tower knows.

    Attributes:
        longest: tokens that a prompt may have, its context among them.
        start: where a context goes: 1 behind BOS, 0 where the tokenizer puts no BOS before a text.

    Raises:
        InputError: if the tower reads too few tokens for the texts by which a base is known. Also if the tokenizer
            gives tokens that the tower lacks.
    """

    def __init__(self, tokenizer: Any, model_id: str, config: Any, embeddings: int) -> None:
        self.tokenizer, self.model_id, self.embeddings = tokenizer, model_id, embeddings
        self.family, self.eos = config.model_type, config.text_config.eos_token_id
        self.pads_all = self.family.startswith("siglip")
        positions: int = config.text_config.max_position_embeddings
        self.longest = min(TRAINED_LENGTH, positions) if self.pads_all else positions
        needed = max(len(self.ids(text)) for text in PROBES)
        if needed > self.longest:
            raise InputError(
                f"{model_id}: its text tower reads {self.longest} tokens, too few for a context and a name; expected "
                f"{needed} or more, so choose another CLIP"
            )
        self.start = self._find_start()
        special = set(tokenizer.all_special_ids)
        self._placeholder = next(token for token in range(len(tokenizer)) if token not in special)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, with those that the tokenizer puts around it.

        Raises:
            InputError: if the text tower lacks one of them; a ValueError.
        """
        ids: list[int] = self.tokenizer(text, verbose=False)["input_ids"]  # no warning beside our error
        if max(ids, default=0) >= self.embeddings:
            raise InputError(
                f"{self.model_id}: its tokenizer gives token {max(ids)}, its text tower has {self.embeddings} of them; "
                "tokenizer and weights are of different models: get both again"
            )
        return ids

    def longest_context(self, template: str) -> int:
        """Tokens of the longest context that leaves room for a name within a template; 0 if there is no room."""
        room = self.longest - len(self.ids(template.format("")))
        return max(0, room - NAME_ROOM, room // 2)

    def check_room(self, template: str) -> None:
        """Refuses a template that leaves no room. Raises: InputError: if no context and name fit beside it."""
        if self.longest_context(template) < 1:
            raise InputError(
                f"{self.model_id}: its text tower reads {self.longest} tokens, and the template {brief(template)} "
                "leaves no room for a context and a name; use a shorter template"
            )

    def pools_last(self, prompts: Sequence[Sequence[int]]) -> bool:
        """Whether a causal tower of transformers pools every prompt where its last token occurs first."""
        return all(self._pooled(ids) == ids.index(ids[-1]) for ids in prompts)

    def check_pooling(self) -> None:
        """Refuses the tokenizer of another model. Raises: InputError: if a causal tower would pool before the text."""
        if self._pooled(self.ids("")) == 0:
            raise InputError(
                f"{self.model_id}: its tokenizer ends no text with the token at which its text tower reads it "
                f"(eos_token_id {self.eos}); tokenizer and weights are of different models: get both again"
            )

    def with_context(
        self, prompts: Sequence[list[int]], n_ctx: int
    ) -> tuple[list[list[int]], list[list[int]], list[int]]:
        """Prompts as rows of one length, with `n_ctx` places for a context.

        Returns:
            Ids and attention masks, a row each per prompt, and the first place of the context in each row.
        """
        start, context = self.start, [self._placeholder] * n_ctx
        rows = [prompt[:start] + context + prompt[start:] for prompt in prompts]
        length = self.longest if self.pads_all else max(map(len, rows))
        left = self.tokenizer.padding_side == "left"
        pad, mask_off = self._pad(), int(self.pads_all)
        ids, masks, first = [], [], []
        for row in rows:
            gap = length - len(row)
            ids.append([pad] * gap * left + row + [pad] * gap * (not left))
            masks.append([mask_off] * gap * left + [1] * len(row) + [mask_off] * gap * (not left))
            first.append(start + gap * left)
        return ids, masks, first

    def find_repeats(self, names: Sequence[str], template: str) -> dict[str, str]:
        """By name that becomes the same tokens as an earlier one within a template: the first of those."""
        seen: dict[tuple[int, ...], str] = {}
        firsts = {name: seen.setdefault(tuple(self.ids(template.format(name))), name) for name in names}
        return {name: first for name, first in firsts.items() if first != name}

    def _find_start(self) -> int:
        """1 if the tokenizer puts BOS (BERT calls it CLS) before every text, whatever the text is; else 0."""
        known = {self.tokenizer.bos_token_id, self.tokenizer.cls_token_id} - {None}
        for text in PROBES:
            bare = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            if bare:
                whole = self.ids(text)
                return int(whole[: len(bare)] != bare and (whole[0] in known or not (known or self.pads_all)))
        return int(self.ids("")[:1] in [[token] for token in known - {self.tokenizer.eos_token_id}])

    def _pooled(self, ids: Sequence[int]) -> int:
        """Where a causal tower of transformers pools: at EOS, or at the largest id in old configs of CLIP."""
        if self.family == "clip" and self.eos == OLD_EOS:
            return ids.index(max(ids)) if ids else 0
        return ids.index(self.eos) if self.eos in ids else 0

    def _pad(self) -> int:
        """The id of padding; a causal tower does not see it, so any will do where the tokenizer names none."""
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((token for token in known if token is not None), 0)


def check_distinguishable(model: object, names: Sequence[str]) -> None:
    """Refuses two names that a model with a tokenizer reads alike; other models are not asked.

    Args:
        model: a black box; its `same_tokens` finds such names.
        names: that are to be distinguished, each once.

    Raises:
        InputError: if two names become the same tokens within the model's template; it names both. A ValueError.
    """
    find = getattr(model, "same_tokens", None)
    if callable(find) and (alike := find(names)):
        one, other = alike
        raise InputError(
            f"{brief(one)} and {brief(other)} become the same tokens in {getattr(model, 'model_id', 'this model')}, "
            "which can't distinguish them; remove one, or write it otherwise"
        )
