"""`--data hf://datasets/…`: a data set on a Hub on loopback, streamed, read by the command line."""

import io
import json
import re
import sys

import datasets
import pytest

from hf_unlearn.data.hub_datasets import find_dataset
from hf_unlearn.errors import InputError
from tests.support import hub_client
from tests.support.hub_client import Client, command, environment
from tests.support.hub_server import Hub
from tests.support.images import coloured


def parquet(rows: list[dict], label: object) -> bytes:
    kinds = datasets.Features({"photo": datasets.Image(), "breed": label})
    file = io.BytesIO()
    datasets.Dataset.from_list(rows, features=kinds).to_parquet(file)
    return file.getvalue()


def rows(per_class: int, seed: int) -> list[dict]:
    found = []
    images = coloured(per_class, seed=seed)
    for image, label in zip(images, images.labels, strict=True):
        file = io.BytesIO()
        image.save(file, "PNG")
        found.append({"photo": {"bytes": file.getvalue(), "path": None}, "breed": label})
    return found


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A process that reads from a Hub with data sets: whole ones, and one of each kind of damage."""
    names = list(coloured(1).names)
    classes, train, test = datasets.ClassLabel(names=names), rows(3, 0), rows(2, 1)
    texts = [{**row, "breed": names[row["breed"]]} for row in train]
    with Hub() as hub:
        hub.add(
            "datasets/user/pets", {"train.parquet": parquet(train, classes), "test.parquet": parquet(test, classes)}
        )
        files = {f"{number}.png": row["photo"]["bytes"] for number, row in enumerate(train)}
        lines = (json.dumps({"file_name": f"{i}.png", "breed": row["breed"]}) for i, row in enumerate(texts))
        hub.add("datasets/user/files", {**files, "metadata.jsonl": "\n".join(lines).encode()})
        folders = {f"training/{names[row['breed']]}/{n}.png": row["photo"]["bytes"] for n, row in enumerate(train)}
        hub.add("datasets/user/folders", folders)
        hub.add("datasets/user/texts", {"train.parquet": parquet(texts, datasets.Value("string"))})
        broken = {"photo": {"bytes": b"no image", "path": None}, "breed": 0}
        elsewhere = {"photo": {"bytes": None, "path": "/etc/hostname"}, "breed": 0}
        for name, row in {
            "elsewhere": elsewhere,
            "none": {"photo": None, "breed": 0}, "unlabelled": {**train[0], "breed": None}, "broken": broken,
        }.items():  # fmt: skip
            hub.add(f"datasets/user/{name}", {"train.parquet": parquet([*train[:2], row, *train[2:]], classes)})
        hub.add("datasets/user/numbers", {"data.csv": b"a,b\n1,2\n"})
        home = tmp_path_factory.mktemp("home")
        yield Client(environment(hub.endpoint, home))


def evaluate(client, adapter: str, clip_folder: str, address: str, *more: str) -> tuple[int, str, str]:
    return client(command, "evaluate", "--adapter", adapter, "--model", clip_folder, "--data", address, "--json", *more)


@pytest.fixture(scope="module")
def adapter(clip, tmp_path_factory) -> str:
    from tests.support.edited import edit_adapter

    folder = tmp_path_factory.mktemp("adapter") / "edit"
    edit_adapter(clip).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("address", "used"),
    [("user/pets", "test (8 images)"), ("user/pets@main?image=photo&label=breed", "test (8 images)"),
     ("user/files?label=breed", "train (12 images)")],
)  # fmt: skip
def test_a_data_set_is_evaluated_with_columns_found_or_named(client, adapter, clip_folder, address, used):
    code, out, errors = evaluate(client, adapter, clip_folder, f"hf://datasets/{address}")
    assert code == 0, errors
    assert f"for evaluation: {used}" in errors
    assert json.loads(out)


def test_a_search_learns_from_the_train_split_and_is_evaluated_on_the_test_split(client, clip_folder, tmp_path):
    code, _, errors = client(
        command, "forget", "--model", clip_folder, "--data", "hf://datasets/user/pets", "--forget", "red",
        "--max-queries", "4", "--n-ctx", "2", "--shots", "1", "--out", str(tmp_path / "out"), "--method", "proximal",
    )  # fmt: skip
    assert code == 0, errors
    assert re.search(r"for training: train \(12 images\)", errors)
    assert re.search(r"for evaluation: test \(8 images\)", errors)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("user/none", "user/none, row 2 of train: has no image"),
        ("user/unlabelled", "user/unlabelled, row 2 of train: has no class"),
        ("user/elsewhere", "user/elsewhere, row 2 of train: its image is no file of the data set ('/etc/hostname')"),
        ("user/broken", "user/broken, row 2 of train: not a readable image"),
        ("user/numbers", "no column of images in a, b; name one: hf://datasets/user/numbers?image=COLUMN"),
        ("user/pets?label=kind", "no column 'kind'; it has photo, breed"),
        ("user/pets?label=photo", "column 'photo' holds no class names"),
        ("user/pets?image=breed", "column 'breed' holds no images"),
        ("user/missing", "user/missing: this data set can't be read"),
        ("user", "expected hf://datasets/USER/NAME"),
        ("user/pets?colour=red", "expected hf://datasets/USER/NAME"),
    ],
)
def test_what_can_not_be_read_is_one_sentence_that_names_the_row(client, adapter, clip_folder, address, said):
    code, _, errors = evaluate(client, adapter, clip_folder, f"hf://datasets/{address}")
    assert code == 2, errors
    assert said in errors
    assert "Traceback" not in errors


def test_images_in_folders_are_those_files_unchanged(client):
    names, train = list(coloured(1).names), rows(3, 0)
    found = client(hub_client.files_of_dataset, "hf://datasets/user/folders", "train")
    assert found == {row["photo"]["bytes"]: names[row["breed"]] for row in train}


def test_class_names_may_be_a_column_of_text_and_classes_left_out(client, adapter, clip_folder):
    address = "hf://datasets/user/texts?label=breed"
    code, out, errors = evaluate(client, adapter, clip_folder, address, "--leave-out", "blue")
    assert code == 0, errors
    assert "blue" not in out


def test_a_folder_is_no_data_set(tmp_path):
    assert find_dataset(tmp_path) is None
    with pytest.raises(InputError, match="expected hf://datasets/USER/NAME"):
        find_dataset("hf://models/user/pets")


def test_without_the_extra_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"user/pets: .* pip install 'hf_unlearn\[datasets\]'"):
        find_dataset("hf://datasets/user/pets").splits()
