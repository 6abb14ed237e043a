"""Devices and precisions by name, in Python and on the command line."""

import pytest
from typer.testing import CliRunner

from hf_unlearn import ClipBlackBox, ForgetAdapter
from hf_unlearn.cli.main import app


@pytest.mark.parametrize(("option", "value", "why"), [("device", "nowhere", "nowhere"), ("dtype", "float8", "float8")])
def test_a_device_or_precision_that_is_not_there_is_told(clip_folder, option, value, why):
    with pytest.raises(ValueError, match=why):
        ClipBlackBox(clip_folder, **{option: value})


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
