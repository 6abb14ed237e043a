"""What commands print: whatever the console, and whoever reads it, the job is done and told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_unlearn.console import fitting
from hf_unlearn.evaluation.report import Report
from tests.support.command_line import hf_unlearn_here, write_images
from tests.support.edited import save_evaluated

OLD_WINDOWS = {"PYTHONIOENCODING": "cp1252"}
NO_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
COMMAND = [sys.executable, "-m", "hf_unlearn"]
ODD = ["sub/[v2]", "sub/[/red]y", ":smile:", "two  blanks", "[bold]x[/bold]"]  # all of these are names of folders


def run(*arguments, **settings: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **settings}
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, env=environment)


@pytest.fixture(scope="module")
def edited(clip, tmp_path_factory) -> Path:
    return save_evaluated(clip, tmp_path_factory.mktemp("edit") / "[/red] 拳銃")


@pytest.mark.parametrize("settings", [OLD_WINDOWS, NO_LOCALE], ids=["cp1252", "no locale"])
def test_a_report_is_printed_on_a_console_without_arrows_and_json_loses_nothing(
    edited, clip_folder, tmp_path, settings
):
    images = write_images(tmp_path / "images", 4)
    command = ["evaluate", "--adapter", edited, "--data", images, "--model", clip_folder]
    done = run(*command, **settings)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "| label-mask |" in done.stdout.decode("ascii")
    assert "H ^" in done.stdout.decode("ascii")
    done = run(*command, "--json", **settings)
    assert json.loads(done.stdout)["rows"][1]["name"] == "label-mask"


@pytest.mark.parametrize("settings", [OLD_WINDOWS, NO_LOCALE, {"PYTHONIOENCODING": "utf-8"}], ids=str)
def test_an_adapter_is_saved_and_told_whatever_the_console(tmp_path, settings):
    (tmp_path / "names.txt").write_text("拳銃\n", encoding="utf-8")
    done = run("forget", "--forget-file", tmp_path / "names.txt", "--out", tmp_path / "a", **settings)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines()[-1] == f"adapter saved in {tmp_path / 'a'}"
    done = run("info", tmp_path / "a", "--json", **settings)
    assert json.loads(done.stdout)["forget"] == ["拳銃"]
    told = run("info", tmp_path / "a", **settings).stdout.decode()
    assert ("拳銃" if "utf-8" in settings.values() else r"\u62f3\u9283") in told


@pytest.mark.parametrize("how", ["closed", "nobody reads", "no room"])
def test_an_adapter_is_saved_though_nothing_can_be_printed(tmp_path, how):
    words = [*COMMAND, "forget", "--forget", "weapon", "--out", str(tmp_path / "a")]
    if how == "closed":
        done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *words], stderr=subprocess.PIPE)
    elif how == "no room":
        with open("/dev/full", "wb") as full:
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
    lost = b"error: stdout can't be written (No space left on device); what the command saved is there\n"
    assert (done.returncode, done.stderr) == ((2, lost) if how == "no room" else (0, b""))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "README.md", "config.json", "forget_edit.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_printed_as_it_is_and_on_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    done = hf_unlearn_here("forget", "--forget", "weapon", "--out", name)
    assert done.stdout.splitlines()[-1] == f"adapter saved in {name}"
    done = hf_unlearn_here("export", name, f"{name}-plain")
    plain = f"{name}-plain"
    assert done.stdout == (
        f"checkpoint saved in {plain}: pipeline('zero-shot-image-classification', model={plain!r})\n"
    )
    done = hf_unlearn_here("forget", "--forget", "weapon", "--out", plain)
    assert done.stderr.startswith(f"error: {' '.join(plain.split())}: exists and is no adapter (it holds README.md)")


@pytest.mark.parametrize("name", ["[v2]", "[/red]", ":smile:", "\x1b[2J"])
def test_a_report_shows_names_as_they_are(edited, name):
    content = json.loads((edited / "report.json").read_text(encoding="utf-8"))
    content["rows"][1]["name"] = name
    content["images"]["kind"] = name
    shown = str(Report(content))
    assert shown.count(name.replace("\x1b", "\ufffd")) >= 2
    assert "\x1b" not in shown


def test_what_an_encoding_lacks_has_a_likeness_or_is_spelled_out(monkeypatch, capsys):
    class Narrow:
        encoding = "ascii"

    monkeypatch.setattr(sys, "stdout", Narrow())
    assert fitting("H ↑ – … 拳 \udcff") == "H ^ - . \\u62f3 \\udcff"


def test_an_adapter_of_the_other_kind_that_is_replaced_is_named(world_of_both, tmp_path):
    folder, context = tmp_path / "a", world_of_both
    done = hf_unlearn_here("forget", *context, "--out", folder)
    assert done.stdout.splitlines()[-1] == f"adapter saved in {folder}"
    done = hf_unlearn_here("forget", "--forget", "weapon", "--out", folder)
    assert done.stdout.splitlines()[-1] == f"adapter saved in {folder} in place of a context"
    done = hf_unlearn_here("forget", *context, "--out", folder)
    assert done.stdout.splitlines()[-1] == f"adapter saved in {folder} in place of an edit"


@pytest.fixture
def world_of_both(clip_folder, tmp_path) -> list:
    images = write_images(tmp_path / "images", 4)
    return ["--model", clip_folder, "--data", images, "--forget", "red", "--shots", 2, "--max-queries", 20]


BUG = """
from hf_unlearn.cli import main
@main.app.command()
def boom():
    {raised}
main.main()
"""


@pytest.mark.parametrize(
    ("raised", "code", "last"),
    [
        ("1 / 0", 2, "error: this is a bug in hf_unlearn; please report it with the lines above and the command"),
        ("int('x')", 2, "error: this is a bug in hf_unlearn; please report it with the lines above and the command"),
        ("from hf_unlearn import InputError; raise InputError('expected 1, got 2')", 2, "error: expected 1, got 2"),
    ],
)
def test_errors_of_the_library_are_one_line_and_anything_else_is_a_bug_with_its_traceback(raised, code, last):
    command = [sys.executable, "-c", BUG.format(raised=raised), "boom"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[-1] == last
    assert ("Traceback" in done.stderr) == ("bug" in last)
