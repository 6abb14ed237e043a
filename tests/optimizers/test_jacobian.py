"""The filter against Kalman's formulas written out, and what it may leave away."""

import pytest
import torch

from hf_unlearn.optimizers.jacobian import FilteredJacobian

SIZE, IMAGES, CLASSES = 12, 9, 5


def observations(count, size=SIZE, images=IMAGES, classes=CLASSES, rank=None, seed=0):
    """Moves and the changes that a true Jacobian of so many patterns answers, centred over the classes."""
    draw = torch.Generator().manual_seed(seed)
    moves = torch.randn(count, size, generator=draw, dtype=torch.float64)
    rank = rank or images
    truth = torch.randn(images, rank, generator=draw) @ torch.randn(size, rank, classes, generator=draw)
    truth = truth - truth.mean(-1, keepdim=True)
    return moves, torch.einsum("kd,dnc->knc", moves.float(), truth), truth


def one_by_one(moves, changes, noise):
    """Kalman's update as textbooks have it: one observation after the other, all images, all coordinates."""
    doubt = torch.eye(moves.shape[1], dtype=torch.float64)
    jacobian = torch.zeros(changes[0].numel(), moves.shape[1], dtype=torch.float64)
    for move, change in zip(moves, changes.double(), strict=True):
        gain = doubt @ move / (move @ doubt @ move + noise * move @ move)
        jacobian += torch.outer(change.flatten() - jacobian @ move, gain)
        doubt -= torch.outer(gain, move @ doubt)
    return jacobian, doubt


def test_a_batch_teaches_what_its_observations_teach_one_after_the_other():
    moves, changes, _ = observations(7)
    filtered = FilteredJacobian(SIZE)
    for batch in (slice(0, 3), slice(3, 4), slice(4, 7)):
        filtered.learn(moves[batch], changes[batch], noise=0.05)
    jacobian, doubt = one_by_one(moves, changes, noise=0.05)
    torch.testing.assert_close(filtered.doubt, doubt)
    step = torch.randn(SIZE)
    torch.testing.assert_close(
        filtered(step), (jacobian @ step.double()).view(IMAGES, CLASSES).float(), rtol=1e-4, atol=1e-4
    )


def test_constants_per_image_are_not_learnt():
    moves, changes, _ = observations(3)
    plain, shifted = FilteredJacobian(SIZE), FilteredJacobian(SIZE)
    plain.learn(moves, changes, 0.01)
    shifted.learn(moves, changes + torch.randn(3, IMAGES, 1), 0.01)
    torch.testing.assert_close(plain.values, shifted.values, rtol=1e-3, atol=1e-4)


def test_new_coordinates_come_first_and_the_most_doubtful_old_ones_after():
    filtered = FilteredJacobian(6)
    first = filtered.doubtful(4)
    assert torch.equal(first, torch.eye(6, dtype=torch.float64)[:4])
    moves = first.clone()
    moves[2] *= 1e-3  # hardly seen against the noise below
    filtered.learn(moves[[0, 1, 3]], torch.randn(3, IMAGES, CLASSES), 1e-4)
    filtered.learn(moves[[2]], torch.randn(1, IMAGES, CLASSES), 0.5)
    assert filtered.known == 4
    assert filtered.doubtful(3).argmax(1).tolist() == [4, 5, 2]


def test_a_coordinate_is_not_asked_for_twice_in_a_batch():
    filtered = FilteredJacobian(6)
    filtered.learn(torch.eye(6, dtype=torch.float64), torch.randn(6, IMAGES, CLASSES), 1e-4)
    filtered.blur(0.3)
    assert sorted(filtered.doubtful(6).argmax(1).tolist()) == list(range(6))


def test_many_images_are_kept_in_few_patterns_without_loss_when_there_are_no_more():
    moves, changes, truth = observations(8, images=100, classes=20, rank=10)
    filtered = FilteredJacobian(SIZE, rank=16)
    filtered.learn(moves, changes, 1e-9)
    assert filtered.patterns.shape == (100, 16)
    step = moves[0].float()
    torch.testing.assert_close(filtered(step), torch.einsum("d,dnc->nc", step, truth), rtol=1e-3, atol=1e-3)


def test_too_few_observations_to_find_patterns_keep_all_images():
    moves, changes, _ = observations(1, images=100, classes=20)
    filtered = FilteredJacobian(SIZE, rank=16)
    filtered.learn(moves, changes, 1e-9)
    assert filtered.patterns.shape == (100, 100)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_answers_that_are_not_finite_teach_nothing(bad):
    moves, changes, _ = observations(2)
    broken = changes.clone()
    broken[1, 0, 0] = bad
    one, other = FilteredJacobian(SIZE), FilteredJacobian(SIZE)
    one.learn(moves, broken, 0.01)
    other.learn(moves[:1], changes[:1], 0.01)
    assert torch.equal(one.values, other.values)
    assert torch.equal(one.doubt, other.doubt)


def test_doubt_grows_by_drift_but_never_above_the_start():
    filtered = FilteredJacobian(SIZE)
    moves, changes, _ = observations(4)
    filtered.learn(moves, changes, 0.01)
    before = filtered.doubt.diagonal()[: filtered.known].clone()
    filtered.blur(0.1)
    assert (before < filtered.doubt.diagonal()[: filtered.known]).all()
    for _ in range(50):
        filtered.blur(0.5)
    assert float(filtered.doubt.diagonal().max()) <= 1


def test_it_goes_on_from_a_state_bit_for_bit():
    moves, changes, _ = observations(6)
    whole, half, other = (FilteredJacobian(SIZE) for _ in range(3))
    whole.learn(moves[:3], changes[:3], 0.01)
    half.learn(moves[:3], changes[:3], 0.01)
    other.restore(half.state())
    for filtered in (whole, other):
        filtered.blur(0.1)
        filtered.learn(moves[3:], changes[3:], 0.02)
    assert torch.equal(whole.values, other.values)
    assert torch.equal(whole.doubt, other.doubt)
    assert torch.equal(whole.doubtful(4), other.doubtful(4))


def test_a_state_from_before_the_first_observation_is_taken_up_too():
    filtered = FilteredJacobian(SIZE)
    filtered.restore(FilteredJacobian(SIZE).state())
    moves, changes, _ = observations(2)
    filtered.learn(moves, changes, 0.01)
    assert filtered.known == SIZE
