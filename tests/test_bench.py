"""The benchmark: what it writes, what it refuses, and that its contenders train the same."""

import json
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet.checks import Array
from scripts import bench
from tests.helpers import close
from tests.programs import ENVIRONMENT, call, names


def use_few_images() -> None:
    """Let data be quick to make, and regularization show in the result."""
    bench.NUM_IMAGES, bench.REG = 50, 0.5


CELLS = [bench.raw_cell(momentum, 16, 8, 1) for momentum in bench.MOMENTA]
CELLS += [
    bench.preset_cell("digits", 1)._replace(n=16),
    bench.preset_cell("deep", 1)._replace(n=16, widths=(9, 8), components=20),
]


def trained(name: str, cell: bench.Cell) -> tuple[float, list[Array]]:
    """Return the last loss of some epochs, and the parameters W1, b1, W2, …"""
    steps = bench.CONTENDERS[name][0](cell)
    for _ in range(8):
        _, loss, params = next(steps)
    return loss, [np.array(p) for p in params]


@pytest.mark.parametrize("name", ["by_hand", "torch", "jax"])
def test_each_contender_trains_as_fnnet_does(name: str) -> None:
    if name != "by_hand" and not find_spec(name):
        pytest.skip(f"{name} is not installed")
    # In a process of its own: other libraries start threads, and tests fork.
    with ProcessPoolExecutor(1, get_context("spawn"), use_few_images) as process:
        for cell in CELLS:
            loss, params = process.submit(trained, name, cell).result()
            expected_loss, expected = process.submit(trained, "fnnet", cell).result()
            for a, b in zip(params, expected, strict=True):
                assert close(a, b)
            if name != "torch":  # its loss leaves out the regularization
                assert loss == pytest.approx(expected_loss, rel=1e-5)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder and the output of a short run, where the environment slows BLAS down."""
    folder = tmp_path_factory.mktemp("bench")
    args = ["--rounds", 1, "--seconds", 0.001, "--batch-sizes", 32, "--widths", 16]
    args += ["--presets", "digits"]
    args += ["--num-threads", 1]  # more would wait for each other beside other processes
    slow = {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"}
    return folder, call(folder, "bench.py", *args, env=ENVIRONMENT | slow)


def test_bench_writes_rates_ratios_and_parts_of_each_cell(measured: tuple[Path, Any]) -> None:
    folder, done = measured
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert names(folder) == {"bench.json", "bench.png"}
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((folder / "bench.json").read_text())
    cells = [(row["group"], row["momentum"], row["n"], row["widths"]) for row in result["grid"]]
    assert cells == [
        ("momentum 0", 0, 32, [16]),
        ("momentum 0.9", 0.9, 32, [16]),
        ("presets", 0, 32, [256]),
    ]
    for row in result["grid"]:
        rates = {name: rate["median"] for name, rate in row["images_per_second"].items()}
        assert rates.keys() == {"fnnet", "by_hand", "matrix products"}
        for name, ratio in row["ratio"].items():
            assert ratio["median"] == pytest.approx(rates["fnnet"] / rates[name])
        parts = {"gather", "preprocess", "fc forward", "fc backward", "softmax loss", "update"}
        assert parts < row["parts_ms"].keys()
    assert min(result["rest_s"].values()) > 0


def test_bench_compares_each_group_of_cells_and_all_of_them(measured: tuple[Path, Any]) -> None:
    folder, done = measured
    result = json.loads((folder / "bench.json").read_text())
    ratios = [row["ratio"]["by_hand"]["median"] for row in result["grid"]]
    expected = {"momentum 0": ratios[:1], "momentum 0.9": ratios[1:2], "presets": ratios[2:]}
    expected["all"] = ratios
    for group, values in expected.items():
        found = result["comparison"][f"by_hand, {group}"]
        assert found["mean"] == pytest.approx(np.prod(values) ** (1 / len(values)))
        assert found["smallest"] == min(values)
        assert f"geometric mean {found['mean']:.2f}" in done.stdout


def test_bench_measures_without_the_blas_variables_of_its_environment(
    measured: tuple[Path, Any],
) -> None:
    folder, done = measured
    blas = json.loads((folder / "bench.json").read_text())["machine"]["blas"]
    assert f"blas: {blas}" in done.stdout
    assert "Prescott" not in blas


def test_a_grid_without_a_cell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^batch_sizes and widths must not be empty$"):
        bench.main(batch_sizes=())
    with pytest.raises(ValueError, match=r"^batch_sizes and widths must not be empty$"):
        bench.main(widths=())
