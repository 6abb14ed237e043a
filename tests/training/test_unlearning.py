"""The one loop: reproducible, within budget, stoppable, honest about what it keeps."""

import math
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch
from PIL import Image

from hf_unlearn import ClipBlackBox, LabeledImages, unlearn
from hf_unlearn.errors import InputError, WrongBaseError
from hf_unlearn.evaluation.metrics import accuracies, harmonic_mean
from hf_unlearn.optimizers.methods import METHODS, Recipe, recipe
from hf_unlearn.optimizers.objective import Objective
from hf_unlearn.training.checkpoint import Checkpoint
from hf_unlearn.training.result import StopReason
from tests.support.images import COLOURS, coloured

SMALL = Recipe(n_ctx=2, shared=4, unique=2, optimizer="proximal", options=(("probes", 4),))
CMA = Recipe(n_ctx=2, shared=4, unique=2)


def run(model, images=None, **changes):
    arguments = {"forget": ["red"], "max_queries": 45, "shots": 2, "progress": False, **changes}
    return unlearn(model, coloured(6) if images is None else images, **arguments)


def is_forget(images, forget=("red",)):
    return torch.tensor([name in forget for name in images.names])


# Reproducible


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_adapter_bit_for_bit(clip, method):
    first, second = run(clip, method=method), run(clip, method=method)
    assert torch.equal(first.adapter.context, second.adapter.context)
    one, two = asdict(first.adapter.config), asdict(second.adapter.config)
    for config in (one, two):
        for measured in ("seconds", "peak_memory_mb"):
            config["ledger"].pop(measured)
    assert one == two
    assert [step.loss for step in first.history] == [step.loss for step in second.history]


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_the_seed_is_the_only_source_of_chance(clip, method):
    torch.manual_seed(1)
    first = run(clip, method=method).adapter.context
    torch.manual_seed(2)
    assert torch.equal(run(clip, method=method).adapter.context, first)
    assert not torch.equal(run(clip, method=method, seed=1).adapter.context, first)


def test_the_seed_also_decides_the_projection(clip_folder):
    """Contexts of one run lie in the 25 directions of its `A`, those of two runs with two seeds in more."""
    offsets = []

    class Recording(ClipBlackBox):
        def log_scores(self, contexts, images, names):
            offsets[-1].append((contexts - self.token_mean).flatten(0, 1).double())
            return super().log_scores(contexts, images, names)

    model = Recording(clip_folder)
    for seed in (0, 1):
        offsets.append([])
        run(model, method="lcs-cma-paper", seed=seed)
    first, second = (torch.cat(rows) for rows in offsets)
    assert torch.linalg.matrix_rank(first, rtol=1e-4) == 25
    assert torch.linalg.matrix_rank(torch.cat([first, second]), rtol=1e-4) == model.dim == 32


def test_a_run_leaves_the_global_random_state_alone(clip):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    run(clip)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_leaves_the_weights_alone(clip_folder):
    model = ClipBlackBox(clip_folder)
    before = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    run(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.model.state_dict().items())
    assert not any(weight.requires_grad for weight in model.model.parameters())


# Budget


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [1, 2, 19, 45])
def test_the_budget_is_used_exactly_and_never_exceeded(clip, method, budget):
    before = clip.ledger.queries
    result = run(clip, method=method, max_queries=budget)
    assert clip.ledger.queries - before == budget
    assert result.adapter.config.ledger["queries"] == budget
    assert result.history[-1].queries == budget
    assert result.reason is StopReason.BUDGET


def test_every_image_is_encoded_once(clip):
    before = clip.ledger.image_encodings
    result = run(clip)
    assert clip.ledger.image_encodings - before == 4 * (2 + 2)
    assert result.adapter.config.ledger["image_encodings"] == 16


def test_the_ledger_is_of_this_run_only(clip_folder):
    model = ClipBlackBox(clip_folder)
    first = run(model).adapter.config.ledger
    second = run(model).adapter.config.ledger
    for key in ("queries", "text_tokens", "image_encodings"):
        assert second[key] == first[key] > 0


# Stopping


def test_patience_stops_a_run_that_no_longer_improves(clip):
    result = run(clip, max_queries=2_000, patience=40, method=CMA)
    assert result.reason is StopReason.CONVERGED
    assert result.history[-1].queries < 2_000
    best = [(step.H, step.err_for, step.acc_mem) for step in result.history]
    assert best[-1] == best[-2]  # nothing changed in the last two batches of twenty


def test_without_patience_the_budget_alone_ends_a_run(clip):
    assert run(clip, max_queries=300, patience=None, method=CMA).reason is StopReason.BUDGET


def test_on_step_sees_every_batch_and_returning_true_cancels(clip):
    seen = []

    def watch(step):
        seen.append(step)
        return len(seen) == 3

    result = run(clip, max_queries=2_000, on_step=watch)
    assert result.reason is StopReason.CANCELLED
    assert tuple(seen) == result.history
    assert len(seen) == 3
    assert result.adapter.config.ledger["queries"] == seen[-1].queries < 2_000


def test_a_keyboard_interrupt_returns_the_best_so_far(clip):
    def interrupt(step):
        if step.queries >= 20:
            raise KeyboardInterrupt

    result = run(clip, max_queries=2_000, on_step=interrupt)
    assert result.reason is StopReason.INTERRUPTED
    assert result.history[-1].queries < 2_000
    cancelled = run(clip, max_queries=2_000, on_step=lambda step: step.queries >= 20)
    assert torch.equal(result.adapter.context, cancelled.adapter.context)


def test_an_interrupt_at_the_first_step_still_returns_an_adapter(clip):
    def interrupt(step):
        raise KeyboardInterrupt

    result = run(clip, on_step=interrupt)
    assert result.reason is StopReason.INTERRUPTED
    assert torch.isfinite(result.adapter.context).all()


def test_an_error_in_on_step_is_not_swallowed(clip):
    def fail(step):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(clip, on_step=fail)


def test_every_stop_reason_is_a_sentence():
    assert all(len(reason.value.split()) >= 4 for reason in StopReason)


# What is kept


def rank(model, context, images, weights):
    """`(H, -loss)` of a context on images, computed anew."""
    scores = model.log_scores(context[None], model.add_images(images), images.names)[0]
    labels = torch.tensor(images.labels)
    error, kept = accuracies(scores, labels, is_forget(images))
    entropy_weight, margin_weight, margin_scale = weights
    loss = Objective(labels, is_forget(images), entropy_weight, margin_weight, margin_scale)(scores)
    return harmonic_mean(float(error), float(kept)), -float(loss)


@pytest.mark.parametrize("method", ["proximal", "lcs-cma", "lcs-cma-paper", "bbt-cma", "ind-cma"])
def test_the_adapter_is_the_best_candidate_on_validation(clip_folder, method):
    """Every context the run scored is written down and judged again: only for CMA is every candidate an iterate."""
    scored = []

    class Recording(ClipBlackBox):
        def log_scores(self, contexts, images, names):
            scored.extend(contexts.clone())
            return super().log_scores(contexts, images, names)

    model = Recording(clip_folder)
    images, validation = coloured(6), coloured(3, seed=5)
    result = run(model, images, method=method, validation=validation, max_queries=60)
    candidates = list(scored)
    plan = recipe(method, len(COLOURS))
    weights = (plan.entropy_weight, plan.margin_weight, plan.margin_scale)
    chosen = rank(model, result.adapter.context, validation, weights)
    assert any(torch.equal(result.adapter.context, candidate) for candidate in candidates)
    metrics = result.adapter.config.metrics
    assert metrics["validation_H"] == pytest.approx(chosen[0], abs=1e-6)
    best = max(rank(model, candidate, validation, weights) for candidate in candidates)
    if method == "proximal":
        assert best[0] >= chosen[0]
    else:
        assert chosen[0] == pytest.approx(best[0], abs=1e-6)
        assert chosen[1] == pytest.approx(best[1], abs=1e-5)


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_the_best_on_validation_never_gets_worse_along_the_history(clip, method):
    history = run(clip, max_queries=120, method=method).history
    assert all(later.H >= earlier.H for earlier, later in pairwise(history))
    assert all(later.queries > earlier.queries for earlier, later in pairwise(history))
    assert all(math.isfinite(step.loss) for step in history)
    expected = harmonic_mean(history[-1].err_for, history[-1].acc_mem)
    assert math.isclose(history[-1].H, expected)


@pytest.mark.parametrize(("method", "budget"), [("proximal", 150), ("lcs-cma", 300)])
def test_training_lowers_the_loss(clip, method, budget):
    history = run(clip, max_queries=budget, method=method).history
    assert min(step.loss for step in history) < history[0].loss - 0.05


# Odd answers of a box


class Answering:
    """A box whose log-scores pass through a function of them and of their number in order."""

    def __init__(self, box, change):
        self._box, self._change, self.answers = box, change, 0

    def __getattr__(self, name):
        return getattr(self._box, name)

    def log_scores(self, contexts, images, names):
        self.answers += 1
        return self._change(self._box.log_scores(contexts, images, names), self.answers)


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_probabilities_rounded_to_0_can_be_searched_with(clip, method):
    sharp = Answering(clip, lambda scores, _: (8 * scores).log_softmax(-1).exp().mul(100).round().div(100).log())
    assert (sharp.log_scores(torch.zeros(1, 0, clip.dim), clip.add_images([*coloured(1)]), COLOURS) == -math.inf).any()
    losses = [step.loss for step in run(sharp, method=method, max_queries=120, patience=None).history]
    assert all(math.isfinite(loss) for loss in losses)
    assert min(losses) < losses[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: torch.full_like(scores, math.nan), "scores that are no numbers"),
        (lambda scores: torch.full_like(scores, math.inf), "scores that are no numbers"),
        (lambda scores: torch.full_like(scores, -math.inf), "scores that are no numbers"),
        (lambda scores: scores.exp(), "no log-softmax over the names"),
        (lambda scores: scores.exp() * 100, "no log-softmax"),
        (lambda scores: scores * 0, "probabilities of a row add up to 4, expected 1"),
        (lambda scores: scores[0], r"a Tensor of shape .* expected a tensor of log-scores of shape \(1, 16, 4\)"),
        (lambda scores: scores.numpy(), "answered with a ndarray of shape"),
        (lambda scores: None, "answered with a NoneType"),
    ],
)
@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_a_first_answer_that_no_search_can_start_from_is_refused(clip, method, change, message):
    if method == "lcs-cma":
        message = message.replace(r"\(1, 16", r"\([0-9]+, 16")
    broken = Answering(clip, lambda scores, _: change(scores))
    with pytest.raises(InputError, match=message):
        run(broken, method=method)
    assert broken.answers <= clip.calls


def test_a_later_answer_that_is_no_number_is_passed_over(clip):
    once = Answering(clip, lambda scores, answer: torch.full_like(scores, math.nan) if answer == 4 else scores)
    losses = [step.loss for step in run(once, max_queries=120, patience=None).history]
    assert min(loss for loss in losses if math.isfinite(loss)) < losses[0]


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_a_box_that_answers_with_no_numbers_any_more_is_given_up_and_the_best_so_far_kept(
    clip, method, tmp_path, monkeypatch
):
    monkeypatch.setattr(Checkpoint, "is_due", lambda self: True)
    asked = {"method": method, "max_queries": 300, "patience": None, "run_dir": tmp_path}
    failing = Answering(clip, lambda scores, answer: scores if answer <= 6 else scores * math.nan)
    result = run(failing, **asked)
    losses = [step.loss for step in result.history]
    numbers = sum(math.isfinite(loss) for loss in losses)
    assert result.reason is StopReason.BLANK
    assert 0 < numbers < len(losses)
    assert result.history[-1].queries - result.history[numbers - 1].queries < 64 + 20  # and not the whole budget
    assert torch.equal(result.adapter.context, result.history[numbers - 1].context)
    again = run(Answering(clip, lambda scores, answer: scores * 0 - math.inf), **asked)  # no probability for any name
    assert again.reason is StopReason.BLANK
    assert again.history[-1].queries > result.history[-1].queries
    failing = Answering(clip, lambda scores, answer: scores if answer <= clip.calls else scores * math.nan)
    impatient = run(failing, method=method, max_queries=300, patience=25)
    assert impatient.reason is StopReason.BLANK
    mended = run(clip, **asked)
    assert mended.reason is StopReason.BUDGET
    assert math.isfinite(mended.history[-1].loss)
    assert mended.history[-1].H >= result.history[-1].H


def test_patience_0_is_never_as_on_the_command_line(clip):
    assert run(clip, patience=0, max_queries=12).reason is StopReason.BUDGET


def test_scores_in_double_precision_are_read(clip):
    double = Answering(clip, lambda scores, _: scores.double())
    assert torch.equal(run(double).adapter.context, run(clip).adapter.context)


def test_scores_that_carry_gradients_are_read(clip):
    tracked = Answering(clip, lambda scores, _: scores.clone().requires_grad_())
    assert torch.equal(run(tracked).adapter.context, run(clip).adapter.context)


def test_given_validation_images_are_used_and_the_training_ones_are_not_halved(clip):
    before = clip.ledger.image_encodings
    result = run(clip, validation=coloured(3, seed=9), shots=5)
    assert clip.ledger.image_encodings - before == 4 * (5 + 3)
    other = run(clip, validation=coloured(3, seed=10), shots=5)
    assert [a.loss for a in result.history] == [b.loss for b in other.history]  # training never sees validation


def test_the_config_says_how_the_adapter_was_made(clip, clip_folder):
    config = run(clip, forget=["grey", "green"], seed=3, n_ctx=2, max_queries=30).adapter.config
    assert (config.forget, config.retain) == (["green", "grey"], ["red", "blue"])
    assert (config.n_ctx, config.dim, config.seed, config.method) == (2, 32, 3, "proximal")
    assert config.template == clip.template
    assert config.hyperparameters["shots"] == 2
    assert config.hyperparameters["max_queries"] == 30
    assert config.hyperparameters["n_ctx"] == 2
    assert {"queries", "text_tokens", "image_encodings", "seconds", "peak_memory_mb"} <= set(config.ledger)


def test_no_hash_and_no_name_of_a_training_file_leaves_the_run(clip, image_folder):
    images = LabeledImages.from_folder(image_folder)
    config = str(asdict(run(clip, images).adapter.config))
    assert str(image_folder) not in config
    assert ".png" not in config


def test_a_recipe_of_ones_own_is_followed(clip):
    config = run(clip, method=replace(SMALL, n_ctx=3, entropy_weight=0.7)).adapter.config
    assert config.n_ctx == 3
    assert config.hyperparameters["entropy_weight"] == 0.7
    assert config.hyperparameters["options"] == {"probes": 4}


@pytest.mark.parametrize(("classes", "n_ctx", "width"), [(10, 4, 40), (11, 16, 2_000), (1_000, 16, 2_000)])
@pytest.mark.parametrize("method", ["lcs-cma-paper", "bbt-cma", "ind-cma"])
def test_the_papers_methods_have_the_papers_sizes(method, classes, n_ctx, width):
    plan = recipe(method, classes)
    assert plan.n_ctx == n_ctx
    assert (plan.unique if plan.single_block else plan.shared + plan.n_ctx * plan.unique) == width


def test_the_papers_method_has_the_papers_loss():
    plan = recipe("lcs-cma-paper", 10)
    assert (plan.entropy_weight, plan.margin_weight, plan.shared, plan.unique) == (1.0, 0.0, 20, 5)


def test_methods_other_than_the_papers_share_one_objective():
    plans = [recipe(method, 10) for method in METHODS if method != "lcs-cma-paper"]
    assert len({(p.entropy_weight, p.margin_weight, p.margin_scale, p.leak_weight) for p in plans}) == 1


def test_strength_weighs_what_is_asked_of_forget_images_and_half_of_it_is_the_default():
    plan = recipe("proximal", 10)
    assert plan.with_strength(0.5) == plan
    for strength, factor in ((0.0, 0.25), (1.0, 4.0)):
        other = plan.with_strength(strength)
        assert other.margin_weight == factor * plan.margin_weight
        assert other.entropy_weight == factor * plan.entropy_weight
        assert other.leak_weight == factor * plan.leak_weight
    with pytest.raises(ValueError, match="strength must be a number from 0 to 1, got"):
        plan.with_strength(1.5)


# Refusals: nothing is run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_queries": 0}, "max_queries must be a whole number of at least 1, got 0"),
        ({"max_queries": -3}, "max_queries must be a whole number of at least 1, got -3"),
        ({"forget": ["purple"]}, "unknown class 'purple'"),
        ({"forget": []}, "at least one class to forget"),
        ({"forget": list(COLOURS)}, "all 4 classes would be forgotten"),
        ({"n_ctx": 0}, "n_ctx must be a whole number of at least 1"),
        ({"n_ctx": 70}, "n_ctx must be 1 to .*got 70"),
        ({"method": "adam"}, "unknown method 'adam'; expected one of proximal"),
        ({"shots": 0}, "shots must be a whole number of at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_scored(clip, changes, message):
    before = clip.ledger.copy()
    with pytest.raises(ValueError, match=message):
        run(clip, **changes)
    assert clip.ledger == before


@pytest.mark.parametrize(
    ("label", "message"), [(0, "class 'red' to forget has no images"), (2, "'blue' has no images")]
)
def test_a_class_without_images_is_refused(clip, label, message):
    images = coloured(4)
    images = images.select(i for i in range(len(images)) if images.labels[i] != label)
    with pytest.raises(ValueError, match=message):
        run(clip, images)


def test_validation_of_other_classes_is_refused(clip):
    other = LabeledImages.from_arrays([Image.new("RGB", (8, 8))] * 2, [0, 1], ["red", "purple"])
    with pytest.raises(ValueError, match="validation images must have the same classes"):
        run(clip, validation=other)


def test_validation_without_forget_images_is_refused(clip):
    validation = coloured(2)
    only_kept = validation.select(i for i in range(len(validation)) if validation.labels[i] != 0)
    with pytest.raises(ValueError, match="forget"):
        run(clip, validation=only_kept)


def test_a_corrupt_image_is_named_before_anything_is_scored(clip, image_folder):
    broken = sorted((image_folder / "grey").iterdir())[0]
    broken.write_bytes(b"no image")
    images = LabeledImages.from_folder(image_folder)
    queries = clip.ledger.queries
    with pytest.raises(ValueError, match=broken.name):
        run(clip, images, shots=4)
    assert clip.ledger.queries == queries


def test_a_method_by_keyword_must_be_known_to_recipe():
    with pytest.raises(ValueError, match="unknown method 'x'"):
        recipe("x", 3)


@pytest.mark.parametrize("method", ["lcs-cma", "proximal"])
def test_a_long_run_passes_through_what_a_shorter_one_returns(clip, method):
    long, short = run(clip, max_queries=100, method=method), run(clip, max_queries=40, method=method)
    asked = long.at(40).config.ledger["queries"]
    assert torch.equal(long.at(40).context, short.at(asked).context)
    assert long.at(40).config.metrics == short.at(asked).config.metrics
    assert torch.equal(long.at(100).context, long.adapter.context)


def test_nothing_is_known_before_the_first_batch(clip):
    with pytest.raises(ValueError, match="first batch took 20 queries, asked for 19"):
        run(clip, max_queries=60, method="lcs-cma").at(19)


# From a finished adapter


def test_a_run_from_a_finished_adapter_starts_at_its_context(clip):
    first = run(clip).adapter
    again = run(clip, init=first, max_queries=1)
    assert torch.equal(again.adapter.context, first.context)
    assert again.adapter.config.hyperparameters["init"] == first.config.weights_sha256


def test_a_run_from_a_finished_adapter_searches_in_directions_of_its_own(clip):
    first = run(clip)
    one = run(clip, init=first.adapter, max_queries=1).search.latent.projection
    two = run(clip, forget=["blue"], init=first.adapter, max_queries=1).search.latent.projection
    assert torch.equal(one, two)
    assert not torch.allclose(one, first.search.latent.projection)


@pytest.mark.parametrize("method", METHODS)
def test_a_later_request_goes_on_with_the_search_and_leaves_the_first_result_as_it_is(clip, method):
    first = run(clip, method=method)
    both = run(clip, forget=["red", "blue"], method=method, init=first, strength=0.8)
    again = run(clip, forget=["red", "blue"], method=method, init=first, strength=0.8)
    assert both.adapter.config.hyperparameters["continued"]
    assert both.search.latent is first.search.latent
    assert torch.equal(both.adapter.context, again.adapter.context)
    assert [step.loss for step in both.history] == [step.loss for step in again.history]


def test_a_later_request_starts_where_the_search_stood_and_knows_what_it_knew(clip):
    first = run(clip, max_queries=100)
    both = run(clip, forget=["red", "blue"], init=first, max_queries=1)
    stood = first.search.latent.decode(torch.from_numpy(first.search.optimizer.incumbent)[None])
    assert torch.equal(both.history[0].context, stood[0])
    before, after = (result.search.optimizer.state()[1]["jacobian"] for result in (first, both))
    assert len(before) > 0
    assert torch.equal(before, after)


@pytest.mark.parametrize("changes", [{"shots": 3}, {"seed": 1}, {"method": "lcs-cma"}, {"synonyms": {"red": ["ruby"]}}])
def test_a_result_of_another_search_is_a_start_like_its_adapter(clip, changes):
    first = run(clip, n_ctx=2)
    from_result, from_adapter = (run(clip, init=init, n_ctx=2, **changes) for init in (first, first.adapter))
    assert not from_result.adapter.config.hyperparameters["continued"]
    assert torch.equal(from_result.adapter.context, from_adapter.adapter.context)


def test_a_category_is_given_back_from_a_finished_adapter(clip):
    both = run(clip, forget=["red", "blue"], max_queries=300, n_ctx=2).adapter
    one = run(clip, forget=["red"], max_queries=150, init=both)
    assert one.history[-1].H >= one.history[0].H
    assert one.adapter.config.n_ctx == 2
    assert one.adapter.config.forget == ["red"]


def test_an_adapter_of_another_model_is_no_start(clip, other_clip_folder):
    first = run(clip, max_queries=1).adapter
    with pytest.raises(WrongBaseError):
        run(ClipBlackBox(other_clip_folder), init=first)


def test_another_context_length_than_the_starts_is_refused(clip):
    first = run(clip, max_queries=1, n_ctx=2).adapter
    with pytest.raises(ValueError, match="n_ctx is 3, but the context to start from has 2 tokens"):
        run(clip, init=first, n_ctx=3)
