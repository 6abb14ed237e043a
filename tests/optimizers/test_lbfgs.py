"""Several functions minimized in step, against SciPy's minimum of each."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipys

from hf_unlearn.optimizers.lbfgs import minimize

SIZE = 12


def quadratics(rows: int, curvature: float):
    """Convex quadratics of condition `curvature`, and their minima."""
    draw = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=draw))[0]
    matrix = turn @ torch.diag(torch.logspace(0, np.log10(curvature), SIZE)) @ turn.T
    minima = torch.randn(rows, SIZE, generator=draw)

    def function(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        away = points - minima
        return 0.5 * (away @ matrix * away).sum(-1), away @ matrix

    return function, minima


@pytest.mark.parametrize("curvature", [1.0, 30.0, 1000.0])
def test_it_finds_the_minima_of_quadratics(curvature):
    function, minima = quadratics(3, curvature)
    found = minimize(function, torch.zeros(3, SIZE), 80)
    assert torch.allclose(found, minima, atol=2e-2 / curvature**0.5 + 1e-3)


def test_it_is_as_low_as_scipy_on_functions_that_are_no_quadratics():
    shift = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(1))

    def function(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        points = points.detach().requires_grad_()
        values = (3 * points - shift).logsumexp(-1) + (points**4).sum(-1) + 0.1 * points.square().sum(-1)
        return values.detach(), torch.autograd.grad(values.sum(), points)[0]

    values, _ = function(minimize(function, torch.full((4, SIZE), 2.0), 60))
    for row in range(4):
        start = np.full(SIZE, 2.0)

        def one(point: np.ndarray, row: int = row) -> float:
            return float(function(torch.from_numpy(np.tile(point, (4, 1))).float())[0][row])

        best = scipys(one, start, method="Powell", options={"maxiter": 200}).fun
        assert float(values[row]) <= best + 1e-3


def test_each_function_goes_its_own_way():
    function, _ = quadratics(3, 30.0)
    together = minimize(function, torch.zeros(3, SIZE), 15)
    for row in range(3):

        def alone(points: torch.Tensor, row: int = row) -> tuple[torch.Tensor, torch.Tensor]:
            values, slopes = function(points.expand(3, -1))
            return values[row : row + 1], slopes[row : row + 1]

        assert torch.allclose(minimize(alone, torch.zeros(1, SIZE), 15)[0], together[row], atol=1e-4)


def test_a_point_never_gets_worse_however_bad_the_trials():
    """A wall of infinity, beyond which trials fall at first."""

    def function(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = (points - 1).square().sum(-1)
        return torch.where(points.amax(-1) > 0.05, torch.inf, values), 2 * (points - 1)

    start = torch.zeros(2, SIZE)
    found = minimize(function, start, 20)
    assert (function(found)[0] < function(start)[0]).all()
    assert found.isfinite().all()


def test_at_a_minimum_it_stays():
    function, minima = quadratics(2, 30.0)
    assert torch.allclose(minimize(function, minima.clone(), 10), minima, atol=1e-5)
