"""Check the gradients of both classifiers and of the whole train_step, below 1e-10."""

import tyro

from fnnet.commands.gradcheck import check_classifiers
from fnnet.commands.program import run, show_reports


def main(seed: int = 0, tolerance: float = 1e-10) -> int:
    """Check both classifiers and the whole train_step against central differences.

    Args:
        seed: of the random inputs.
        tolerance: the absolute difference that is no longer allowed.
    """
    return show_reports(check_classifiers(seed, tolerance), tolerance)


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
