"""How prompts are read: few and many positions, where a context goes, names that become the same tokens."""

import json
import shutil

import pytest
import torch
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox, LabeledImages, audit, evaluate, unlearn
from hf_unlearn.errors import InputError, PromptTooLongError
from hf_unlearn.models.prompts import PromptReader, check_distinguishable
from tests.support.families import FAMILIES, write_family
from tests.support.images import coloured

COLOURS = ["red", "green", "blue", "grey"]
WORDS = ["This", "is", "a", "photo", "of", ".", "cat", *COLOURS]


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    """SigLIPs of either kind that read so many positions, by whole words."""
    made = {}

    def load(positions: int, family: str = "siglip", **options) -> ClipBlackBox:
        if (positions, family) not in made:
            folder = tmp_path_factory.mktemp(f"{family}-{positions}")
            made[positions, family] = write_family(folder, family, positions=positions, words=WORDS)
        return ClipBlackBox(made[positions, family], device="cpu", **options)

    return load


def plain_features(model: ClipBlackBox, texts: list[str], length: int) -> torch.Tensor:
    """What transformers gives for texts padded to a length."""
    inputs = model.tokenizer(texts, return_tensors="pt", padding="max_length", max_length=length)
    with torch.no_grad():
        return F.normalize(model.model.get_text_features(**inputs).pooler_output, dim=-1)


@pytest.mark.parametrize("family", ["siglip", "siglip2"])
@pytest.mark.parametrize(("positions", "read", "longest"), [(16, 16, 4), (32, 32, 12), (64, 64, 41), (128, 64, 41)])
def test_siglip_is_padded_to_64_tokens_or_to_its_positions(siglip, family, positions, read, longest):
    model = siglip(positions, family)
    assert model.positions == read
    assert model.max_n_ctx == longest or family == "siglip2"  # whose class reads these words in another way
    got = model.text_features(torch.zeros(1, 0, model.dim), COLOURS)[0]
    torch.testing.assert_close(got, plain_features(model, [model.template.format(c) for c in COLOURS], read))
    with_context = model.text_features(torch.randn(2, model.max_n_ctx, model.dim), COLOURS)
    assert with_context.isfinite().all()
    long = " ".join(["cat"] * read)
    with pytest.raises(PromptTooLongError, match=f"the prompt of 'cat cat.* reads {read};"):
        model.text_features(torch.zeros(1, 0, model.dim), ["red", long])


def test_a_template_that_leaves_no_room_is_refused_at_load_and_its_bound_is_never_negative(siglip):
    for words, n_ctx in ((14, 0), (13, 1), (12, 1), (40, 0)):
        template = " ".join(["cat"] * words) + " {}"
        assert siglip(16).with_template(template).max_n_ctx == n_ctx
        if not n_ctx:
            with pytest.raises(InputError, match=r"reads 16 tokens, and the template .* leaves no room"):
                siglip(16, template=template)


def test_a_tower_that_reads_too_few_tokens_is_refused_at_load(siglip):
    with pytest.raises(InputError, match="its text tower reads 6 tokens, too few for a context and a name; expected 7"):
        siglip(6)


# Where the context goes


@pytest.mark.parametrize("family", FAMILIES)
def test_the_context_goes_behind_bos_and_first_where_there_is_none(family_folder, family):
    model = ClipBlackBox(family_folder(family), device="cpu")
    assert model.reader.start == (0 if family.startswith("siglip") else 1)


def test_an_unknown_word_in_the_first_label_moves_no_context(siglip):
    model = siglip(64, template="{}")
    context = torch.randn(1, 3, model.dim)
    one, other = (model.text_features(context, names)[0] for names in (["red", "zebra"], ["zebra", "red"]))
    torch.testing.assert_close(one, other.flip(0))
    alone = torch.cat([model.text_features(context, [name])[0] for name in ("red", "zebra")])
    torch.testing.assert_close(one, alone)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_label_of_special_tokens_moves_no_context(family_folder, family):
    model = ClipBlackBox(family_folder(family), device="cpu", template="{}")
    context = torch.randn(1, 3, model.dim)
    ids = zip(model.tokenizer.all_special_tokens, model.tokenizer.all_special_ids, strict=True)
    for special in dict.fromkeys(token for token, number in ids if number < model.reader.embeddings):
        one, other = (model.text_features(context, names)[0] for names in (["red", special], [special, "red"]))
        torch.testing.assert_close(one, other.flip(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one[:1], model.text_features(context, ["red"])[0], rtol=1e-4, atol=1e-5)


def test_a_tokenizer_without_bos_or_padding_is_read_as_transformers_reads_it(clip_folder):
    from tokenizers.processors import TemplateProcessing

    model = ClipBlackBox(clip_folder, device="cpu")
    eos = model.tokenizer.eos_token
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=["$A", eos], special_tokens=[(eos, model.tokenizer.eos_token_id)]
    )
    model.tokenizer.pad_token = None
    embeddings = model.model.text_model.get_input_embeddings().num_embeddings
    model.reader = PromptReader(model.tokenizer, "x", model.model.config, embeddings)
    assert model.reader.start == 0
    got = model.with_template("{}").text_features(torch.zeros(1, 0, model.dim), ["cat", "a dog"])[0]
    for row, text in zip(got, ("cat", "a dog"), strict=True):
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = F.normalize(model.model.get_text_features(input_ids=ids).pooler_output, dim=-1)[0]
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


def test_a_tokenizer_whose_end_is_another_than_the_towers_is_refused(clip_folder, tmp_path):
    shutil.copytree(clip_folder, folder := tmp_path / "other")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["eos_token_id"] = 7
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match=r"eos_token_id 7\); tokenizer and weights are of different models"):
        ClipBlackBox(str(folder))


# Names that become the same tokens


@pytest.mark.parametrize(
    ("family", "one", "other"),
    [("siglip", "zebra", "lynx"), ("chinese_clip", "Apple", "apple"), ("chinese_clip", "café", "cafe")],
)
def test_two_names_that_become_the_same_tokens_are_refused_by_name(siglip, family_folder, family, one, other):
    model = siglip(64) if family == "siglip" else ClipBlackBox(family_folder(family), device="cpu")
    check_distinguishable(model, ["red", one])
    with pytest.raises(InputError, match=f"'{one}' and '{other}' become the same tokens in .*; remove one"):
        check_distinguishable(model, ["red", one, "blue", other])


def test_a_model_without_a_tokenizer_is_not_asked():
    check_distinguishable(object(), ["Apple", "apple"])


def relabelled(*names: str) -> LabeledImages:
    drawn = coloured(2)
    return LabeledImages(list(drawn), [label % len(names) for label in drawn.labels], names)


def test_evaluate_audit_and_classify_refuse_such_names_before_they_read_an_image():
    model = ClipBlackBox(device="cpu")
    adapter = unlearn(model, forget=["gun"]).adapter
    adapted = adapter.load_base(device="cpu")
    fine, alike = relabelled("gun", "cat"), relabelled("gun", "cat", "Cat")
    calls = [
        lambda: evaluate(model, alike, adapter),
        lambda: evaluate(model, fine, adapter, unlisted=relabelled("Cat", "cat")),
        lambda: audit(model, adapter, alike, progress=False),
        lambda: audit(model, adapter, fine, unlisted=relabelled("Cat", "cat"), progress=False),
        lambda: adapted.classify(list(fine), ["Cat", "gun", "cat"]),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"'[Cc]at' and '[Cc]at' become the same tokens in embedded"):
            call()
    assert model.ledger.image_encodings == adapted.model.ledger.image_encodings == 0
    assert adapted.text_features(["Cat", "cat"]).shape == (2, model.width)
