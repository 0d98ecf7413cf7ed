"""The four official layouts of CIFAR, and which of them a folder holds."""

from collections.abc import Collection
from pathlib import Path

from attrs import field, frozen

from fnnet.data.errors import DataError

PIXELS = 3 * 32 * 32  # bytes of an image: R, G and B planes, row by row

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@frozen
class Layout:
    """How an official archive stores its images and labels."""

    kind: str
    """CIFAR-10 or CIFAR-100."""
    folder: str
    """Where the archive puts the files."""
    train: dict[str, int] = field(hash=False)
    """Name of each file of training images, and how many images it has."""
    test: dict[str, int] = field(hash=False)
    """The same for the test images."""
    num_classes: int
    label_bytes: int = 0
    """Bytes before the pixels of a record, the last of which is the label; 0 for a pickle."""
    label_key: bytes = b""
    """Where a pickle has the labels."""
    names_file: str | None = None
    """The file with the names of the classes; None if they are known."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files that are needed."""
        names_file = (self.names_file,) if self.names_file else ()
        return (*self.train, *self.test, *names_file)


CIFAR10_BIN = Layout(
    "CIFAR-10",
    "cifar-10-batches-bin",
    {f"data_batch_{i}.bin": 10_000 for i in range(1, 6)},
    {"test_batch.bin": 10_000},
    num_classes=10,
    label_bytes=1,
)
CIFAR10_PY = Layout(
    "CIFAR-10",
    "cifar-10-batches-py",
    {f"data_batch_{i}": 10_000 for i in range(1, 6)},
    {"test_batch": 10_000},
    num_classes=10,
    label_key=b"labels",
)
CIFAR100_BIN = Layout(
    "CIFAR-100",
    "cifar-100-binary",
    {"train.bin": 50_000},
    {"test.bin": 10_000},
    num_classes=100,
    label_bytes=2,  # the coarse label, then the fine one
    names_file="fine_label_names.txt",
)
CIFAR100_PY = Layout(
    "CIFAR-100",
    "cifar-100-python",
    {"train": 50_000},
    {"test": 10_000},
    num_classes=100,
    label_key=b"fine_labels",
    names_file="meta",
)
LAYOUTS = (CIFAR10_BIN, CIFAR10_PY, CIFAR100_BIN, CIFAR100_PY)
KINDS = ("CIFAR-10", "CIFAR-100")


def find(folder: Path, kinds: Collection[str] = KINDS) -> tuple[Layout, Path] | None:
    """Return the layout that a folder holds and where its files lie, or None.

    They lie in the folder of the layout's name, or in `folder` itself. A layout with all its
    files is taken before one with some of them, binary files before pickles, and CIFAR-10
    before CIFAR-100. Files may be missing; names as general as ``train`` or ``test`` need
    company, unless their folder has the official name.
    """
    best, most = None, 0.0
    for layout in LAYOUTS:
        if layout.kind not in kinds:
            continue
        for place in (folder / layout.folder, folder):
            there = sum((place / name).is_file() for name in layout.files)
            least = 1 if "10-" in layout.folder or place.name == layout.folder else 2
            if there >= least and there / len(layout.files) > most:
                best, most = (layout, place), there / len(layout.files)
    return best


def find_kind(folder: Path, kind: str) -> tuple[Layout, Path]:
    """Return what :func:`find` finds of one kind, complete.

    Raises:
        DataError: there is nothing of the kind, or a file is missing.
    """
    found = find(folder, [kind])
    if found is None:
        folders = [layout.folder for layout in LAYOUTS if layout.kind == kind]
        cure = "; `fnnet download` fetches it" if kind == "CIFAR-10" else ""
        raise DataError(
            f"found no {kind} in {folder}: expected a folder {' or '.join(folders)} in it{cure}"
        )
    layout, place = found
    for name in layout.files:
        if not (place / name).is_file():
            raise DataError(f"{place / name} is missing: {kind} needs {', '.join(layout.files)}")
    return found
