"""What a training writes: its last and its best epoch; no file of another run is replaced."""

import itertools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from attrs import evolve, frozen

from fnnet.files import move_to_new
from fnnet.runs.archive import CheckpointError
from fnnet.runs.checkpoint import Checkpoint, checkpoint_of, load_checkpoint, save_checkpoint
from fnnet.runs.names import best_path, numbered_path, previous_path, run_paths
from fnnet.runs.resume import is_same_run
from fnnet.runs.run import Run
from fnnet.training import History, TrainState


@frozen
class Kept:
    """A file of another run, and the name under which it is kept."""

    path: Path
    new: Path

    def __str__(self) -> str:
        return f"kept {self.path} of another run as {self.new}"


Epoch = tuple[TrainState, History]


def saving(
    path: Path,
    run: Run,
    provenance: Mapping[str, str],
    epochs: Iterable[Epoch],
    *,
    every: int = 1,
    pictures: Sequence[Path] = (),
    test_set_used: bool = False,
    tell: Callable[[object], None] = print,
) -> Generator[Epoch]:
    """Pass the epochs of a run on, and save them on their way; however it ends, the last one, too.

    Args:
        path: where to save the last epoch; the best and the previous one are saved beside it.
            What is there of another run is kept under another name.
        run, provenance: what is trained, and :func:`fnnet.runs.provenance.run_provenance` of it.
        epochs: the state and the history after each epoch.
        every: save the last epoch after every epoch whose number this divides.
        pictures: other files that the run will write.
        test_set_used: what the checkpoints note; files of this run that note it count, too.
        tell: is called for each file of another run that gets another name.
    """
    first, unsaved = True, None
    try:
        for state, history in epochs:
            unsaved = checkpoint_of(
                state,
                config=run.config,
                preprocessing=run.preprocessing,
                class_names=run.train.class_names,
                history=history,
                provenance=provenance,
                test_set_used=test_set_used,
            )
            if first:
                for kept in keep_others(path, unsaved, pictures):
                    tell(kept)
                if tested_file(path, unsaved) is not None:  # the same run, started again
                    test_set_used = True
                    unsaved = evolve(unsaved, test_set_used=True)
                first = False
            # The best one first: should the process end here, the resumed run comes to it again.
            if history.best_epoch == unsaved.num_epochs:
                save_checkpoint(best_path(path), unsaved)
            if unsaved.num_epochs % every == 0:
                save_checkpoint(path, unsaved, previous=previous_path(path))
                unsaved = None
            yield state, history
    finally:
        if unsaved is not None and not first:
            save_checkpoint(path, unsaved, previous=previous_path(path))


def load_best(path: Path, history: History) -> Checkpoint | None:
    """Return the best epoch that is kept beside `path`, if it is that of the history."""
    best = load_whole(best_path(path))
    if best is None or best.num_epochs != history.best_epoch:
        return None
    losses = best.history.losses
    return best if np.array_equal(losses, history.losses[: len(losses)]) else None


def tested_file(path: Path, run: Checkpoint) -> Path | None:
    """Return a file of the run that is saved at `path` which notes that the test set was used."""
    for file in run_paths(path):
        found = load_whole(file)
        if found is not None and found.test_set_used and is_same_run(found, run):
            return file
    return None


def keep_others(path: Path, mine: Checkpoint, pictures: Sequence[Path] = ()) -> list[Kept]:
    """Rename what this run would replace, and what is not its own, to names with a number.

    Args:
        path: where the run is about to save its last epoch.
        mine: the run, at any epoch.
        pictures: other files that it will write; they are taken for those of the run that is
            saved at `path`.

    Returns:
        what was renamed, in this order: best, previous, pictures, last. Should the process
        end in between, nothing has lost its name.
    """
    best, previous, last = run_paths(path)
    others = [p for p in (best, previous) if p.exists() and not _is_of(p, mine)]
    if not (last.exists() and _is_of(last, mine)):
        others += [p for p in (*pictures, last) if p.exists()]
    if not others:
        return []
    for number in itertools.count(1):
        stem = numbered_path(path, number)
        new = {best: best_path(stem), previous: previous_path(stem), last: stem}
        moves = [Kept(p, new.get(p, numbered_path(p, number))) for p in others]
        if not any(p.exists() for p in (*new.values(), *(move.new for move in moves))):
            for move in moves:
                move_to_new(move.path, move.new)
            return moves
    raise AssertionError("there is always a free number")


def keep(path: Path) -> Kept:
    """Rename a file that was there before to the first free name with a number."""
    new = next(p for n in itertools.count(1) if not (p := numbered_path(path, n)).exists())
    move_to_new(path, new)
    return Kept(path, new)


def _is_of(path: Path, run: Checkpoint) -> bool:
    found = load_whole(path)
    return found is not None and is_same_run(found, run)


def load_whole(path: Path) -> Checkpoint | None:
    """Return the checkpoint at a path, or None if there is none or it is damaged."""
    try:
        return load_checkpoint(path)
    except (CheckpointError, OSError):
        return None
