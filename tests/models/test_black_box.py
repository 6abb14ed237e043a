"""The black box against transformers itself: every family, every path, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox
from hf_unlearn.errors import HfUnlearnError, InputError, PromptTooLongError
from hf_unlearn.models.black_box import Ledger, check_template
from hf_unlearn.models.prompts import NAME_ROOM
from tests.support.families import FAMILIES, write_family
from tests.support.images import COLOURS, coloured

NAMES = list(COLOURS)
UNEVEN = ["a", "beer mug", "a very long name of a thing", "7", "dog-eared book, torn"]


def own_features(model: ClipBlackBox, texts: list[str]) -> torch.Tensor:
    """What transformers makes of whole texts, by the padding its zero-shot pipeline uses."""
    siglip = model.family.startswith("siglip")
    padding = {"padding": "max_length", "max_length": 64} if siglip else {"padding": True}
    inputs = model.tokenizer(texts, return_tensors="pt", **padding)
    with torch.no_grad():
        return F.normalize(model.model.get_text_features(**inputs).pooler_output, dim=-1)


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


def random_contexts(model: ClipBlackBox, population: int, n_ctx: int, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(population, n_ctx, model.dim, generator=torch.Generator().manual_seed(seed))
    return model.token_mean + model.token_std * noise


# Against transformers


@pytest.mark.parametrize("template", ["{}", "This is a photo of {}.", "{} , said the fox"])
@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_context_the_text_features_are_the_models_own(family_folder, family, template):
    model = ClipBlackBox(family_folder(family), template=template)
    got = model.text_features(torch.zeros(1, 0, model.dim), UNEVEN)[0]
    expected = own_features(model, [template.format(name) for name in UNEVEN])
    assert relative(got, expected) < 1e-5
    assert relative(got, expected.roll(1, 0)) > 1e-3


@pytest.mark.parametrize("shared_prefix", [True, False])
@pytest.mark.parametrize("template", ["{}", "a photo of {}."])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_context_of_real_words_is_read_like_those_words(family_folder, family, template, shared_prefix):
    model = ClipBlackBox(family_folder(family), template=template, shared_prefix=shared_prefix)
    plain_ids, ids = (model.tokenizer(text + template.format("cat"))["input_ids"] for text in ("", "big red "))
    start = int(plain_ids[0] in model.tokenizer.all_special_ids)
    words = ids[start : start + len(ids) - len(plain_ids)]
    assert ids == plain_ids[:start] + words + plain_ids[start:]
    context = model.model.text_model.get_input_embeddings().weight[words].detach()
    got = model.text_features(context[None], UNEVEN)[0]
    expected = own_features(model, ["big red " + template.format(name) for name in UNEVEN])
    plain = own_features(model, [template.format(name) for name in UNEVEN])
    assert relative(got, expected) < 1e-5
    assert relative(plain, expected) > 1e-3


def test_padding_stands_on_the_side_that_the_tokenizer_says(tmp_path):
    model = ClipBlackBox(write_family(tmp_path, "siglip2", padding_side="left"))
    assert model.tokenizer.padding_side == "left"
    expected = own_features(model, [model.template.format(name) for name in UNEVEN])
    assert relative(model.text_features(torch.zeros(1, 0, model.dim), UNEVEN)[0], expected) < 1e-5


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_the_plain_scores_are_those_of_transformers_pipeline(clip_folder, shared_prefix):
    from transformers import pipeline

    images = list(coloured(2))
    model = ClipBlackBox(clip_folder, shared_prefix=shared_prefix)
    got = model.zero_shot(model.add_images(images), UNEVEN).exp()
    judge = pipeline("zero-shot-image-classification", model=clip_folder)
    for row, answer in zip(got, judge(images, candidate_labels=UNEVEN), strict=True):
        expected = {item["label"]: item["score"] for item in answer}
        torch.testing.assert_close(row, torch.tensor([expected[name] for name in UNEVEN]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_an_old_style_config_pools_where_transformers_does(old_style_folder, clip_folder, shared_prefix):
    model = ClipBlackBox(old_style_folder, shared_prefix=shared_prefix)
    assert model.model.config.text_config.eos_token_id == 2
    expected = own_features(model, [model.template.format(name) for name in UNEVEN])
    assert relative(model.text_features(torch.zeros(1, 0, model.dim), UNEVEN)[0], expected) < 1e-5
    new_style = ClipBlackBox(clip_folder, shared_prefix=shared_prefix)
    contexts = random_contexts(model, 3, 4)
    assert relative(model.text_features(contexts, UNEVEN), new_style.text_features(contexts, UNEVEN)) < 1e-5


@pytest.mark.parametrize("template", ["{}", "This is a photo of {}."])
@pytest.mark.parametrize("n_ctx", [0, 1, 4, 16])
@pytest.mark.parametrize("family", ["clip", "metaclip_2"])
def test_the_shared_prefix_changes_nothing(family_folder, family, n_ctx, template):
    fast = ClipBlackBox(family_folder(family), template=template)
    slow = ClipBlackBox(family_folder(family), template=template, shared_prefix=False)
    contexts = random_contexts(fast, 3, n_ctx)
    assert relative(fast.text_features(contexts, UNEVEN), slow.text_features(contexts, UNEVEN)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_log_probabilities_of_every_family(family_folder, family):
    model = ClipBlackBox(family_folder(family))
    images = model.add_images(coloured(2))
    scores = model.log_scores(random_contexts(model, 3, 2), images, NAMES)
    assert scores.shape == (3, len(images), len(NAMES))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(3, len(images)))
    assert (scores[0] - scores[1]).abs().max() > 1e-4


# One answer, however it is asked for


def test_scoring_many_candidates_at_once_equals_scoring_each_alone(clip):
    images = clip.add_images(coloured(1))
    contexts = random_contexts(clip, 250, 4)  # more than one chunk
    together = clip.log_scores(contexts, images, UNEVEN)
    for row in (0, 60, 61, 99, 100, 124, 125, 249):
        alone = clip.log_scores(contexts[row : row + 1], images, UNEVEN)[0]
        torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-5)


def test_a_name_is_scored_alike_whatever_stands_beside_it(clip):
    context = random_contexts(clip, 1, 4)
    together = clip.text_features(context, UNEVEN)[0]
    for row, name in enumerate(UNEVEN):
        assert relative(together[row], clip.text_features(context, [name])[0, 0]) < 1e-5


def test_the_order_of_names_only_permutes_the_columns(clip):
    images = clip.add_images(coloured(1))
    context = random_contexts(clip, 1, 4)
    scores = clip.log_scores(context, images, UNEVEN)
    turned = clip.log_scores(context, images, UNEVEN[::-1])
    torch.testing.assert_close(turned.flip(-1), scores, rtol=1e-5, atol=1e-5)


def test_image_batches_change_nothing(clip):
    images = list(coloured(10))  # 40: more than one batch
    together = clip.add_images(images)
    alone = torch.cat([clip.add_images([image]).features for image in images])
    torch.testing.assert_close(together.features, alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(clip.add_images(image for image in images).features, together.features)
    assert len(together) == 40


def test_a_transparent_image_is_seen_on_white(clip):
    clear, white = Image.new("RGBA", (24, 24), (0, 0, 0, 0)), Image.new("RGB", (24, 24), "white")
    torch.testing.assert_close(clip.add_images([clear]).features, clip.add_images([white]).features)


@pytest.mark.parametrize("name", ["<|endoftext|>", "a <|endoftext|> b", "<|startoftext|> dog"])
def test_a_name_that_spells_a_special_token_is_still_read_as_transformers_does(clip_folder, name):
    for shared_prefix in (True, False):
        for template in ("{}", "a photo of {}."):
            model = ClipBlackBox(clip_folder, template=template, shared_prefix=shared_prefix)
            got = model.text_features(torch.zeros(1, 0, model.dim), [name, "cat"])[0]
            expected = own_features(model, [template.format(name), template.format("cat")])
            assert relative(got, expected) < 1e-5, (template, shared_prefix)


def test_names_in_any_script_are_told_apart(clip):
    features = clip.text_features(torch.zeros(1, 0, clip.dim), ["ビール", "пиво", "🍺", "beer", "{}", "%s"])[0]
    assert torch.isfinite(features).all()
    assert (features @ features.T - torch.eye(6)).abs().max() < 1 - 1e-5


def test_lower_precision_still_answers_in_float32_and_nearly_the_same(clip_folder, clip):
    half = ClipBlackBox(clip_folder, dtype=torch.bfloat16)
    context = random_contexts(clip, 1, 4)
    scores = half.log_scores(context, half.add_images(coloured(1)), NAMES)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(1, 4))
    torch.testing.assert_close(scores, clip.log_scores(context, clip.add_images(coloured(1)), NAMES), rtol=0, atol=0.1)


# The ledger


def test_the_ledger_counts_candidates_and_images(clip_folder):
    model = ClipBlackBox(clip_folder)
    assert model.ledger == Ledger(0, 0, 0)
    images = model.add_images(coloured(3))
    assert model.ledger == Ledger(0, 0, 12)
    model.log_scores(random_contexts(model, 5, 4), images, NAMES)
    assert (model.ledger.queries, model.ledger.image_encodings) == (5, 12)
    once = model.ledger.text_tokens
    model.log_scores(random_contexts(model, 10, 4), images, NAMES)
    assert model.ledger.queries == 15
    assert model.ledger.text_tokens == 3 * once > 0


def test_the_plain_scores_and_the_fingerprint_cost_no_query(clip_folder):
    model = ClipBlackBox(clip_folder)
    model.zero_shot(model.add_images(coloured(1)), NAMES)
    assert model.ledger.queries == 0
    before = model.ledger.copy()
    model.fingerprint()
    assert model.ledger == before


def test_a_ledger_says_what_was_asked_since_an_earlier_one():
    now, then = Ledger(10, 500, 7), Ledger(4, 100, 7)
    assert now.since(then) == Ledger(6, 400, 0)
    kept = now.copy()
    now.queries += 1
    assert kept.queries == 10


# The fingerprint


def test_the_fingerprint_is_finite_deterministic_and_independent_of_the_template(clip, clip_folder):
    again = ClipBlackBox(clip_folder, template="x {} y").fingerprint()
    assert clip.fingerprint() == again
    rows = torch.tensor(again)
    assert len(rows) == 8
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(8), atol=1e-3, rtol=0)


# Templates


@pytest.mark.parametrize("template", ["", "no place", "{} and {}", "{name}", "{0}", "{} }", "{{}}", "{!r}"])
def test_a_bad_template_is_refused(clip_folder, clip, template):
    with pytest.raises(ValueError, match=r"a template has one \{\}"):
        ClipBlackBox(clip_folder, template=template)
    with pytest.raises(ValueError, match=r"a template has one \{\}"):
        clip.with_template(template)
    with pytest.raises(ValueError, match=r"a template has one \{\}"):
        check_template(template)


def test_another_template_shares_weights_and_ledger_and_leaves_the_first_alone(clip):
    names, context = ["red", "green"], torch.zeros(1, 0, clip.dim)
    before = clip.text_features(context, names)
    other = clip.with_template("{} on a plate")
    assert other.model is clip.model
    assert other.ledger is clip.ledger
    expected = own_features(clip, ["red on a plate", "green on a plate"])
    assert relative(other.text_features(context, names)[0], expected) < 1e-5
    assert torch.equal(clip.text_features(context, names), before)


def test_another_template_has_its_own_longest_context(clip_folder, clip):
    template = "a rather long way to introduce {}"
    assert clip.with_template(template).max_n_ctx == ClipBlackBox(clip_folder, template=template).max_n_ctx


# Refusals


def test_the_longest_context_leaves_room_for_a_name(clip):
    images = clip.add_images(coloured(1))
    longest = torch.zeros(1, clip.max_n_ctx, clip.dim)
    assert torch.isfinite(clip.log_scores(longest, images, ["x" * NAME_ROOM, "y"])).all()
    message = rf"a context of {clip.max_n_ctx} tokens and the prompt of 'x+' take 78 tokens, .* reads 77"
    with pytest.raises(PromptTooLongError, match=message):
        clip.log_scores(longest, images, ["y", "x" * (NAME_ROOM + 1)])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_context_that_does_not_fit_is_refused_by_every_family(family_folder, family):
    model = ClipBlackBox(family_folder(family))
    with pytest.raises(PromptTooLongError, match=f"the text tower of .* reads {model.positions}"):
        model.text_features(torch.zeros(1, model.positions, model.dim), NAMES)


def test_a_refused_context_is_not_counted(clip_folder):
    model = ClipBlackBox(clip_folder)
    images = model.add_images(coloured(1))
    with pytest.raises(ValueError, match="reads 77"):
        model.log_scores(torch.zeros(2, 77, model.dim), images, NAMES)
    assert (model.ledger.queries, model.ledger.text_tokens) == (0, 0)


@pytest.mark.parametrize("shape", [(1, 4, 31), (4, 32), (32,), (1, 1, 4, 32)])
def test_contexts_of_another_shape_are_refused(clip, shape):
    with pytest.raises(ValueError, match=r"expected contexts of shape \(P, m, 32\), got"):
        clip.text_features(torch.zeros(shape), NAMES)


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize("n_ctx", [0, 2])
def test_no_context_at_all_is_refused(family_folder, family, n_ctx):
    model = ClipBlackBox(family_folder(family))
    with pytest.raises(InputError, match="expected at least one context, got none"):
        model.text_features(torch.zeros(0, n_ctx, model.dim), NAMES)


def test_no_image_and_unreadable_images_are_refused(clip, tmp_path):
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        clip.add_images([])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ValueError, match=r"broken\.png"):
        clip.add_images([tmp_path / "broken.png"])


def test_a_model_of_another_kind_is_refused_by_name(tmp_path):
    from transformers import BertConfig

    BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'bert' is no zero-shot CLIP we know; expected clip, metaclip_2, siglip"):
        ClipBlackBox(str(tmp_path))


def test_a_model_that_brings_its_own_code_is_refused_and_the_code_not_run(tmp_path, clip_folder):
    folder = tmp_path / "theirs"
    shutil.copytree(clip_folder, folder)
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w').close()\nclass C: ...\nclass M: ...\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.C", "AutoModel": "theirs.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="theirs: it needs code from its repository, and none is run"):
        ClipBlackBox(str(folder))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("config.json", b"quick_gelu", b"slow_gelu", "its files fit no CLIP"),
        ("config.json", b'"num_attention_heads": 4', b'"num_attention_heads": "x"', "its files fit no CLIP"),
        ("tokenizer_config.json", b"77", b"[7]", "its files fit no CLIP"),
        ("tokenizer.json", b'"type"', b'"kind"', "its files fit no CLIP"),
        ("model.safetensors", b'"text_projection.weight"', b'"text_projectiom.weight"', "its weights lack 1 tensors"),
        ("model.safetensors", b'"vision_model.', b'"vision_modem.', "its weights lack .* tensors"),
    ],
)
def test_files_that_fit_no_clip_are_one_sentence(tmp_path, clip_folder, name, old, new, words):
    for path in Path(clip_folder).iterdir():
        content = path.read_bytes()
        assert path.name != name or old in content
        (tmp_path / path.name).write_bytes(content.replace(old, new) if path.name == name else content)
    with pytest.raises(HfUnlearnError, match=words) as refused:
        ClipBlackBox(str(tmp_path))
    assert str(refused.value).startswith(str(tmp_path))
    assert "\n" not in str(refused.value)


def test_a_tokenizer_with_more_tokens_than_the_text_tower_is_told(clip_folder):
    box = ClipBlackBox(clip_folder)
    box.tokenizer.add_tokens(["zzyzx"])
    assert box.text_features(torch.zeros(1, 0, box.dim), ["red"]).isfinite().all()
    with pytest.raises(ValueError, match="tokenizer and weights are of different models"):
        box.text_features(torch.zeros(1, 0, box.dim), ["red", "zzyzx"])
