"""Pixels: every kind of picture a person may pass has the right colours, or is refused in one sentence."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hf_unlearn import EmbeddingBlackBox, LabeledImages
from hf_unlearn.data.image_files import suffixes
from hf_unlearn.data.pixels import FORMATS, as_images, formats, rgb_images, to_rgb

SUFFIX = {"JPEG": "jfif", "JPEG2000": "jp2", "HEIF": "heic", "PPM": "ppm", "DIB": "dib"}
EXACT = {"PNG", "BMP", "DIB", "TIFF", "PPM", "QOI", "PCX", "SGI", "TGA", "PSD"}
LEFT, RIGHT = (220, 40, 90), (20, 160, 230)


def halves(mode: str = "RGB") -> Image.Image:
    """32 × 32, left and right of two colours."""
    image = Image.new("RGB", (32, 32), LEFT)
    image.paste(RIGHT, (16, 0, 32, 32))
    return image.convert(mode)


def psd(image: Image.Image) -> bytes:
    """The least of a Photoshop file; Pillow writes none."""
    planes = b"".join(channel.tobytes() for channel in image.split())
    return b"8BPS" + struct.pack(">H6xHIIHH3I", 1, 3, 32, 32, 8, 3, 0, 0, 0) + struct.pack(">H", 0) + planes


def content(kind: str) -> bytes:
    if kind == "PSD":
        return psd(halves())
    file = io.BytesIO()
    halves().save(file, kind)
    return file.getvalue()


def ends(image: Image.Image) -> tuple:
    assert image.mode == "RGB"
    return image.getpixel((4, 16)), image.getpixel((image.width - 5, 16))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_with_its_colours_from_a_path_bytes_and_an_open_file(tmp_path, kind):
    if kind not in formats():
        pytest.skip(f"{kind} needs an extra or a newer Pillow")
    path = tmp_path / f"x.{SUFFIX.get(kind, kind.lower())}"
    path.write_bytes(content(kind))
    with path.open("rb") as file:
        found = [to_rgb(path), to_rgb(str(path)), *((to_rgb(path.read_bytes()), to_rgb(file)) if kind != "TGA" else ())]
    for image in found:
        assert image.size == (32, 32)
        assert np.abs(np.subtract(ends(image), (LEFT, RIGHT))).max() <= (0 if kind in EXACT else 12)


@pytest.mark.parametrize("kind", sorted(set(formats()) - {"TGA"}))
def test_content_decides_whatever_the_name_says(tmp_path, kind):
    (tmp_path / "x.jpg").write_bytes(content(kind))
    assert np.abs(np.subtract(ends(to_rgb(tmp_path / "x.jpg")), (LEFT, RIGHT))).max() <= 12


@pytest.mark.parametrize(
    "start",
    [b"%!PS-Adobe-3.0\n", b"SIMPLE  =", b"\xd7\xcd\xc6\x9a", b"\0\0\1\0\1\0", b"icns", b"DDS ", b"\x89HDF\r\n\x1a\n",
     b"GRIB", b"\0\0\2\0"],
)  # fmt: skip
def test_other_decoders_are_never_started(start):
    with pytest.raises(ValueError, match="not a readable image"):
        to_rgb(start + bytes(4000))


def test_a_heic_photo_without_the_extra_is_named_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_unlearn.data.pixels.formats", lambda: ("PNG", "JPEG"))
    photo = b"\0\0\0\x18ftypheic" + bytes(100)
    (tmp_path / "IMG_1.JPG").write_bytes(photo)
    for item in (tmp_path / "IMG_1.JPG", photo, io.BytesIO(photo)):
        with pytest.raises(ValueError, match=r"a HEIC photo; pip install 'hf_unlearn\[heic\]'"):
            to_rgb(item)
    monkeypatch.setattr("hf_unlearn.data.pixels.formats", lambda: ("PNG", "HEIF"))
    with pytest.raises(ValueError, match="not a readable image"):
        to_rgb(photo)


# Modes


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "I;16", "I", "F", "RGBX", "HSV", "PA", "La", "RGBa"]
)
def test_white_is_white_and_black_is_black_in_every_mode(mode):
    for colour in ("white", "black"):
        value = {"I;16": 65535, "I": 65535, "F": 1.0}.get(mode)
        if mode == "LAB":
            image = Image.new("LAB", (3, 3), (255, 128, 128) if colour == "white" else (0, 128, 128))
        elif value is not None:
            image = Image.new(mode, (3, 3), value if colour == "white" else 0)
        else:
            start = Image.new("RGB", (3, 3), colour)
            image = start.convert("LA").convert(mode) if mode in ("PA", "La") else start.convert(
                "RGBA").convert(mode) if mode == "RGBa" else start.convert(mode)  # fmt: skip
        assert to_rgb(image).getpixel((1, 1)) == pytest.approx((255,) * 3 if colour == "white" else (0,) * 3, abs=1)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_colours_for_print_are_those_of_the_screen(tmp_path, suffix):
    halves("CMYK").save(tmp_path / f"x.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    assert np.abs(np.subtract(ends(to_rgb(tmp_path / f"x.{suffix}")), (LEFT, RIGHT))).max() <= 12


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(("top", "scale"), [(255, 1), (4095, 16), (65535, 256)])
def test_sixteen_bits_are_scaled_by_the_least_of_8_12_and_16_bits_that_holds_the_largest(tmp_path, kind, top, scale):
    pixels = np.linspace(0, top, 1024).astype(np.uint16).reshape(32, 32)
    Image.fromarray(pixels).save(tmp_path / f"x.{kind}")
    for item in (tmp_path / f"x.{kind}", pixels, pixels.astype(np.int32), pixels[..., None], pixels.astype(">u2")):
        assert np.array_equal(np.asarray(to_rgb(item))[..., 1], pixels // scale)


def test_the_clear_tone_of_a_sixteen_bit_grey_image_is_white(tmp_path):
    pixels = np.full((4, 4), 1000, np.uint16)
    pixels[0] = 60000
    Image.fromarray(pixels).save(tmp_path / "x.png", transparency=1000)
    seen = np.asarray(to_rgb(tmp_path / "x.png"))[..., 0]
    assert (seen[0] == 60000 >> 8).all()
    assert (seen[1:] == 255).all()


def sixteen_bit_rgb_png(clear: tuple[int, int, int]) -> bytes:
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0xFF00, 0x0100, 0x2000)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", struct.pack(">3H", *clear)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


def test_the_clear_colour_of_a_sixteen_bit_image_is_white():
    image = to_rgb(sixteen_bit_rgb_png((0x1234, 0x5678, 0x9ABC)))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0xFF, 0x01, 0x20)]


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_clear_colour_of_a_png_is_white(tmp_path, mode):
    image = Image.new("L", (4, 4), 0).convert(mode)
    clear = image.getpixel((0, 0))
    image.save(tmp_path / "x.png", transparency=clear if mode != "1" else 0)
    assert to_rgb(tmp_path / "x.png").getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("png", {}), ("tif", {}), ("webp", {"lossless": True})])
def test_of_several_frames_or_pages_the_first_counts(tmp_path, suffix, options):
    first, *others = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=others, **options)
    assert to_rgb(tmp_path / f"x.{suffix}").getpixel((3, 3)) == pytest.approx((255, 0, 0), abs=2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif", "heic"])
def test_an_image_is_turned_as_its_exif_data_says(tmp_path, orientation, suffix):
    """Its upright form has a bright upper left quarter, whatever the orientation it is stored in."""
    upright = np.zeros((8, 16), np.uint8)
    upright[:4, :8] = 255
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
              6: upright.T[::-1], 7: upright[::-1, ::-1].T, 8: upright.T[:, ::-1]}[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    if f".{suffix}" not in suffixes():
        pytest.skip(f"{suffix} needs an extra or a newer Pillow")
    image = Image.fromarray(np.ascontiguousarray(stored.repeat(4, 0).repeat(4, 1)))
    image.convert("RGB").save(tmp_path / f"x.{suffix}", exif=exif.tobytes(), quality=100)
    seen = np.asarray(to_rgb(tmp_path / f"x.{suffix}").convert("L"), int)
    assert seen.shape == (32, 64)
    assert np.abs(seen - upright.repeat(4, 0).repeat(4, 1)).mean() < 9


def test_exif_data_that_cannot_be_read_say_nothing(tmp_path):
    halves().save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff junk", quality=95)
    assert np.abs(np.subtract(ends(to_rgb(tmp_path / "x.jpg")), (LEFT, RIGHT))).max() <= 12


def test_what_is_damaged_and_can_be_done_without_is_no_warning(tmp_path):
    """Its place on Earth is said to be where the file has ended."""
    tags = struct.pack("<HHIIHHII", 0x0112, 3, 1, 3, 0x8825, 4, 1, 9_999)
    halves().save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\2\0" + tags + bytes(4), quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        turned = to_rgb(tmp_path / "x.jpg")
    assert np.abs(np.subtract(ends(turned), (RIGHT, LEFT))).max() <= 12


# Arrays and tensors

COLOURS = np.array([[LEFT, RIGHT], [RIGHT, LEFT], [(0, 0, 0), (255, 255, 255)]], np.uint8)  # (3, 2, 3) of either order
PICTURE = np.asarray(halves())


@pytest.mark.parametrize(
    "make",
    [
        lambda pixels: pixels,
        lambda pixels: pixels.astype(np.float32) / 255,
        lambda pixels: pixels.astype(np.float16) / np.float16(255),
        lambda pixels: pixels.astype(np.float64) / 255 * (1 + 1e-7),
        lambda pixels: pixels.astype(np.float32),
        lambda pixels: pixels.astype(np.int64),
        lambda pixels: pixels.astype(np.uint16) * 257,
        lambda pixels: np.asfortranarray(pixels),
        lambda pixels: pixels[::-1][::-1],
        lambda pixels: np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]),
        lambda pixels: np.dstack([pixels / 255, np.ones(pixels.shape[:2])]),
        torch.from_numpy,
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).float().div(255).requires_grad_(),
        lambda pixels: torch.from_numpy(pixels / 255).bfloat16().permute(2, 0, 1),
    ],
)
def test_arrays_and_tensors_of_every_kind_have_the_same_colours(make):
    item = make(PICTURE.copy())
    seen = np.asarray(to_rgb(item)).astype(int)
    assert seen.shape == PICTURE.shape
    rough = str(item.dtype) in ("float16", "torch.bfloat16")
    assert np.abs(seen - PICTURE).max() <= (1 if rough else 0)


def test_a_small_array_has_its_channels_last_and_a_small_tensor_first():
    assert np.array_equal(np.asarray(to_rgb(COLOURS)), COLOURS)
    assert np.array_equal(np.asarray(to_rgb(torch.from_numpy(COLOURS).permute(2, 0, 1))), COLOURS)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (1, 4, 6)])
def test_grey_is_grey_whatever_its_shape(shape):
    bools = np.zeros((4, 6), bool)
    bools[0] = True
    item = bools.reshape(shape) if shape[0] != 1 else torch.from_numpy(bools)[None]
    seen = np.asarray(to_rgb(item))
    assert seen.shape == (4, 6, 3)
    assert (seen[0] == 255).all()
    assert (seen[1:] == 0).all()


def test_alpha_of_arrays_is_laid_on_white():
    clear = np.zeros((2, 2, 4), np.float32)
    assert to_rgb(clear).getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(np.full((2, 2, 2), (0, 128), np.uint8)).getpixel((0, 0)) == pytest.approx((127,) * 3, abs=1)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_in_a_file_are_scaled_as_those_in_an_array(tmp_path, kind):
    ramp = np.linspace(0, 1 if kind is np.float32 else 65535, 256).reshape(16, 16).astype(kind)
    Image.fromarray(ramp).save(tmp_path / "x.tif")
    seen = np.asarray(to_rgb(tmp_path / "x.tif"))[..., 0].ravel()
    assert np.array_equal(seen, np.arange(256))


REFUSED = [
    (np.full((4, 4), np.nan, np.float32), "float32 pixels that are not finite"),
    (np.full((4, 4), np.inf), "float64 pixels that are not finite"),
    (np.linspace(-1, 1, 16).reshape(4, 4), "float64 pixels from -1 to 1; expected floats 0 to 1"),
    (np.linspace(0, 254.5, 16).reshape(4, 4), "float64 pixels from 0 to 254.5; expected floats 0 to 1, or whole"),
    (np.full((4, 4), 300.0), "float64 pixels from 300 to 300"),
    (np.full((4, 4), 70_000), "int64 pixels from 70000 to 70000; expected whole numbers 0 to 255, or to 65535"),
    (np.full((4, 4), -1, np.int8), "int8 pixels from -1 to -1"),
    (np.zeros((4, 4), complex), "pixels of type complex128"),
    (np.array([["a", "b"]]), "pixels of type <U1"),
    (np.array([[None]]), "pixels of type object"),
    (np.zeros((3, 32, 32), np.uint8), r"shape \(3, 32, 32\); expected \(height, width\).*array.transpose"),
    (np.zeros((10, 28, 28), np.uint8), r"an array of shape \(10, 28, 28\)"),
    (np.zeros((4, 4, 5), np.uint8), r"an array of shape \(4, 4, 5\)"),
    (np.zeros((0, 4, 3), np.uint8), r"an array of shape \(0, 4, 3\)"),
    (np.zeros(12, np.uint8), r"an array of shape \(12,\)"),
    (torch.randn(3, 8, 8), "float32 pixels from -"),
    ("https://example.org/cat.png", "a URL, and none is fetched; download it and give its path"),
    ("s3://bucket/cat.png", "a URL"),
    ("data:image/png;base64,iVBORw0KGgo=", "a URL"),
    ("nowhere/cat.png", "nowhere/cat.png: no such file"),
    (Path("nowhere.png"), "nowhere.png: no such file"),
    (Path("."), "a folder; expected an image file"),
    (b"", "not a readable image"),
    (b"no image", "not a readable image"),
    (None, "expected a path, a PIL image, .* or a tensor; got NoneType"),
    ({"bytes": b""}, "got dict"),
    ([[1, 2], [3, 4]], "got list"),
    (3, "got int"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "words"), REFUSED)
def test_what_has_no_plain_pixels_is_refused_in_one_sentence_that_says_which_it_is(item, words):
    with pytest.raises(ValueError, match=words) as refused:
        to_rgb(item)
    assert "\n" not in str(refused.value)
    good = Image.new("RGB", (2, 2))
    with pytest.raises(ValueError, match=f"image 2.*{words.split(';')[0].split(': ')[-1]}"):
        list(rgb_images([good, good, item]))


def test_a_float_image_file_that_is_not_plain_is_named(tmp_path):
    Image.fromarray(np.full((4, 4), -3, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match=r"x\.tif: float32 pixels from -3 to -3; expected floats 0 to 1"):
        to_rgb(tmp_path / "x.tif")


def test_an_image_of_absurd_size_is_not_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for item in (content("PNG"), halves(), np.asarray(halves())):
            with pytest.raises(ValueError, match="not a readable image"):
                to_rgb(item)


# Several at once


@pytest.mark.parametrize(
    "images",
    [
        lambda one: one,
        lambda one: [one, one],
        lambda one: (image for image in (one, one)),
        lambda one: np.stack([np.asarray(one)] * 3),
        lambda one: torch.from_numpy(np.stack([np.asarray(one)] * 3)).permute(0, 3, 1, 2),
        lambda one: np.asarray(one),
        lambda one: content("PNG"),
        lambda one: io.BytesIO(content("PNG")),
    ],
)
def test_one_image_several_or_a_batch_are_gone_through_one_by_one(images):
    for image in rgb_images(as_images(images(halves()))):
        assert ends(image) == (LEFT, RIGHT)


@pytest.mark.parametrize("images", [None, 3, {"image": halves()}])
def test_what_cannot_be_gone_through_is_refused(images):
    with pytest.raises(ValueError, match=f"or several of them; got {type(images).__name__}"):
        as_images(images)


# Models take them all


@pytest.fixture(scope="module")
def adapted(clip):
    from hf_unlearn import ForgetAdapter, unlearn
    from hf_unlearn.adapters.adapted_clip import AdaptedClip

    made = unlearn(clip, forget=["red"], vocabulary=["red", "green", "a cat"], progress=False).adapter
    assert isinstance(made, ForgetAdapter)
    return AdaptedClip(clip, made)


@pytest.fixture
def kinds(tmp_path) -> dict:
    """The same two pictures, as people pass them."""
    pictures = [halves(), halves().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    arrays = np.stack([np.asarray(image) for image in pictures])
    paths = [tmp_path / f"{number}.png" for number in (0, 1)]
    for image, path in zip(pictures, paths, strict=True):
        image.save(path)
    tensors = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    return {
        "PIL images": pictures, "a tuple": tuple(pictures), "paths": paths, "texts": [str(path) for path in paths],
        "a generator": (image for image in pictures), "bytes": [path.read_bytes() for path in paths],
        "open files": [io.BytesIO(path.read_bytes()) for path in paths], "arrays": list(arrays), "a batch": arrays,
        "a batch of floats": arrays / 255, "tensors": list(tensors), "a batch of tensors": tensors / 255,
        "a mixture": [paths[0], arrays[1]], "a data set": LabeledImages.from_arrays(tensors, [0, 0], ["x"]),
    }  # fmt: skip


def test_classify_and_image_features_give_one_answer_whatever_stands_for_the_images(adapted, kinds):
    scores = adapted.classify(kinds["PIL images"], ["red", "blue"])
    assert scores.shape == (2, 2)
    assert not torch.equal(scores[0], scores[1])
    for kind, images in kinds.items():
        torch.testing.assert_close(adapted.classify(images, ["red", "blue"]), scores, msg=kind)
    torch.testing.assert_close(adapted.classify(kinds["paths"][0], ["red", "blue"]), scores[:1])
    features = adapted.image_features(kinds["PIL images"])
    assert torch.equal(adapted.image_features(kinds["bytes"]), features)
    torch.testing.assert_close(adapted.image_features(kinds["a batch"][0]), features[:1])


def test_boxes_of_embeddings_and_data_sets_get_rgb_images(kinds):
    seen: list[Image.Image] = []

    def embed(images):
        seen.extend(images)
        return [[1.0, 0.0] for _ in images]

    for images in kinds.values():
        EmbeddingBlackBox(lambda texts: [[0.0, 1.0] for _ in texts], embed, batch=1).add_images(images)
    assert len(seen) == 2 * len(kinds)
    assert {(image.mode, ends(image)) for image in seen} == {("RGB", (LEFT, RIGHT)), ("RGB", (RIGHT, LEFT))}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "expected at least one image, got none"),
        (iter(()), "expected at least one image, got none"),
        (np.zeros((0, 8, 8, 3), np.uint8), "expected at least one image, got none"),
        (None, "expected a path, .* or several of them; got NoneType"),
        ("https://example.org/cat.png", "image 0: a URL|image 0 .*: a URL"),
        ([halves(), "nowhere.png"], r"image 1 \(nowhere\.png\): no such file"),
        ([halves(), halves(), b"junk"], "image 2: not a readable image"),
        ([[halves()]], "image 0: expected a path, .*; got list"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"image 0: an array of shape \(3, 8, 8\)"),
        (torch.full((2, 3, 8, 8), -1.0), "image 0: float32 pixels from -1 to -1"),
    ],
)
def test_classify_says_which_image_is_bad(adapted, images, words):
    with pytest.raises(ValueError, match=words):
        adapted.classify(images, ["red", "blue"])


@pytest.mark.parametrize(
    "item", [np.zeros((3, 3), np.uint8), np.zeros((3, 3, 4), np.uint8), np.zeros((3, 3), np.uint16)]
)
def test_arrays_that_pillow_knows_are_kept_as_they_are_so_that_a_draw_stays_the_same(item):
    kept = LabeledImages.from_arrays([item, Image.fromarray(item)], [0, 0], ["x"])
    assert kept.digests()[0] == kept.digests()[1]


def test_data_sets_of_arrays_say_which_one_is_none(tmp_path):
    good = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="image 1: float64 pixels that are not finite"):
        LabeledImages.from_arrays([good, np.full((4, 4), np.nan)], [0, 0], ["x"])
    lazy = LabeledImages((str(tmp_path / "1.png"), good), (0, 0), ("x",))
    with pytest.raises(ValueError, match=r"1\.png: no such file"):
        lazy[0]


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "F", "I;16"])
def test_an_image_without_pixels_is_refused(size, mode):
    with pytest.raises(ValueError, match=rf"^image 3: an image of {size[0]} x {size[1]} pixels; expected at least 1 x"):
        to_rgb(Image.new(mode, size), 3)
