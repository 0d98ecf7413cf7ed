"""The pictures of predictions show the percentages of each class and the surest mistakes."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fnnet import Dataset
from fnnet.checks import Array
from fnnet.plots import plot_confusion, plot_mistakes, plot_predictions
from fnnet.plots.figures import RED
from tests.plots.drawn import images, pixels, texts, titles

NAMES = ("cat", "dog", "emu")
LABELS = np.arange(30) % 3
RIGHT = 9 * np.eye(3)[LABELS]


def dataset(*shape: int) -> Dataset:
    pictures = np.random.default_rng(0).integers(200, size=(30, *shape), dtype=np.uint8)
    pictures.flat[0] = 200
    return Dataset(pictures, LABELS, NAMES)


def cells(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_confusion_of_each_class_is_in_percent_of_its_images() -> None:
    predicted = LABELS.copy()
    predicted[[0, 3, 6, 1]] = 2, 2, 2, 0
    figure = plot_confusion(predicted, dataset(4, 4))
    expected = [[70, 0, 30], [10, 90, 0], [0, 0, 100]]
    np.testing.assert_allclose(images(figure)[0], expected)
    assert cells(figure) == ["70", "30", "10", "90", "100"]  # none for a 0 of no image
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == [*NAMES]
    assert [label.get_text() for label in axes.get_xticklabels()] == [*NAMES]


def test_a_cell_of_less_than_half_a_percent_says_0_and_a_class_without_images_nothing() -> None:
    labels = np.zeros(1000, np.int64)
    predicted = labels.copy()
    predicted[7] = 1
    data = Dataset(np.zeros((1000, 1), np.uint8), labels, ("cat", "dog"))
    assert cells(plot_confusion(predicted, data)) == ["100", "0"]


@pytest.mark.parametrize(("classes", "numbers", "names"), [(1, 1, 1), (20, 20, 20), (21, 0, 21)])
def test_many_classes_have_colors_instead_of_numbers(
    classes: int, numbers: int, names: int
) -> None:
    labels = np.arange(classes)
    data = Dataset(np.zeros((classes, 2), np.uint8), labels, tuple(map(str, labels)))
    figure = plot_confusion(labels, data)
    assert len(cells(figure)) == numbers
    assert len(figure.axes) == (1 if numbers else 2)  # with a color bar
    assert len(figure.axes[0].get_yticks()) == names
    assert len(pixels(figure)) > 0


@pytest.mark.parametrize(
    ("classes", "letters", "rotation"),
    [(3, 3, 0), (20, 3, 0), (3, 4, 45), (20, 9, 45), (21, 2, 90)],
)
def test_long_or_many_class_names_are_turned(classes: int, letters: int, rotation: int) -> None:
    labels = np.arange(classes)
    names = tuple(str(label).rjust(letters, "x") for label in labels)
    axes = plot_confusion(labels, Dataset(np.zeros((classes, 2), np.uint8), labels, names)).axes[0]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}
    assert {label.get_rotation() for label in axes.get_yticklabels()} == {0}
    sizes = {label.get_fontsize() for label in axes.get_xticklabels() + axes.get_yticklabels()}
    assert sizes == {6 if classes > 20 else 10}
    label = axes.get_xticklabels()[0]
    if rotation:  # the end of the name stands at its column
        assert label.get_rotation_mode() == "anchor"
        assert (label.get_horizontalalignment(), label.get_verticalalignment()) == (
            "right",
            "center",
        )


def test_of_very_many_classes_at_most_a_hundred_are_named() -> None:
    labels = np.arange(250)
    data = Dataset(np.zeros((250, 2), np.uint8), labels, tuple(map(str, labels)))
    axes = plot_confusion(labels, data).axes[0]
    assert axes.get_yticks().tolist() == [*range(0, 250, 3)]
    assert axes.get_yticklabels()[1].get_text() == "3"


def test_the_surest_mistakes_come_first() -> None:
    scores = RIGHT.copy()
    scores[4] = 3, 0, 0  # a dog
    scores[9] = 0, 9, 0  # a cat
    scores[11] = 5, 0, 0  # an emu
    figure = plot_mistakes(scores, dataset(4, 4))
    assert titles(figure) == [
        "dog: 100%\ntrue: cat", "cat: 99%\ntrue: emu", "cat: 91%\ntrue: dog"
    ]  # fmt: skip
    np.testing.assert_allclose(images(figure)[0], dataset(4, 4).images[9] / 200)
    assert "Mistakes: the surest 3 of 3" in texts(figure)
    assert titles(plot_mistakes(scores, dataset(4, 4), number=1)) == titles(figure)[:1]


def test_mistakes_that_are_equally_sure_keep_their_order() -> None:
    scores = np.tile([9.0, 0.0, 0.0], (30, 1))
    found = images(plot_mistakes(scores, dataset(4, 4), number=4))
    np.testing.assert_allclose(found, dataset(4, 4).images[[1, 2, 4, 5]] / 200)


def test_a_model_without_mistakes_is_said_to_have_none() -> None:
    figure = plot_mistakes(RIGHT, dataset(4, 4))
    assert texts(figure) == ["No mistakes: all 30 predictions are right"]
    assert images(figure) == []


def test_wrong_predictions_have_a_red_frame_and_the_true_class() -> None:
    scores = RIGHT.copy()
    scores[1] = 9, 0, 0
    figure = plot_predictions(scores, dataset(4, 4), number=3)
    assert titles(figure) == ["cat: 100%\n", "cat: 100%\ntrue: dog", "emu: 100%\n"]
    assert [text.get_color() for text in figure.axes[0].texts[1:]] == ["black", RED, "black"]
    (frame,) = figure.axes[0].patches
    left, right, bottom, top = figure.axes[0].get_images()[1].get_extent()
    assert to_hex(frame.get_edgecolor()) == RED
    assert not frame.get_fill()  # the image is seen
    np.testing.assert_allclose(
        frame.get_extents().get_points(),
        (figure.axes[0].transData.transform([(left, bottom), (right, top)])),
    )


@pytest.mark.parametrize("shape", [(9, 9), (3, 30, 4), (2, 60)])
@pytest.mark.parametrize("number", [1, 4, 9, 30])
def test_images_keep_their_proportions_and_overlap_neither_each_other_nor_a_title(
    shape: tuple[int, ...], number: int
) -> None:
    figure = plot_predictions(RIGHT[:, ::-1], dataset(*shape), number)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    pictures = [image.get_window_extent() for image in axes.get_images()]
    height, width = shape[-2:]
    for box in pictures:
        assert box.width / box.height == pytest.approx(width / height)
    boxes = [*pictures, *(text.get_window_extent() for text in axes.texts if text.get_text())]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for a, b in combinations(boxes, 2):
        assert not a.overlaps(b)


@pytest.mark.parametrize("shape", [(5, 4), (1, 5, 4), (3, 5, 4), (1, 1), (3, 1, 4)])
def test_gray_and_color_images_are_drawn_with_the_largest_byte_as_white(
    shape: tuple[int, ...],
) -> None:
    data = dataset(*shape)
    found = images(plot_predictions(RIGHT, data, number=2))
    for image, drawn in zip(data.images, found, strict=False):
        expected = np.moveaxis(image, 0, -1) if shape[0] == 3 and len(shape) == 3 else image
        np.testing.assert_allclose(drawn, expected.reshape(drawn.shape) / data.images.max())


@pytest.mark.parametrize("number", [4, 8, 16])
def test_full_rows_of_images_fill_the_width(number: int) -> None:
    dataset = Dataset(np.ones((number, 2, 2), np.uint8), np.zeros(number, int), ("a", "b"))
    figure = plot_predictions(np.eye(2)[dataset.labels], dataset)
    extents = [image.get_extent() for image in figure.axes[0].get_images()]
    left, right = min(e[0] for e in extents), max(e[1] for e in extents)
    assert right == pytest.approx(figure.get_size_inches()[0] - left)


def test_images_of_zeros_are_drawn_black_and_ones_white_if_there_is_nothing_brighter() -> None:
    for value in (0, 1):
        pixels = np.full((2, 3, 3), value, np.uint8)
        data = Dataset(pixels, np.zeros(2, np.int64), ("night",))
        figure = plot_predictions(np.ones((2, 1)), data)
        np.testing.assert_array_equal(images(figure), pixels)
        for image in figure.axes[0].get_images():
            assert (image.get_clim(), image.get_cmap().name) == ((0, 1), "gray")
            assert image.get_interpolation() == "nearest"


@pytest.mark.parametrize(
    ("shape", "number", "expected"),
    [  # cells of 1.5 inches below a heading of 0.4; 0.15 between images, 0.13 for a line of text
        ((2, 60), 1, (0.075, 1.425, 1.825, 1.78)),
        ((9, 9), 1, (0.205, 1.295, 1.825, 0.735)),
        ((109, 50), 9, (6.5, 7, 1.825, 0.735)),  # two rows: of five and of four
    ],
)
def test_an_image_takes_the_room_that_its_title_leaves(
    shape: tuple[int, int], number: int, expected: tuple[float, ...]
) -> None:
    figure = plot_predictions(RIGHT, dataset(*shape), number)
    columns, rows = (5, 2) if number == 9 else (4, 1)
    assert figure.get_size_inches() == pytest.approx((1.5 * columns, 0.4 + 1.5 * rows))
    axes = figure.axes[0]
    assert axes.get_aspect() == "auto"  # else matplotlib would change the limits
    drawn = axes.get_images()[min(number - 1, 4)]
    assert drawn.get_extent() == pytest.approx(expected)
    figure.draw_without_rendering()
    heading, middle = axes.texts[0].get_window_extent(), figure.bbox.width / 2
    assert (heading.x0 + heading.x1) / 2 == pytest.approx(middle, abs=1)
    top = figure.bbox.height - (heading.y0 + heading.y1) / 2
    assert top == pytest.approx(0.2 * figure.dpi, abs=3)


@pytest.mark.parametrize("number", [1, 3, 8, 9, 30, 1000])
def test_no_more_images_are_drawn_than_there_are(number: int) -> None:
    assert len(images(plot_predictions(RIGHT, dataset(2, 2), number))) == min(number, 30)


def test_a_long_class_name_is_cut_above_an_image() -> None:
    for length, shown in ((16, "x" * 16), (17, f"{'x' * 15}…"), (40, f"{'x' * 15}…")):
        data = Dataset(np.zeros((1, 2, 2), np.uint8), np.zeros(1, np.int64), ("x" * length,))
        assert titles(plot_predictions(np.ones((1, 1)), data)) == [f"{shown}: 100%\n"]


@pytest.mark.parametrize("f", [plot_mistakes, plot_predictions])
def test_scores_of_any_floating_dtype_are_not_changed(f: Callable[..., Figure]) -> None:
    shown = set()
    for dtype in (np.float16, np.float32, np.float64, np.longdouble):
        scores = np.tile([9, 0, 0], (30, 1)).astype(dtype)
        scores.flags.writeable = False
        shown.add(tuple(titles(f(scores, dataset(2, 2), 4))))
    assert len(shown) == 1


def one(array: Array, value: float) -> Array:
    copy = array.copy()
    copy.flat[4] = value
    return copy


BAD_SCORES: list[tuple[Any, str]] = [
    (RIGHT[:29], r"^scores must have shape \(30, 3\), found \(29, 3\)"),
    (RIGHT[:, :2], r"^scores must have shape \(30, 3\), found \(30, 2\)"),
    (LABELS, r"^scores must have shape \(30, 3\), found \(30,\)"),
    (RIGHT.astype(int), "^scores must have a floating dtype"),
    (one(RIGHT, np.nan), r"^scores must be finite, found nan at index \(1, 1\)"),
    (one(RIGHT, np.inf), r"^scores must be finite, found inf at index \(1, 1\)"),
    (RIGHT.tolist(), "^scores must be a NumPy array, found list"),
]


@pytest.mark.parametrize("f", [plot_mistakes, plot_predictions])
@pytest.mark.parametrize(("scores", "pattern"), BAD_SCORES)
def test_scores_that_do_not_fit_the_images_are_refused_by_name(
    f: Callable[..., Figure], scores: Any, pattern: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=pattern):
        f(scores, dataset(2, 2))


@pytest.mark.parametrize(
    ("predicted", "pattern"),
    [
        (LABELS[:29], r"^predicted must have shape \(30,\), found \(29,\)"),
        (one(LABELS, 3), r"^predicted must lie in \[0, 3\), found 3 at index 4"),
        (one(LABELS, -1), r"^predicted must lie in \[0, 3\), found -1 at index 4"),
        (LABELS.astype(float), "^predicted must be integers, found float64"),
        (RIGHT, r"^predicted must have shape \(30,\), found \(30, 3\)"),
        ([0] * 30, "^predicted must be a NumPy array, found list"),
    ],
)
def test_predictions_that_do_not_fit_the_labels_are_refused_by_name(
    predicted: Any, pattern: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=pattern):
        plot_confusion(predicted, dataset(2, 2))


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (4, 2, 2), (3, 2, 2, 2)])
@pytest.mark.parametrize("f", [plot_mistakes, plot_predictions])
def test_features_that_are_not_an_image_are_refused_by_name(
    f: Callable[..., Figure], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"images of dataset must be \(height, width\)"):
        f(RIGHT, dataset(*shape))


@pytest.mark.parametrize("number", [0, -1, 1001, 2.5, True, None])
@pytest.mark.parametrize("f", [plot_mistakes, plot_predictions])
def test_another_number_of_images_is_refused_by_name(f: Callable[..., Figure], number: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^number must be"):
        f(RIGHT, dataset(2, 2), number)


@pytest.mark.parametrize("f", [plot_confusion, plot_mistakes, plot_predictions])
def test_anything_but_a_dataset_is_refused_by_name(f: Callable[..., Figure]) -> None:
    with pytest.raises(TypeError, match=r"^dataset must be a Dataset, found ndarray"):
        f(RIGHT, dataset(2, 2).images)
