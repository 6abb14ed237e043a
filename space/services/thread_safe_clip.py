"""A CLIP that the threads of many visitors use at once, and that remembers the labels asked about last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from torch import Tensor

from hf_unlearn import ClipBlackBox

REMEMBERED, LARGEST = 64 * 2**20, 512 * 2**10  # bytes of all lists of labels with their features, and of one


class ThreadSafeClip(ClipBlackBox):
    """Its weights are only read, so what was computed once holds. Copies share all of this.

    The path that puts a hook on the text tower is one caller's at a time.

    Attributes:
        watch: of one caller's copy, called before the text tower and the image tower are, with the number of names (of
            images: 0); what it raises ends the work.
        remembers: of one caller's copy; False for who asks about all words there are, once.
        vocabulary: held by who makes an edit, so that two do not encode the same vocabulary at once.
    """

    watch: Callable[[int], None] | None = None
    remembers = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hooked, self._remembering, self.vocabulary = Lock(), Lock(), Lock()
        self._texts: OrderedDict[Any, tuple[Tensor, int]] = OrderedDict()
        self._size = [0]  # of them; in a list, for copies share it
        self._print = lru_cache(maxsize=1)(super().fingerprint)

    @classmethod
    def of_snapshot(cls, folder: Path, model_id: str, revision: str, device: str | None) -> ThreadSafeClip:
        """A model on the Hub from the folder it was fetched to.

        Raises:
            ValueError: if it can't be loaded; the message calls it by its id.
        """
        try:
            model = cls(str(folder), device=device)
        except (ValueError, OSError) as error:
            raise ValueError(str(error).replace(f"{folder}/", "").replace(str(folder), model_id)) from error
        except Exception as error:  # transformers raises anything at configs that fit no weights
            raise ValueError(
                f"{model_id}: its files fit no CLIP ({type(error).__name__}); choose another one."
            ) from error
        model.model_id, model.revision = model_id, revision
        return model

    def fingerprint(self) -> list[list[float]]:
        return self._print()

    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """One context's are remembered: a visitor asks about the same labels again and again. All are in the ledger."""
        if self.watch is not None:
            self.watch(len(names))
        if len(contexts) != 1 or not self.remembers:
            return super().text_features(contexts, names)
        key = self.template, tuple(names), tuple(contexts.shape), contexts.cpu().numpy().tobytes()
        with self._remembering:
            known = self._texts.get(key)
        if known is not None:
            features, tokens = known
            self.ledger.text_tokens += tokens
        else:
            before = self.ledger.text_tokens
            features = super().text_features(contexts, names)
            tokens = self.ledger.text_tokens - before
        if features.nbytes <= LARGEST:
            self._remember(key, features, tokens)
        return features

    def _remember(self, key: Any, features: Tensor, tokens: int) -> None:
        with self._remembering:
            if key not in self._texts:
                self._size[0] += _bytes(key, features)
            self._texts[key] = features, tokens
            self._texts.move_to_end(key)
            while self._size[0] > REMEMBERED:
                gone, (old, _) = self._texts.popitem(last=False)
                self._size[0] -= _bytes(gone, old)

    def _image_features(self, inputs: Any) -> Tensor:
        if self.watch is not None:
            self.watch(0)
        return super()._image_features(inputs)

    def _inject(self, contexts: Tensor, prompts: list[list[int]]) -> Tensor:
        with self._hooked:
            return super()._inject(contexts, prompts)


def _bytes(key: Any, features: Tensor) -> int:
    """About what a remembered list of labels takes in memory."""
    _, names, _, context = key
    return features.nbytes + len(context) + sum(80 + 4 * len(name) for name in names)


def parameters(model: ClipBlackBox) -> int:
    """How many numbers the weights hold."""
    return sum(weight.numel() for weight in model.model.parameters())
