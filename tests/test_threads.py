"""As many threads as a user's machine has: the same seed gives the same adapter, resumed or not, on many classes."""

from collections.abc import Iterator

import pytest
import torch

from hf_unlearn import ClipBlackBox, unlearn
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.optimizers.objective import Objective
from hf_unlearn.training.checkpoint import Checkpoint

CLASSES, IMAGES = 60, 960  # more images than displacements, so that some take the same one


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("named", [False, True], ids=["one naming", "synonyms"])
def test_the_gradient_of_the_loss_has_the_same_bits_every_time(threads, named):
    labels, forget = torch.arange(IMAGES) % CLASSES, torch.arange(CLASSES) < 24
    columns = CLASSES + 3 if named else CLASSES
    namings = torch.arange(CLASSES).repeat(4, 1)
    for row, naming in enumerate(namings[1:]):
        naming[row] = CLASSES + row
    objective = Objective(
        labels, forget, entropy_weight=0.3, margin_weight=1.0, list_weight=0.3, leak_weight=0.5, vicinity=2.0,
        namings=namings if named else None,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(0)
    scores = (3 * torch.randn(IMAGES, columns, generator=draw)).log_softmax(-1).requires_grad_()
    first = None
    for _ in range(25):
        (gradient,) = torch.autograd.grad(objective(scores), scores)
        assert first is None or torch.equal(first, gradient)
        first = gradient


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_a_stopped_run_ends_as_if_it_had_not_been(threads, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "is_due", lambda self: True)
    task, model = demo.task("moderation"), ClipBlackBox()
    assert len(task.names) == CLASSES
    arguments = {
        "forget": task.forget, "seed": 0, "max_queries": 40, "progress": False, "shots": 5,  # 300 images
        "synonyms": {task.forget[0]: ["something else"]},
    }  # fmt: skip
    whole = unlearn(model, task.train, **arguments)
    unlearn(model, task.train, **arguments, run_dir=tmp_path, on_step=lambda step: step.queries >= 22)
    resumed = unlearn(model, task.train, **arguments, run_dir=tmp_path)
    assert torch.equal(resumed.adapter.context, whole.adapter.context)


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_a_run_of_cma_repeats_itself(threads):
    task, model = demo.task("moderation"), ClipBlackBox()
    arguments = {"forget": task.forget, "method": "lcs-cma", "max_queries": 40, "progress": False, "shots": 5}
    one, other = (unlearn(model, task.train, **arguments) for _ in range(2))
    assert torch.equal(one.adapter.context, other.adapter.context)
