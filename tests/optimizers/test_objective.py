"""The loss against the paper's formulas, written out in float64 image by image."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hf_unlearn.errors import InputError
from hf_unlearn.evaluation.metrics import accuracies, short_list
from hf_unlearn.optimizers.leak import LEAK_FLOOR, leak
from hf_unlearn.optimizers.objective import WITHIN, Objective

LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 3])
FORGET = torch.tensor([True, False, True, False, False])
CLASSES = len(FORGET)


def scores(*shape: int, seed: int = 0, sharpness: float = 3.0) -> torch.Tensor:
    logits = torch.randn(*shape, len(LABELS), CLASSES, generator=torch.Generator().manual_seed(seed))
    return (sharpness * logits).log_softmax(-1)


def papers_loss(log_scores: np.ndarray) -> float:
    """Equations 1 to 3 of the paper, by loops."""
    retain, forget = [], []
    for row, label in zip(log_scores, LABELS.tolist(), strict=True):
        if FORGET[label]:
            forget.append(-sum(row[c] for c in range(CLASSES)) / CLASSES)
        else:
            retain.append(-row[label])
    return sum(retain) / len(retain) + sum(forget) / len(forget)


def margin_term(log_scores: np.ndarray, scale: float) -> float:
    terms = []
    for row, label in zip(log_scores, LABELS.tolist(), strict=True):
        if FORGET[label]:
            rival = max(row[c] for c in range(CLASSES) if c != label)
            terms.append(math.log1p(math.exp(scale * (row[label] - rival))))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_margin_it_is_the_papers_loss(seed):
    log_scores = scores(seed=seed)
    expected = papers_loss(log_scores.double().numpy())
    assert float(Objective(LABELS, FORGET)(log_scores)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("entropy_weight", "margin_weight", "scale"), [(0.3, 1.0, 1.0), (0.0, 2.0, 5.0), (1, 0.5, 3)])
def test_the_weights_weigh_the_entropy_and_the_margin_term(entropy_weight, margin_weight, scale):
    log_scores = scores(seed=7)
    exact = log_scores.double().numpy()
    kept = papers_loss(exact) - forget_part(exact)
    expected = kept + entropy_weight * forget_part(exact) + margin_weight * margin_term(exact, scale)
    objective = Objective(LABELS, FORGET, entropy_weight, margin_weight, scale)
    assert float(objective(log_scores)) == pytest.approx(expected, rel=1e-6)


def forget_part(exact: np.ndarray) -> float:
    gone = [row.mean() for row, label in zip(exact, LABELS.tolist(), strict=True) if FORGET[label]]
    return -sum(gone) / len(gone)


def test_its_least_value_is_perfect_retention_and_flat_forgetting():
    log_scores = torch.full((len(LABELS), CLASSES), -1e4)
    log_scores[torch.arange(len(LABELS)), LABELS] = 0.0
    log_scores[FORGET[LABELS]] = -math.log(CLASSES)
    best = float(Objective(LABELS, FORGET)(log_scores))
    assert best == pytest.approx(math.log(CLASSES))
    assert all(float(Objective(LABELS, FORGET)(scores(seed=seed))) > best for seed in range(20))


@pytest.fixture
def objective() -> Objective:
    return Objective(
        LABELS, FORGET, entropy_weight=0.3, margin_weight=1.0, margin_scale=2.0, list_weight=0.5, list_length=2
    )


def test_a_batch_gives_what_its_members_give(objective):
    batch = scores(6)
    assert objective(batch).shape == (6,)
    torch.testing.assert_close(objective(batch), torch.stack([objective(one) for one in batch]))
    nested = batch.view(2, 3, len(LABELS), CLASSES)
    torch.testing.assert_close(objective(nested), objective(batch).view(2, 3))


def test_the_order_of_the_images_does_not_matter(objective):
    log_scores = scores()
    order = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(3))
    turned = replace(objective, labels=LABELS[order])
    torch.testing.assert_close(turned(log_scores[order]), objective(log_scores))


def test_every_image_twice_changes_nothing(objective):
    log_scores = scores(2)
    doubled = replace(objective, labels=LABELS.repeat(2))
    torch.testing.assert_close(doubled(log_scores.repeat(1, 2, 1)), objective(log_scores))


def test_the_order_of_the_classes_does_not_matter(objective):
    log_scores = scores()
    order = torch.tensor([3, 0, 4, 1, 2])
    renamed = replace(objective, labels=order.argsort()[LABELS], forget=FORGET[order])
    torch.testing.assert_close(renamed(log_scores[:, order]), objective(log_scores))


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_the_list_term_is_the_mean_over_all_short_lists_of_kept_names(length):
    """Lists longer than there are kept names are all of them."""
    log_scores, kept = scores(seed=3).double(), [c for c in range(CLASSES) if not FORGET[c]]
    terms = []
    for row, label in zip(log_scores, LABELS.tolist(), strict=True):
        if FORGET[label]:
            lists = combinations(kept, min(length, len(kept)))
            terms += [float(F.softplus(1.5 * (row[label] - max(row[c] for c in chosen)))) for chosen in lists]
    plain, listed = (
        float(Objective(LABELS, FORGET, margin_scale=1.5, list_weight=weight, list_length=length)(log_scores))
        for weight in (0.0, 0.7)
    )
    assert listed - plain == pytest.approx(0.7 * sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize("length", [0, -1, 2.5, "4", True])
def test_a_list_holds_a_whole_number_of_names(length):
    with pytest.raises(InputError, match="list_length must be a whole number of at least 1"):
        Objective(LABELS, FORGET, list_weight=0.3, list_length=length)


def test_a_sharp_list_term_is_the_short_list_of_the_metrics():
    """Where the margin is sharp, softplus counts the lists in which the true class is the best, but for its slope."""
    log_scores = scores(seed=3)
    rivals = Objective(LABELS, FORGET, list_weight=1.0, list_length=2).rivals(log_scores)
    gone = log_scores[FORGET[LABELS]]
    own = gone.gather(-1, LABELS[FORGET[LABELS]][:, None])
    share = ((own > gone) * rivals).sum(-1).mean()
    assert float(share) == pytest.approx(short_list(log_scores, LABELS, FORGET, 2), abs=1e-6)


def test_the_rivals_of_the_margin_are_the_best_classes_that_are_not_the_true_one():
    log_scores, gone = scores(3), FORGET[LABELS].nonzero().flatten()
    rivals = Objective(LABELS, FORGET, margin_weight=1.0).rivals(log_scores)
    assert rivals.shape == (3, len(gone), CLASSES)
    for batch, row in np.ndindex(3, len(gone)):
        others = [c for c in range(CLASSES) if c != LABELS[gone[row]]]
        best = max(others, key=lambda c: float(log_scores[batch, gone[row], c]))
        assert rivals[batch, row].tolist() == [float(c == best) for c in range(CLASSES)]


def test_frozen_rivals_change_nothing_where_it_was_frozen(objective):
    log_scores = scores(3)
    torch.testing.assert_close(objective(log_scores, objective.rivals(log_scores)), objective(log_scores))


def test_frozen_rivals_stay_when_another_class_overtakes(objective):
    here, there = scores(seed=1), scores(seed=2)
    frozen = objective.rivals(here)
    assert (frozen != objective.rivals(there)).any()
    assert float(objective(there, frozen)) > float(objective(there))  # another rival is never better than the best


def test_with_the_rivals_frozen_the_loss_is_convex_in_the_logits(objective):
    draw = torch.Generator().manual_seed(0)
    a, b = (4 * torch.randn(50, len(LABELS), CLASSES, generator=draw) for _ in range(2))
    frozen = objective.rivals(a)

    def loss(logits):
        return objective(logits.double().log_softmax(-1), frozen)

    assert (loss((a + b) / 2) <= (loss(a) + loss(b)) / 2 + 1e-9).all()


def test_the_margin_pushes_the_true_class_of_forget_images_down_and_nothing_else():
    log_scores = scores().requires_grad_()
    Objective(LABELS, FORGET, entropy_weight=0.0, margin_weight=1.0)(log_scores).backward()
    slope = log_scores.grad[torch.arange(len(LABELS)), LABELS]
    assert (slope[FORGET[LABELS]] > 0).all()
    assert (slope[~FORGET[LABELS]] < 0).all()  # the cross-entropy of retain images
    assert (log_scores.grad != 0).sum(1).tolist() == [2 if FORGET[label] else 1 for label in LABELS]


@pytest.mark.parametrize("labels", [[0, 2, 2], [1, 3, 4]])
def test_images_of_one_kind_only_are_refused(labels):
    with pytest.raises(ValueError, match="images of forget classes and of retain classes; one kind is missing"):
        Objective(torch.tensor(labels), FORGET)


# The leak term


def leak_term(log_scores: np.ndarray, labels: list[int]) -> float:
    """Between-class over within-class variance of every score, by loops."""
    total = 0.0
    for column in log_scores.T:
        groups = [[x for x, label in zip(column, labels, strict=True) if label == own] for own in sorted(set(labels))]
        means = [sum(group) / len(group) for group in groups]
        middle = sum(means) / len(means)
        between = sum((mean - middle) ** 2 for mean in means) / len(means)
        within = sum((x - mean) ** 2 for group, mean in zip(groups, means, strict=True) for x in group) / len(labels)
        total += math.log1p(between / (within + LEAK_FLOOR))
    return total / log_scores.shape[1]


@pytest.mark.parametrize("seed", range(3))
def test_the_leak_term_is_fishers_criterion_of_the_forget_images_scores(seed):
    log_scores = scores(seed=seed)
    gone = FORGET[LABELS]
    expected = leak_term(log_scores[gone].double().numpy(), LABELS[gone].tolist())
    assert float(leak(log_scores[gone], LABELS[gone])) == pytest.approx(expected, rel=1e-5)
    plain, leaky = (float(Objective(LABELS, FORGET, leak_weight=weight)(log_scores)) for weight in (0.0, 2.0))
    assert leaky - plain == pytest.approx(2 * expected, rel=1e-5)


def test_scores_that_are_the_same_for_every_forgotten_class_leak_nothing():
    labels = torch.tensor([0, 0, 2, 2])
    pair = scores()[:2]
    assert float(leak(torch.cat([pair, pair]), labels)) == pytest.approx(0, abs=1e-6)
    assert float(leak(pair, labels[:2])) == 0  # one class has nothing to be told from


def test_the_leak_term_takes_populations():
    batch = scores(4)
    gone = FORGET[LABELS]
    one_by_one = torch.stack([leak(row[gone], LABELS[gone]) for row in batch])
    torch.testing.assert_close(leak(batch[:, gone], LABELS[gone]), one_by_one)


def two_tower(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    return (images @ texts.T).log_softmax(-1)


def test_displaced_images_score_as_a_two_tower_model_scores_displaced_features():
    """Features displaced by combinations of deviations from class means, shortened, scored by the model itself."""
    draw = torch.Generator().manual_seed(5)
    images = torch.randn(len(LABELS), 16, generator=draw, dtype=torch.float64)
    texts = torch.randn(CLASSES, 16, generator=draw, dtype=torch.float64)
    objective = Objective(LABELS, FORGET, 0.3, 1.0, leak_weight=0.5, vicinity=1.5)
    means = torch.stack([images[label == LABELS].mean(0) for label in range(CLASSES)])
    weights = torch.randn(len(LABELS), len(LABELS), generator=torch.Generator().manual_seed(0)).double()
    moves = weights @ (images - means[LABELS]) / len(LABELS) ** 0.5
    near = (images + 1.5 * moves) / (1 + WITHIN * 1.5**2) ** 0.5
    both = two_tower(torch.cat([images, near]), texts)
    plain = Objective(LABELS.repeat(2), FORGET, 0.3, 1.0, leak_weight=0.5)
    torch.testing.assert_close(objective(two_tower(images, texts)), plain(both), rtol=1e-6, atol=0)
    torch.testing.assert_close(objective.rivals(two_tower(images, texts)), plain.rivals(both))


def test_with_a_vicinity_a_batch_gives_what_its_members_give():
    objective = Objective(LABELS, FORGET, 0.3, 1.0, leak_weight=0.5, vicinity=2.0)
    batch = scores(6)
    torch.testing.assert_close(objective(batch), torch.stack([objective(one) for one in batch]))


def test_with_a_vicinity_and_the_rivals_frozen_the_loss_is_convex_in_the_logits():
    objective = Objective(LABELS, FORGET, 0.3, 1.0, vicinity=2.0)
    draw = torch.Generator().manual_seed(0)
    a, b = (4 * torch.randn(50, len(LABELS), CLASSES, generator=draw) for _ in range(2))
    frozen = objective.rivals(a)

    def loss(logits):
        return objective(logits.log_softmax(-1), frozen)

    assert (loss((a + b) / 2) <= (loss(a) + loss(b)) / 2 + 1e-4).all()


def test_one_image_per_class_says_nothing_of_its_vicinity():
    labels = torch.arange(CLASSES)
    log_scores = scores()[:CLASSES]
    assert float(Objective(labels, FORGET, vicinity=2.0)(log_scores)) == float(Objective(labels, FORGET)(log_scores))


@pytest.mark.parametrize("vicinity", [0.0, 2.0])
@pytest.mark.parametrize("named", [False, True], ids=["one naming", "synonyms"])
@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0, 0.0), (0.3, 1.0, 0.0, 0.0), (0.3, 1.0, 0.5, 0.7), (0, 0, 0, 1)])
def test_the_derivative_is_autograds(vicinity, named, weights):
    namings = torch.arange(CLASSES).repeat(3, 1)
    namings[1, 0], namings[2, 2] = CLASSES, CLASSES + 1
    entropy, margin, leaked, listed = weights
    objective = Objective(
        LABELS, FORGET, entropy, margin, 1.5, list_weight=listed, list_length=2, leak_weight=leaked, vicinity=vicinity,
        namings=namings if named else None,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(2, len(LABELS), CLASSES + 2 * named, generator=draw)).requires_grad_()
    rivals = objective.rivals(logits[0].detach().log_softmax(-1))
    value, slope = objective.derivative(logits.detach(), rivals)
    expected = torch.stack([objective(one.log_softmax(-1), rivals) for one in logits])
    assert torch.allclose(value, expected, atol=1e-5)
    assert torch.allclose(slope, torch.autograd.grad(expected.sum(), logits)[0], atol=1e-6)


@pytest.mark.parametrize("vicinity", [0.0, 2.0])
def test_hits_are_the_accuracies_of_the_images_themselves(vicinity):
    found = Objective(LABELS, FORGET, vicinity=vicinity).hits(scores(7))
    for got, expected in zip(found, accuracies(scores(7), LABELS, FORGET), strict=True):
        assert torch.equal(got, expected)
