"""A checkpoint names what computed it: the data, the libraries, the processor and its threads."""

import hashlib
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given

import fnnet
from fnnet import Dataset, Params, split, use_threads
from fnnet.runs import provenance
from fnnet.runs.provenance import data_digest, environment, params_digest, run_provenance
from tests.helpers import every_second, mapped
from tests.strategies import datasets


def test_the_environment_names_what_computes() -> None:
    record = environment()
    assert {*record} == {
        "fnnet", "fnnet sources", "python", "numpy", "blas", "blas threads", "cpu", "simd", "system"
    }  # fmt: skip
    assert all(isinstance(value, str) and value for value in record.values())
    assert record["fnnet"] == fnnet.__version__
    assert record["numpy"] == np.__version__
    assert record["python"] == platform.python_version()
    assert environment() == record


def test_the_digest_of_the_sources_is_of_every_module_and_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(fnnet.__file__).parent
    copy = tmp_path / "fnnet"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def digest() -> str:
        monkeypatch.setattr(provenance, "__file__", str(copy / "runs" / "provenance.py"))
        return provenance.source_digest.__wrapped__()

    found = environment()["fnnet sources"]
    assert re.fullmatch("[0-9a-f]{16}", found)
    assert digest() == found  # not of the folder, the times or the compiled files
    (copy / "data" / "notes.txt").touch()
    module = copy / "layers.py"
    source = module.read_bytes()
    module.write_bytes(source.replace(b"\n", b"\r\n"))  # as git writes it on Windows
    assert digest() == found
    others = [source.replace(b"@", b"-", 1), source + b"#", b""]
    digests = {found}
    for other in others:
        assert other != source
        module.write_bytes(other)
        digests.add(digest())
    module.write_bytes(source)
    module.rename(copy / "player.py")
    digests.add(digest())
    (copy / "data" / "new.py").touch()
    digests.add(digest())
    assert len(digests) == 6


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_threads_are_those_in_force(num_threads: int) -> None:
    with use_threads(num_threads):
        assert environment()["blas threads"] == str(num_threads)


def test_the_blas_library_is_named_with_its_version_and_kernels() -> None:
    [pool] = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
    words = [pool[key] for key in ("internal_api", "version", "architecture")]
    assert environment()["blas"].split() == words


def test_a_library_without_thread_control_is_named_by_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    record = environment()
    assert "blas" in record["blas"]
    assert record["blas threads"] == "unknown"


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").is_file(), reason="needs the file of Linux that names the processor"
)
def test_the_processor_is_named_as_the_system_does() -> None:
    assert environment()["cpu"] in Path("/proc/cpuinfo").read_text()


def test_a_processor_with_a_name_in_another_encoding_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_bytes(b"processor : 0\nmodel name : Caf\xe9 9000: fast\n")
    environment()  # the digest of the sources is kept from now on
    monkeypatch.setattr(provenance, "Path", lambda path: tmp_path / Path(path).name)
    assert environment()["cpu"] == "Caf\ufffd 9000: fast"


@pytest.mark.parametrize(("processor", "found"), [("arm", "arm"), ("", "aarch64")])
def test_a_processor_is_named_by_python_where_there_is_no_such_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: str, found: str
) -> None:
    environment()
    monkeypatch.setattr(provenance, "Path", lambda path: tmp_path / Path(path).name)
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert environment()["cpu"] == found


def test_the_loops_of_numpy_are_named() -> None:
    built: Any = np.show_config(mode="dicts")
    assert environment()["simd"].split() == built["SIMD Extensions"]["found"]


def test_a_numpy_without_such_loops_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"baseline": ["x"]}})
    assert environment()["simd"] == ""


def test_the_digest_of_parameters_is_of_their_numbers_in_order() -> None:
    w, b = np.arange(6.0).reshape(2, 3), np.ones(3, np.float32)
    expected = hashlib.sha256(w.tobytes() + b.tobytes()).hexdigest()
    assert params_digest(Params({"W1": np.asfortranarray(w), "b1": b})) == expected


@given(datasets())
def test_the_digest_is_of_the_numbers_whatever_their_memory(dataset: Dataset) -> None:
    images, labels, names = dataset.images, dataset.labels, dataset.class_names
    digest = data_digest(dataset)
    assert digest == data_digest(Dataset(every_second(images), labels.astype(">i4"), names))
    assert digest == data_digest(Dataset(mapped(np.asfortranarray(images)), labels, ("x",) * 9))
    content = repr(images.shape).encode() + images.tobytes() + labels.astype("<i8").tobytes()
    assert digest == hashlib.sha256(content).hexdigest()


@given(datasets())
def test_every_byte_label_and_shape_counts(dataset: Dataset) -> None:
    images, labels = dataset.images, dataset.labels
    others = [Dataset(images.reshape(len(images), -1), labels, dataset.class_names)]
    changed = images.copy()
    changed[-1, -1, -1] ^= 1
    others.append(Dataset(changed, labels, dataset.class_names))
    relabelled = labels.astype(np.int64)
    relabelled[0] += 1
    others.append(Dataset(images, relabelled, ("x",) * 9))
    assert data_digest(dataset) not in map(data_digest, others)


def test_a_run_names_its_environment_and_both_parts_of_its_data(dataset: Dataset) -> None:
    train, val = split(dataset, 20, 10, seed=0)
    assert run_provenance(train, val) == {
        **environment(),
        "training data": data_digest(train),
        "validation data": data_digest(val),
    }


def test_features_of_another_dtype_or_value_are_other_data() -> None:
    features, labels = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([0, 1])
    zero = np.zeros((2, 8), np.uint8)
    digests = [
        data_digest(Dataset(images, labels, ("a", "b")))
        for images in (
            features, features.astype(np.float32), np.nextafter(features, 9), -features,
            np.zeros((2, 1)), zero, np.zeros((2, 4), np.float16),
        )
    ]  # fmt: skip
    assert len({*digests}) == len(digests)
