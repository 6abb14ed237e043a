"""Other names of forgotten classes: what is asked, what the loss makes of it, where the adapter says so."""

import json
from dataclasses import replace

import pytest
import torch

from hf_unlearn import ClipBlackBox, ForgetAdapter, combine, evaluate, unlearn, without
from hf_unlearn.data.synonyms import asked_names, namings
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.errors import RunError
from hf_unlearn.optimizers.objective import Objective
from tests.support.command_line import hf_unlearn_here, write_images
from tests.support.images import coloured

NAMES = ("red", "green", "blue", "grey")
OTHERS = {"red": ["crimson", "scarlet"], "blue": ["azure"]}


def run(model, **changes):
    arguments = {"forget": ["red", "blue"], "max_queries": 30, "shots": 2, "progress": False, **changes}
    return unlearn(model, coloured(6), **arguments)


def test_every_naming_has_a_name_for_every_class_and_other_names_take_turns():
    asked = asked_names(NAMES, ("red", "blue"), OTHERS)
    called = [[asked[place] for place in row] for row in namings(NAMES, OTHERS)]
    assert called == [list(NAMES), ["crimson", "green", "azure", "grey"], ["scarlet", "green", "azure", "grey"]]
    assert namings(NAMES, {}) == []
    assert asked_names(NAMES, ("red",), {}) == NAMES


@pytest.mark.parametrize(
    ("synonyms", "what"),
    [
        ({"green": ["lime"]}, "synonyms are for classes to forget; 'green' is not one of them"),
        ({"pink": ["rose"]}, "'pink' is not one of them"),
        ({"red": ["grey"]}, "classes and synonyms together: class names must differ, 'grey' is listed twice"),
        ({"red": ["rouge"], "blue": ["rouge"]}, "'rouge' is listed twice"),
        ({"red": [" "]}, "must be text of at least one visible character"),
    ],
)
def test_synonyms_that_make_no_sense_are_refused_before_anything_is_run(clip, synonyms, what):
    before = clip.ledger.copy()
    with pytest.raises(ValueError, match=what):
        run(clip, synonyms=synonyms)
    assert clip.ledger == before


@pytest.mark.parametrize("vicinity", [0.0, 2.0])
def test_the_loss_is_the_mean_over_namings_each_with_a_softmax_of_its_own(vicinity):
    labels, forget = torch.arange(4).repeat(5), torch.tensor([True, False, True, False])
    plain = Objective(
        labels, forget, entropy_weight=0.3, margin_weight=1.0, list_weight=0.3, list_length=2, leak_weight=0.5,
        vicinity=vicinity,
    )  # fmt: skip
    columns = torch.tensor(namings(NAMES, OTHERS))
    logits = 3 * torch.randn(2, len(labels), 7, generator=torch.Generator().manual_seed(0))
    scores = logits.log_softmax(-1)
    named = replace(plain, namings=columns)
    parts = [plain(logits[..., row].log_softmax(-1)) for row in columns]
    torch.testing.assert_close(named(scores), torch.stack(parts).mean(0))
    rivals = named.rivals(scores)
    torch.testing.assert_close(rivals[:, 1], plain.rivals(logits[..., columns[1]].log_softmax(-1)))
    torch.testing.assert_close(named(scores, rivals), named(scores))
    some = torch.arange(0, len(labels), 3)
    assert named.part(some).namings is columns


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_the_black_box_is_asked_by_all_names_and_validation_by_the_classes_own(clip_folder, method):
    asked = set()

    class Watched(ClipBlackBox):
        def log_scores(self, contexts, images, names):
            asked.add(tuple(names))
            return super().log_scores(contexts, images, names)

    model = Watched(clip_folder)
    result = run(model, method=method, synonyms=OTHERS)
    assert asked == {(*NAMES, "crimson", "scarlet", "azure")}
    _, held_out, _ = coloured(6).few_shot(2, 0)
    row = evaluate(ClipBlackBox(clip_folder), held_out, result.adapter).rows[-1]
    assert result.adapter.config.metrics["validation_err_for"] == pytest.approx(row["err_for"])
    assert result.adapter.config.metrics["validation_acc_mem"] == pytest.approx(row["acc_mem"])


def test_a_run_without_synonyms_is_what_it_was(clip):
    assert torch.equal(run(clip, synonyms={"red": []}).adapter.context, run(clip).adapter.context)
    assert run(clip, synonyms={"red": []}).adapter.config.synonyms == {}


def test_a_single_name_is_no_list_of_letters(clip):
    assert run(clip, max_queries=1, synonyms={"red": "crimson"}).adapter.config.synonyms == {"red": ["crimson"]}


def test_a_run_with_other_synonyms_is_another_run(clip, tmp_path):
    whole = run(clip, synonyms=OTHERS).adapter
    run(clip, synonyms=OTHERS, max_queries=12, run_dir=tmp_path)
    assert torch.equal(run(clip, synonyms=OTHERS, run_dir=tmp_path).adapter.context, whole.context)
    for others in ({"red": ["ruby"]}, None):
        with pytest.raises(RunError, match="synonyms"):
            run(clip, synonyms=others, run_dir=tmp_path)


def test_the_adapter_says_by_which_names_too_and_so_does_its_card(clip, tmp_path):
    adapter = run(clip, synonyms=OTHERS).adapter
    adapter.save_pretrained(tmp_path)
    assert ForgetAdapter.from_pretrained(tmp_path).config.synonyms == OTHERS
    assert "- **Also by the names:** crimson, scarlet, azure" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_adapters_made_from_adapters_keep_them_for_what_is_still_forgotten(clip):
    red = run(clip, forget=["red"], synonyms={"red": ["crimson", "grey-red"]}, n_ctx=2).adapter
    both = run(clip, synonyms={"red": ["scarlet"], "blue": ["azure", "crimson"]}, n_ctx=2).adapter
    options = {"shots": 2, "progress": False, "max_queries": 10}
    made = combine([red, both], clip, coloured(6), **options).adapter.config
    assert made.synonyms == {"red": ["crimson", "grey-red", "scarlet"], "blue": ["azure"]}
    assert without(both, "blue", clip, coloured(6), **options).adapter.config.synonyms == {"red": ["scarlet"]}


def test_names_that_an_adapter_was_trained_on_are_no_test_of_it(clip):
    guess = clip.zero_shot(clip.add_images(coloured(6)), NAMES).argmax(-1)
    known = NAMES[int(torch.bincount(guess).argmax())]  # what this random CLIP says most often
    adapter = run(clip, forget=[known], max_queries=1).adapter
    assert evaluate(clip, coloured(6), adapter, synonyms={known: [known]}).rows[-1]["synonyms"] == 1
    trained = ForgetAdapter(adapter.context, replace(adapter.config, synonyms={known: ["crimson"]}))
    report = evaluate(clip, coloured(6), trained, adapter, synonyms={known: ["crimson", known]})
    assert [row.get("synonyms") for row in report.rows] == [1] * 4
    assert "synonym_err" not in evaluate(clip, coloured(6), trained, synonyms={known: ["crimson"]}).rows[-1]


def test_forget_reads_them_from_a_file(clip_folder, tmp_path):
    data, file, out = write_images(tmp_path / "data"), tmp_path / "others.json", tmp_path / "out"
    file.write_text(json.dumps(OTHERS), encoding="utf-8")
    command = ["forget", "--model", clip_folder, "--data", data, "--forget", "red", "--forget", "blue", "--shots", 2,
               "--max-queries", 5, "--synonyms", file, "--out", out]  # fmt: skip
    assert hf_unlearn_here(*command).returncode == 0
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["synonyms"] == OTHERS
    for content, what in (('{"red": "crimson"}', "expected a list of names for 'red'"), ("[]", "expected a JSON obj")):
        file.write_text(content, encoding="utf-8")
        done = hf_unlearn_here(*command)
        assert (done.returncode, what in " ".join(done.stderr.split())) == (2, True), done.stderr


def test_a_class_is_forgotten_by_a_name_that_was_trained_better_than_without():
    """`emoji10`: the images of forgotten classes, asked by their first other name."""
    model, wrong = ClipBlackBox(), {}
    for with_names in (False, True):
        errors = []
        for draw in (0, 1):
            task = demo.task("emoji10", draw)
            first = {name: own[:1] for name, own in task.synonyms.items()}
            adapter = unlearn(
                model, task.train, forget=task.forget, validation=task.validation, shots=task.shots, max_queries=250,
                patience=None, progress=False, synonyms=first if with_names else None,
            ).adapter  # fmt: skip
            bare = ForgetAdapter(adapter.context, replace(adapter.config, synonyms={}))  # or they would be left out
            errors.append(evaluate(model, task.test, bare, synonyms=first).rows[-1]["synonym_err"])
        wrong[with_names] = sum(errors) / 2
    assert wrong[True] >= wrong[False] + 0.05
