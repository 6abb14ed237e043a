"""The command line as a user runs it: real processes, what they print, what they leave behind."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from hf_unlearn import ForgetAdapter
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.models.text_edit import digest
from tests.support.command_line import hf_unlearn, hf_unlearn_here, strict_json, write_images
from tests.support.images import COLOURS

ROW = {"name", "queries", "H", "err_for", "acc_mem", "entropy", "top5_leak", "retain_nll", "retain_ece", "look_alike"}


def rewrite(adapter: Path, **changes) -> None:
    config = json.loads((adapter / "config.json").read_text())
    (adapter / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.fixture(scope="module")
def world(tmp_path_factory, clip_folder, other_clip_folder) -> SimpleNamespace:
    """Folders that every command here reads, and one good run of `forget --json`."""
    top = tmp_path_factory.mktemp("cli")
    images = write_images(top / "images")
    common = ["--model", clip_folder, "--data", images, "--shots", 2, "--max-queries", 30]
    done = hf_unlearn("forget", *common, "--forget", "red", "--out", top / "adapter", "--json")
    return SimpleNamespace(
        top=top, images=images, clip=clip_folder, other=other_clip_folder, done=done, adapter=top / "adapter",
        common=common,
    )  # fmt: skip


# The good runs


def test_forget_json_prints_one_json_object_equal_to_the_saved_report(world):
    assert world.done.returncode == 0, world.done.stderr
    report = strict_json(world.done.stdout)
    assert report == strict_json((world.adapter / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["zero-shot", "label-mask", "proximal"]
    for row in report["rows"]:
        assert set(row) >= ROW
        assert all(0 <= row[key] <= 1 for key in ("H", "err_for", "acc_mem", "entropy"))
    assert [row["queries"] for row in report["rows"]] == [0, 0, 30]
    assert report["ledger"]["queries"] == 30
    assert {"text_tokens", "image_encodings", "seconds", "peak_memory_mb"} <= set(report["ledger"])
    assert report["images"] == {"kind": "held-out", "forget": 3, "retain": 9, "classes": 4}
    assert (report["forget"], report["retain"]) == (["red"], ["blue", "green", "grey"])


def test_forget_leaves_a_whole_adapter_and_nothing_else(world):
    names = {path.name for path in world.adapter.iterdir()}
    assert names == {"README.md", "config.json", "forget_context.safetensors", "report.json", "report.png"}
    assert ForgetAdapter.from_pretrained(world.adapter).config.forget == ["red"]
    assert [path.name for path in world.top.iterdir() if path.name.startswith(".")] == []


def test_evaluate_json_judges_the_saved_adapter_in_a_process_of_its_own(world):
    done = hf_unlearn(
        "evaluate", "--adapter", world.adapter, "--data", world.images, "--model", world.clip,
        "--validation", world.images, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = strict_json(done.stdout)
    assert [row["name"] for row in report["rows"]] == ["zero-shot", "label-mask", "proximal"]
    assert report["images"] == {"kind": "test", "forget": 7, "retain": 21, "classes": 4}
    assert report["ledger"] == strict_json(world.done.stdout)["ledger"]


def test_forget_for_people_prints_a_table_and_where_the_adapter_is(world):
    test = write_images(world.top / "test", 2)
    names = world.top / "good-names.json"
    names.write_text(json.dumps({"red": "a ripe tomato"}))
    done = hf_unlearn_here(
        "forget", *world.common, "--forget", "a ripe tomato", "--names", names, "--test", test, "--n-ctx", 2,
        "--method", "lcs-cma", "--template", "a drawing of {}", "--seed", 3, "--patience", 0,
        "--out", world.top / "two",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "stopped after 30 queries" in done.stdout
    assert "adapter saved in" in done.stdout
    config = ForgetAdapter.from_pretrained(world.top / "two").config
    assert (config.forget, config.template, config.n_ctx) == (["a ripe tomato"], "a drawing of {}", 2)
    assert (config.method, config.seed) == ("lcs-cma", 3)
    assert strict_json((world.top / "two" / "report.json").read_text())["images"]["kind"] == "test"


def test_the_table_is_readable_in_eighty_columns(world):
    done = hf_unlearn_here("evaluate", "--adapter", world.adapter, "--data", world.images, "--model", world.clip)
    assert done.returncode == 0, done.stderr
    for row in ("zero-shot", "label-mask", "proximal"):
        assert row in done.stdout
    assert "100.0" in done.stdout  # the error of the label mask
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_forget_by_name_makes_an_edit_and_says_what_else_it_changes(tmp_path):
    names, kept = tmp_path / "names.txt", tmp_path / "kept.txt"
    names.write_bytes("dagger\r\n\r\ncrossed  swords\u200b\r\n".encode("utf-16"))
    kept.write_text("\ufefffork and knife\n")
    arguments = ["--forget", "beer mug", "--forget-file", names, "--keep", "glass", "--keep-file", kept]
    done = hf_unlearn_here("forget", *arguments, "--out", tmp_path / "edit")
    assert done.returncode == 0, done.stderr
    assert "also forgotten: beer" in done.stdout
    assert "3 names forgotten" in done.stdout
    assert "\nforgotten: 'beer mug', 'dagger', 'crossed swords'\n" in done.stdout
    assert "note:" not in done.stderr
    assert "Images and their features are untouched" in done.stdout
    config = ForgetAdapter.from_pretrained(tmp_path / "edit").config
    assert (config.kind, config.method) == ("edit", "edit")
    assert config.forget == ["beer mug", "dagger", "crossed swords"]
    assert config.retain == ["glass", "fork and knife"]
    done = hf_unlearn_here("forget", "--forget", "beer mug, dagger", "--out", tmp_path / "joined")
    assert "note: 'beer mug, dagger' is one name; for several, repeat the option for each\n" in done.stderr
    done = hf_unlearn_here("forget", "--forget", "beer mug", "--breadth", 0, "--out", tmp_path / "edit", "--json")
    told = strict_json(done.stdout)
    assert (told["kind"], told["forget"], told["retain"]) == ("edit", ["beer mug"], [])
    assert told["neighbours"][0]["of"] == "beer mug"
    assert told["ledger"]["queries"] == 0


def test_an_edit_is_measured_on_images_where_there_are_some(tmp_path):
    words = [f"--forget={name}" for name in ("banana", "guitar")]
    images = demo.plain(["banana", "guitar", "key", "bus", "rose"], "train")
    for number, image in enumerate(images):
        path = tmp_path / "data" / images.names[images.labels[number]] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    command = ["forget", "--method", "edit", "--data", tmp_path / "data", *words, "--out", tmp_path / "edit", "--json"]
    told = strict_json(hf_unlearn_here(*command).stdout)
    rows = {row["name"]: row for row in told["rows"]}
    assert set(rows) == {"zero-shot", "label-mask", "edit"}
    assert rows["edit"]["err_for"] == 1.0
    assert rows["edit"]["acc_mem"] >= rows["zero-shot"]["acc_mem"]
    assert sorted(told["retain"]) == ["bus", "key", "rose"]
    assert told["images"]["kind"] == "held-out"


def test_an_edit_holds_the_words_of_a_file_and_is_combined_and_undone_with_the_same(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\n".join(f"{a}{b}n" for a in "bdgkmprst" for b in "aeiou"))
    held = ["--vocabulary", words]
    for name in ("cafe\u0301", "tea"):
        done = hf_unlearn_here("forget", "--forget", name, *held, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    both = [tmp_path / "cafe\u0301", tmp_path / "tea"]
    done = hf_unlearn_here("combine", *both, *held, "--out", tmp_path / "both")
    assert done.returncode == 0, done.stderr
    config = ForgetAdapter.from_pretrained(tmp_path / "both").config
    assert (config.forget, config.hyperparameters["words"]) == (["caf\u00e9", "tea"], 45)
    done = hf_unlearn_here("without", tmp_path / "both", "cafe\u0301", *held, "--out", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    back, tea = (ForgetAdapter.from_pretrained(tmp_path / name).config for name in ("back", "tea"))
    assert back.weights_sha256 == tea.weights_sha256
    refused = [(["combine", *both], "--vocabulary")]
    for option in ("--seed", "--shots", "--max-queries"):
        refused += [(["combine", *both, *held, option, 1], f"{option} is for a context")]
        refused += [(["forget", "--forget", "tea", option, 16], f"{option} is for a context")]
    refused += [(["forget", "--forget", "tea", "--keep", "tea\u200b"], "'tea' is to be forgotten and to be kept")]
    for command, message in refused:
        done = hf_unlearn_here(*command, "--out", tmp_path / "never")
        assert (done.returncode, message in done.stderr, (tmp_path / "never").exists()) == (2, True, False), done.stderr


@pytest.mark.parametrize("command", [[], ["forget"], ["evaluate"], ["demo"]])
def test_help_of_every_command_exits_0(command):
    done = hf_unlearn(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["forget", "--out", "y"], "--forget-file"), (["nosuch"], "nosuch"),
     (["forget", "--data", "x", "--forget", "x", "--out", "y", "--method", "adam"], "adam")],
)  # fmt: skip
def test_a_command_that_makes_no_sense_exits_2_and_says_what(arguments, named):
    done = hf_unlearn(*arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


# Every bad input: exit code 2, one line on stderr, nothing left behind

FORGET_CASES = {  # name -> (arguments from the world and a folder of one's own, part of the message)
    "an unknown class": (lambda w, own: ["--forget", "purple"], "unknown class 'purple'; the classes are: blue"),
    "an unknown class that looks like markup": (lambda w, own: ["--forget", "[/red]"], "unknown class '[/red]'"),
    "an unknown class with brackets": (lambda w, own: ["--forget", "[red]"], "unknown class '[red]'"),
    "all classes": (lambda w, own: [x for name in COLOURS for x in ("--forget", name)], "all 4 classes would be"),
    "a class without images": (lambda w, own: with_empty_class(w, own), "class 'void' to forget has no images"),
    "one class": (lambda w, own: ["--data", write_images(own, 4, ("red",)), "--forget", "red"], "at least two classes"),
    "a corrupt image": (lambda w, own: with_corrupt_image(own), "5.png: not a readable image"),
    "an empty folder": (lambda w, own: ["--data", own, "--forget", "red"], "empty; expected one sub-folder"),
    "a missing folder": (lambda w, own: ["--data", own / "no", "--forget", "red"], "no such folder"),
    "no image at all": (lambda w, own: with_texts_only(own), "no image in any of its 2 sub-folders"),
    "no queries": (lambda w, own: ["--forget", "red", "--max-queries", 0], "max_queries must be a whole number of at"),
    "no shots": (lambda w, own: ["--forget", "red", "--shots", 0], "shots must be a whole number of at least 1, got 0"),
    "a context too long": (lambda w, own: ["--forget", "red", "--n-ctx", 70], "n_ctx must be 1 to 44"),
    "a bad template": (lambda w, own: ["--forget", "red", "--template", "x"], "a template has one {}"),
    "a name to keep from a context": (lambda w, own: ["--forget", "red", "--keep", "blue"], "--keep is for an edit"),
    "a run folder for an edit": (
        lambda w, own: ["--forget", "red", "--method", "edit", "--run-dir", own / "run"], "--run-dir is for a context"
    ),
    "a budget for an edit": (
        lambda w, own: ["--forget", "red", "--method", "edit", "--max-queries", 2000], "--max-queries is for a context"
    ),
    "breadth for a context": (lambda w, own: ["--forget", "red", "--breadth", 0.5], "--breadth is for an edit"),
    "words for a context": (lambda w, own: listed(own, "--vocabulary", b"a\nb"), "--vocabulary is for an edit"),
    "a file of names in cp1252": (
        lambda w, own: listed(own, "--forget-file", b"red\ncaf\xe9\n"), "not text in UTF-8 (byte 0xe9 in line 2); save"
    ),
    "a file of names in UTF-16 without a mark": (
        lambda w, own: listed(own, "--forget-file", "red\n".encode("utf-16-le")), "a zero byte in line 1, as in UTF-16"
    ),
    "a file of names that is JSON": (
        lambda w, own: listed(own, "--forget-file", b'[\n"red",\n"blue"]'), "a JSON file; expected one name per line"
    ),
    "a class twice in two spellings": (
        lambda w, own: listed(own, "--names", '{"red": "caf\u00e9", "blue": "cafe\u0301"}'.encode()), "are one name, "
    ),
    "synonyms with a key twice": (
        lambda w, own: listed(own, "--synonyms", b'{"red": ["a"], "red": ["b"]}'), "the key 'red' is there twice"
    ),
    "synonyms with an empty name": (
        lambda w, own: listed(own, "--synonyms", '{"red": ["\u200b"]}'.encode()), "expected a list of names for 'red'"
    ),
    "a huge seed": (lambda w, own: ["--forget", "red", "--seed", 10**30], "seed must be a whole number from 0 to"),
    "a negative seed": (lambda w, own: ["--forget", "red", "--seed", -1], "seed must be a whole number of at least 0"),
    "a names file that is no JSON": (lambda w, own: names(own, "{"), "names.json: not valid JSON"),
    "a names file that is a list": (lambda w, own: names(own, "[]"), "expected a JSON object"),
    "a names file of numbers": (lambda w, own: names(own, '{"red": 1}'), "expected text for 'red'"),
    "a names file for other folders": (lambda w, own: names(own, '{"pink": "x"}'), "mentions 'pink'"),
    "a missing names file": (lambda w, own: ["--forget", "red", "--names", own / "no.json"], "no such file"),
    "a model that is not there": (lambda w, own: ["--forget", "red", "--model", own / "no-model"], "no-model"),
    "a Hub id without a network": (lambda w, own: ["--forget", "red", "--model", "nobody/no-clip"], "nobody/no-clip"),
}  # fmt: skip


def listed(own: Path, option: str, content: bytes) -> list:
    (own / "given").write_bytes(content)
    return ["--forget", "red", option, own / "given"]


def names(own: Path, content: str) -> list:
    (own / "names.json").write_text(content)
    return ["--forget", "red", "--names", own / "names.json"]


def with_empty_class(world, own: Path) -> list:
    shutil.copytree(world.images, own / "images")
    (own / "images" / "void").mkdir()
    return ["--data", own / "images", "--forget", "void"]


def with_corrupt_image(own: Path) -> list:
    write_images(own, 3)
    path = own / "green" / "5.png"
    path.write_bytes(path.read_bytes()[:60])
    return ["--data", own, "--forget", "red"]


def with_texts_only(own: Path) -> list:
    for name in ("red", "green"):
        (own / name).mkdir()
        (own / name / "readme.txt").write_text("no image")
    return ["--data", own, "--forget", "red"]


EVALUATE_CASES = {
    "the wrong base": (lambda w, own: ["--model", w.other], "is another model"),
    "a base that is not there": (lambda w, own: ["--model", own / "no-model"], "no-model"),
    "a tampered config": (lambda w, own: tampered(w, own, n_ctx="4"), "n_ctx must be"),
    "a tampered ledger": (lambda w, own: tampered(w, own, ledger={"queries": None}), "ledger"),
    "a tampered fingerprint": (lambda w, own: tampered(w, own, base_fingerprint=[[10**30] * 32] * 8), "fingerprint"),
    "a config that is no JSON": (lambda w, own: broken(w, own), "config.json: not valid JSON"),
    "a NaN in the context": (lambda w, own: not_a_number(w, own), "NaN or infinite"),
    "no adapter": (lambda w, own: ["--adapter", own], "no config.json"),
    "images of other classes": (lambda w, own: other_classes(own), "are not the 2 classes of the images"),
    "validation images of other classes": (lambda w, own: ["--validation", other_images(own)], "classes"),
}


def copied(world, own: Path) -> Path:
    return Path(shutil.copytree(world.adapter, own / "adapter"))


def tampered(world, own: Path, **changes) -> list:
    rewrite(copied(world, own), **changes)
    return ["--adapter", own / "adapter"]


def broken(world, own: Path) -> list:
    (copied(world, own) / "config.json").write_text("{ [")
    return ["--adapter", own / "adapter"]


def not_a_number(world, own: Path) -> list:
    path = copied(world, own) / "forget_context.safetensors"
    context = load_file(path)["context"]
    context[0, 0] = float("nan")
    save_file({"context": context}, path)
    rewrite(own / "adapter", weights_sha256=digest(context))
    return ["--adapter", own / "adapter"]


def other_images(own: Path) -> Path:
    for name in ("cup", "red"):
        (own / "other" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (24, 24)).save(own / "other" / name / f"{number}.png")
    return own / "other"


def other_classes(own: Path) -> list:
    return ["--data", other_images(own)]


PROCESSES = {  # these run as processes of their own, two side by side; the others run here
    "an unknown class", "no queries", "a corrupt image", "a names file that is no JSON", "the wrong base",
    "a tampered config",
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(world, tmp_path_factory) -> dict[str, tuple[subprocess.CompletedProcess, Path]]:
    """What every bad input came to, and the --out folder it was given."""

    def attempt(name: str):
        own = tmp_path_factory.mktemp("own")
        out = own.with_name(f"{own.name}-out")
        if name in FORGET_CASES:
            arguments = ["forget", *world.common, "--out", out, "--json", *FORGET_CASES[name][0](world, own)]
        else:
            given = ["--adapter", world.adapter, "--data", world.images, "--model", world.clip, "--json"]
            arguments = ["evaluate", *given, *EVALUATE_CASES[name][0](world, own)]
        return (hf_unlearn if name in PROCESSES else hf_unlearn_here)(*arguments), out

    with ThreadPoolExecutor(2) as pool:
        jobs = {name: pool.submit(attempt, name) for name in sorted(PROCESSES)}
        found = {name: job.result() for name, job in jobs.items()}
    return found | {name: attempt(name) for name in {**FORGET_CASES, **EVALUATE_CASES} if name not in PROCESSES}


@pytest.mark.parametrize("case", [*FORGET_CASES, *EVALUATE_CASES])
def test_bad_input_exits_2_says_what_is_wrong_and_leaves_nothing_behind(outcomes, case):
    done, out = outcomes[case]
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert {**FORGET_CASES, **EVALUATE_CASES}[case][1] in done.stderr
    assert done.stdout == ""
    assert not out.exists()
    assert not [path for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")]


@pytest.mark.parametrize("case", [*FORGET_CASES, *EVALUATE_CASES])
def test_bad_input_is_told_in_one_line(outcomes, case):
    done, _ = outcomes[case]
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_out_that_is_no_adapter_is_left_alone(world, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = hf_unlearn_here("forget", *world.common, "--forget", "red", "--out", tmp_path)
    assert done.returncode == 2
    assert "exists and is no adapter (it holds mine.txt); choose a new or empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failed_run_leaves_the_adapter_that_was_there(world, tmp_path):
    kept = copied(world, tmp_path)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    done = hf_unlearn_here("forget", *world.common, "--forget", "purple", "--out", kept)
    assert done.returncode == 2
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_a_name_that_is_too_long_for_the_text_tower_is_one_line(tmp_path):
    done = hf_unlearn("forget", "--forget", "a" * 400, "--out", tmp_path / "out")  # a process: transformers warns once
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "the text tower of embedded reads 77" in done.stderr
