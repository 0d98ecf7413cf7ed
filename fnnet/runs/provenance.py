"""What a run's bits depend on besides its settings: the programs, the machine, the data."""

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fnnet.data.dataset import Dataset
from fnnet.values import Params
from fnnet.version import __version__

TRAIN_DATA = "training data"
VAL_DATA = "validation data"


def environment() -> dict[str, str]:
    """Return what computes, by name: programs with versions, BLAS threads, processor, system.

    The threads are those in force now (see :func:`fnnet.use_threads`).
    """
    blas, threads = _blas()
    return {
        "fnnet": __version__,
        "fnnet sources": source_digest(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
        "blas threads": threads,
        "cpu": _cpu(),
        "simd": " ".join(_numpy_built()["SIMD Extensions"].get("found", [])),
        "system": f"{platform.system()} {platform.machine()}",
    }


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], place: str, here: str = ""
) -> list[str]:
    """Return a line for each name whose value is not the same in both mappings.

    >>> differences({"seed": 0, "reg": 1}, {"seed": 2, "reg": 1}, "in the journal")
    ['seed is 0 in the journal, found 2']
    """
    return [
        f"{name} is {before.get(name)} {place}, found {now.get(name)}{here}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]


def data_digest(dataset: Dataset) -> str:
    """Return the SHA-256 of the images or features, their shape, and the labels, in hexadecimal.

    >>> data_digest(Dataset(np.zeros((2, 4), np.uint8), np.array([0, 1]), ("cat", "dog")))[:8]
    '7db3e8af'
    """
    digest = hashlib.sha256(repr(dataset.images.shape).encode())
    if dataset.images.dtype.kind == "f":
        digest.update(dataset.images.dtype.str.encode())
    digest.update(np.ascontiguousarray(dataset.images).data)
    digest.update(dataset.labels.astype("<i8").data)
    return digest.hexdigest()


def run_provenance(train: Dataset, val: Dataset) -> dict[str, str]:
    """Return what a run depends on besides its settings: :func:`environment`, and its data."""
    return environment() | {TRAIN_DATA: data_digest(train), VAL_DATA: data_digest(val)}


@cache
def source_digest() -> str:
    """Return a SHA-256 of the package's own source files, 16 hexadecimal digits of it."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def params_digest(params: Params) -> str:
    """Return the SHA-256 of the numbers, in hexadecimal."""
    digest = hashlib.sha256()
    for p in params.values():
        digest.update(np.ascontiguousarray(p).data)
    return digest.hexdigest()


def _numpy_built() -> dict[str, Any]:
    """Return how NumPy was built, and which of its processor-specific loops are in use."""
    built: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    return built


def _blas() -> tuple[str, str]:
    """Return name, version and kernels of the BLAS library, and its number of threads."""
    from threadpoolctl import threadpool_info

    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            words = (pool.get(key) for key in ("internal_api", "version", "architecture"))
            return " ".join(word for word in words if word), str(pool["num_threads"])
    built = _numpy_built()["Build Dependencies"]["blas"]  # one that threadpoolctl does not know
    return f"{built['name']} {built['version']}", "unknown"


def _cpu() -> str:
    """Return the name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
