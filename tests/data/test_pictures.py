"""Folders of pictures are read right, kept, verified, and refused by name."""

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnnet.checks import Array
from fnnet.data import pictures
from fnnet.data.errors import DataError
from fnnet.data.pictures import load_pictures, read_picture
from tests.programs import Terminal

GRAY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOR = np.random.default_rng(0).integers(256, size=(6, 8, 3), dtype=np.uint8)


def save(path: Path, pixels: Array, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        save(tmp_path / "root" / name, GRAY)
    return tmp_path / "root"


def refused(root: Path, match: str) -> None:
    cache = root.parent / "cache"
    with pytest.raises(DataError, match=match):
        load_pictures(root, cache=cache)
    assert not cache.exists()


def test_gray_and_color_folders_have_the_right_pixels(root: Path, tmp_path: Path) -> None:
    train, test = load_pictures(root, cache=tmp_path / "cache")
    assert test is None
    assert np.array_equal(train.images, np.stack([GRAY] * 3))
    assert train.labels.tolist() == [0, 0, 1]
    assert train.class_names == ("cat", "dog")
    save(root / "dog/2.png", COLOR)
    train, _ = load_pictures(root, cache=tmp_path / "cache")
    assert np.array_equal(train.images[3], COLOR.transpose(2, 0, 1))
    assert np.array_equal(train.images[0], np.stack([GRAY] * 3))


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp"])
def test_each_format_is_read_as_the_folder_loader_reads_it(
    root: Path, tmp_path: Path, ending: str
) -> None:
    path = save(root / f"dog/x.{ending}", COLOR)
    train, _ = load_pictures(root, image_size=5, cache=tmp_path / "cache")
    assert train.images.shape == (4, 3, 5, 5)
    assert np.array_equal(train.images[3], read_picture(path, (3, 5, 5)))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", GRAY.astype(np.uint16) * 256 + 7)
    assert np.array_equal(read_picture(path, (6, 8)), GRAY)


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    alpha = np.zeros((6, 8, 1), np.uint8)
    alpha[0] = 255
    path = save(tmp_path / "x.png", np.concatenate([COLOR, alpha], axis=2))
    found = read_picture(path, (3, 6, 8))
    assert np.array_equal(found[:, 0], COLOR.transpose(2, 0, 1)[:, 0])
    assert (found[:, 1:] == 255).all()


@pytest.mark.parametrize("shape", [(6, 8), (3, 6, 8)])
@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "P"])
def test_the_color_that_a_png_calls_transparent_is_white(
    tmp_path: Path, mode: str, shape: tuple[int, ...]
) -> None:
    kinds: dict[str, Array] = {
        "L": GRAY,
        "I;16": GRAY.astype(np.uint16) * 256,
        "RGB": np.stack([GRAY, GRAY + 1, GRAY + 2], axis=2),
        "P": GRAY,
    }
    pixels = kinds[mode]
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    at = pixels[2, 3]
    image.save(tmp_path / "opaque.png")
    try:
        image.save(tmp_path / "x.png", transparency=tuple(at.tolist()) if at.ndim else int(at))
    except OSError as error:  # older versions of Pillow cannot write 16 bits with it
        pytest.skip(str(error))
    found = read_picture(tmp_path / "x.png", shape)
    opaque = read_picture(tmp_path / "opaque.png", shape)
    clear = np.broadcast_to(GRAY[2, 3] == GRAY, shape)
    assert np.array_equal(found, np.where(clear, 255, opaque))
    assert (opaque[clear] != 255).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_half_transparent_pixel_is_mixed_with_white(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.zeros((6, 8), np.uint8)).convert(mode)
    image.putalpha(102)  # two fifths
    image.save(tmp_path / "x.png")
    for shape in ((6, 8), (3, 6, 8)):
        assert (read_picture(tmp_path / "x.png", shape) == 153).all()


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((6, 8), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert (read_picture(tmp_path / "x.gif", (6, 8)) == 10).all()


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_turned_picture_is_set_upright(root: Path, tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(root / f"dog/x.{ending}", np.rot90(GRAY).copy(), exif=exif)
    train, _ = load_pictures(root, cache=tmp_path / "cache")
    assert train.images.shape == (4, 6, 8)
    assert np.abs(train.images[3].astype(int) - GRAY).max() < 12
    assert np.array_equal(read_picture(path, (6, 8)), train.images[3])


@pytest.mark.parametrize(
    ("place", "found"), [("dog/2.png", "dog/2.png"), ("cat/1.png", "cat/2.png")]
)
def test_another_size_is_named_with_the_cure(root: Path, place: str, found: str) -> None:
    """The first picture has the size that the others must have."""
    save(root / place, COLOR[:4])
    sizes = ("8×4", "8×6") if place == found else ("8×6", "8×4")
    cure = "--image-size scales all of them to one"
    refused(root, f"{sizes[0]} in {root}/{found} and {sizes[1]} in {root}/cat/1.png: {cure}$")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "P", "RGB", "RGBA"])
def test_a_folder_is_gray_if_no_mode_has_colors(root: Path, tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.zeros((6, 8), np.uint8))
    image.convert("I" if mode == "I;16" else mode).convert(mode).save(root / "dog/2.png")
    train, _ = load_pictures(root, cache=tmp_path / "cache")
    assert train.images.shape == ((4, 3, 6, 8) if mode in ("P", "RGB", "RGBA") else (4, 6, 8))


def test_many_pictures_keep_their_order_and_one_of_color_makes_all_colored(
    root: Path, tmp_path: Path
) -> None:
    shades = [*range(pictures.BLOCK + 6)]
    for shade in shades:
        save(root / f"emu/{shade:03}.png", np.full((6, 8), shade, np.uint8))
    save(root / "cat/1.png", COLOR)
    train, _ = load_pictures(root, cache=tmp_path / "cache")
    assert np.array_equal(train.images[0], COLOR.transpose(2, 0, 1))
    assert train.images[3:, :, 0, 0].tolist() == [[shade] * 3 for shade in shades]


def test_a_picture_may_be_scaled_to_one_pixel(root: Path, tmp_path: Path) -> None:
    train, _ = load_pictures(root, image_size=1, cache=tmp_path / "cache")
    assert train.images.shape == (3, 1, 1)


def test_a_picture_that_changes_while_it_is_read_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = pictures._header

    def changing(path: Path, upright: bool) -> Any:
        found = header(path, upright)
        if path.match("dog/1.png"):
            save(path, GRAY[:4])
        return found

    monkeypatch.setattr(pictures, "_header", changing)
    refused(root, r"dog/1\.png has changed while it was read")


def test_a_class_that_is_not_unicode_is_named(root: Path) -> None:
    try:
        (root / "dog").rename(root / "d\udcffg")
    except OSError:
        pytest.skip("this file system has names in Unicode only")
    refused(root, r"a class must be UTF-8, found 'd\\udcffg'")


def test_a_cache_that_is_not_a_path_is_refused_by_name(root: Path) -> None:
    with pytest.raises(TypeError, match=r"^cache must be a path, found int$"):
        load_pictures(root, cache=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("image_size", [0, pictures.MAX_IMAGE_SIZE + 1])
def test_a_size_out_of_range_is_refused(root: Path, image_size: int) -> None:
    with pytest.raises(ValueError, match=f"image_size must be at .*, found {image_size}"):
        load_pictures(root, image_size=image_size, cache=root)


def test_reading_a_folder_shows_its_progress_on_a_terminal(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    load_pictures(root, cache=tmp_path / "cache")
    for work in ("headers", "pictures"):
        assert re.search(rf"\r{work}: .* 0/3 ", terminal.getvalue())
    assert terminal.getvalue().endswith("\r")  # it is wiped off


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (6, 1), (3, 1, 1), (3, 6, 8)])
def test_a_picture_has_the_shape_that_is_asked_for(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert read_picture(save(tmp_path / "x.png", COLOR), shape).shape == shape


@pytest.mark.parametrize("shape", [(), (6,), (0, 8), (6, 0), (3, 0, 8), (3, 6, 0), (4, 6, 8)])
def test_a_shape_that_no_picture_has_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "x.png", COLOR)
    with pytest.raises(ValueError, match=r"^shape must be \(height, width\) or .*, found \("):
        read_picture(path, shape)


def test_a_folder_is_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"{tmp_path} must be a file")):
        read_picture(tmp_path, (6, 8))


@pytest.mark.parametrize("raw", [b"", b"hello", None], ids=["empty", "text", "truncated"])
def test_a_broken_picture_is_named(root: Path, raw: bytes | None) -> None:
    path = save(root / "dog/2.png", np.resize(COLOR, (6, 8, 3)))
    path.write_bytes(path.read_bytes()[:90] if raw is None else raw)
    refused(root, r"dog/2\.png")


def test_too_many_pixels_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 47)
    refused(root, r"cat/1\.png must have at most 47 pixels")


def test_wrong_layouts_are_named(root: Path) -> None:
    (root / "empty").mkdir()
    endings = ".png, .jpg, .jpeg, .jfif, .gif, .bmp, .webp"
    refused(root, rf"^the class folder {root}/empty holds no picture \({endings}\)$")
    (root / "empty").rmdir()
    (root / "dog/inner").mkdir()
    places = "pictures lie in <class>/, or in train/<class>/ and test/<class>/"
    refused(root, f"hold pictures only, found the folder {root}/dog/inner: {places}$")
    (root / "dog/inner").rmdir()
    os.mkfifo(root / "dog/pipe.png")
    refused(root, f"^{root}/dog/pipe.png must be a file or a folder: it is a pipe or a device$")
    (root / "dog/pipe.png").unlink()
    (root / "dog/link.png").symlink_to("nowhere")
    refused(root, f"^{root}/dog/link.png cannot be read: No such file or directory$")
    (root / "dog/link.png").unlink()
    save(root / "x.png", GRAY)
    refused(root, f"found x.png in {root} itself$")
    (root / "x.png").unlink()
    (root / "dog").rename(root.parent / "dog")
    refused(root, f"^{root} must have at least two class folders, found only cat$")


def test_a_class_beside_the_train_part_is_named(root: Path) -> None:
    shutil.copytree(root, root.parent / "both/train")
    shutil.copytree(root / "cat", root.parent / "both/extra")
    refused(root.parent / "both", "the folders train and test only, found extra")


def test_a_class_of_the_test_part_must_have_training_pictures(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("train/a/1.png", "train/b/1.png", "test/b/1.png"):
        save(root / name, GRAY)
    _, test = load_pictures(root, cache=tmp_path / "other")
    assert test is not None
    assert test.labels.tolist() == [1]
    save(root / "test/c/1.png", GRAY)
    refused(root, "the class c of")


def test_other_files_are_skipped_and_counted(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "cat/.DS_Store").write_bytes(b"x")
    (root / "notes.txt").write_bytes(b"x")
    load_pictures(root, cache=tmp_path / "cache")
    assert capsys.readouterr().err == (
        "skipped 2 files that are not pictures: notes.txt, cat/.DS_Store\n"
    )
    (root / "notes.txt").unlink()
    load_pictures(root, cache=tmp_path / "cache")
    assert capsys.readouterr().err == "skipped 1 file that is not a picture: cat/.DS_Store\n"


def test_of_many_skipped_files_three_are_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["cat/._1.png", "cat/a.txt", "dog/b.txt"]  # macOS writes the first one
    for name in names:
        (root / name).write_bytes(b"x")
    for more in ("", ", …"):
        train, _ = load_pictures(root, cache=tmp_path / "cache")
        assert len(train) == 3
        number = 4 if more else 3
        told = f"skipped {number} files that are not pictures: {', '.join(names)}{more}\n"
        assert capsys.readouterr().err == told
        (root / "dog/c.txt").write_bytes(b"x")


def test_the_cache_is_used_and_verified(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = load_pictures(root, cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["pictures"]
    decode = pictures._decode_folder
    calls: list[int] = []

    def counted(*args: Any) -> dict[str, Array]:
        calls.append(1)
        return decode(*args)

    monkeypatch.setattr(pictures, "_decode_folder", counted)
    assert load_pictures(root, cache=tmp_path / "cache")[0] == before
    assert not calls, "the cache was not used"
    (stored,) = (tmp_path / "cache").rglob("train.npy")
    raw = bytearray(stored.read_bytes())
    raw[-1] ^= 1
    stored.write_bytes(raw)
    for _ in range(2):  # the second time from the cache that was written anew
        assert load_pictures(root, cache=tmp_path / "cache")[0] == before
        assert calls == [1]


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("change", ["pixels", "size", "name", "image_size", "color"])
def test_what_has_changed_is_not_read_from_the_cache(
    root: Path, tmp_path: Path, change: str, color: bool
) -> None:
    if color:
        save(root / "dog/1.png", COLOR)
    image_size = None
    load_pictures(root, cache=tmp_path / "cache")
    if change == "pixels":
        path = save(root / "cat/1.png", np.rot90(GRAY, 2))
        os.utime(path, ns=(0, 0))
    elif change == "size":
        for path in root.rglob("*.png"):
            save(path, GRAY[:4])
    elif change == "name":
        (root / "cat/2.png").rename(root / "cat/0.png")
        save(root / "cat/1.png", GRAY // 2)
    elif change == "image_size":
        image_size = 5
    else:
        save(root / "cat/1.png", COLOR)
    found = load_pictures(root, image_size=image_size, cache=tmp_path / "cache")
    assert found == load_pictures(root, image_size=image_size, cache=tmp_path / "other")


def test_pictures_that_swap_their_places_are_not_read_from_the_cache(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name, gray in (("a/1", GRAY), ("a/2", GRAY // 2), ("b/1", GRAY // 3)):
        os.utime(save(root / f"{name}.bmp", gray), ns=(0, 0))  # of one size, as old as all others
    before, _ = load_pictures(root, cache=tmp_path / "cache")
    (root / "a/1.bmp").rename(root / "a/3.bmp")
    after, _ = load_pictures(root, cache=tmp_path / "cache")
    assert np.array_equal(after.images, before.images[[1, 0, 2]])


def test_a_cache_of_color_pictures_is_used(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(root / "dog/1.png", COLOR)
    before = load_pictures(root, cache=tmp_path / "cache")
    monkeypatch.setattr(pictures, "_decode_folder", None)
    assert load_pictures(root, cache=tmp_path / "cache") == before


CACHED: dict[str, Array] = {
    "too few": np.zeros((2, 6, 8), np.uint8),
    "too many": np.zeros((4, 6, 8), np.uint8),
    "of other numbers": np.zeros((3, 6, 8), np.int64),
    "of two channels": np.zeros((3, 2, 6, 8), np.uint8),
    "of one axis": np.zeros(3, np.uint8),
    "a number": np.array(3, np.uint8),
    "empty": np.zeros((3, 0, 8), np.uint8),
    "in Fortran order": np.zeros((3, 6, 8), np.uint8, "F"),
    "of another size than the other part": np.zeros((3, 6, 9), np.uint8),
}


@pytest.mark.parametrize("kind", CACHED)
def test_a_cache_of_other_arrays_is_not_used(root: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(root, tmp_path / "both/train")
    shutil.copytree(root, tmp_path / "both/test")
    cache = tmp_path / "cache"
    before = load_pictures(tmp_path / "both", cache=cache)
    (index,) = cache.rglob("index.json")
    for part in ["train"] if "the other part" in kind else ["train", "test"]:
        stored = index.with_name(f"{part}.npy")
        old = hashlib.sha256(stored.read_bytes()).hexdigest()
        np.save(stored, CACHED[kind])
        new = hashlib.sha256(stored.read_bytes()).hexdigest()
        index.write_text(index.read_text().replace(f'"{part}": "{old}"', f'"{part}": "{new}"'))
    assert load_pictures(tmp_path / "both", cache=cache) == before


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "I;16", "CMYK", "1"])
def test_a_tall_picture_is_converted_as_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(150, 7, 4), dtype=np.uint8)
    image = Image.fromarray(pixels).convert("I" if mode == "I;16" else mode).convert(mode)
    options: dict[str, Any] = {"transparency": 3} if mode == "P" else {}
    image.save(path := tmp_path / f"x.{'jpg' if mode == 'CMYK' else 'png'}", **options)
    for shape in ((150, 7), (3, 150, 7)):
        found = read_picture(path, shape)
        with monkeypatch.context() as patch:
            patch.setattr(pictures, "STRIP", 1000)
            assert np.array_equal(read_picture(path, shape), found)


def test_of_a_tall_picture_a_few_rows_are_copied_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert, heights = pictures._eight_bits, list[int]()

    def counted(image: Image.Image) -> Image.Image:
        heights.append(image.height)
        return convert(image)

    monkeypatch.setattr(pictures, "_eight_bits", counted)
    read_picture(save(tmp_path / "x.png", np.resize(COLOR, (150, 8, 3))), (150, 8))
    assert sum(heights) == 150
    assert max(heights) <= pictures.STRIP


def test_a_cache_that_cannot_be_written_costs_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    train, _ = load_pictures(root, cache=tmp_path / "file")
    assert len(train) == 3
    line = rf"decoded pictures are not kept: {tmp_path}/file/pictures/\w+: Not a directory\n"
    assert re.fullmatch(line, capsys.readouterr().err)


@given(st.sampled_from(["png", "jpg", "gif", "bmp", "webp"]), st.data())
def test_damaged_pictures_are_refused_or_have_the_shape(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
) -> None:
    path = save(tmp_path_factory.mktemp("x") / f"x.{ending}", COLOR)
    raw = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        assert read_picture(path, (3, 6, 8)).shape == (3, 6, 8)
    except DataError as error:
        assert path.name in str(error)
