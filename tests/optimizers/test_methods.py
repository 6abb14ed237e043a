"""The registry of methods: one entry makes a method, and everything else derives from it."""

import subprocess
import sys

import pytest

from hf_unlearn import Recipe, unlearn
from hf_unlearn.cli.options import Method
from hf_unlearn.optimizers import methods
from hf_unlearn.optimizers.methods import METHODS, build_optimizer, recipe
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


def test_an_unknown_optimizer_of_a_recipe_is_refused():
    with pytest.raises(ValueError, match="unknown optimizer 'adam'; expected one of proximal, cma"):
        build_optimizer(Recipe(n_ctx=2, shared=4, unique=2, optimizer="adam"), None, None, 0)
