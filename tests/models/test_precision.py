"""Devices and precisions by name, in Python and on the command line."""

import pytest
import torch
from typer.testing import CliRunner

from hf_unlearn import ClipBlackBox, ForgetAdapter
from hf_unlearn.cli.main import app
from hf_unlearn.errors import InputError


def test_commands_take_a_device_and_a_precision(clip_folder, image_folder, tmp_path):
    out = tmp_path / "adapter"
    where = ["--device", "cpu", "--dtype", "bfloat16", "--json"]
    searched = ["--model", clip_folder, "--data", str(image_folder), "--forget", "red", "--out", str(out)]
    made = CliRunner().invoke(app, ["forget", *searched, "--shots", "2", "--max-queries", "20", *where])
    assert made.exit_code == 0, made.output
    given = ForgetAdapter.from_pretrained(out).config.hyperparameters
    assert given["dtype"] == "bfloat16"
    assert given["options"] == {"step": 0.3}  # rounding asks for longer probes
    judged = CliRunner().invoke(
        app, ["evaluate", "--adapter", str(out), "--model", clip_folder, "--data", str(image_folder), *where]
    )
    assert judged.exit_code == 0, judged.output
    refused = CliRunner().invoke(app, ["evaluate", "--adapter", str(out), "--data", str(image_folder), "--dtype", "f4"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("device", ["cuda:99", "banana", "", "meta", 99, object()])
def test_a_device_that_can_not_compute_here_is_refused_before_a_checkpoint_is_read(device):
    with pytest.raises(InputError, match=r"^device .*: can't be used here \(.*\); cpu always can$"):
        ClipBlackBox("no/such", device=device)


@pytest.mark.parametrize("dtype", ["int8", "", None, [], torch.int8])
def test_a_dtype_that_models_do_not_have_is_refused(dtype):
    with pytest.raises(InputError, match=r"unknown dtype .*; expected one of float32, float16, bfloat16"):
        ClipBlackBox("no/such", dtype=dtype)


@pytest.mark.parametrize("name", ["", "  ", "x" * 5_000])
def test_a_model_without_a_name_or_with_an_endless_one_is_refused(name):
    with pytest.raises(InputError, match=r"expected a Hub id or a folder, got [\d,]+ characters"):
        ClipBlackBox(name)
