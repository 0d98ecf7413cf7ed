"""A process with less memory than the images take trains on them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

LIMIT = 256 << 20  # bytes
PROGRAM = """
import resource, sys
from functools import partial
from itertools import islice
import numpy as np
from fnnet import (
    Dataset, accuracy, fit_standardization, make_train_step, minibatches, predict_scores, sgd,
    standardize, two_layer_net, use_threads,
)
from fnnet.training import fold, init_state, make_update

limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # memory of one's own; maps are free
try:
    np.load(sys.argv[1]) + 0
except MemoryError:
    print("too large to load")
images = np.load(sys.argv[1], mmap_mode="r")
dataset = Dataset(images, (images[:, 0, 0, 0] > 127).astype(int), ("dark", "bright"))
inputs = partial(standardize, fit_standardization(dataset), dtype=np.float32)
model, optimizer = two_layer_net(images[0].size, 8, 2, np.float32), sgd(0.01)
with use_threads(2):
    batches = ((inputs(x), labels) for x, labels in minibatches(dataset, 128, seed=0, epoch=0))
    start = init_state(model, optimizer, np.random.default_rng(0))
    *_, end = islice(fold(make_update(make_train_step(model), optimizer, 0), start, batches), 100)
    scores = predict_scores(model, end.params, dataset, inputs)
print(accuracy(scores.argmax(axis=1), dataset.labels))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere RLIMIT_DATA does not count maps")
def test_images_larger_than_the_memory_stream_from_a_map(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    shape = (100_000, 3, 32, 32)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)  # a sparse file
    assert images.nbytes > 1.1 * LIMIT
    images[::2, 0, :2] = 255  # what tells one half from the other
    del images
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path, str(LIMIT)],
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # its buffers grow with the processors
    )
    assert done.stderr == ""
    loaded, result = done.stdout.splitlines()
    assert loaded == "too large to load"
    assert float(result) == 1
