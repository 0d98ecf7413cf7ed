"""Check the gradients of every layer and loss against central differences, below 1e-9."""

import tyro

from fnnet.commands.gradcheck import check_layers
from fnnet.commands.program import run, show_reports


def main(seed: int = 0, tolerance: float = 1e-9) -> int:
    """Check the gradients of every layer and loss against central differences.

    Args:
        seed: of the random inputs.
        tolerance: the absolute difference that is no longer allowed.
    """
    return show_reports(check_layers(seed, tolerance), tolerance)


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
