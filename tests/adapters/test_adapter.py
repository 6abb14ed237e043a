"""The adapter on disk (round trips, damage, tampering, failing saves) and in use."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hf_unlearn import AdaptedClip, ClipBlackBox, ForgetAdapter, evaluate, unlearn
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.errors import AdapterError, InputError, WrongBaseError
from hf_unlearn.models.text_edit import digest
from tests.support.images import COLOURS, coloured

LABELS = list(COLOURS)


@pytest.fixture(scope="module")
def adapter(clip) -> ForgetAdapter:
    return unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter


@pytest.fixture(scope="module")
def judged(clip, adapter) -> ForgetAdapter:
    return adapter.with_report(evaluate(clip, coloured(4, seed=1), adapter).content)


@pytest.fixture
def folder(adapter, tmp_path) -> Path:
    adapter.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def rewrite(folder: Path, **changes) -> None:
    """Puts values into config.json; `...` takes a key away."""
    path = folder / "config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_adapter_survives_the_disk_bit_for_bit(judged, tmp_path):
    judged.save_pretrained(tmp_path / "adapter")
    loaded = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    assert torch.equal(loaded.context, judged.context)
    assert loaded.config == judged.config
    assert loaded.report == judged.report
    loaded.save_pretrained(tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "adapter")


def test_the_folder_holds_context_config_card_report_and_plot_and_is_small(judged, tmp_path):
    judged.save_pretrained(tmp_path / "adapter")
    expected = {"config.json", "forget_context.safetensors", "README.md", "report.json", "report.png"}
    assert set(files(tmp_path / "adapter")) == expected
    tensors = load_file(tmp_path / "adapter" / "forget_context.safetensors")
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
        "context": (torch.float32, (judged.config.n_ctx, judged.config.dim))
    }
    with Image.open(tmp_path / "adapter" / "report.png") as picture:
        picture.load()


def test_every_saved_file_is_as_readable_as_the_config(judged, tmp_path):
    judged.save_pretrained(tmp_path / "adapter")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "adapter").iterdir()}
    assert set(modes.values()) == {modes["config.json"]}, modes


def test_the_card_names_what_is_forgotten_and_claims_no_erasure(judged, tmp_path):
    judged.save_pretrained(tmp_path / "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "**Forgets:** red" in card
    assert "not erasure" in card
    assert "weapon" in card  # the dual use
    assert "| label-mask |" in card.replace("\\", "")


def test_the_config_holds_no_path_of_the_trainer(adapter, clip_folder):
    assert adapter.config.base_model == Path(clip_folder).name
    assert str(Path(clip_folder).parent) not in json.dumps(asdict(adapter.config))


def test_a_fresh_process_gives_the_same_scores(clip_folder, adapter, folder, tmp_path):
    image = coloured(1)[0]
    image.save(tmp_path / "image.png")
    code = """
import json, sys
from PIL import Image
from hf_unlearn import ForgetAdapter
folder, base, image, labels = sys.argv[1:]
adapted = ForgetAdapter.from_pretrained(folder).load_base(base, device="cpu")
print(json.dumps(adapted.classify([Image.open(image)], json.loads(labels)).tolist()))
"""
    command = [sys.executable, "-c", code, str(folder), clip_folder, str(tmp_path / "image.png"), json.dumps(LABELS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    here = AdaptedClip(ClipBlackBox(clip_folder, device="cpu"), adapter).classify([image], LABELS)
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), here, rtol=1e-5, atol=1e-6)


# Tampering and damage


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", "1"),
        ("format_version", True),
        ("format_version", 0),
        ("library_version", 1),
        ("base_model", ["clip"]),
        ("base_model", ""),
        ("base_revision", 7),
        ("base_revision", "main"),
        ("base_subfolder", "../up"),
        ("base_subfolder", ""),
        ("base_subfolder", 3),
        ("base_revision", "../" + "0" * 37),
        ("base_fingerprint", "0.1"),
        ("base_fingerprint", []),
        ("base_fingerprint", [[0.1, 0.2], [0.3]]),
        ("base_fingerprint", [["a", "b"]]),
        ("n_ctx", "4"),
        ("n_ctx", 0),
        ("n_ctx", -4),
        ("n_ctx", 4.0),
        ("n_ctx", 10**9),
        ("dim", None),
        ("dim", 10**9),
        ("template", 5),
        ("template", "no place for a name"),
        ("template", "{} and {}"),
        ("forget", "red"),
        ("forget", []),
        ("forget", [1, 2]),
        ("forget", ["red", "red"]),
        ("forget", ["grey"]),
        ("retain", {"green": 1}),
        ("retain", []),
        ("retain", [["green"]]),
        ("synonyms", ["red"]),
        ("synonyms", {"red": "crimson"}),
        ("synonyms", {"red": [["crimson"]]}),
        ("synonyms", {"red": ["green"]}),
        ("synonyms", {"green": ["lime"]}),
        ("method", None),
        ("method", 3),
        ("hyperparameters", []),
        ("seed", "zero"),
        ("seed", {"a": 1}),
        ("ledger", [1]),
        ("ledger", {"queries": None}),
        ("ledger", {"queries": "many"}),
        ("ledger", {"seconds": float("nan")}),
        ("metrics", "good"),
        ("metrics", {"H": "good"}),
        ("metrics", {"H": float("nan")}),
        ("few_shot_digest", "abc"),
        ("few_shot_digest", {"sha256": "0" * 64}),
        ("few_shot_digest", {"salt": "0" * 32, "sha256": "<b>"}),
        ("license", 5),
        ("license", "mit\ntags: [x]"),
        ("datasets", "user/pets"),
        ("datasets", ["user/pets", "../../etc"]),
        ("weights_sha256", 12),
        ("weights_sha256", "0" * 64),
    ],
)
def test_a_config_with_a_wrong_value_is_refused_and_the_key_named(folder, key, value):
    rewrite(folder, **{key: value})
    named = "forget and retain" if key in ("forget", "retain") and isinstance(value, list) and value else key
    with pytest.raises(AdapterError, match="config.json" if key == "weights_sha256" else named):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize("key", ["base_model", "base_fingerprint", "n_ctx", "dim", "template", "forget", "retain",
                                 "method", "weights_sha256"])  # fmt: skip
def test_a_config_without_a_required_key_is_refused_and_the_key_named(folder, key):
    rewrite(folder, **{key: ...})
    with pytest.raises(AdapterError, match=key):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"not json", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_config_that_is_not_json_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(AdapterError, match=r"config.json: not valid JSON"):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize("content", ["[]", '"text"', "null", "3"])
def test_a_config_that_is_no_object_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(AdapterError, match="expected a JSON object"):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "forget_context.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(AdapterError, match=f"no {name}"):
        ForgetAdapter.from_pretrained(folder)


def test_a_base_with_a_commit_must_be_a_hub_id(folder):
    rewrite(folder, base_model="../../etc", base_revision="0" * 40)
    with pytest.raises(AdapterError, match="base_model must be a Hub id, as base_revision is one's commit"):
        ForgetAdapter.from_pretrained(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(AdapterError, match="nowhere: no such folder"):
        ForgetAdapter.from_pretrained(tmp_path / "nowhere")


def test_files_swapped_between_two_adapters_are_refused(clip, adapter, folder, tmp_path):
    other = unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, seed=1, progress=False).adapter
    assert not torch.equal(other.context, adapter.context)
    other.save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "forget_context.safetensors", folder)
    with pytest.raises(AdapterError, match="don't belong together"):
        ForgetAdapter.from_pretrained(folder)


def test_an_unknown_key_loads_with_a_warning_that_names_it(folder, adapter):
    rewrite(folder, spurious_key=1)
    with pytest.warns(UserWarning, match="ignoring spurious_key"):
        loaded = ForgetAdapter.from_pretrained(folder)
    assert loaded.config == adapter.config


def test_a_newer_format_version_is_refused_with_the_way_out(folder):
    rewrite(folder, format_version=3)
    with pytest.raises(AdapterError, match=r"format_version 3 is newer than this library reads \(2\); upgrade"):
        ForgetAdapter.from_pretrained(folder)


def test_a_newer_format_that_renamed_keys_still_says_upgrade(folder):
    rewrite(folder, format_version=3, weights_sha256=..., tensor_digest="abc", forget={"names": ["red"]})
    with pytest.raises(AdapterError, match=r"format_version 3 is newer.*upgrade"):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_context_that_is_not_finite_is_refused(folder, bad):
    context = load_file(folder / "forget_context.safetensors")["context"]
    context[1, 2] = bad
    save_file({"context": context}, folder / "forget_context.safetensors")
    rewrite(folder, weights_sha256=digest(context))
    with pytest.raises(AdapterError, match="NaN or infinite"):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize("change", [lambda c: c.half(), lambda c: c[:-1], lambda c: c.flatten(), lambda c: c.double()])
def test_a_context_of_another_shape_or_type_is_refused(folder, change):
    context = change(load_file(folder / "forget_context.safetensors")["context"]).contiguous()
    save_file({"context": context}, folder / "forget_context.safetensors")
    rewrite(folder, weights_sha256=digest(context))
    with pytest.raises(AdapterError, match=r"expected shape .* in float32"):
        ForgetAdapter.from_pretrained(folder)


def test_an_extra_tensor_is_refused(folder):
    context = load_file(folder / "forget_context.safetensors")["context"]
    save_file({"context": context, "extra": torch.zeros(2)}, folder / "forget_context.safetensors")
    with pytest.raises(AdapterError, match="expected one tensor named 'context'"):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_truncated_context_file_is_refused_and_named(folder, keep):
    path = folder / "forget_context.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AdapterError, match=r"forget_context.safetensors: not a readable safetensors file"):
        ForgetAdapter.from_pretrained(folder)


def test_a_context_file_far_too_large_is_refused_before_it_is_read(folder):
    with (folder / "forget_context.safetensors").open("r+b") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(AdapterError, match="larger than"):
        ForgetAdapter.from_pretrained(folder)


class Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_loading_never_runs_a_pickle(folder, tmp_path):
    bomb = pickle.dumps(Bomb(tmp_path / "trace"))
    for name in ("pytorch_model.bin", "context.pt", "forget_context.bin"):
        (folder / name).write_bytes(bomb)
    ForgetAdapter.from_pretrained(folder)
    (folder / "forget_context.safetensors").write_bytes(bomb)
    with pytest.raises(AdapterError, match="not a readable safetensors file"):
        ForgetAdapter.from_pretrained(folder)
    assert not (tmp_path / "trace").exists()


def test_a_config_object_is_checked_when_made_by_hand_too(adapter):
    with pytest.raises(AdapterError, match="n_ctx must be"):
        replace(adapter.config, n_ctx=0)
    with pytest.raises(AdapterError, match="don't belong together"):
        replace(adapter, weights=adapter.context + 1)
    assert isinstance(replace(adapter.config, seed=5), AdapterConfig)


def damaged_report(folder: Path, change) -> None:
    path = folder / "report.json"
    report = json.loads(path.read_text())
    change(report)
    path.write_text(json.dumps(report))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda report: report.pop("rows"), "rows must be 1 to 50 objects"),
        (lambda report: report.update(rows=[]), "rows must be 1 to 50 objects"),
        (lambda report: report.update(rows=report["rows"] * 40), "rows must be 1 to 50 objects"),
        (lambda report: report["rows"][0].update(name=["x"]), "the name of a row must be text"),
        (lambda report: report["rows"][0].update(queries="many"), "the queries of a row"),
        (lambda report: report["rows"][1].update(H="high"), "every metric of a row"),
        (lambda report: report["rows"][1].update(H=float("nan")), "every metric of a row"),
        (lambda report: report["rows"][1].update(H=1e300), "every metric of a row"),
        (lambda report: report.update(per_class=[1]), "per_class must be"),
        (lambda report: report["per_class"][0].update(role="both"), "a class must be named, with its role"),
        (lambda report: report["per_class"][0].update(accuracy_after=2), "an accuracy must be 0 to 1"),
        (lambda report: report.update(images=7), "images must be counts and their kind"),
        (lambda report: report["images"].update(kind=None), "images must be counts and their kind"),
        (lambda report: report["images"].update(forget=True), "images must be counts and their kind"),
        (lambda report: report.update(method={}), "method must be text"),
        (lambda report: report.update(note="\ud800"), "not valid JSON"),
    ],
)
def test_a_report_with_a_wrong_value_is_refused_and_the_place_named(judged, tmp_path, change, named):
    judged.save_pretrained(tmp_path / "adapter")
    damaged_report(tmp_path / "adapter", change)
    with pytest.raises(AdapterError, match=f"report.json: {named}"):
        ForgetAdapter.from_pretrained(tmp_path / "adapter")


def test_a_report_of_odd_but_harmless_names_loads_and_is_drawn_again(judged, tmp_path):
    judged.save_pretrained(tmp_path / "adapter")

    def odd(report):
        for row in report["rows"]:
            row["name"] = r"$\frac{1}{0}$ $x " + "long " * 80
        report["per_class"][0]["name"] = report["method"] = "$a_$b"

    damaged_report(tmp_path / "adapter", odd)
    ForgetAdapter.from_pretrained(tmp_path / "adapter").save_pretrained(tmp_path / "again")
    with Image.open(tmp_path / "again" / "report.png") as picture:
        assert picture.size[0] < 2_000


def test_the_few_shot_digest_is_of_the_set_in_any_order_and_salted(adapter, clip):
    few = coloured(4)
    again = unlearn(clip, few, forget=["red"], max_queries=20, shots=2, progress=False, method="lcs-cma").adapter
    here, there = adapter.config.few_shot_digest, again.config.few_shot_digest
    assert here["salt"] != there["salt"]
    assert here["sha256"] != there["sha256"]
    train, validation, _ = few.few_shot(2, 0)
    digests = sorted([*validation.digests(), *train.digests()])
    for digest_of_set in (here, there):
        whole = hashlib.sha256(bytes.fromhex(digest_of_set["salt"]) + "".join(digests).encode())
        assert whole.hexdigest() == digest_of_set["sha256"]
    assert not [one for one in digests if one in json.dumps(asdict(adapter.config))]


# The base


def test_a_wrong_base_is_refused_and_both_are_named(adapter, folder, other_clip_folder):
    with pytest.raises(WrongBaseError) as refusal:
        ForgetAdapter.from_pretrained(folder).load_base(other_clip_folder)
    assert adapter.config.base_model in str(refusal.value)
    assert other_clip_folder in str(refusal.value)


def test_a_base_is_known_by_its_weights_not_by_its_folder(adapter, clip_folder, tmp_path):
    shutil.copytree(clip_folder, tmp_path / "moved")
    adapter.check_base(ClipBlackBox(str(tmp_path / "moved"), template="a drawing of a {}"))


def test_the_base_in_half_precision_is_still_the_base(adapter, clip_folder):
    adapter.check_base(ClipBlackBox(clip_folder, dtype=torch.bfloat16))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, 10**30])
def test_a_fingerprint_that_is_no_number_of_ours_is_refused(folder, clip, value):
    rows = json.loads((folder / "config.json").read_text())["base_fingerprint"]
    one_number = [list(row) for row in rows]
    one_number[3][5] = value
    for tampered in (one_number, [[value] * len(row) for row in rows]):
        rewrite(folder, base_fingerprint=tampered)
        with pytest.raises((AdapterError, WrongBaseError)):
            AdaptedClip(clip, ForgetAdapter.from_pretrained(folder))


def test_a_base_that_differs_on_a_single_probe_is_refused(adapter, clip):
    rows = [list(row) for row in adapter.config.base_fingerprint]
    rows[6] = rows[6][::-1]
    with pytest.raises(WrongBaseError, match="is another model"):
        replace(adapter, config=replace(adapter.config, base_fingerprint=rows)).check_base(clip)


def test_a_fingerprint_of_another_shape_is_refused(adapter, clip):
    short = replace(adapter.config, base_fingerprint=adapter.config.base_fingerprint[:4])
    with pytest.raises(WrongBaseError, match="is another model"):
        replace(adapter, config=short).check_base(clip)


def test_a_loaded_model_is_no_base_to_load(clip, adapter):
    with pytest.raises(InputError, match=r"base must be a Hub id .* got ClipBlackBox; .*model.under\(adapter\)"):
        adapter.load_base(clip)


# Saving


def test_saving_over_an_adapter_replaces_it_wholly(judged, adapter, tmp_path):
    judged.save_pretrained(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "report.json").exists()
    adapter.save_pretrained(tmp_path / "adapter")
    assert set(files(tmp_path / "adapter")) == {"config.json", "forget_context.safetensors", "README.md"}
    assert ForgetAdapter.from_pretrained(tmp_path / "adapter").report is None
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_saving_makes_missing_parents(adapter, tmp_path):
    adapter.save_pretrained(tmp_path / "a" / "b" / "adapter")
    assert ForgetAdapter.from_pretrained(tmp_path / "a" / "b" / "adapter").config == adapter.config


def test_saving_where_nothing_can_be_written_raises_oserror(adapter):
    with pytest.raises(OSError):  # noqa: PT011 the system words it
        adapter.save_pretrained("/proc/adapter")


def test_saving_over_a_file_raises_and_leaves_the_file(adapter, tmp_path):
    (tmp_path / "adapter").write_text("mine")
    with pytest.raises(OSError, match="adapter"):
        adapter.save_pretrained(tmp_path / "adapter")
    assert (tmp_path / "adapter").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
@pytest.mark.parametrize("room", [100, 700])
def test_a_full_disk_leaves_the_old_adapter_and_no_temporary_folder(judged, tmp_path, room):
    """No file may grow past `room` bytes: the save fails at the context, at the config."""
    judged.save_pretrained(tmp_path / "new")
    replace(judged, report=None).save_pretrained(tmp_path / "adapter")
    before = files(tmp_path / "adapter")
    code = """
import resource, sys
from hf_unlearn import ForgetAdapter
adapter = ForgetAdapter.from_pretrained(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    adapter.save_pretrained(sys.argv[2])
except OSError as error:
    sys.exit(7)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "new"), str(tmp_path / "adapter"), str(room)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert files(tmp_path / "adapter") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "new"]
    assert done.returncode == 7, done.stderr[-500:]


# In use


@pytest.fixture
def adapted(clip, adapter) -> AdaptedClip:
    return AdaptedClip(clip, adapter)


def plain_scores(clip, images, labels):
    return clip.zero_shot(clip.add_images(images), labels).exp()


def test_classify_gives_probabilities_of_any_labels(adapted):
    scores = adapted.classify(list(coloured(2)), ["red", "something else", "grey"])
    assert scores.shape == (8, 3)
    torch.testing.assert_close(scores.sum(1), torch.ones(8))


def test_the_adapter_changes_the_scores_and_disabling_it_gives_the_plain_ones(clip, adapted):
    images = list(coloured(2))
    plain = plain_scores(clip, images, LABELS)
    on = adapted.classify(images, LABELS)
    assert (on - plain).abs().max() > 1e-3
    with adapted.disabled() as off:
        assert off is adapted
        torch.testing.assert_close(off.classify(images, LABELS), plain)
    assert torch.equal(adapted.classify(images, LABELS), on)


def test_disabled_restores_after_an_exception_and_nests(adapted):
    images = list(coloured(1))
    on = adapted.classify(images, LABELS)
    with pytest.raises(RuntimeError, match="boom"), adapted.disabled():
        raise RuntimeError("boom")
    assert torch.equal(adapted.classify(images, LABELS), on)
    with adapted.disabled():
        with adapted.disabled():
            pass
        assert not torch.equal(adapted.classify(images, LABELS), on)
    assert torch.equal(adapted.classify(images, LABELS), on)


def test_the_adapters_template_is_used_not_the_models(clip_folder, clip, adapter):
    other = AdaptedClip(ClipBlackBox(clip_folder, template="{} on a plate"), adapter)
    images = list(coloured(1))
    torch.testing.assert_close(other.classify(images, LABELS), AdaptedClip(clip, adapter).classify(images, LABELS))


def test_classify_refuses_no_image_no_label_and_labels_given_twice(adapted):
    with pytest.raises(ValueError, match="at least one image"):
        adapted.classify([], LABELS)
    with pytest.raises(ValueError, match="at least one class name"):
        adapted.classify(list(coloured(1)), [])
    with pytest.raises(ValueError, match="'red' is listed twice"):
        adapted.classify(list(coloured(1)), ["red", "red"])


def test_classify_refuses_a_label_that_does_not_fit(adapted):
    with pytest.raises(ValueError, match=r"the text tower of .* reads 77"):
        adapted.classify(list(coloured(1)), ["red", "x" * 100])
