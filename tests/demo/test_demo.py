"""The embedded CLIP, its images and tasks; and the demo from end to end."""

import json
import subprocess
import sys

import pytest
import torch

from hf_unlearn import ClipBlackBox, ForgetAdapter
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.models.embedded import MODEL_FOLDER


@pytest.fixture(scope="module")
def embedded() -> ClipBlackBox:
    return ClipBlackBox("embedded")


def test_stock_transformers_load_the_embedded_clip_and_agree_with_us(embedded):
    from transformers import AutoProcessor, CLIPModel, pipeline

    model = CLIPModel.from_pretrained(MODEL_FOLDER)
    assert AutoProcessor.from_pretrained(MODEL_FOLDER).tokenizer.model_max_length == 77
    assert model.config.text_config.max_position_embeddings == 77
    images = demo.plain(["banana", "guitar"], "test")
    names = ["banana", "guitar", "key"]
    classify = pipeline("zero-shot-image-classification", model=str(MODEL_FOLDER), dtype=torch.float32)
    ours = embedded.zero_shot(embedded.add_images(images), names).exp()
    for image, row in zip(images, ours, strict=True):
        theirs = {answer["label"]: answer["score"] for answer in classify(image, candidate_labels=names)}
        assert [theirs[name] for name in names] == pytest.approx(row.tolist(), abs=1e-4)


def test_no_file_of_the_embedded_clip_needs_lfs():
    sizes = [path.stat().st_size for path in MODEL_FOLDER.iterdir()]
    assert max(sizes) <= 9_500_000
    assert sum(sizes) <= 20_000_000
    assert not [path for path in MODEL_FOLDER.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]


def test_no_text_is_unknown_and_any_two_texts_differ(embedded):
    texts = ["beer mug", "beer  mug!", "Bier", "ビール", "пиво", "🍺", "bee rmug", "\x07"]
    ids = [tuple(embedded.tokenizer(text)["input_ids"]) for text in texts]
    assert len(set(ids)) == len(texts)
    assert embedded.tokenizer.unk_token_id not in {token for row in ids for token in row[1:-1]}


def test_the_embedded_clip_knows_the_kept_things_of_moderation(embedded):
    (moderation,) = demo.tasks()["moderation"]
    kept = [name for name in moderation["names"] if name not in moderation["forget"]]
    images = demo.plain(kept, "test")
    guess = embedded.zero_shot(embedded.add_images(images), moderation["names"]).argmax(-1)
    wanted = torch.tensor([moderation["names"].index(images.names[label]) for label in images.labels])
    assert (guess == wanted).float().mean() >= 0.9


def test_tasks_have_the_sizes_they_are_known_by():
    tasks = demo.tasks()
    assert [(len(draw["names"]), len(draw["forget"])) for draw in tasks["emoji10"]] == [(10, 4)] * 20
    assert [(len(draw["names"]), len(draw["forget"])) for draw in tasks["emoji100"]] == [(100, 40)] * 5
    for draws in tasks.values():
        for draw in draws:
            assert len(set(draw["names"])) == len(draw["names"])
            assert set(draw["forget"]) < set(draw["names"]) <= set(demo.concepts())


def test_drawings_never_cross_roles_and_every_artist_has_a_licence():
    roles = [set(artists) for artists in demo.ARTISTS.values()]
    assert sum(map(len, roles)) == len(set.union(*roles))
    assert set.union(*roles) == set(demo.licences())
    table = (demo.FOLDER / "LICENCES.md").read_text(encoding="utf-8")
    for artist, facts in demo.licences().items():
        assert artist in table
        assert facts["licence"] in table


def test_a_task_is_the_same_every_time_and_another_seed_augments_otherwise():
    one, again, other = (
        demo.task("emoji10", 3, seed=0),
        demo.task("emoji10", 3, seed=0),
        demo.task("emoji10", 3, seed=1),
    )
    assert one.train[5].tobytes() == again.train[5].tobytes()
    assert one.train[5].tobytes() != other.train[5].tobytes()
    assert one.test[5].tobytes() == other.test[5].tobytes()
    assert set(one.train.counts().values()) == {16}


def test_synonyms_belong_to_one_class_only():
    owners: dict[str, str] = {}
    for name, concept in demo.concepts().items():
        for other in concept["names"]:
            assert owners.setdefault(other, name) == name


def test_unknown_tasks_and_draws_are_refused():
    with pytest.raises(ValueError, match="no task 'emoji11'; there are emoji10"):
        demo.task("emoji11")
    with pytest.raises(ValueError, match="draws 0 to 19, got 20"):
        demo.task("emoji10", 20)


def test_a_concept_that_the_artists_of_a_role_did_not_draw_makes_no_task():
    (*_, undrawn) = (name for name in demo.concepts() if not demo.drawings(name, "validation"))
    with pytest.raises(ValueError, match=f"no validation artist .* drew '{undrawn}'; leave it out"):
        demo.task_of([undrawn, "guitar"], [undrawn])


def test_the_professions_for_a_bias_report_are_there():
    jobs = (
        "artist",
        "astronaut",
        "cook",
        "farmer",
        "firefighter",
        "mechanic",
        "scientist",
        "singer",
        "student",
        "teacher",
    )
    for job in jobs:
        assert {job, f"man {job}", f"woman {job}"} <= set(demo.concepts())


def test_the_demo_runs_from_end_to_end(tmp_path):
    command = [sys.executable, "-m", "hf_unlearn", "demo", "--out", str(tmp_path), "--max-queries", "80"]
    command += ["--device", "cpu", "--dtype", "float32"]  # which the process that loads the edit gets too
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for said in ("also forgotten: ", "label-mask", "edit", "proximal", "with the adapter", "make space", "not erasure"):
        assert said in done.stdout
    adapter = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    assert (adapter.kind, adapter.config.ledger["queries"]) == ("edit", 0)
    assert "beer mug" in adapter.config.forget
    rows = {
        row["name"]: row
        for row in json.loads((tmp_path / "adapter" / "report.json").read_text(encoding="utf-8"))["rows"]
    }
    assert set(rows) == {"zero-shot", "label-mask", "edit", "proximal", "lcs-cma"}
    for row in rows.values():
        assert all(0 <= row[f"short_list_{k}"] <= 1 for k in (1, 4, 9, 19))
    assert rows["label-mask"]["short_list_4"] == 0.0
    assert rows["edit"]["short_list_4"] < 0.02 < 0.5 < rows["proximal"]["short_list_4"]
    assert rows["edit"]["H"] > rows["label-mask"]["H"] - 0.02
    assert rows["edit"]["collateral"] > rows["proximal"]["collateral"] + 0.2
    assert rows["proximal"]["H"] > rows["zero-shot"]["H"]
    by_scores = ForgetAdapter.from_pretrained(tmp_path / "adapter-by-scores")
    assert (by_scores.kind, by_scores.config.method) == ("context", "proximal")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "adapter-by-scores"]
