"""A model under adapters: what it refuses, and what it passes on to its base."""

import pytest
import torch

from hf_unlearn.errors import InputError
from hf_unlearn.models.adapted_box import AdaptedBox
from hf_unlearn.models.black_box import as_text_encoder, is_text_encoder
from hf_unlearn.models.text_edit import TextEdit


class ScoresOnly:
    """A box that gives scores and nothing else, as a Space does."""

    def __init__(self, clip) -> None:
        self.model_id, self.dim, self.max_n_ctx = "user/space", clip.dim, clip.max_n_ctx
        self.log_scores = clip.log_scores


@pytest.fixture
def edit(clip) -> TextEdit:
    return TextEdit(torch.randn(clip.width, 1), torch.randn(1, clip.width))


def test_which_boxes_give_text_features(clip, edit):
    context = torch.zeros(2, clip.dim)
    assert is_text_encoder(clip)
    assert is_text_encoder(AdaptedBox(clip, context, edit))
    assert not is_text_encoder(ScoresOnly(clip))
    assert not is_text_encoder(AdaptedBox(ScoresOnly(clip), context))
    assert as_text_encoder(clip) is clip


def test_the_bound_of_a_context_is_never_negative(clip):
    assert AdaptedBox(clip, torch.zeros(2, clip.dim)).max_n_ctx == clip.max_n_ctx - 2
    assert AdaptedBox(clip, torch.zeros(clip.max_n_ctx + 2, clip.dim)).max_n_ctx == 0


def test_an_edit_over_scores_is_refused_under_a_context_too(clip, edit):
    under_context = AdaptedBox(ScoresOnly(clip), torch.zeros(2, clip.dim))
    with pytest.raises(InputError, match="user/space answers with scores only, and an edit needs its text features"):
        AdaptedBox(under_context, edit=edit)
    with pytest.raises(InputError, match="user/space answers with scores only"):
        under_context.text_features(torch.zeros(1, 0, clip.dim), ["red"])
