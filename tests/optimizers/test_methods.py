"""The registry of methods: one entry makes a method, and everything else derives from it."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_unlearn import Recipe, unlearn
from hf_unlearn.cli.options import Method
from hf_unlearn.errors import InputError
from hf_unlearn.optimizers import methods
from hf_unlearn.optimizers.methods import METHODS, build_latent, build_objective, build_optimizer, recipe
from tests.support.images import coloured


def test_one_entry_adds_a_method(clip, monkeypatch):
    monkeypatch.setitem(METHODS, "small", lambda classes: Recipe(n_ctx=2, shared=classes, unique=1))
    assert recipe("small", 4).shared == 4
    result = unlearn(clip, coloured(4), forget=["red"], method="small", max_queries=20, shots=2, progress=False)
    assert (result.adapter.config.method, result.adapter.config.n_ctx) == ("small", 2)


def test_the_command_line_offers_edits_and_every_registered_method():
    assert [method.value for method in Method] == ["edit", *METHODS]


def test_the_registry_loads_without_torch():
    code = f"import sys; import {methods.__name__}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("optimizer", ["adam", ["adam"], None])
def test_an_unknown_optimizer_of_a_recipe_is_refused(optimizer):
    with pytest.raises(ValueError, match=r"unknown optimizer .*; expected one of proximal, cma"):
        build_optimizer(Recipe(n_ctx=2, shared=4, unique=2, optimizer=optimizer), None, None, 0)


@pytest.mark.parametrize(
    "name", ["spread", "entropy_weight", "margin_weight", "list_weight", "leak_weight", "vicinity"]
)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "x", None])
def test_a_weight_is_a_finite_number_of_at_least_0(name, value):
    with pytest.raises(InputError, match=f"{name} must be a number of at least 0"):
        replace(recipe("proximal", 10), **{name: value})


@pytest.mark.parametrize("name", methods.WHOLE)
@pytest.mark.parametrize("value", [-1, 2.5, math.nan, "x", None])
def test_a_size_is_a_whole_number(name, value):
    with pytest.raises(InputError, match=f"{name} must be a whole number of at least"):
        replace(recipe("proximal", 10), **{name: value})


@pytest.mark.parametrize("options", ["x", None, 3, ("probes", 4)])
def test_options_are_pairs(options):
    with pytest.raises(InputError, match="options must be pairs of a name and a value"):
        replace(recipe("proximal", 10), options=options)


def test_numbers_of_numpy_become_pythons():
    plan = replace(recipe("proximal", 10), list_length=np.int64(3), list_weight=np.float32(0.5), options={"probes": 8})
    assert (type(plan.list_length), type(plan.list_weight), plan.options) == (int, float, (("probes", 8),))


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [("proximal", "probes", 0), ("proximal", "probes", 2.5), ("proximal", "radius", -1), ("proximal", "radius", "x"),
     ("proximal", "step", 0), ("proximal", "drift", math.nan), ("proximal", "model_images", 0),
     ("lcs-cma", "population", 1), ("lcs-cma", "sigma", 0)],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_named(method, option, value):
    plan = replace(recipe(method, 3), options=((option, value),), n_ctx=1, shared=0, unique=2, single_block=True)
    latent = build_latent(plan, torch.ones(4), 1.0, 0)
    objective = build_objective(plan, torch.tensor([0, 1, 2]), torch.tensor([True, False, False]))
    with pytest.raises(InputError, match=f"{option} must be"):
        build_optimizer(plan, latent, objective, 0)


def test_an_unknown_option_is_named_beside_the_known_ones():
    plan = replace(recipe("proximal", 3), options=(("nonsense", 1),))
    with pytest.raises(InputError, match="proximal has no option 'nonsense'; it has probes, step, radius, drift"):
        build_optimizer(plan, None, None, 0)
