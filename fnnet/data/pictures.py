"""Pictures in PNG, JPEG, GIF, BMP or WebP as arrays of bytes: whole folders, or one."""

import contextlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from attrs import frozen
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from fnnet.checks import Array, as_integer, as_path
from fnnet.data.dataset import Dataset
from fnnet.data.errors import DataError
from fnnet.data.picture_cache import cache_folder, read_cache, write_cache
from fnnet.data.picture_files import TEST, TRAIN, PictureFolder, list_pictures

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
MAX_PIXELS = 50_000_000  # of one picture: more is an attack, or no input of a network
MAX_IMAGE_SIZE = 4096
BLOCK = 64  # pictures that a thread takes at a time
STRIP = 64  # rows that are converted at a time

ORIENTATION = 0x0112  # the EXIF tag
ON_ITS_SIDE = (5, 6, 7, 8)

T = TypeVar("T")
Result = TypeVar("Result")
Size = tuple[int, int]
"""Width and height in pixels, as Pillow has it."""


@frozen
class Header:
    """What the first bytes of a picture say."""

    size: Size
    """Upright, as EXIF says."""
    gray: bool


def load_pictures(
    folder: str | Path, *, image_size: int | None = None, cache: str | Path
) -> tuple[Dataset, Dataset | None]:
    """Load a folder of pictures: ``<class>/*.png``, or ``train/<class>/…`` and ``test/<class>/…``.

    Pictures are turned upright as EXIF says; the first frame of an animation is taken;
    16-bit values are divided by 256; transparent pixels are laid on white. Color profiles
    are not applied.

    Args:
        folder: one subfolder a class, named as the class.
        image_size: scale the shorter side of each picture to this number of pixels and cut
            out the center. Without it all pictures must have one size.
        cache: decoded pictures are kept below it, and read from there the next time.

    Returns:
        train, and test if there is one: gray images (N, height, width) if every picture is
        gray, else (N, 3, height, width); sorted by class and file name.

    Raises:
        DataError (a ValueError): the folder is laid out in another way, a picture is damaged,
            or the pictures have different sizes.
    """
    if image_size is not None:
        image_size = as_integer("image_size", image_size, low=1, high=MAX_IMAGE_SIZE)
    pictures = list_pictures(as_path("folder", folder))
    place = cache_folder(as_path("cache", cache), pictures, image_size)
    images = read_cache(place, pictures)
    if images is None:
        images = _decode_folder(pictures, image_size)
        write_cache(place, pictures, images)
    train = Dataset(images[TRAIN], pictures.train.labels, pictures.class_names)
    if pictures.test is None:
        return train, None
    return train, Dataset(images[TEST], pictures.test.labels, pictures.class_names)


def read_picture(path: str | Path, shape: tuple[int, ...]) -> Array:
    """Return one picture as :func:`load_pictures` does, scaled and cut to `shape`.

    Args:
        path: the picture.
        shape: (height, width) for a gray image, (3, height, width) for a color one.

    Raises:
        DataError (a ValueError): the file is missing, or is not a whole picture.
    """
    path = as_path("path", path)
    match shape:
        case (height, width) | (3, height, width) if height >= 1 and width >= 1:
            pass
        case _:
            raise ValueError(f"shape must be (height, width) or (3, height, width), found {shape}")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} must be a file")
    with _no_warnings():
        return _decode(path, (width, height), gray=len(shape) == 2)


def _decode_folder(pictures: PictureFolder, image_size: int | None) -> dict[str, Array]:
    """Return the images of each part: first all headers are read, then all pixels."""
    parts = {TRAIN: pictures.train} | ({TEST: pictures.test} if pictures.test else {})
    paths = [file.path for part in parts.values() for file in part.files]
    Image.init()  # not by several threads at once
    with _no_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        headers = _each(pool, "headers", partial(_header, upright=image_size is None), paths)
        size = (image_size, image_size) if image_size else _one_size(paths, headers)
        gray = all(header.gray for header in headers)
        shape = size[::-1] if gray else (3, *size[::-1])
        images = np.empty((len(paths), *shape), np.uint8)

        def store(i: int) -> None:
            images[i] = _decode(paths[i], size, gray, exact=image_size is None)

        _each(pool, "pictures", store, range(len(paths)))
    number = len(pictures.train.files)
    return dict(zip(parts, (images[:number], images[number:]), strict=False))


def _each(
    pool: ThreadPoolExecutor, name: str, function: Callable[[T], Result], values: Sequence[T]
) -> list[Result]:
    """Return the function's results in order; the first error, in order, ends the work."""
    blocks = [values[i : i + BLOCK] for i in range(0, len(values), BLOCK)]
    results: list[Result] = []
    with tqdm(total=len(values), desc=name, leave=False, disable=None) as bar:
        # `map` takes back what has not begun when a block fails.
        for block in pool.map(lambda block: [function(value) for value in block], blocks):
            results += block
            bar.update(len(block))
    return results


def _one_size(paths: Sequence[Path], headers: Sequence[Header]) -> Size:
    size = headers[0].size
    for path, header in zip(paths, headers, strict=True):
        if header.size != size:
            raise DataError(
                f"pictures must have one size, found {_text(header.size)} in {path} and "
                f"{_text(size)} in {paths[0]}: --image-size scales all of them to one"
            )
    return size


def _text(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def _header(path: Path, upright: bool) -> Header:
    """Return a picture's header; whether it stands upright is looked up only if asked for."""
    with _open(path) as image:
        size = image.size
        # Pillow reads all of a PNG to find out: only where it matters.
        if upright and size[0] != size[1] and image.getexif().get(ORIENTATION) in ON_ITS_SIDE:
            size = size[::-1]
        return Header(size, image.mode in ("1", "L", "LA") or image.mode.startswith("I"))


def _decode(path: Path, size: Size, gray: bool, exact: bool = False) -> Array:
    """Return the pixels (height, width), or (3, height, width), of a picture."""
    with _open(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        picture = _converted(image, "L" if gray else "RGB")
        if picture.size != size:
            if exact:
                raise DataError(f"{path} has changed while it was read")
            picture = ImageOps.fit(picture, size)
        pixels = np.asarray(picture)
    return pixels.copy() if gray else np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Return a picture in a mode without transparency.

    Strip by strip: a copy of 50 million pixels takes 200 MB, and whole it would take several.
    """
    if image.mode == mode and "transparency" not in image.info:
        return image
    result = Image.new(mode, image.size)
    for top in range(0, image.height, STRIP):
        box = (0, top, image.width, min(top + STRIP, image.height))
        result.paste(_eight_bits(image.crop(box)).convert(mode), box)
    return result


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of 8 bits a channel without transparency."""
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):  # 16 bits: Pillow would clip them to 255
        wide = np.asarray(image).astype(np.int64)
        pixels = (wide >> 8).astype(np.uint8)
        if isinstance(clear, int):
            pixels[wide == clear] = 255
        return Image.fromarray(pixels)
    if clear is not None or image.mode in ("LA", "RGBA"):
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Open a picture of one of the formats; whatever goes wrong with it is a DataError."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path} must have at most {MAX_PIXELS:,} pixels, found {_text(image.size)}"
                )
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{path} is not a picture in {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path} must have at most {MAX_PIXELS:,} pixels, and has more") from None
    except Exception as error:  # a damaged picture can raise nearly anything
        raise DataError(f"{path} is damaged: {str(error) or type(error).__name__}") from None


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence Pillow's warnings: large pictures are refused here, odd metadata is harmless."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
