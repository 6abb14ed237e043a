"""Every metric on cases small enough to compute by hand, and at its extremes."""

import math
from itertools import combinations

import pytest
import torch

from hf_unlearn.evaluation.metrics import (
    accuracies,
    calibration_error,
    entropy,
    forget_detect,
    harmonic_mean,
    log_loss,
    look_alike,
    recoverability,
    short_list,
    top_leak,
)


def logs(rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).log()


def guesses(classes: int, *landed: int) -> torch.Tensor:
    """Log-scores whose arg-max are `landed`."""
    return (10.0 * torch.eye(classes)[list(landed)]).log_softmax(-1)


# H, Err_for, Acc_mem


@pytest.mark.parametrize(
    ("err_for", "acc_mem", "expected"),
    [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.5, 1.0, 2 / 3), (0.9610, 0.9406, 0.9507)],
)
def test_the_harmonic_mean_and_its_edges(err_for, acc_mem, expected):
    assert harmonic_mean(err_for, acc_mem) == pytest.approx(expected, abs=1e-4)
    assert harmonic_mean(acc_mem, err_for) == harmonic_mean(err_for, acc_mem)


def test_the_papers_table_is_reproduced_from_its_own_columns():
    for err_for, acc_mem, h in [(8.37, 89.05, 15.30), (79.31, 93.19, 85.69), (93.37, 71.52, 80.99)]:
        assert 100 * harmonic_mean(err_for / 100, acc_mem / 100) == pytest.approx(h, abs=0.02)


def test_accuracies_count_forget_images_missed_and_retain_images_hit():
    forget = torch.tensor([True, True, False, False])
    labels = torch.tensor([0, 0, 1, 1, 2, 3, 3])
    error, kept = accuracies(guesses(4, 0, 1, 1, 3, 2, 2, 3), labels, forget)
    assert float(error) == pytest.approx(2 / 4)  # landing on another forget class is an error too
    assert float(kept) == pytest.approx(2 / 3)


def test_accuracies_of_a_batch_are_those_of_its_members():
    forget, labels = torch.tensor([True, False, False]), torch.tensor([0, 0, 1, 2, 2])
    batch = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    errors, kept = accuracies(batch, labels, forget)
    for row in range(4):
        assert (errors[row], kept[row]) == accuracies(batch[row], labels, forget)


# Entropy


def test_the_entropy_of_flat_scores_is_1_and_of_certain_ones_0():
    assert entropy(torch.full((3, 7), -math.log(7))) == pytest.approx(1.0)
    assert entropy(logs([[1, 0, 0], [0, 0, 1]])) == 0.0
    assert entropy(torch.tensor([[0.0, -1e4, -1e4]])) == pytest.approx(0.0, abs=1e-6)


def test_the_entropy_is_averaged_over_images_and_divided_by_log_c():
    by_hand = (1.0 + (0.5 * math.log(2) * 2) / math.log(4)) / 2
    assert entropy(logs([[0.25] * 4, [0.5, 0.5, 0, 0]])) == pytest.approx(by_hand)


# Top-k leak


def test_top_leak_looks_at_the_top_two_of_ten_classes_and_at_the_top_five_of_more():
    ten = guesses(10, 0, 0, 0, 0) - torch.arange(10) * 0.1  # the order is 0, then 1, 2, 3, …
    assert top_leak(ten, torch.tensor([0, 1, 2, 9])) == pytest.approx(abs(2 / 4 - 2 / 10))
    eleven = guesses(11, 0, 0, 0, 0) - torch.arange(11) * 0.1
    assert top_leak(eleven, torch.tensor([0, 4, 5, 10])) == pytest.approx(abs(2 / 4 - 5 / 11))


def test_a_name_that_is_always_or_never_in_the_top_leaks():
    always, never = guesses(10, *[3] * 5), guesses(10, *[3] * 5) - torch.arange(10) * 0.1
    assert top_leak(always, torch.full((5,), 3)) == pytest.approx(0.8)
    assert top_leak(never, torch.full((5,), 9)) == pytest.approx(0.2)


def test_chance_leaks_nothing():
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(4_000, 10, generator=draw).log_softmax(-1)
    assert top_leak(scores, torch.randint(0, 10, (4_000,), generator=draw)) < 0.03


def test_a_masked_name_is_in_nobodys_top():
    scores = torch.full((4, 3), -math.inf)
    scores[:, 2] = 0.0
    assert top_leak(scores, torch.zeros(4).long()) == pytest.approx(2 / 3)  # never in the top: that leaks
    assert top_leak(scores, torch.full((4,), 2)) == pytest.approx(1 / 3)


# Probes


def separable(count: int, classes: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    logits = torch.randn(count, width, generator=draw)
    logits[torch.arange(count), labels] += 8.0
    return logits.log_softmax(-1), labels


def unrelated(count: int, classes: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return logits.log_softmax(-1), torch.arange(count) % classes


def test_recoverability_is_1_where_scores_tell_the_classes_apart():
    assert recoverability(*separable(90, 3, 6, 0), *separable(60, 3, 6, 1)) > 0.97


def test_recoverability_is_0_where_scores_have_nothing_to_do_with_the_class():
    assert abs(recoverability(*unrelated(600, 4, 8, 0), *unrelated(600, 4, 8, 1))) < 0.1


def test_recoverability_finds_what_the_arg_max_hides():
    """The true class is always scored lowest: arg-max never says it, the scores still do."""
    (fit, fit_labels), (test, test_labels) = separable(90, 3, 6, 0), separable(60, 3, 6, 1)
    assert (torch.argmax(-test, -1) == test_labels).float().mean() < 0.05
    assert recoverability(-fit, fit_labels, -test, test_labels) > 0.97


def test_recoverability_reads_the_columns_a_label_mask_leaves():
    (fit, fit_labels), (test, test_labels) = separable(90, 3, 6, 0), separable(60, 3, 6, 1)
    leak_fit, leak_test = fit.roll(3, 1), test.roll(3, 1)  # the class shows in columns 3, 4, 5
    leak_fit[:, :3] = leak_test[:, :3] = -math.inf
    assert recoverability(leak_fit, fit_labels, leak_test, test_labels) > 0.97


def test_recoverability_is_unknown_with_a_single_class():
    scores, _ = unrelated(10, 1, 4, 0)
    assert math.isnan(recoverability(scores, torch.zeros(10).long(), scores, torch.zeros(10).long()))


def test_recoverability_does_with_one_fitting_image_per_class():
    assert recoverability(*separable(3, 3, 6, 0), *separable(60, 3, 6, 1)) > 0.5


def test_recoverability_is_the_same_every_time():
    data = (*unrelated(60, 3, 6, 0), *unrelated(60, 3, 6, 1))
    assert recoverability(*data) == recoverability(*data)


def test_forget_detect_is_a_coin_toss_on_one_distribution():
    parts = [unrelated(500, 2, 8, seed)[0] for seed in range(4)]
    assert forget_detect(*parts) == pytest.approx(0.5, abs=0.06)


def test_forget_detect_is_certain_where_forget_images_look_flat():
    """What the entropy loss does: flat scores on forget images, sharp ones elsewhere."""

    def flat(seed):
        return 0.01 * unrelated(80, 2, 8, seed)[0]

    def sharp(seed):
        return separable(80, 1, 8, seed)[0]

    assert forget_detect(flat(0), sharp(1), flat(2), sharp(3)) > 0.99


def test_forget_detect_does_with_masked_columns():
    forget, other = separable(60, 1, 6, 0)[0], unrelated(60, 1, 6, 1)[0]
    forget[:, 5] = other[:, 5] = -math.inf
    assert forget_detect(forget[:30], other[:30], forget[30:], other[30:]) > 0.9


# Calibration, log-loss, look-alike


def test_the_calibration_error_by_hand():
    scores = logs([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = torch.tensor([0, 1, 1, 1])
    by_hand = (2 * abs(0.9 - 0.5) + 2 * abs(0.6 - 1.0)) / 4
    assert calibration_error(scores, labels) == pytest.approx(by_hand, abs=1e-6)


def test_over_and_underconfidence_in_one_bin_cancel_but_not_across_bins():
    one_bin = logs([[0.82, 0.18]] * 5)
    assert calibration_error(one_bin, torch.tensor([0, 0, 0, 0, 1])) == pytest.approx(0.02, abs=1e-6)


def test_a_calibrated_set_has_a_small_calibration_error_and_a_sharpened_one_a_large():
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(20_000, 4, generator=draw).log_softmax(-1)
    labels = torch.multinomial(scores.exp(), 1, generator=draw)[:, 0]
    assert calibration_error(scores, labels) < 0.015
    assert calibration_error((5 * scores).log_softmax(-1), labels) > 0.2


def test_full_confidence_falls_into_the_last_bin():
    assert calibration_error(logs([[1.0, 0.0]] * 2), torch.tensor([0, 0])) == 0.0
    assert calibration_error(logs([[1.0, 0.0]] * 2), torch.tensor([1, 1])) == 1.0


def test_the_log_loss_by_hand():
    scores = logs([[0.5, 0.5], [0.25, 0.75]])
    assert log_loss(scores, torch.tensor([0, 0])) == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_look_alike_is_the_largest_share_of_a_forget_class_that_lands_on_one_other():
    forget = torch.tensor([True, True, False, False])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    scattered = guesses(4, 0, 1, 2, 3, 1, 2, 2, 3, 3, 3)
    assert look_alike(scattered, labels, forget) == pytest.approx(2 / 4)  # class 1 on class 2; class 2 is not forgotten
    assert look_alike(guesses(4, *labels.tolist()), labels, forget) == 0.0
    assert look_alike(guesses(4, *[3] * 10), labels, forget) == 1.0


def test_look_alike_passes_over_forget_classes_without_images():
    assert look_alike(guesses(3, 2, 2), torch.tensor([2, 2]), torch.tensor([True, True, False])) == 0.0


# Short lists


def short_case(images: int = 12, classes: int = 9, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    scores = (3 * torch.randn(images, classes, generator=draw)).log_softmax(-1)
    return scores, torch.randint(classes, (images,), generator=draw), torch.arange(classes) < 3


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_a_short_list_is_the_mean_over_every_list_of_k_kept_names(k):
    scores, labels, forget = short_case()
    named = [
        float(scores[image, label] > scores[image, list(beside)].max())
        for image, label in enumerate(labels.tolist()) if forget[label]
        for beside in combinations(range(3, 9), k)
    ]  # fmt: skip
    assert len(named) > 0
    assert short_list(scores, labels, forget, k) == pytest.approx(sum(named) / len(named), abs=1e-12)


def test_random_draws_come_to_the_same():
    scores, labels, forget = short_case(400, 30)
    draw, named = torch.Generator().manual_seed(1), []
    for image in (forget[labels]).nonzero().flatten().tolist() * 40:
        beside = 3 + torch.randperm(27, generator=draw)[:4]
        named.append(float(scores[image, labels[image]] > scores[image, beside].max()))
    assert short_list(scores, labels, forget, 4) == pytest.approx(sum(named) / len(named), abs=0.03)


def test_a_longer_list_names_less_and_the_longest_is_all_kept_names():
    scores, labels, forget = short_case(60)
    shares = [short_list(scores, labels, forget, k) for k in range(1, 7)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]
    gone = scores[forget[labels]]
    best = gone[:, 3:].max(1).values
    own = gone.gather(1, labels[forget[labels]][:, None])[:, 0]
    assert shares[-1] == pytest.approx(float((own > best).float().mean()), abs=1e-6)


def test_a_mask_is_never_named_and_other_forgotten_names_do_not_stand_in_a_list():
    scores, labels, forget = short_case(60)
    masked = scores.masked_fill(forget, -torch.inf).log_softmax(-1)
    assert short_list(masked, labels, forget, 1) == 0
    confused = guesses(5, 1, 0, 2).log_softmax(-1)  # the two forgotten classes are taken for each other
    assert short_list(confused, torch.tensor([0, 1, 2]), torch.tensor([True, True, False, False, False]), 1) == 0
    perfect = guesses(5, 0, 1, 2)
    assert short_list(perfect, torch.tensor([0, 1, 2]), torch.tensor([True, True, False, False, False]), 3) == 1


def test_a_short_list_needs_enough_kept_names_and_a_forget_image():
    scores, labels, forget = short_case()
    assert math.isnan(short_list(scores, labels, forget, 7))
    assert math.isnan(short_list(scores, torch.full_like(labels, 5), forget, 1))
    assert math.isnan(short_list(scores, labels, torch.ones(9, dtype=torch.bool), 1))


def test_a_short_list_does_not_change_with_the_order_of_images_or_classes():
    scores, labels, forget = short_case(60)
    images, classes = torch.randperm(60), torch.randperm(9)
    turned = scores[images][:, classes]
    place = classes.argsort()
    assert short_list(turned, place[labels[images]], forget[classes], 4) == pytest.approx(
        short_list(scores, labels, forget, 4), abs=1e-12
    )
