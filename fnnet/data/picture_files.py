"""A folder of pictures, one subfolder a class: which files there are, and of which class."""

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attrs import field, frozen

from fnnet.checks import Array
from fnnet.data.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".webp")
TRAIN, TEST = "train", "test"
SHOWN = 3  # skipped files that are named


@frozen
class PictureFile:
    """A file as it is on disk; the cache tells a changed file by its size and time."""

    path: Path
    size: int
    mtime_ns: int


@frozen(eq=False)
class Part:
    """The pictures to train on, or those to test on, sorted by class and file name."""

    files: tuple[PictureFile, ...]
    labels: Array
    """(N,) the index of each file's class."""


@frozen(eq=False)
class PictureFolder:
    """What a folder of pictures holds."""

    root: Path
    class_names: tuple[str, ...]
    train: Part
    test: Part | None


@frozen(eq=False)
class _Listing:
    """The entries of one folder, sorted by name."""

    folders: list[Path] = field(factory=list)
    pictures: list[PictureFile] = field(factory=list)
    skipped: list[Path] = field(factory=list)


def list_pictures(root: Path) -> PictureFolder:
    """List the pictures below ``root/<class>/``, or ``root/train/<class>/`` and ``root/test/…``.

    A class is named as its folder; the classes are sorted by name. Hidden files and files
    without a picture's ending are skipped, and one line on stderr counts them.

    Raises:
        DataError: the folder has another layout, a class is empty, there is only one class,
            or a file is a pipe or a device.
    """
    top = _entries(root)
    skipped: list[Path] = []
    test = None
    places = {folder.name: folder for folder in top.folders}
    if TRAIN in places and not top.pictures and _entries(places[TRAIN]).folders:
        beside = sorted(places.keys() - {TRAIN, TEST})
        if beside:
            raise DataError(f"{root} must hold the folders train and test only, found {beside[0]}")
        skipped += top.skipped
        names, train = _part(places[TRAIN], skipped)
        if TEST in places:
            test = _part(places[TEST], skipped, names)[1]
    else:
        names, train = _part(root, skipped)
    if len(names) == 1:
        raise DataError(f"{root} must have at least two class folders, found only {names[0]}")
    if skipped:
        _report(root, skipped)
    return PictureFolder(root, names, train, test)


def _part(
    folder: Path, skipped: list[Path], known: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], Part]:
    """Return the class names and the pictures of one part; the classes must be `known`."""
    top = _entries(folder)
    if top.pictures:
        raise DataError(
            f"pictures must lie in folders, one a class, found {top.pictures[0].path.name} "
            f"in {folder} itself"
        )
    if not top.folders:
        raise DataError(f"{folder} must hold one folder of pictures a class, found no folder")
    names = known or tuple(_class_name(place) for place in top.folders)
    files: list[PictureFile] = []
    labels: list[int] = []
    skipped += top.skipped
    for place in top.folders:
        if place.name not in names:
            raise DataError(f"the class {place.name} of {folder} has no pictures to train on")
        entries = _entries(place)
        if entries.folders:
            raise DataError(
                f"a class folder must hold pictures only, found the folder {entries.folders[0]}: "
                "pictures lie in <class>/, or in train/<class>/ and test/<class>/"
            )
        if not entries.pictures:
            raise DataError(f"the class folder {place} holds no picture ({', '.join(ENDINGS)})")
        skipped += entries.skipped
        files += entries.pictures
        labels += [names.index(place.name)] * len(entries.pictures)
    return names, Part(tuple(files), np.array(labels))


def _class_name(folder: Path) -> str:
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise DataError(f"the name of a class must be UTF-8, found {folder.name!r}") from None
    return folder.name


def _entries(folder: Path) -> _Listing:
    """Sort what lies in a folder by kind, without opening a file."""
    result = _Listing()
    try:
        with os.scandir(folder) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                path = folder / entry.name
                if entry.name.startswith("."):
                    result.skipped.append(path)
                    continue
                status = entry.stat()
                if stat.S_ISDIR(status.st_mode):
                    result.folders.append(path)
                elif not stat.S_ISREG(status.st_mode):
                    raise DataError(f"{path} must be a file or a folder: it is a pipe or a device")
                elif path.suffix.lower() in ENDINGS:
                    file = PictureFile(path, status.st_size, status.st_mtime_ns)
                    result.pictures.append(file)
                else:
                    result.skipped.append(path)
    except OSError as error:  # among them broken links
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    return result


def _report(root: Path, skipped: Sequence[Path]) -> None:
    names = [str(path.relative_to(root)) for path in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        names.append("…")
    one = len(skipped) == 1
    what = "1 file that is not a picture" if one else f"{len(skipped)} files that are not pictures"
    print(f"skipped {what}: {', '.join(names)}", file=sys.stderr)
