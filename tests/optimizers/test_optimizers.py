"""One contract for every optimizer, on a linear-softmax black box of known minimum; and each one's own promise."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cmaes import CMA
from scipy.optimize import minimize

from hf_unlearn.optimizers import proximal
from hf_unlearn.optimizers.block_cma import BlockCMA
from hf_unlearn.optimizers.objective import Objective
from hf_unlearn.optimizers.proximal import FARTHER, PATIENCE, SHORTER, Proximal

IMAGES, CLASSES, SIZE = 40, 4, 10


class LinearBlackBox:
    """log-scores of `N` images are log_softmax(B + W z): what CLIP's are for a small step."""

    def __init__(self, size: int = SIZE, seed: int = 0, **weights: float) -> None:
        draw = torch.Generator().manual_seed(seed)
        labels = torch.arange(IMAGES) % CLASSES
        self.bias = torch.randn(IMAGES, CLASSES, generator=draw) + 2 * torch.eye(CLASSES)[labels]
        self.slope = torch.randn(IMAGES, CLASSES, size, generator=draw)
        self.size = size
        self.objective = Objective(labels, torch.tensor([True, False, False, False]), **weights)
        self.queries = 0

    def scores(self, latents: np.ndarray) -> torch.Tensor:
        self.queries += len(latents)
        return self._exact(torch.from_numpy(latents)).float()

    def _exact(self, latents: torch.Tensor) -> torch.Tensor:
        steps = torch.einsum("ncd,pd->pnc", self.slope.double(), latents.double())
        return (self.bias.double() + steps).log_softmax(-1)

    def losses(self, latents: np.ndarray) -> np.ndarray:
        return self.objective(self._exact(torch.from_numpy(np.atleast_2d(latents)))).numpy()

    def minimum(
        self, penalty: float = 0.0, rivals: torch.Tensor | None = None, center: np.ndarray | float = 0.0
    ) -> tuple[float, np.ndarray]:
        """The least loss (+ penalty |z - center|²) and where, by scipy's BFGS in float64."""

        def value(z: np.ndarray) -> tuple[float, np.ndarray]:
            latent = torch.from_numpy(z).requires_grad_()
            loss = (
                self.objective(self._exact(latent[None])[0], rivals)
                + penalty * (latent - torch.as_tensor(center)).square().sum()
            )
            loss.backward()
            return loss.item(), latent.grad.numpy()

        found = minimize(value, np.zeros(self.size), jac=True, method="BFGS", options={"gtol": 1e-8})
        return found.fun, found.x


MAKERS: dict[str, Callable] = {
    "cma-lcs": lambda box, seed: BlockCMA([slice(0, 4), slice(4, 7), slice(7, 10)], seed),
    "cma-independent": lambda box, seed: BlockCMA([slice(0, 5), slice(5, 10)], seed),
    "cma-single": lambda box, seed: BlockCMA([slice(0, 10)], seed),
    "proximal": lambda box, seed: Proximal(box.size, box.objective, seed),
    "proximal-few-probes": lambda box, seed: Proximal(box.size, box.objective, seed, probes=3),
}


def turn(optimizer, box: LinearBlackBox) -> np.ndarray:
    return turn_with_iterates(optimizer, box)[0]


def turn_with_iterates(optimizer, box: LinearBlackBox) -> tuple[np.ndarray, list[int]]:
    latents = optimizer.ask()
    return latents, list(optimizer.tell(latents, box.losses(latents), box.scores(latents)))


def run(optimizer, box: LinearBlackBox, queries: int) -> float:
    while box.queries < queries:
        turn(optimizer, box)
    return float(box.losses(optimizer.incumbent)[0])


@pytest.fixture
def box() -> LinearBlackBox:
    return LinearBlackBox()


@pytest.fixture(params=MAKERS)
def make(request) -> Callable:
    return MAKERS[request.param]


# The contract


def test_ask_gives_rows_of_the_latents_width_in_float64(make, box):
    optimizer = make(box, 0)
    for _ in range(4):
        latents = turn(optimizer, box)
        assert latents.ndim == 2
        assert latents.shape[1] == SIZE
        assert latents.dtype == np.float64
        assert np.isfinite(latents).all()


def test_the_incumbent_is_a_latent_from_the_start(make, box):
    optimizer = make(box, 0)
    assert optimizer.incumbent.shape == (SIZE,)
    turn(optimizer, box)
    assert optimizer.incumbent.shape == (SIZE,)


def test_ask_fails_when_called_twice(make, box):
    optimizer = make(box, 0)
    optimizer.ask()
    with pytest.raises(RuntimeError, match="ask was called twice"):
        optimizer.ask()


def test_tell_fails_before_ask_and_when_called_twice(make, box):
    optimizer = make(box, 0)
    latents = np.zeros((1, SIZE))
    with pytest.raises(RuntimeError, match="tell was called without ask"):
        optimizer.tell(latents, box.losses(latents), box.scores(latents))
    latents = turn(optimizer, box)
    with pytest.raises(RuntimeError, match="tell was called without ask"):
        optimizer.tell(latents, box.losses(latents), box.scores(latents))


def test_ask_works_again_after_a_refusal(make, box):
    optimizer = make(box, 0)
    latents = optimizer.ask()
    with pytest.raises(RuntimeError):
        optimizer.ask()
    optimizer.tell(latents, box.losses(latents), box.scores(latents))
    assert optimizer.ask().shape[1] == SIZE


def asked_with(make, seed):
    box = LinearBlackBox()
    optimizer = make(box, seed)
    return np.concatenate([turn(optimizer, box) for _ in range(6)])


def test_the_same_seed_asks_the_same(make):
    assert np.array_equal(asked_with(make, 5), asked_with(make, 5))


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("cma")])
def test_another_seed_searches_elsewhere(name):
    """The proximal one leaves chance to the projection."""
    assert not np.array_equal(asked_with(MAKERS[name], 6), asked_with(MAKERS[name], 5))


def test_chance_comes_from_the_seed_alone(make):
    def asked():
        box = LinearBlackBox()
        optimizer = make(box, 5)
        return np.concatenate([turn(optimizer, box) for _ in range(4)])

    np.random.seed(0)
    torch.manual_seed(0)
    first = asked()
    np.random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(asked(), first)


def test_asking_changes_nothing_the_caller_holds(make, box):
    optimizer = make(box, 0)
    for _ in range(4):
        latents = optimizer.ask()
        kept = latents.copy()
        optimizer.tell(latents, box.losses(latents), box.scores(latents))
        latents += 1_000.0  # what the caller does with its own array is its own affair
        assert float(box.losses(optimizer.incumbent)[0]) < 1_000
        assert not np.shares_memory(optimizer.incumbent, latents)
        assert not np.array_equal(kept, latents)


def test_the_incumbent_never_gets_worse(make, box):
    optimizer = make(box, 0)
    turn(optimizer, box)
    before = float(box.losses(optimizer.incumbent)[0])
    for _ in range(25):
        turn(optimizer, box)
        now = float(box.losses(optimizer.incumbent)[0])
        assert now <= before + 1e-6
        before = now


def test_iterates_are_rows_of_the_batch_and_the_incumbent_was_one_of_them(make, box):
    optimizer = make(box, 0)
    seen = []
    for _ in range(8):
        latents, rows = turn_with_iterates(optimizer, box)
        assert all(0 <= row < len(latents) for row in rows)
        assert len(set(rows)) == len(rows)
        seen += [latents[row] for row in rows]
        assert any(np.array_equal(optimizer.incumbent, latent) for latent in seen)


# They find the minimum


@pytest.mark.parametrize(("name", "queries"), [("proximal", 200), ("proximal-few-probes", 300), ("cma-lcs", 4_000),
                                               ("cma-independent", 4_000), ("cma-single", 3_000)])  # fmt: skip
@pytest.mark.parametrize("weights", [{}, {"entropy_weight": 0.3, "margin_weight": 1.0}])
def test_the_loss_comes_near_its_known_minimum(name, queries, weights):
    box = LinearBlackBox(**weights)
    least, _ = box.minimum()
    start = float(box.losses(np.zeros(SIZE))[0])
    found = run(MAKERS[name](box, 0), box, queries)
    assert found >= least - 1e-6
    assert found - least < (0.12 if weights else 0.05) * (start - least)  # the margin term has local minima as well


@pytest.mark.parametrize("seed", range(3))
def test_the_proximal_one_reaches_a_lower_loss_than_cma_with_as_many_queries(seed):
    size = 30
    lowest = {}
    for name, make in {
        "proximal": lambda box: Proximal(size, box.objective, seed),
        "cma": lambda box: BlockCMA([slice(0, 10), slice(10, 20), slice(20, 30)], seed),
        "single": lambda box: BlockCMA([slice(0, 30)], seed),
    }.items():
        box = LinearBlackBox(size, seed)
        lowest[name] = run(make(box), box, 200)
    assert lowest["proximal"] < min(lowest["cma"], lowest["single"])


# CMA-ES


def test_with_one_block_it_is_plain_cma_es(box):
    """A variant with its extra switched off is the base: cmaes told the same losses."""
    ours = BlockCMA([slice(0, SIZE)], seed=7, population=8, sigma=0.5)
    own_seed = int(np.random.SeedSequence(7).generate_state(1)[0])
    theirs = CMA(np.zeros(SIZE), 0.5, seed=own_seed, population_size=8)
    for _ in range(10):
        latents = turn(ours, box)
        expected = np.stack([theirs.ask() for _ in range(8)])
        assert np.array_equal(latents, expected)
        theirs.tell([(row, float(loss)) for row, loss in zip(expected, box.losses(expected), strict=True)])


def test_every_block_is_a_cma_es_of_its_own_told_the_whole_loss(box):
    blocks = [slice(0, 4), slice(4, 7), slice(7, 10)]
    ours = BlockCMA(blocks, seed=7)
    seeds = np.random.SeedSequence(7).generate_state(3)
    theirs = [CMA(np.zeros(b.stop - b.start), 1.0, seed=int(s), population_size=20)
              for b, s in zip(blocks, seeds, strict=True)]  # fmt: skip
    for _ in range(5):
        latents = turn(ours, box)
        losses = box.losses(latents)
        for block, search in zip(blocks, theirs, strict=True):
            expected = np.stack([search.ask() for _ in range(20)])
            assert np.array_equal(latents[:, block], expected)
            search.tell([(row, float(loss)) for row, loss in zip(expected, losses, strict=True)])


def test_cma_judges_by_the_loss_alone(box):
    latents = {}
    for name, scores in {"right": box.scores, "none": lambda latents: torch.empty(0)}.items():
        optimizer = BlockCMA([slice(0, SIZE)], seed=0)
        for _ in range(3):
            asked = optimizer.ask()
            optimizer.tell(asked, box.losses(asked), scores(asked))
        latents[name] = optimizer.ask()
    assert np.array_equal(latents["right"], latents["none"])


def test_every_candidate_of_cma_is_an_iterate(box):
    optimizer = BlockCMA([slice(0, SIZE)], seed=0, population=6)
    assert turn_with_iterates(optimizer, box)[1] == list(range(6))


def test_a_block_of_one_number_is_searched_too(box):
    optimizer = BlockCMA([slice(0, 1), slice(1, SIZE)], seed=0)
    assert turn(optimizer, box).shape == (20, SIZE)


# Proximal


def test_its_first_query_is_the_start_and_probes_are_orthonormal_around_it(box):
    optimizer = Proximal(SIZE, box.objective, seed=0, probes=4, step=0.25)
    first, iterates = turn_with_iterates(optimizer, box)
    assert np.array_equal(first, np.zeros((1, SIZE)))
    assert iterates == [0]
    probes, iterates = turn_with_iterates(optimizer, box)
    moves = (probes - optimizer.incumbent) / 0.25
    np.testing.assert_allclose(moves @ moves.T, np.eye(4), atol=1e-10)
    assert iterates == []  # probes are not iterates


def test_all_directions_are_probed_before_any_is_probed_again(box):
    optimizer = Proximal(SIZE, box.objective, seed=0, probes=5)
    turn(optimizer, box)
    moves = []
    for _ in range(2):
        before = optimizer.incumbent
        moves.append(turn(optimizer, box) - before)
        turn(optimizer, box)
    assert np.linalg.matrix_rank(np.concatenate(moves), tol=1e-6) == SIZE


@pytest.mark.parametrize(
    "weights", [{}, {"entropy_weight": 0.3, "margin_weight": 1.0, "margin_scale": 2.0, "list_weight": 0.5}]
)
@pytest.mark.parametrize("eta", [0.1, 0.5, 2.5])
def test_once_all_directions_of_a_linear_model_are_probed_a_trial_is_the_exact_proximal_step(weights, eta, monkeypatch):
    """The model predicts the log-scores exactly there, so its minimizer is the true one, for every strength."""
    monkeypatch.setattr(proximal, "EVALUATIONS", 10)  # a search has no need for exact steps
    box = LinearBlackBox(**weights)
    optimizer = Proximal(SIZE, box.objective, seed=0, probes=SIZE, radius=100)
    optimizer.eta = eta
    turn(optimizer, box)
    turn(optimizer, box)
    (trial,) = optimizer.ask()
    rivals = box.objective.rivals(box.scores(np.zeros((1, SIZE)))[0])
    least, where = box.minimum(penalty=1 / (2 * eta), rivals=rivals)
    np.testing.assert_allclose(trial, where, atol=0.02)
    scored = box._exact(torch.from_numpy(trial)[None])[0]
    value = float(box.objective(scored, rivals)) + (trial**2).sum() / (2 * eta)
    assert value == pytest.approx(least, abs=3e-4)


def test_no_move_is_longer_than_the_radius_and_they_soon_are_as_long(box):
    optimizer = Proximal(SIZE, box.objective, seed=0, probes=SIZE, radius=0.05)
    turn(optimizer, box)
    lengths = []
    for _ in range(6):
        turn(optimizer, box)
        before = optimizer.incumbent
        lengths.append(np.linalg.norm(turn(optimizer, box)[0] - before))
    assert max(lengths) <= 0.05 + 1e-9
    assert min(lengths) > 0.04


def test_a_move_is_the_only_iterate_and_is_made_where_the_loss_rises_too(box):
    optimizer = Proximal(SIZE, box.objective, seed=0)
    turn(optimizer, box)
    turn(optimizer, box)
    trial = optimizer.ask()
    assert list(optimizer.tell(trial, np.full(len(trial), 1e6), box.scores(trial))) == [0]
    assert np.array_equal(optimizer.incumbent, trial[0])


def test_the_radius_shrinks_when_no_new_least_loss_is_found_and_is_larger_for_another_objective(box):
    optimizer, radii = Proximal(SIZE, box.objective, seed=0, radius=0.5), []
    turn(optimizer, box)
    for _ in range(3 * (PATIENCE + 1)):
        turn(optimizer, box)
        trial = optimizer.ask()
        optimizer.tell(trial, np.full(len(trial), 1e6), box.scores(trial))
        radii.append(round(optimizer.radius / 0.5, 6))
    assert sorted(set(radii)) == pytest.approx([SHORTER**3, SHORTER**2, SHORTER, 1.0], abs=1e-5)
    optimizer.restart()
    assert optimizer.radius == FARTHER * 0.5


@pytest.mark.parametrize(("classes", "images", "first"), [(4, 30, 4), (4, 300, 4), (20, 300, 14)])
def test_the_first_round_probes_as_often_as_it_takes_to_find_patterns_over_many_images(classes, images, first):
    """With 4 classes it would take 86 probes; they are not spent."""
    labels = torch.arange(images) % classes
    objective = Objective(labels, torch.arange(classes) < 2, margin_weight=1.0)
    slopes = torch.randn(images, classes, 40, generator=torch.Generator().manual_seed(0))
    optimizer, asked = Proximal(40, objective, seed=0), []
    for _ in range(4):
        latents = optimizer.ask()
        scores = (slopes @ torch.from_numpy(latents).float().T).permute(2, 0, 1).log_softmax(-1)
        optimizer.tell(latents, objective(scores).numpy(), scores)
        asked.append(len(latents))
    assert asked == [1, first, 1, 4]
    assert optimizer.state()[1]["patterns"].shape[1] == (128 if first == 14 else images)


def test_it_stays_where_it_is_if_the_scores_of_a_move_are_no_numbers(box):
    optimizer = Proximal(SIZE, box.objective, seed=0)
    turn(optimizer, box)
    turn(optimizer, box)
    trial = optimizer.ask()
    nothing = torch.full_like(box.scores(trial), torch.nan)
    assert list(optimizer.tell(trial, np.full(1, np.nan), nothing)) == []
    assert np.array_equal(optimizer.incumbent, np.zeros(SIZE))
    assert optimizer.radius == 0.5
    turn(optimizer, box)
    assert np.isfinite(optimizer.ask()).all()


def test_directions_probed_rounds_ago_still_count(box):
    """Two probes a round: after all directions the trial is the exact proximal step from where the search is then."""
    optimizer = Proximal(SIZE, box.objective, seed=0, probes=2, radius=100)
    turn(optimizer, box)
    for _ in range(SIZE // 2):
        turn(optimizer, box)
        turn(optimizer, box)
    turn(optimizer, box)
    optimizer.eta = 1.0
    center = optimizer.incumbent
    rivals = box.objective.rivals(box.scores(center[None])[0])
    _, where = box.minimum(penalty=1 / 2, rivals=rivals, center=center)
    np.testing.assert_allclose(optimizer.ask()[0], where, atol=0.03)


def test_it_probes_again_while_no_answer_is_a_number(box):
    optimizer = Proximal(SIZE, box.objective, seed=0, probes=4)
    turn(optimizer, box)
    first = optimizer.ask()
    optimizer.tell(first, np.full(4, np.nan), torch.full_like(box.scores(first), torch.nan))
    assert np.array_equal(turn(optimizer, box), first)
    assert len(turn(optimizer, box)) == 1  # the move


def test_what_it_asks_for_is_finite_however_long_it_searches():
    box = LinearBlackBox(entropy_weight=0.3, margin_weight=1.0)
    optimizer = Proximal(SIZE, box.objective, seed=0)
    for number in range(200):
        asked = turn(optimizer, box)
        assert np.isfinite(asked).all(), f"batch {number}, after {box.queries} queries"


def test_it_does_with_fewer_dimensions_than_probes(box):
    small = LinearBlackBox(size=3)
    least, _ = small.minimum()
    assert run(Proximal(3, small.objective, seed=0), small, 60) == pytest.approx(least, abs=0.01)
