"""Images read ahead of the model: the same features, in order, errors as before."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from hf_unlearn import LabeledImages
from hf_unlearn.models.image_encoding import _ahead, at_once, processed
from tests.support.images import coloured


def features(clip, images):
    return clip.add_images(images).features


def test_files_labelled_images_and_pictures_have_the_same_features_in_order(clip, tmp_path):
    pictures = [Image.new("RGB", (40 + index % 3, 30), (5 * index, 90, 200)) for index in range(37)]
    for index, picture in enumerate(pictures):
        picture.save(tmp_path / f"{index:02}.png")
    paths = sorted(tmp_path.iterdir())
    labelled = LabeledImages(tuple(paths), (0,) * len(paths), ("one",))
    expected = features(clip, pictures)
    assert all(torch.equal(features(clip, images), expected) for images in (paths, labelled, iter(pictures)))


def test_batches_are_of_the_size_asked_for(clip):
    images = coloured(6)
    parts = list(processed(images, clip.processor.image_processor, 4, torch.device("cpu")))
    lengths = [len(part["pixel_values"]) for part in parts]
    assert sum(lengths) == len(images)
    assert set(lengths[:-1]) == {4}
    assert at_once(clip.model, torch.device("cpu"), 32) == 32


def test_a_file_that_is_no_image_stops_it_and_is_named(clip, tmp_path):
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"image 1 \(.*b\.png\): not a readable image"):
        clip.add_images([tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(ValueError, match=r"image 0 .*no such file"):
        clip.add_images([Path("nowhere.png")])


def test_several_threads_keep_the_order_and_do_not_run_far_ahead():
    begun = []

    def work(part: int) -> int:
        begun.append(part)
        time.sleep(0.002 * (part % 3))
        return part

    with ThreadPoolExecutor(4) as pool:
        for done, result in enumerate(_ahead(pool, work, range(40), 7)):
            assert result == done
            assert len(begun) <= done + 9
