"""README.md, followed as a reader does: commands in order, in one folder; Python; links."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fnnet import load_digits
from fnnet.checks import Array
from fnnet.commands import train
from fnnet.commands.train_flags import train_command
from tests.programs import ENVIRONMENT

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / ".github").glob("*.md"))]

BY_CI = {
    "python3 -m venv .venv",
    ".venv/bin/pip install --quiet -e .",
    ".venv/bin/pip install --quiet -e .[test]",
    ".venv/bin/python -m pytest",
    "source .venv/bin/activate",
}
"""Commands that make the environment that this test runs in, or that run this test."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def commands(page: Path) -> list[list[str]]:
    """Return the words of each command of a page, in order."""
    found = []
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            end = words.index("&&")
            found.append(words[:end])
            words = words[end + 1 :]
        found.append(words)
    return [words for words in found if words]


def quick(words: list[str]) -> list[str]:
    """Return a command of fnnet with what it needs in addition to end in seconds."""
    if words[0] == "tune":
        words = [*words, "--trials", "3"]
    if words[0] in ("train", "tune") and {"cifar10", "fast"} & {*words}:
        words = [*words, "--num-train", "600", "--num-val", "200"]
    if words[0] == "train" and "--resume" not in words:
        words = [*words, "--num-threads", "1"]  # two would wait for each other on a busy machine
        words = [*words, "--num-epochs", "2"]
    return words


def make_pictures(folder: Path) -> None:
    """Write what the README's reader has: a folder of pictures by class, and a photo."""
    digits = load_digits()
    for i in range(200):
        place = folder / "pictures" / str(digits.labels[i])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images[i] * 15).save(place / f"{i}.png")
    Image.new("RGB", (40, 30), "white").save(folder / "photo.png")


def test_readme_commands_run_in_order_in_one_folder(tmp_path: Path, cifar_bin: Path) -> None:
    environment = ENVIRONMENT | {"FNNET_DATA_DIR": str(cifar_bin)}
    make_pictures(tmp_path)
    number = 0
    for words in commands(README):
        if " ".join(words) in BY_CI:
            continue
        assert words[0].removeprefix(".venv/bin/") == "fnnet", f"cannot run {shlex.join(words)}"
        done = subprocess.run(
            [sys.executable, "-m", "fnnet", *quick(words[1:])],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
        number += 1
    assert number > 0


def test_readme_flags_of_each_recipe_are_accepted() -> None:
    rows = re.findall(r"^\|.*\| `(--[^`]*)` \|", README.read_text("utf-8"), re.M)
    assert rows
    for flags in rows:
        train_command(shlex.split(flags))


@pytest.fixture
def with_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Array:
    """Some images; the working folder holds them and a model for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fnnet", "--num-epochs", "1", "--num-threads", "1"])
    train.main()
    images = load_digits().images[:5]
    np.save("images.npy", images)
    return images


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_each_page_runs(page: Path, with_a_model: Array) -> None:
    names = {"__name__": "__main__", "images": with_a_model}
    for block in blocks(page, "python"):
        if "sklearn" in block and find_spec("sklearn") is None:
            continue  # the page needs it for its data; the package does not
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not link.startswith("https://"):
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_readme_has_at_most_200_lines() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 200
