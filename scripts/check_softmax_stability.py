"""Check the softmax loss on scores of ±1e3 and ±1e30 beside the naive formula."""

import tyro

from fnnet.commands.gradcheck import check_softmax_stability
from fnnet.commands.program import run


def main() -> int:
    """Check the softmax loss on scores of ±1e3 and ±1e30 beside the naive formula."""
    print(f"{'dtype':<8} {'scores':<24} label {'naive':>12} {'fnnet':>24} {'exact':>24} grad sum")
    failed = 0
    for case in check_softmax_stability():
        scores = "[" + ", ".join(f"{score:g}" for score in case.scores) + "]"
        print(
            f"{case.scores.dtype!s:<8} {scores:<24} {case.label:>5} {case.naive:>12g} "
            f"{case.loss:>24.17g} {case.exact:>24.17g} {case.gradient_sum:>8g}"
            + ("" if case.passed else "  FAILED")
        )
        failed += not case.passed
    print(f"FAILED: {failed} cases" if failed else "passed: every loss is finite and exact")
    return 1 if failed else 0


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
