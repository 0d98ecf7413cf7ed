"""Search for the settings with the best validation accuracy, on processes or on a cluster."""

import shlex
import shutil
import sys
from collections.abc import Iterator
from functools import partial

from tqdm import tqdm

from fnnet.commands.program import command_line, run
from fnnet.commands.tune import tune_command
from fnnet.files import check_writable
from fnnet.runs.run import load_parts
from fnnet.search.halving import Result, cost, rank, successive_halving
from fnnet.search.journal import open_journal
from fnnet.search.trial import save_parts, train_trial
from fnnet.threads import use_threads


def main() -> int:
    search = tune_command(sys.argv[1:])
    config, journal = search.command.config, search.command.journal
    picture = journal.with_suffix(".png")
    check_writable("journal", journal)
    with use_threads(1):
        parts = load_parts(config)
        identity = search.identity(*parts)
    folder = search.folder(identity)
    plan = ", ".join(f"{rung.trials} to epoch {rung.epochs}" for rung in search.rungs)
    results: list[Result] = []

    def with_progress(news: Iterator[Result], workers: int) -> Iterator[Result]:
        with tqdm(
            total=cost(search.rungs), initial=search.epochs_of(results),
            unit="epoch", mininterval=0, smoothing=0, leave=False, disable=None,
        ) as bar:  # fmt: skip
            bar.set_postfix_str(search.progress(results, workers))
            for result in news:
                yield result
                bar.set_postfix_str(search.progress(results, workers), refresh=False)
                bar.update(search.epochs_of([result]))

    with search.workers() as workers, open_journal(journal, identity) as (known, append):
        results += known
        print(f"training: {plan}; {cost(search.rungs)} epochs in all")
        if known:
            print(f"going on after {len(known)} results in {journal}")
        for line in workers.differences:
            print(f"{line}: the last bits may change", file=sys.stderr)
        try:
            save_parts(folder, *parts)
            train = partial(train_trial, folder)
            news = successive_halving(search.configs, search.rungs, train, workers.run, known)
            for result in with_progress(news, workers.number):
                append(result)
                results.append(result)
        except (KeyboardInterrupt, OSError):
            kept = f"results kept in {journal}: {len(results)}"
            print(f"{kept}; the same command goes on from there", file=sys.stderr)
            raise
    shutil.rmtree(folder.parent, ignore_errors=True)

    ranking = rank(results)
    best = ranking[0]
    print(search.table(ranking))
    from fnnet.plots import save  # matplotlib is slow to import: training goes first
    from fnnet.plots.search import plot_search

    save(plot_search(ranking, search.settings, search.space), picture)
    print(f"wrote {journal} and {picture}")
    if best.diverged:
        print("every trial diverged: try lower learning rates")
        return 1
    after = f"epoch {best.epochs} of {config.num_epochs}"
    print(
        f"best: trial {best.trial}, validation accuracy {best.score:.2%} after {after}; train it:"
    )
    winner = search.configs[best.trial]
    print(shlex.join(["python", "scripts/train.py", *command_line(winner)]))
    return 0


if __name__ == "__main__":
    run(main)
