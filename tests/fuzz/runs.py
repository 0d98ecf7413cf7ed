"""Hostile checkpoints, and journals of searches."""

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from attrs import evolve

from fnnet import CheckpointError, load_checkpoint, save_checkpoint
from fnnet.checks import NonFiniteError
from fnnet.data.preprocessing import Standardization, Whitening
from fnnet.runs.archive import DIGEST_SIZE
from fnnet.runs.checkpoint import Checkpoint
from fnnet.runs.presets import default_config
from fnnet.search.comparison import table
from fnnet.search.halving import Job, Result, cost, rank, successive_halving
from fnnet.search.journal import encode, open_journal
from fnnet.search.plan import Search, plan_search
from fnnet.search.space import LogUniform
from tests.fuzz import mutations as m
from tests.fuzz.datasets import Check, Files
from tests.runs.test_checkpoint import make as make_checkpoint
from tests.runs.test_hostile_checkpoint import sealed

RUNS = Path(__file__).parents[1] / "runs"


@cache
def checkpoints() -> list[bytes]:
    """Return checkpoints of all formats, with all kinds of preprocessing."""
    whole = make_checkpoint()
    config = evolve(whole.config, num_threads=1, data_dir=Path("data"), momentum=0.9)
    velocity = {f"velocity/{name}": p for name, p in whole.params.items()}
    one = evolve(whole, config=config, provenance={"numpy": "2"}, test_accuracy=0.5)
    one = evolve(one, opt_state={"step": np.asarray(10), **velocity})
    path = Path("checkpoint.npz")
    found = []
    whitening = Whitening(2, np.zeros(6), np.eye(6), (4, 6))
    for fitted in (
        one.preprocessing,
        whitening,
        Standardization(np.ones(6), np.ones(6), None, True),
    ):
        save_checkpoint(path, evolve(one, preprocessing=fitted))
        found.append(path.read_bytes())
    path.unlink()
    return found + [path.read_bytes() for path in sorted(RUNS.glob("format*.npz"))]


def checkpoint(rng: Random) -> Files:
    """Return a checkpoint with another text, array, or archive, and the right digest."""
    entries = m.unzipped(rng.choice(checkpoints()))
    if rng.random() < 0.4:
        i = [name for name, _ in entries].index("meta.npy")
        meta = json.loads(m.unnpy(entries[i][1]).tobytes())
        text = m.dump_json(m.mutate_json(rng, meta))
        entries[i] = "meta.npy", m.npy(np.frombuffer(text, np.uint8))
        raw = m.zipped(entries)
    else:
        raw = m.mutate_npz(rng, entries)
    if raw[-22:-18] == b"PK\5\6":  # the digest stands in the archive's comment
        raw = m.set_number(raw, len(raw) - 2, "<H", DIGEST_SIZE) + bytes(DIGEST_SIZE)
    return {"checkpoint.npz": sealed(raw)}


def read_checkpoint(folder: Path) -> Check:
    """Load a checkpoint; what is loaded can be saved, loaded again, evaluated, and resumed."""
    loaded = load_checkpoint(folder / "checkpoint.npz")

    def check() -> None:
        save_checkpoint(folder / "again.npz", loaded)
        again: Checkpoint = load_checkpoint(folder / "again.npz")
        assert again.params == loaded.params
        assert again.config == loaded.config
        shape, fitted = loaded.preprocessing.shape, loaded.preprocessing
        if shape is not None:
            assert all(type(n) is int and n > 0 for n in shape), f"shape {shape}"
            if np.prod(shape, dtype=float) < 1e6:
                images = np.zeros((1, *shape), float if fitted.of_features else np.uint8)
                with suppress(NonFiniteError):  # numbers beyond float32
                    assert len(loaded.model.apply(loaded.params, loaded.preprocess(images))) == 1
        with suppress(CheckpointError):  # no state, or that of another optimizer
            loaded.state()

    return check


@cache
def search() -> Search:
    """Return a search of two rungs."""
    config = default_config(num_epochs=3, num_threads=1, data_dir=Path("data"))
    return plan_search(config, {"learning_rate": LogUniform(0.01, 1)}, trials=6, budget=11)


def train(job: Job) -> Result:
    """Return a made-up result."""
    if job.trial == 5:
        return Result(5, job.stop, (), "nan")
    return Result(job.trial, job.stop, (job.trial / 10,) * (job.stop - job.start))


IDENTITY: dict[str, Any] = {"trials": 6, "reg": 0.1, "momentum": 0.9, "cpu": "Ä 3"}
FIELDS = ("trial", "epochs", "val_accuracy", "diverged")


@cache
def journal_lines() -> list[dict[str, Any]]:
    """Return the entries of a whole journal."""
    results = successive_halving(search().configs, search().rungs, train)
    return [IDENTITY] + [{f: getattr(result, f) for f in FIELDS} for result in results]


def line_of(entry: Any) -> bytes:
    """Return a line with the right checksum, if the entry is JSON that can be read."""
    text = m.dump_json(entry)
    try:
        entry = json.loads(text)
        return encode(entry if isinstance(entry, dict) else {"": entry})
    except (ValueError, RecursionError):
        return text + b"\n"


def journal(rng: Random) -> Files:
    """Return a journal with other entries, more, fewer, or in another order."""
    entries: list[Any] = journal_lines()[: rng.randint(1, len(journal_lines()))]
    i, j = rng.randrange(len(entries)), rng.randrange(len(entries))
    match rng.randrange(5):
        case 0:
            entries.insert(i, entries[j])
        case 1:
            entries[i], entries[j] = entries[j], entries[i]
        case _:
            entries[i] = m.mutate_json(rng, entries[i])
    raw = b"".join(map(line_of, entries))
    return {"tune.jsonl": m.mutate_bytes(rng, raw) if rng.random() < 0.1 else raw}


def read_journal(folder: Path) -> Check:
    """Open a journal; the search goes on from it to its end."""
    with open_journal(folder / "tune.jsonl", IDENTITY, search().rungs) as (known, _):
        pass

    def check() -> None:
        plan = search()
        plan.progress(known, 2)
        news = successive_halving(plan.configs, plan.rungs, train, known=known)
        results = [*known, *news]
        assert len({(r.trial, r.epochs) for r in results}) == len(results), "a result twice"
        assert plan.epochs_of(results) <= cost(plan.rungs)
        ranking = rank(results)
        assert sorted(r.trial for r in ranking) == [*range(6)]
        assert all(r.diverged or len(r.val_accuracy) == r.epochs for r in ranking)
        table(plan.rows(ranking, 100)).encode()

    return check
