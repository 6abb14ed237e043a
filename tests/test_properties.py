"""Properties of the maths that no choice of numbers may break, against float64 references written out plainly."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn import ClipBlackBox
from hf_unlearn.evaluation.metrics import accuracies, entropy, harmonic_mean
from hf_unlearn.optimizers.latent_context import LatentContext
from hf_unlearn.optimizers.methods import METHODS, build_objective, build_optimizer, recipe
from hf_unlearn.optimizers.objective import Objective
from tests.support.checkpoints import write_clip

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def judged(draw):
    """Labels `(N,)` of both kinds, which classes to forget `(C,)`, log-scores `(N, C)` of any sharpness."""
    classes, per_class = draw(st.integers(2, 7)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    forget = torch.zeros(classes, dtype=torch.bool)
    forget[: draw(st.integers(1, classes - 1))] = True
    labels = torch.arange(classes).repeat(per_class)[torch.randperm(classes * per_class, generator=generator)]
    logits = torch.randn(len(labels), classes, generator=generator) * draw(st.floats(0, 30))
    return labels, forget[torch.randperm(classes, generator=generator)], logits.log_softmax(-1)


WEIGHTS = st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0.1, 5))


def reference(labels, forget, log_scores, entropy_weight, margin_weight, margin_scale) -> float:
    """The loss image by image in float64 (the paper's equations 1 to 3, and the margin)."""
    kept, flat, margins = [], [], []
    for label, row in zip(labels.tolist(), log_scores.double().numpy(), strict=True):
        if forget[label]:
            flat.append(-sum(row) / len(row))
            rival = max(value for other, value in enumerate(row) if other != label)
            margins.append(np.logaddexp(0.0, margin_scale * (row[label] - rival)))
        else:
            kept.append(-row[label])
    return np.mean(kept) + entropy_weight * np.mean(flat) + margin_weight * np.mean(margins)


# The objective


@EXAMPLES
@given(judged(), WEIGHTS)
def test_the_loss_is_the_reference_in_float64(case, weights):
    labels, forget, scores = case
    loss = float(Objective(labels, forget, *weights)(scores))
    assert loss == pytest.approx(reference(*case, *weights), rel=1e-4, abs=1e-5)


@EXAMPLES
@given(judged(), WEIGHTS, SEEDS)
def test_the_order_of_images_and_of_classes_does_not_matter(case, weights, seed):
    labels, forget, scores = case
    generator = torch.Generator().manual_seed(seed)
    images, classes = torch.randperm(len(labels), generator=generator), torch.randperm(len(forget), generator=generator)
    moved = Objective(classes.argsort()[labels[images]], forget[classes], *weights)(scores[images][:, classes])
    assert float(moved) == pytest.approx(float(Objective(labels, forget, *weights)(scores)), rel=1e-4, abs=1e-5)


@EXAMPLES
@given(judged(), WEIGHTS, st.integers(2, 4))
def test_every_image_given_more_often_changes_nothing(case, weights, times):
    labels, forget, scores = case
    many = Objective(labels.repeat(times), forget, *weights)(scores.repeat(times, 1))
    assert float(many) == pytest.approx(float(Objective(labels, forget, *weights)(scores)), rel=1e-4, abs=1e-5)


@EXAMPLES
@given(judged(), WEIGHTS)
def test_a_population_is_judged_as_its_members_are(case, weights):
    labels, forget, scores = case
    objective = Objective(labels, forget, *weights)
    both = objective(torch.stack([scores, scores.flip(0)]))
    assert both.tolist() == pytest.approx([float(objective(scores)), float(objective(scores.flip(0)))], rel=1e-5)


@EXAMPLES
@given(judged())
def test_every_methods_objective_is_finite_and_never_below_what_perfection_gives(case):
    labels, forget, scores = case
    for method in METHODS:
        plan = recipe(method, len(forget))
        loss = float(build_objective(plan, labels, forget)(scores))
        assert math.isfinite(loss)
        assert loss >= plan.entropy_weight * math.log(len(forget)) - 1e-4  # flat forget images, retain images right


# The metrics


@EXAMPLES
@given(judged())
def test_error_accuracy_and_entropy_are_those_counted_by_hand(case):
    labels, forget, scores = case
    said = scores.argmax(-1).tolist()
    wrong = [guess != label for guess, label in zip(said, labels.tolist(), strict=True) if forget[label]]
    right = [guess == label for guess, label in zip(said, labels.tolist(), strict=True) if not forget[label]]
    err_for, acc_mem = (float(x) for x in accuracies(scores, labels, forget))
    assert (err_for, acc_mem) == (pytest.approx(np.mean(wrong)), pytest.approx(np.mean(right)))
    h = harmonic_mean(err_for, acc_mem)
    assert h == pytest.approx(2 * np.mean(wrong) * np.mean(right) / max(np.mean(wrong) + np.mean(right), 1e-12))
    gone = scores[forget[labels]].double()
    by_hand = -(gone.exp() * gone).sum(-1).mean() / math.log(len(forget))
    assert float(entropy(scores[forget[labels]])) == pytest.approx(float(by_hand), abs=1e-5)


# Latents and projection


@EXAMPLES
@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 4), SEEDS)
def test_sharing_is_the_papers_definition(n_ctx, shared, unique, seed):
    if shared + unique == 0:
        return
    start = torch.linspace(-1, 1, 7)
    latent = LatentContext.create(start, 0.3, n_ctx=n_ctx, shared=shared, unique=unique, seed=seed)
    z = torch.randn(2, latent.size, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    contexts, A = latent.decode(z), latent.projection.double().numpy()
    for row, context in zip(z.numpy(), contexts.double().numpy(), strict=True):
        for i in range(n_ctx):
            own = row[shared + i * unique : shared + (i + 1) * unique]
            expected = start.double().numpy() + np.concatenate([row[:shared], own]) @ A  # p0 + A [z_s ; z_u,i]
            assert context[i] == pytest.approx(expected, abs=1e-5)
    covered = sorted(i for block in latent.blocks for i in range(latent.size)[block])
    assert covered == list(range(latent.size))


@EXAMPLES
@given(st.integers(1, 6), SEEDS)
def test_decoding_is_affine(n_ctx, seed):
    latent = LatentContext.create(torch.zeros(5), 1.0, n_ctx=n_ctx, shared=3, unique=2, seed=seed)
    a, b = torch.randn(2, 1, latent.size, generator=torch.Generator().manual_seed(seed)).unbind()
    middle = latent.decode((a + b) / 2)
    assert torch.allclose(middle, (latent.decode(a) + latent.decode(b)) / 2, atol=1e-5)


# Optimizers


class Softmax:
    """log-scores of images are `log_softmax(bias + slope z)`, whose least loss is at hand: 0 for a large enough z."""

    def __init__(self, size: int, labels: torch.Tensor, forget: torch.Tensor, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        classes = len(forget)
        self.bias = 2 * torch.eye(classes)[labels] + 0.1 * torch.randn(len(labels), classes, generator=draw)
        self.slope = torch.randn(classes, size, generator=draw) / size**0.5

    def __call__(self, latents: np.ndarray) -> torch.Tensor:
        return (self.bias + (torch.from_numpy(latents).float() @ self.slope.T)[:, None]).log_softmax(-1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(2))
def test_every_method_comes_near_the_least_loss_of_a_convex_case(method, seed):
    """Logits are affine in the latent and the paper's loss is convex in them, so gradient descent has the minimum."""
    from dataclasses import replace

    labels, forget = torch.arange(4).repeat(4), torch.tensor([True, False, False, False])
    plan = replace(recipe(method, 4), entropy_weight=1.0, margin_weight=0.0)
    latent = LatentContext.create(
        torch.zeros(8), 1.0, n_ctx=plan.n_ctx, shared=plan.shared, unique=plan.unique, single_block=plan.single_block,
        seed=seed,
    )  # fmt: skip
    box, objective = Softmax(latent.size, labels, forget, seed), build_objective(plan, labels, forget)
    bias = torch.zeros(4, requires_grad=True)  # what all latents together can do: any shift of the class logits
    search = torch.optim.LBFGS([bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = objective((box.bias + bias).log_softmax(-1))
        value.backward()
        return value

    search.step(loss)
    least = float(objective((box.bias + bias).log_softmax(-1)))
    optimizer = build_optimizer(plan, latent, objective, seed)
    first, queries = None, 0
    while queries < 1_500:
        latents = optimizer.ask()
        scores = box(latents)
        losses = objective(scores).double().numpy()
        optimizer.tell(latents, losses, scores[:, optimizer.images])
        first = float(losses[0]) if first is None else first
        queries += len(latents)
    reached = float(objective(box(optimizer.incumbent[None]))[0])
    assert reached >= least - 1e-4
    assert reached - least < 0.1 * abs(float(objective(box.bias.log_softmax(-1))) - least) + 0.02


# The fast tower


@cache
def small(tmp: str) -> tuple[ClipBlackBox, ClipBlackBox]:
    folder = write_clip(tmp, seed=3)
    return ClipBlackBox(folder, device="cpu"), ClipBlackBox(folder, device="cpu", shared_prefix=False)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=6),
    st.sampled_from(["{}", "a photo of a {}.", "{} is here"]), st.integers(0, 8), st.integers(1, 3), SEEDS,
)  # fmt: skip
def test_the_fast_tower_gives_what_the_whole_forward_gives(tmp_path_factory, names, template, n_ctx, population, seed):
    fast, whole = small(str(tmp_path_factory.getbasetemp() / "clip-of-properties"))
    contexts = 0.1 * torch.randn(population, n_ctx, fast.dim, generator=torch.Generator().manual_seed(seed))
    try:
        slow = whole.with_template(template).text_features(contexts, names)
    except ValueError as error:
        assert "tokens" in str(error)  # noqa: PT017 (a name too long is refused by both)
        return
    assert torch.allclose(fast.with_template(template).text_features(contexts, names), slow, atol=2e-5)
