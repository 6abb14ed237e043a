"""On a GPU: the same scores as on a CPU, arg-max kept in lower precision, the population shared by several GPUs."""

import os
import subprocess
import sys

import pytest
import torch

from hf_unlearn import ClipBlackBox, unlearn
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.models import fused
from hf_unlearn.optimizers import lbfgs
from hf_unlearn.training.checkpoint import Checkpoint
from tests.support.images import coloured

GPUS = torch.cuda.device_count()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPUS, reason="no CUDA device")]


@pytest.fixture(scope="module")
def task():
    return demo.task("moderation")


def scores(device: str, task, dtype=torch.float32) -> torch.Tensor:
    model = ClipBlackBox(device=device, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    contexts = model.token_mean + model.token_std * torch.randn(20, 4, model.dim, generator=generator)
    return model.log_scores(contexts, model.add_images(task.test), task.names).cpu()


def test_scores_are_those_of_the_cpu(task):
    assert torch.allclose(scores("cuda", task), scores("cpu", task), atol=2e-3)


def test_fused_layers_compute_float32_as_well_as_the_injection_path(task):
    assert fused.available(torch.device("cuda"))
    model = ClipBlackBox(device="cuda")
    plain = ClipBlackBox(device="cuda", shared_prefix=False)
    contexts = model.token_mean + model.token_std * torch.randn(8, 4, model.dim)
    got, expected = (box.text_features(contexts, task.names) for box in (model, plain))
    assert float((got - expected).norm(dim=-1).max()) < 1e-5


def test_image_features_are_those_of_the_cpu(task):
    on = {device: ClipBlackBox(device=device).add_images(task.test).features.cpu() for device in ("cpu", "cuda")}
    assert float((on["cuda"] - on["cpu"]).norm(dim=-1).max()) < 2e-5


def test_the_kernel_of_a_step_does_what_the_steps_on_a_cpu_do(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    curved, linear = torch.randn(3, 40, 40, generator=draw), torch.randn(3, 40, generator=draw)
    curved = curved @ curved.mT + torch.eye(40)

    def found(device: str) -> torch.Tensor:
        a, b = curved.to(device), linear.to(device)

        def function(point):
            slope = (a @ point[..., None])[..., 0]
            return (point * (slope / 2 - b)).sum(-1) + point.pow(4).sum(-1) / 4, slope - b + point**3

        return lbfgs.minimize(function, torch.zeros(3, 40, device=device), 25).cpu()

    assert torch.allclose(found("cuda"), found("cpu"), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_keeps_the_arg_max(task, dtype):
    same = scores("cuda", task).argmax(-1) == scores("cuda", task, dtype).argmax(-1)
    assert same.float().mean() > (0.97 if dtype is torch.bfloat16 else 0.995)


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_a_run_on_a_gpu_is_as_good_as_on_a_cpu_and_repeats_itself(clip_folder, method):
    arguments = {"forget": ["red"], "max_queries": 90, "shots": 2, "progress": False, "method": method}
    on = {
        device: unlearn(ClipBlackBox(clip_folder, device=device), coloured(6), **arguments)
        for device in ("cpu", "cuda")
    }
    again = unlearn(ClipBlackBox(clip_folder, device="cuda"), coloured(6), **arguments)
    assert torch.equal(on["cuda"].adapter.context, again.adapter.context)
    loss = {device: min(step.loss for step in result.history) for device, result in on.items()}
    assert loss["cuda"] == pytest.approx(loss["cpu"], rel=0.2)


def test_a_stopped_run_on_a_gpu_goes_on_and_a_later_request_with_its_search(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "is_due", lambda self: True)
    arguments = {"forget": ["red"], "max_queries": 90, "shots": 2, "progress": False}
    model, images = ClipBlackBox(clip_folder, device="cuda"), coloured(6)
    whole = unlearn(model, images, **arguments)
    unlearn(model, images, **arguments, run_dir=tmp_path, on_step=lambda step: step.queries >= 45)
    resumed = unlearn(model, images, **arguments, run_dir=tmp_path)
    assert torch.equal(resumed.adapter.context, whole.adapter.context)
    later = [unlearn(model, images, **{**arguments, "forget": ["blue"]}, init=first) for first in (whole, resumed)]
    assert torch.equal(later[0].adapter.context, later[1].adapter.context)


@pytest.mark.skipif(GPUS < 2, reason="one GPU")
def test_several_gpus_make_the_adapter_of_one(clip_folder, image_folder, tmp_path):
    contexts = []
    for count in (1, 2):
        out = tmp_path / str(count)
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command = ["-m", "hf_unlearn", "forget", "--model", clip_folder, "--data", str(image_folder), "--out", str(out)]
        options = ["--forget", "red", "--shots", "2", "--max-queries", "90"]
        subprocess.run([*launch, *command, *options], check=True, env=os.environ, timeout=600)
        contexts.append((out / "forget_context.safetensors").read_bytes())
    assert contexts[0] == contexts[1]
