"""``~`` is the home folder, wherever a path comes from."""

from pathlib import Path

import pytest

from fnnet import default_config
from fnnet.checks import as_path, as_picture_path
from fnnet.data.folders import default_data_dir


@pytest.mark.parametrize("kind", [str, Path])
def test_a_tilde_is_the_home_folder(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert as_path("path", kind("~/x")) == Path("/home/me/x")
    assert as_picture_path("path", kind("~/x.png")) == Path("/home/me/x.png")
    assert as_path("path", kind("a/~/x")) == Path("a/~/x")
    assert default_config("cifar10", data_dir=kind("~/copy")).data_dir == Path("/home/me/copy")
    monkeypatch.setenv("FNNET_DATA_DIR", "~/data")
    assert default_data_dir() == Path("/home/me/data")


def test_the_home_folder_of_nobody_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="data_dir begins with a home folder that is not known"):
        default_config("cifar10", data_dir="~nobody-of-this-name/x")
