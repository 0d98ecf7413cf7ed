"""A run repeats its bits from the seed alone, and uses each part of the data for its purpose."""

from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from PIL import Image

from fnnet import (
    Dataset,
    Standardization,
    TrainConfig,
    TrainState,
    accuracy,
    fit_standardization,
    predict,
    sgd,
)
from fnnet.data.augmentation import mirror, shifted
from fnnet.data.dataset import first, minibatches, split, take
from fnnet.data.preprocessing import input_dim
from fnnet.runs.parts import load_dataset, split_parts
from fnnet.runs.ranks import SERIAL, Comm
from fnnet.runs.run import Run, assemble, fit_preprocessing, make_schedule, prepare
from fnnet.training import DivergenceError, epochs, make_train_step
from tests.cifar10_files import content
from tests.helpers import same

Bits = list[tuple[float, dict[str, bytes]]]


def bits(states: Any) -> Bits:
    """Return the bits of the loss and of the parameters after each step."""
    return [(s.loss, {name: p.tobytes() for name, p in s.params.items()}) for s in states]


@pytest.fixture(params=[{}, {"momentum": 0.9}, {"dtype": "float64"}, {"hidden_dim": 0}], ids=str)
def config(small_config: TrainConfig, request: pytest.FixtureRequest) -> TrainConfig:
    return evolve(small_config, **request.param)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(config: TrainConfig) -> None:
    first = bits(prepare(config).states())
    assert len(first) == config.num_epochs * 3  # 70 examples in batches of 32
    assert bits(prepare(config).states()) == first
    experiment = prepare(config)
    assert bits(experiment.states()) == bits(experiment.states()) == first
    assert bits(prepare(evolve(config, seed=1)).states()) != first


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_steps_of_a_run_are_those_of_its_settings(
    small_config: TrainConfig, nesterov: bool
) -> None:
    config = evolve(small_config, momentum=0.9, nesterov=nesterov, reg=0.01, learning_rate=0.05)
    run = prepare(config)
    step, optimizer = make_train_step(run.model), sgd(0.05, 0.9, nesterov)
    params = run.start().params
    state = optimizer.init(params)
    for batch, found in zip(run.batches(), run.states(), strict=True):
        _, grads = step(params, batch, 0.01)
        params, state = optimizer.update(params, state, grads)
        assert found.params == params


def test_evaluation_between_steps_changes_no_bit(config: TrainConfig) -> None:
    expected = bits(prepare(config).states())
    experiment = prepare(config)
    seen: list[TrainState] = []
    for state in experiment.states():
        experiment.evaluate(state.params)
        np.random.default_rng(0).random()
        seen.append(state)
    assert bits(seen) == expected


def test_the_global_random_state_has_no_influence(config: TrainConfig) -> None:
    runs = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        before: Any = np.random.get_state()  # noqa: NPY002
        runs.append(bits(prepare(config).states()))
        after: Any = np.random.get_state()  # noqa: NPY002
        assert np.array_equal(before[1], after[1])
    assert runs[0] == runs[1]


def test_more_epochs_begin_as_fewer_do(config: TrainConfig) -> None:
    longer = prepare(evolve(config, num_epochs=config.num_epochs + 1))
    assert bits(longer.states())[: config.num_epochs * 3] == bits(prepare(config).states())


def test_training_is_lazy(small_config: TrainConfig) -> None:
    endless = prepare(evolve(small_config, num_epochs=10**9))
    assert [state.step for state in islice(endless.states(), 4)] == [1, 2, 3, 4]


def test_every_epoch_has_its_own_order(small_config: TrainConfig) -> None:
    experiment = prepare(small_config)
    batches = [*experiment.batches()]
    per_epoch = experiment.steps_per_epoch
    assert len(batches) == per_epoch * small_config.num_epochs
    firsts = [batches[i * per_epoch][0].tobytes() for i in range(small_config.num_epochs)]
    assert len(set(firsts)) == small_config.num_epochs
    whole = experiment.preprocess(experiment.train.images)
    for epoch in range(small_config.num_epochs):
        parts = batches[epoch * per_epoch : (epoch + 1) * per_epoch]
        x = np.concatenate([x for x, _ in parts])
        assert np.array_equal(np.sort(x, axis=0), np.sort(whole, axis=0))


def test_the_preprocessing_knows_the_training_part_only(config: TrainConfig) -> None:
    experiment = prepare(config)
    for found, expected in (
        (experiment.preprocessing, fit_standardization(experiment.train)),
        (prepare(evolve(config, num_val=5)).preprocessing, experiment.preprocessing),
    ):
        assert isinstance(found, Standardization)
        assert isinstance(expected, Standardization)
        assert same(found.mean, expected.mean)
        assert same(found.std, expected.std)
    everything = fit_standardization(load_dataset(config)[0])
    assert not same(experiment.preprocessing.mean, everything.mean)


def first_of(experiment: Run) -> Dataset:
    """Return as many training examples as there are for validation."""
    return take(experiment.train, np.arange(min(len(experiment.train), len(experiment.val))))


@pytest.mark.parametrize("most", [5000, 30])
def test_evaluation_measures_the_first_training_examples_and_the_validation_part(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("fnnet.runs.run.ALL_TRAIN", most)
    monkeypatch.setattr("fnnet.runs.run.SOME_TRAIN", 20)
    experiment = prepare(config)
    *_, state = experiment.states()
    assert experiment.train_sample == (len(experiment.train) if most == 5000 else 20)
    some = first(experiment.train, experiment.train_sample)
    *accuracies, val_loss = experiment.evaluate(state.params)
    for part, found in zip((some, experiment.val), accuracies, strict=True):
        x = experiment.preprocess(part.images)
        assert x.dtype == config.dtype
        assert found == accuracy(predict(experiment.model, state.params, x), part.labels)
    scores = experiment.model.apply(state.params, x).astype(np.longdouble)
    rows = np.arange(len(scores))
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[rows, experiment.val.labels]
    assert val_loss == pytest.approx(float(losses.mean()), rel=1e-5)


def test_a_run_ends_when_its_accuracy_is_stuck_and_resumed_it_ends_there_too(
    small_config: TrainConfig,
) -> None:
    config = evolve(small_config, num_epochs=40, patience=2)
    whole = [*prepare(evolve(config, patience=None)).epochs()]
    ended = [*prepare(config).epochs()]
    assert 2 < len(ended) < 40
    for (state, _), (expected, _) in zip(ended, whole, strict=False):
        assert same(dict(state.params), dict(expected.params))
    accuracies = whole[-1][1].val_accuracy.tolist()
    best = max(accuracies[: len(ended)])
    assert accuracies.index(best) + 1 == len(ended) - 2
    for at, (state, history) in enumerate(ended, start=1):
        again = [*prepare(config).epochs(state, history)]
        assert len(again) == len(ended) - at
        assert bits(state for state, _ in again) == bits(state for state, _ in ended[at:])
        assert [found for _, found in again] == [expected for _, expected in ended[at:]]


def test_the_accuracy_of_training_examples_is_that_of_all_or_of_the_first_2000(
    small_config: TrainConfig,
) -> None:
    features = np.random.default_rng(0).standard_normal((5001, 2))
    dataset = Dataset(features, np.arange(5001) % 2, ("a", "b"))
    config = evolve(small_config, dataset="some.npz", num_train=None, num_val=None)
    for n, expected in ((1, 1), (2000, 2000), (5000, 5000), (5001, 2000)):
        run = assemble(config, first(dataset, n), dataset)
        assert run.train_sample == expected
    params = run.start().params
    x = run.preprocess(features[:2000])
    found = accuracy(predict(run.model, params, x), dataset.labels[:2000])
    assert run.evaluate(params)[0] == found


def test_progress_sees_everything_once_and_changes_nothing(small_config: TrainConfig) -> None:
    seen: list[Any] = []

    def watch(values: Any) -> Any:
        for value in values:
            seen.append(value)
            yield value

    config = evolve(small_config, preprocessing="whiten", components=9)
    run = prepare(config, watch=watch)
    assert seen == [0]  # one block of at most 5,000 examples
    assert run.preprocessing == prepare(config).preprocessing
    assert prepare(config, run.preprocessing, watch).preprocessing is run.preprocessing
    assert seen == [0]
    seen.clear()
    results = [*run.epochs(watch=watch)]
    assert [state.step for state in seen] == [*range(1, 3 * run.steps_per_epoch + 1)]
    assert bits(seen) == bits(prepare(config).states())
    params = results[-1][0].params
    digits, _ = load_dataset(config)
    seen.clear()
    assert same(run.scores(params, digits, 1, watch), run.scores(params, digits, 1))
    assert seen == [0, 500, 1000]
    seen.clear()
    assert run.accuracy(params, digits, watch=watch) == run.accuracy(params, digits)
    assert seen == [0, 500, 1000]


@pytest.mark.parametrize("source", ["digits", "some/folder"])
@pytest.mark.parametrize(
    ("num_train", "num_val", "expected"),
    [
        (None, None, (900, 100)),
        (None, 7, (993, 7)),
        (50, None, (50, 100)),
        (50, 20, (50, 20)),
        (None, 999, (1, 999)),
    ],
)
def test_numbers_of_examples_that_are_left_out_are_a_tenth_and_the_rest(
    small_config: TrainConfig,
    source: str,
    num_train: int | None,
    num_val: int | None,
    expected: tuple[int, int],
) -> None:
    config = evolve(small_config, dataset=source, num_train=num_train, num_val=num_val)
    features = np.arange(1000.0)[:, None]
    dataset = Dataset(features, (np.arange(1000) % 50 == 0).astype(int), ("common", "rare"))
    train, val = split_parts(config, dataset)
    assert (len(train), len(val)) == expected
    assert not {*train.images[:, 0]} & {*val.images[:, 0]}
    by_class = split(dataset, *expected, config.seed, stratified=True)
    assert same((train, val), by_class) == (source != "digits")
    if source != "digits":
        for part in (train, val):  # 2 % are rare
            assert abs(part.labels.sum() - len(part) / 50) <= 1


def test_a_tenth_of_few_examples_is_one(small_config: TrainConfig) -> None:
    config = evolve(small_config, dataset="some.npz", num_train=None, num_val=None)
    few = Dataset(np.arange(9.0)[:, None], np.zeros(9, int), ("a",))
    assert [len(part) for part in split_parts(config, few)] == [8, 1]


def test_pictures_are_read_at_the_size_of_the_settings(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    for part in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
            pixels = np.full((6, 8), 99, np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / label / "0.png")
    config = evolve(small_config, dataset=str(tmp_path), image_size=4)
    assert [part.images.shape[-2:] for part in load_dataset(config)] == [(4, 4)] * 2


@pytest.mark.parametrize(("components", "kept"), [(1, 1), (5, 5), (12, 12), (500, 12)])
def test_whitening_keeps_no_more_components_than_there_are_averaged_pixels(
    small_config: TrainConfig, components: int, kept: int
) -> None:
    images = np.random.default_rng(0).integers(256, size=(40, 3, 4, 4), dtype=np.uint8)
    train = Dataset(images, np.arange(40) % 2, ("a", "b"))
    config = evolve(small_config, preprocessing="whiten", components=components, pool=2)
    assert input_dim(fit_preprocessing(config, train)) == kept


def test_too_little_data_is_refused(small_config: TrainConfig) -> None:
    config = evolve(small_config, dataset="some.npz", num_train=None, num_val=None)
    one = Dataset(np.zeros((1, 2)), np.array([0]), ("a",))
    with pytest.raises(ValueError, match="num_train \\+ num_val must be at most 1"):
        split_parts(config, one)


@pytest.mark.parametrize("name", ["flip", "shift", "tta_flip", "tta_shift"])
def test_features_have_no_pixels_to_move(small_config: TrainConfig, name: str) -> None:
    dataset = Dataset(np.random.default_rng(0).random((9, 3)), np.zeros(9, int), ("a",))
    value: Any = True if name.endswith("flip") else 1
    config = evolve(small_config, dataset="wine.npz", **{name: value})
    with pytest.raises(ValueError, match=f"^{name} needs images: wine.npz has features$"):
        assemble(config, dataset, dataset)


AUGMENTED: dict[str, Any] = {
    "preprocessing": "whiten",
    "components": 9,
    "pool": 2,
    "flip": True,
    "shift": 1,
    "rotate": 20.0,
    "zoom": 0.2,
    "color": 0.3,
}


def test_augmented_runs_repeat_themselves_and_draw_anew_each_epoch(
    small_config: TrainConfig,
) -> None:
    config = evolve(small_config, **AUGMENTED)
    first_run = bits(prepare(config).states())
    assert bits(prepare(config).states()) == first_run
    for name in ("flip", "shift", "rotate", "zoom", "color"):
        without = evolve(config, **{name: type(getattr(config, name))(0)})
        assert bits(prepare(without).states()) != first_run
    batches = [*prepare(evolve(config, num_train=8, batch_size=8)).batches()]
    rows = [{x.tobytes() for x in batch[0]} for batch in batches]
    assert rows[0] != rows[1]


def test_each_epoch_mirrors_the_images_of_other_places(small_config: TrainConfig) -> None:
    # Not only other images: those in the same place of the order fare differently.
    config = evolve(small_config, flip=True, batch_size=small_config.num_train or 1)
    experiment = prepare(config)
    mirrored = set()
    for epoch, (x, _) in enumerate(experiment.batches()):
        ((plain, _),) = minibatches(experiment.train, config.batch_size, config.seed, epoch)
        mirrored.add((x != experiment.preprocess(plain)).any(axis=1).tobytes())
    assert len(mirrored) == config.num_epochs


def test_without_augmentation_every_epoch_has_the_same_inputs(small_config: TrainConfig) -> None:
    config = evolve(small_config, num_train=8, batch_size=8)
    rows = [{x.tobytes() for x in batch[0]} for batch in prepare(config).batches()]
    assert all(epoch == rows[0] for epoch in rows)


def test_views_average_the_scores_of_what_they_show(small_config: TrainConfig) -> None:
    experiment = prepare(evolve(small_config, tta_flip=True, num_epochs=1))
    *_, state = experiment.states()
    images = experiment.val.images
    total = sum(
        experiment.model.apply(state.params, experiment.preprocess(shown))
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
        for shown in (shifted(images, i, j), mirror(shifted(images, i, j)))
    )
    expected = accuracy(np.argmax(total, axis=1), experiment.val.labels)
    assert experiment.accuracy(state.params, experiment.val, tta_shift=1) == expected


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "step"])
def test_the_schedule_spans_the_run(small_config: TrainConfig, schedule: Any) -> None:
    config = evolve(small_config, schedule=schedule, learning_rate=1.0, warm_up=2.0, num_epochs=8)
    rates = [*map(make_schedule(config, steps_per_epoch=5), range(40))]
    assert rates[0] < rates[4] < rates[9]
    assert np.argmax(np.array(rates) >= max(rates) - 1e-12) == 9
    last = {"constant": 1.0, "linear": 1 / 40, "cosine": (1 - np.cos(np.pi / 40)) / 2, "step": 0.01}
    assert rates[-1] == pytest.approx(last[schedule])


def images_of(dataset: Any) -> set[bytes]:
    return {image.tobytes() for image in dataset.images}


def test_train_validation_and_test_share_no_digit(small_config: TrainConfig) -> None:
    config = evolve(small_config, num_train=1200, num_val=237)
    experiment = prepare(config)
    available, test = load_dataset(config)
    assert (len(available), len(test)) == (1437, 360)
    train, val, held_out = map(images_of, (experiment.train, experiment.val, test))
    assert len(train | val | held_out) == len(train) + len(val) + len(held_out) == 1797
    for seed in (1, 2):  # the test set is the same for every run
        assert images_of(load_dataset(evolve(config, seed=seed))[1]) == held_out


def test_cifar10_is_read_from_the_data_dir(small_config: TrainConfig, cifar_bin: Path) -> None:
    config = evolve(small_config, dataset="cifar10", data_dir=cifar_bin)
    assert np.array_equal(load_dataset(config)[1].labels, content("test_batch")[1])
    experiment = prepare(config)
    assert experiment.train.images.shape == (70, 3, 32, 32)
    assert next(experiment.states()).params["W1"].shape == (3072, 5)


def test_more_examples_than_there_are_are_refused(small_config: TrainConfig) -> None:
    with pytest.raises(ValueError, match=r"num_train \+ num_val must be at most 1437"):
        prepare(evolve(small_config, num_train=1400, num_val=38))


def test_training_learns(small_config: TrainConfig) -> None:
    experiment = prepare(evolve(small_config, num_train=600, num_val=200, num_epochs=8))
    *_, (_, history) = epochs(experiment.states(), experiment.steps_per_epoch, experiment.evaluate)
    assert history.val_accuracy[-1] > 0.6
    assert history.train_accuracy[-1] > history.train_accuracy[0]
    assert history.losses[-10:].mean() < history.losses[:10].mean() / 2


@pytest.mark.parametrize(
    ("changes", "cures", "others"),
    [
        ({"learning_rate": 1e6}, ["lower learning_rate", "warm_up"], ["momentum", "lower reg"]),
        (
            {"learning_rate": 1e6, "momentum": 0.9, "reg": 0.0},
            ["a longer warm_up or a lower momentum"],
            ["or reg"],
        ),
        ({"learning_rate": 1e6, "schedule": "linear"}, ["lower learning_rate"], ["momentum"]),
        ({"reg": 1e5}, ["reg: their product is 1e+04"], ["momentum"]),
        ({"learning_rate": 2.0**20, "reg": 2.0**-20}, ["reg: their product is 1,"], ["momentum"]),
        ({"learning_rate": 1e38, "batch_size": 70}, ["lower learning_rate"], ["momentum"]),
    ],
)
def test_a_run_that_diverged_says_what_to_change(
    small_config: TrainConfig, changes: Any, cures: list[str], others: list[str]
) -> None:
    run = prepare(evolve(small_config, **{"reg": 0.0, **changes}))
    with pytest.raises(DivergenceError) as caught:
        deque(run.epochs(), maxlen=0)
    step = caught.value.step
    epoch, rate = -(-step // run.steps_per_epoch), run.schedule(step - 1)
    assert f" this is epoch {epoch} with a learning rate of {rate:.4g}: " in str(caught.value)
    advice = str(caught.value).partition("try ")[2]
    assert all(cure in advice for cure in cures), advice
    assert not any(other in advice for other in others), advice


def test_a_warm_up_beyond_all_time_is_refused(small_config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="warm_up must be a finite number in"):
        evolve(small_config, warm_up=1e308)
    assert prepare(evolve(small_config, warm_up=1e12)).schedule(0) > 0


def test_a_rank_of_several_does_not_train_alone(small_config: TrainConfig) -> None:
    run = prepare(evolve(small_config, micro_batches=2))
    with pytest.raises(ValueError, match="there is no rank 1"):
        next(run.states(comm=Comm(0, 2, SERIAL.exchange)))
    with pytest.raises(ValueError, match="there is no rank 1"):
        next(run.epochs(comm=Comm(0, 2, SERIAL.exchange)))
