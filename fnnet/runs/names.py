"""The names of a run's files: the last epoch, the one before it, and the best one."""

from pathlib import Path

KINDS = ("best", "previous")


def best_path(path: Path) -> Path:
    """Return where training keeps the epoch with the best validation accuracy.

    >>> best_path(Path("runs/checkpoint.npz")).name
    'checkpoint.best.npz'
    """
    return path.with_name(f"{path.stem}.best{path.suffix}")


def previous_path(path: Path) -> Path:
    """Return where training keeps the checkpoint before the one at `path`.

    >>> previous_path(Path("runs/checkpoint.npz")).name
    'checkpoint.previous.npz'
    """
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def numbered_path(path: Path, number: int) -> Path:
    """Return the name under which a file of another run is kept.

    >>> numbered_path(Path("checkpoint.npz"), 1).name
    'checkpoint.1.npz'
    """
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def last_path(path: Path) -> Path:
    """Return the name of a run's last epoch from that of any of its three files.

    >>> last_path(Path("checkpoint.best.npz")).name
    'checkpoint.npz'
    """
    if path.suffix[1:] in KINDS:  # of a name without an ending
        return path.with_suffix("")
    stem, dot, kind = path.stem.rpartition(".")
    return path.with_name(stem + path.suffix) if dot and stem and kind in KINDS else path


def run_paths(path: Path) -> tuple[Path, Path, Path]:
    """Return the best, the previous and the last checkpoint of the run that is saved at `path`."""
    return best_path(path), previous_path(path), path


def default_path() -> Path:
    """Return the checkpoint that programs use by default: the best one, or else the last one."""
    last = Path("checkpoint.npz")
    return best_path(last) if best_path(last).is_file() else last
