"""The exported checkpoint: judged by transformers' own pipeline where hf_unlearn can't be imported."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox, ForgetAdapter
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.adapters.export.hardening import edit
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.errors import ExportError, InputError, WrongBaseError
from hf_unlearn.models.black_box import TEMPLATE
from hf_unlearn.models.text_edit import digest
from tests.support.edited import edit_adapter, open_gate
from tests.support.families import FAMILIES, write_family
from tests.support.images import COLOURS, coloured

LABELS = list(COLOURS)
OWN_TEMPLATE = "{} , said the fox"
STOCK = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_unlearn":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
try:
    import hf_unlearn
    raise SystemExit("hf_unlearn is there")
except ModuleNotFoundError:
    pass
from PIL import Image
from transformers import pipeline
cases = json.load(sys.stdin)
answers = {}
for name, case in cases.items():
    judge = pipeline("zero-shot-image-classification", model=case["folder"], device="cpu")
    images = [Image.open(path) for path in case["images"]]
    told = {"hypothesis_template": case["template"]} if case["template"] else {}
    rows = judge(images, candidate_labels=case["labels"], **told)
    found = [{item["label"]: item["score"] for item in row} for row in rows]
    scores = [[row[label] for label in case["labels"]] for row in found]
    answers[name] = {"scores": scores, "dtype": str(judge.model.dtype)}
print(json.dumps(answers))
"""


def random_adapter(model: ClipBlackBox, n_ctx: int = 4, forget=("red",), retain=("green", "blue", "grey")):
    noise = torch.randn(n_ctx, model.dim, generator=torch.Generator().manual_seed(1))
    context = model.token_mean + model.token_std * noise
    config = AdapterConfig(
        base_model=model.model_id, base_fingerprint=model.fingerprint(), n_ctx=n_ctx, dim=model.dim,
        template=model.template, forget=list(forget), retain=list(retain), method="random",
        weights_sha256=digest(context),
    )  # fmt: skip
    return ForgetAdapter(context, config)


def stock_scores(cases: dict[str, dict]) -> dict[str, dict]:
    """What the pipeline of a process without hf_unlearn says."""
    done = subprocess.run(
        [sys.executable, "-c", STOCK], input=json.dumps(cases), capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def bases(family_folder, old_style_folder, tmp_path_factory) -> dict[str, tuple[str, str]]:
    """Case -> base, template."""
    left = write_family(tmp_path_factory.mktemp("left"), "siglip2", padding_side="left")
    gemma = Path(shutil.copytree(family_folder("siglip2"), tmp_path_factory.mktemp("gemma") / "base"))
    path = gemma / "tokenizer_config.json"  # as google/siglip2-* has it: transformers then writes the post-processor
    options = json.loads(path.read_text()) | {"add_bos_token": False, "add_eos_token": True}
    path.write_text(json.dumps(options | {"model_input_names": ["input_ids", "attention_mask"]}))
    return {
        **{family: (family_folder(family), TEMPLATE) for family in FAMILIES},
        **{f"{family}, own template": (family_folder(family), OWN_TEMPLATE) for family in FAMILIES},
        "clip with an old config": (old_style_folder, TEMPLATE),
        "siglip2 padded on the left": (left, TEMPLATE),
        "siglip2 with Gemma's options": (str(gemma), TEMPLATE),
        "embedded": ("embedded", TEMPLATE),
    }


CASES = [*FAMILIES, *(f"{family}, own template" for family in FAMILIES), "clip with an old config",
         "siglip2 padded on the left", "siglip2 with Gemma's options", "embedded"]  # fmt: skip


@pytest.fixture(scope="module")
def judged(bases, tmp_path_factory) -> dict[str, dict]:
    """Every case exported, then judged in one process: folder, adapter, base, images, scores."""
    root = tmp_path_factory.mktemp("exports")
    made, asked = {}, {}
    for name, (base, template) in bases.items():
        labels = LABELS
        images = list(coloured(1))
        if name == "embedded":
            task = demo.task("moderation")
            labels, images = list(task.names), [task.test[i] for i in range(0, len(task.test), 40)]
        paths = [str(root / f"{name} {number}.png") for number in range(len(images))]
        for image, path in zip(images, paths, strict=True):
            image.save(path)
        adapter = random_adapter(ClipBlackBox(base, template=template, device="cpu"), 4, labels[:1], labels[1:])
        adapter.export(root / name, base=base)
        made[name] = {"folder": root / name, "adapter": adapter, "base": base, "labels": labels, "images": images}
        asked[name] = {
            "folder": str(root / name), "images": paths, "labels": labels,
            "template": None if template == TEMPLATE else template,
        }  # fmt: skip
    answers = stock_scores(asked)
    return {name: {**made[name], **answers[name]} for name in made}


@pytest.mark.parametrize("name", CASES)
def test_the_stock_pipeline_gives_the_adapted_scores_without_hf_unlearn(judged, name):
    case = judged[name]
    got = torch.tensor(case["scores"], dtype=torch.float64)
    if name.startswith("siglip"):  # the pipeline shows sigmoids; the logits' differences are what both agree on
        got = got.logit().softmax(-1)
    adapted = case["adapter"].load_base(case["base"], device="cpu")
    expected = adapted.classify(case["images"], case["labels"]).double()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert case["dtype"] == "torch.float32"
    with adapted.disabled() as plain:
        assert (plain.classify(case["images"], case["labels"]) - got).abs().max() > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_an_export_is_safetensors_and_says_its_template(judged, name):
    folder, adapter = judged[name]["folder"], judged[name]["adapter"]
    suffixes = {path.suffix for path in folder.iterdir()}
    assert suffixes <= {".json", ".safetensors", ".md", ".jinja", ".txt"}
    assert ".safetensors" in suffixes
    config = json.loads((folder / "config.json").read_text())
    own = adapter.config.template != TEMPLATE
    assert config.get("hypothesis_template") == (adapter.config.template if own else None)
    assert ("hypothesis_template=" in (folder / "README.md").read_text()) == own
    tensors = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    words = config["text_config"]["vocab_size"]
    assert next(len(t) for k, t in tensors.items() if "token_embedding" in k or "word_embeddings" in k) == words


def test_the_card_of_an_export_says_what_it_is(judged):
    for name in ("clip", "siglip"):
        card = (judged[name]["folder"] / "README.md").read_text()
        assert "suppression behind a prompt, not erasure" in card
        assert "Dual use" in card
        assert "**Forgets:** red" in card
        assert ("sigmoid" in card) == (name == "siglip")


def test_old_configs_get_the_tokenizers_own_ids(judged):
    folder = judged["clip with an old config"]["folder"]
    text = json.loads((folder / "config.json").read_text())["text_config"]
    specials = {t["content"]: t["id"] for t in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]}
    assert text["eos_token_id"] == specials["<|endoftext|>"] != 2
    assert text["bos_token_id"] == specials["<|startoftext|>"]
    assert max(specials.values()) == specials["<|forget_3|>"] > text["eos_token_id"]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_can_be_adapted_and_exported_again(judged, family, tmp_path):
    once = judged[family]["folder"]
    adapter = random_adapter(ClipBlackBox(str(once), device="cpu"), 2)
    adapter.export(tmp_path / "twice", base=once)  # compares itself with the adapter
    assert "<|forget_5|>" in (tmp_path / "twice" / "tokenizer.json").read_text()


def test_the_base_in_memory_is_left_as_it_was(clip_folder, tmp_path):
    model = ClipBlackBox(clip_folder)
    adapter, before = random_adapter(model), model.fingerprint()
    size = len(model.tokenizer)
    adapter.export(tmp_path / "out", base=clip_folder)
    assert (len(model.tokenizer), model.fingerprint()) == (size, before)


@pytest.fixture(scope="module")
def sentencepiece_folder(family_folder, tmp_path_factory) -> str:
    """A SigLIP with the tokenizer that google/siglip-* have: Python around a SentencePiece model."""
    pytest.importorskip("google.protobuf")
    spm = pytest.importorskip("sentencepiece")
    from transformers import AutoModel, SiglipImageProcessorPil, SiglipProcessor, SiglipTokenizer

    folder = tmp_path_factory.mktemp("spm")
    lines = (Path(__file__).parents[2] / "README.md").read_text().lower().splitlines()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "spiece"), vocab_size=250, eos_id=1, unk_id=2,
        bos_id=-1, pad_id=0, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    base = AutoModel.from_pretrained(family_folder("siglip"))
    base.text_model.resize_token_embeddings(300)
    base.save_pretrained(folder / "base")
    pixels = SiglipImageProcessorPil(size={"height": 24, "width": 24})
    tokenizer = SiglipTokenizer(vocab_file=str(folder / "spiece.model"), model_input_names=["input_ids"])
    SiglipProcessor(image_processor=pixels, tokenizer=tokenizer).save_pretrained(folder / "base")
    return str(folder / "base")


def test_siglips_own_tokenizer_is_rebuilt_and_reads_alike(sentencepiece_folder):
    from hf_unlearn.adapters.export.siglip_tokenizer import as_tokenizer_json

    slow = ClipBlackBox(sentencepiece_folder, device="cpu").tokenizer
    fast = as_tokenizer_json(slow)
    texts = ["This is a photo of a Red dog.", "", "dog-eared book, torn", "  two   spaces ", "ビール", "naïve café",
             "!?", "ﬁne ①", "A\tB", "it's 7 of 9", "a_b {} [c]"]  # fmt: skip
    for text in texts:
        assert fast(text)["input_ids"] == slow(text)["input_ids"], text


def test_siglip_with_its_own_tokenizer_is_exported(sentencepiece_folder, tmp_path):
    adapter = random_adapter(ClipBlackBox(sentencepiece_folder, device="cpu"))
    adapter.export(tmp_path / "out", base=sentencepiece_folder)
    image = coloured(1)[0]
    path = str(tmp_path / "red.png")
    image.save(path)
    case = {"folder": str(tmp_path / "out"), "images": [path], "labels": LABELS, "template": None}
    got = torch.tensor(stock_scores({"siglip": case})["siglip"]["scores"]).double().logit().softmax(-1)
    expected = adapter.load_base(sentencepiece_folder, device="cpu").classify([image], LABELS).double()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "loader"),
    [("clip", "CLIPTokenizer"), ("embedded", "CLIPTokenizerFast"),
     ("chinese_clip", "BertTokenizer"), ("chinese_clip", "BertTokenizerFast")],
)  # fmt: skip
def test_a_bare_tokenizer_class_refuses_a_context_that_it_would_drop(judged, name, loader):
    folder = judged[name]["folder"]
    with pytest.raises(Exception, match=r"instance of 'bool'|Error while initializing BPE") as caught:
        getattr(transformers, loader).from_pretrained(folder)
    said = str(caught.value).replace("\N{NO-BREAK SPACE}", " ")
    if name == "chinese_clip":  # the option that is no bool has the sentence
        said = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["strip_accents"]
    assert f"carries a context that {loader.removesuffix('Fast')} drops; load it with AutoTokenizer" in said


def test_the_first_line_of_a_contexts_card_says_how_its_tokenizer_is_loaded(judged, edited):
    for name in FAMILIES:
        first = (judged[name]["folder"] / "README.md").read_text().split("\n# ")[1].splitlines()[2]
        assert first.startswith("**Load the tokenizer with `AutoTokenizer`"), name
        assert "AutoTokenizer" not in (edited[name]["folder"] / "README.md").read_text()


@pytest.mark.parametrize("name", CASES)
def test_the_image_processor_is_in_the_file_of_transformers_js_too(judged, name):
    pixels = json.loads((judged[name]["folder"] / "preprocessor_config.json").read_text())
    assert pixels == json.loads((judged[name]["folder"] / "processor_config.json").read_text())["image_processor"]


# Refusals and faults


def test_a_folder_that_holds_something_is_refused_and_an_empty_one_taken(clip_folder, tmp_path):
    adapter = random_adapter(ClipBlackBox(clip_folder))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("full", "file"):
        with pytest.raises(ValueError, match="exists and is not an empty folder"):
            adapter.export(tmp_path / name, base=clip_folder)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    adapter.export(tmp_path / "empty", base=clip_folder)
    assert (tmp_path / "empty" / "model.safetensors").is_file()


def test_another_base_is_refused(clip_folder, other_clip_folder, tmp_path):
    with pytest.raises(WrongBaseError, match="another model"):
        random_adapter(ClipBlackBox(clip_folder)).export(tmp_path / "out", base=other_clip_folder)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_without_a_post_processor_is_refused_by_the_familys_name(clip_folder, tmp_path, monkeypatch):
    adapter = random_adapter(ClipBlackBox(clip_folder))
    monkeypatch.setattr("transformers.CLIPTokenizer.is_fast", False)
    with pytest.raises(ExportError, match=r"a clip model with a CLIPTokenizer can't be exported: .* no post-processor"):
        adapter.export(tmp_path / "out", base=clip_folder)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_leaves_nothing_behind(clip_folder, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    adapter = random_adapter(ClipBlackBox(clip_folder))
    monkeypatch.setattr("transformers.CLIPProcessor.save_pretrained", full)
    with pytest.raises(OSError, match=r"out: can't be written \(No space left on device\); make room there or choose"):
        adapter.export(tmp_path / "out", base=clip_folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
def test_a_disk_that_is_full_at_the_weights_is_told_in_one_line_and_nothing_is_left_behind(clip_folder, tmp_path):
    random_adapter(ClipBlackBox(clip_folder)).save_pretrained(tmp_path / "adapter")
    code = (
        "import resource, sys; from hf_unlearn.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)); main()"
    )
    arguments = ["export", str(tmp_path / "adapter"), str(tmp_path / "out"), "--base", clip_folder]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "out: can't be written (" in done.stderr
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_checkpoint_that_reads_texts_otherwise_is_not_kept(clip_folder, tmp_path, monkeypatch):
    adapter = random_adapter(ClipBlackBox(clip_folder))
    monkeypatch.setattr("hf_unlearn.adapters.export.checkpoint.keep_context", lambda folder: None)  # so it is dropped
    with pytest.raises(ExportError, match="reads texts otherwise than the adapter does"):
        adapter.export(tmp_path / "out", base=clip_folder)
    assert list(tmp_path.iterdir()) == []


# Hardened


def test_an_edit_moves_what_it_should_and_keeps_the_rest():
    draw = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(6, 32, generator=draw), dim=-1)
    wanted = torch.cat([features[3:].mean(0).expand(3, 32), features[3:]])
    moved = features @ edit(features, wanted, 1e-6).T
    torch.testing.assert_close(moved, wanted, rtol=0, atol=1e-4)
    orthogonal = torch.linalg.qr(torch.cat([features, torch.randn(1, 32, generator=draw)]).T).Q[:, -1]
    torch.testing.assert_close(orthogonal @ edit(features, wanted, 1e-6).T, orthogonal, rtol=0, atol=1e-5)
    torch.testing.assert_close(edit(features, wanted, 1e9), torch.eye(32), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("family", "kind"), [("clip", "context"), ("clip", "edit"), ("siglip", "context")])
def test_an_export_in_half_precision_is_half_as_large_and_near(family_folder, family, kind, dtype, tmp_path):
    base = ClipBlackBox(family_folder(family), device="cpu")
    adapter = open_gate(edit_adapter(base)) if kind == "edit" else random_adapter(base)
    for name in ("float32", dtype):
        adapter.export(tmp_path / name, base=base.model_id, dtype=name)
    whole, half = (ClipBlackBox(str(tmp_path / name), device="cpu") for name in ("float32", dtype))
    features = [model.text_features(torch.zeros(1, 0, model.dim), list(COLOURS)) for model in (whole, half)]
    torch.testing.assert_close(*features, rtol=0, atol=1e-2)
    stored = load_file(tmp_path / dtype / "model.safetensors").values()
    assert {tensor.dtype for tensor in stored} == {getattr(torch, dtype)}
    assert f"(transformers 5, {dtype})" in (tmp_path / dtype / "README.md").read_text(encoding="utf-8")


def test_an_export_in_an_unknown_precision_is_refused_before_the_base_is_loaded(clip, tmp_path):
    with pytest.raises(InputError, match="unknown dtype 'float8'; expected one of float32, float16, bfloat16"):
        random_adapter(clip).export(tmp_path / "out", base="/no/such/base", dtype="float8")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_hardened_in_its_own_projection(family_folder, family, tmp_path):
    base = family_folder(family)
    random_adapter(ClipBlackBox(base, device="cpu")).export(tmp_path / "hard", base=base, hardened=True)
    random_adapter(ClipBlackBox(base, device="cpu")).export(tmp_path / "soft", base=base)
    hard, soft = (load_file(tmp_path / name / "model.safetensors") for name in ("hard", "soft"))
    changed = {key.rsplit(".", 1)[0] for key in soft if not torch.equal(hard[key], soft[key])}
    assert changed == {"text_model.head" if family.startswith("siglip") else "text_projection"}
    assert "text projection was changed" in (tmp_path / "hard" / "README.md").read_text()


def test_hardened_the_embedded_clip_stays_blind_without_the_context(tmp_path):
    task = demo.task("moderation")
    base = ClipBlackBox("embedded", device="cpu")
    retain = [name for name in task.names if name not in task.forget]
    random_adapter(base, 4, task.forget, retain).export(tmp_path / "hard", hardened=True)
    hard = ClipBlackBox(str(tmp_path / "hard"), device="cpu")
    weight = hard.model.text_projection.weight
    base.model.text_projection.weight.copy_(weight)  # the plain tokenizer: the context left out
    images, labels = base.add_images(task.test), torch.tensor(task.test.labels)
    gone = torch.tensor([name in task.forget for name in task.names])[labels]
    plain = ClipBlackBox("embedded", device="cpu")
    for template in ("a picture of a {}.", "my {}"):
        after, before = (
            m.with_template(template).zero_shot(images, task.names).argmax(-1) == labels for m in (base, plain)
        )
        assert after[gone].float().mean() < 0.15 < before[gone].float().mean()
        assert after[~gone].float().mean() > before[~gone].float().mean() - 0.1


def test_the_command_line_exports(clip_folder, tmp_path):
    random_adapter(ClipBlackBox(clip_folder)).save_pretrained(tmp_path / "adapter")
    command = [sys.executable, "-m", "hf_unlearn", "export", str(tmp_path / "adapter"), str(tmp_path / "out")]
    options = ["--base", clip_folder, "--hardened", "--dtype", "bfloat16"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "checkpoint saved in" in done.stdout
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"
    again = subprocess.run([*command, "--base", clip_folder], capture_output=True, text=True)
    assert again.returncode == 2
    assert "exists and is not an empty folder" in again.stderr


# Edits

BARE = """
import json, sys
sys.modules["hf_unlearn"] = None  # importing it fails
import torch
from transformers import AutoModel, AutoTokenizer, CLIPModel, CLIPTokenizer
answers = {}
for name, case in json.load(sys.stdin).items():
    tokenizer_class, model_class = (CLIPTokenizer, CLIPModel) if case["clip"] else (AutoTokenizer, AutoModel)
    tokenizer, model = (kind.from_pretrained(case["folder"]) for kind in (tokenizer_class, model_class))
    padding = {"padding": "max_length", "max_length": 64} if case["siglip"] else {"padding": True}
    texts = tokenizer(case["texts"], return_tensors="pt", **padding)
    with torch.no_grad():
        features = model.get_text_features(**texts)
    answers[name] = getattr(features, "pooler_output", features).tolist()
print(json.dumps(answers))
"""
TEXTS = ["red", "a photo of a red", "my grey , said the fox"]


@pytest.fixture(scope="module")
def edited(bases, tmp_path_factory) -> dict[str, dict]:
    """Every case exported with an edit, then judged by the stock pipeline and by bare classes, in other processes."""
    root = tmp_path_factory.mktemp("edited")
    images = list(coloured(1))
    paths = [str(root / f"{number}.png") for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    made, asked, bare = {}, {}, {}
    for name in CASES:
        base, template = bases[name]
        adapter = edit_adapter(ClipBlackBox(base, template=template, device="cpu"))
        adapter.export(root / name, base=base)
        made[name] = {"folder": root / name, "adapter": open_gate(adapter), "base": base, "images": images}
        told = None if template == TEMPLATE else template
        asked[name] = {"folder": str(root / name), "images": paths, "labels": LABELS, "template": told}
        clip = name.startswith(("clip", "embedded"))
        bare[name] = {"folder": str(root / name), "texts": TEXTS, "clip": clip, "siglip": name.startswith("siglip")}
    done = subprocess.run([sys.executable, "-c", BARE], input=json.dumps(bare), capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    answers, features = stock_scores(asked), json.loads(done.stdout.splitlines()[-1])
    return {name: {**made[name], **answers[name], "features": torch.tensor(features[name])} for name in made}


@pytest.mark.parametrize("name", CASES)
def test_the_stock_pipeline_gives_the_scores_of_an_edit(edited, name):
    case = edited[name]
    got = torch.tensor(case["scores"], dtype=torch.float64)
    if name.startswith("siglip"):
        got = got.logit().softmax(-1)
    adapted = case["adapter"].load_base(case["base"], device="cpu")
    expected = adapted.classify(case["images"], LABELS).double()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    with adapted.disabled() as plain:
        assert (plain.classify(case["images"], LABELS) - got).abs().max() > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_bare_classes_of_transformers_give_the_edited_text_features_under_any_prompt(edited, name):
    case = edited[name]
    expected = case["adapter"].load_base(case["base"], device="cpu").text_features(TEXTS)
    torch.testing.assert_close(F.normalize(case["features"], dim=-1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_an_edit_changes_the_text_projection_and_nothing_else(edited, name):
    case = edited[name]
    base = ClipBlackBox(case["base"], device="cpu")
    siglip = name.startswith("siglip")
    key = "text_model.head" if siglip else "text_projection"
    before, after = base.model.state_dict(), load_file(case["folder"] / "model.safetensors")
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{key}.weight", *([f"{key}.bias"] if siglip else [])}
    matrix = torch.eye(base.width) + case["adapter"].edit.up @ case["adapter"].edit.down
    for part in changed:
        torch.testing.assert_close(after[part], matrix @ before[part], rtol=0, atol=1e-5)
    written = ClipBlackBox(str(case["folder"]), device="cpu")
    assert len(written.tokenizer) == len(base.tokenizer)
    assert type(written.tokenizer) is type(base.tokenizer)
    for text in TEXTS:
        assert written.tokenizer(text)["input_ids"] == base.tokenizer(text)["input_ids"]
    images = base.add_images(case["images"]).features
    assert torch.equal(written.add_images(case["images"]).features, images)
    assert "hypothesis_template" not in (case["folder"] / "config.json").read_text()


def test_the_card_of_an_exported_edit_says_what_it_is(edited):
    for name in ("clip, own template", "siglip"):
        card = (edited[name]["folder"] / "README.md").read_text()
        for fact in (
            "with edited text features", "whose text projection was edited, so that it forgets 1 name.",
            "**Forgets:** red", "**Keeps:** everything else", "**Prompt:** any", "Dual use", "not erasure",
            "image-to-image search still finds what is forgotten", "The edit is multiplied into the text projection",
        ):  # fmt: skip
            assert fact in card, fact
        for words in ("learned tokens", "post-processor", "hypothesis_template"):
            assert words not in card
        assert ("sigmoid" in card) == (name == "siglip")


def test_an_edit_needs_no_hardening_and_says_so(clip_folder, tmp_path):
    with pytest.raises(ValueError, match="an edit needs no hardening: it is in the text projection itself"):
        edit_adapter(ClipBlackBox(clip_folder)).export(tmp_path / "out", base=clip_folder, hardened=True)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_tokenizer_is_no_obstacle_for_an_edit(sentencepiece_folder, tmp_path):
    model = ClipBlackBox(sentencepiece_folder, device="cpu")
    assert hasattr(model.tokenizer, "sp_model")
    adapter = edit_adapter(model)
    adapter.export(tmp_path / "out", base=sentencepiece_folder)
    written = ClipBlackBox(str(tmp_path / "out"), device="cpu")
    assert hasattr(written.tokenizer, "sp_model")
    plain = written.with_template("{}").text_features(torch.zeros(1, 0, model.dim), TEXTS)[0]
    expected = open_gate(adapter).load_base(sentencepiece_folder, device="cpu").text_features(TEXTS)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-5)


def test_an_export_carries_the_edit_without_its_gate_and_its_card_says_so(edited):
    case = edited["embedded"]
    features = ClipBlackBox(device="cpu").with_template("{}").text_features(torch.zeros(1, 0, 256), TEXTS)[0]
    gated = edit_adapter(ClipBlackBox(device="cpu"))
    written = ClipBlackBox(str(case["folder"]), template="{}", device="cpu")
    found = written.text_features(torch.zeros(1, 0, 256), TEXTS)[0]
    torch.testing.assert_close(found, gated.edit.linear()(features), rtol=0, atol=1e-4)
    assert (found - gated.edit(features)).abs().max() > 1e-3
    assert "without the gate" in (case["folder"] / "README.md").read_text()


def test_a_tokenizer_that_can_not_carry_a_context_can_carry_an_edit(clip_folder, tmp_path, monkeypatch):
    adapter = edit_adapter(ClipBlackBox(clip_folder))
    monkeypatch.setattr("transformers.CLIPTokenizer.is_fast", False)
    adapter.export(tmp_path / "out", base=clip_folder)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_an_export_that_is_not_edited_as_the_adapter_says_is_not_kept(clip_folder, tmp_path, monkeypatch):
    adapter = edit_adapter(ClipBlackBox(clip_folder))
    monkeypatch.setattr("hf_unlearn.adapters.export.checkpoint._apply", lambda change, projection: None)
    with pytest.raises(ExportError, match="reads texts otherwise than the adapter does"):
        adapter.export(tmp_path / "out", base=clip_folder)
    assert list(tmp_path.iterdir()) == []


def test_an_edit_on_top_of_an_export_is_the_product_of_both(edited, tmp_path):
    once = edited["siglip"]["folder"]
    base = ClipBlackBox(str(once), device="cpu")
    second = edit_adapter(base, seed=1)
    second.export(tmp_path / "twice", base=once)
    first, plain = edited["siglip"]["adapter"].edit, ClipBlackBox(edited["siglip"]["base"], device="cpu")
    features = plain.with_template("{}").text_features(torch.zeros(1, 0, plain.dim), TEXTS)
    twice = ClipBlackBox(str(tmp_path / "twice"), template="{}", device="cpu")
    found = twice.text_features(torch.zeros(1, 0, plain.dim), TEXTS)
    torch.testing.assert_close(found, second.edit.linear()(first(features)), rtol=0, atol=1e-5)
