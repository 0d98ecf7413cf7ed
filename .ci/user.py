"""A program as a user writes it. .ci/run runs it with the wheel, and pyright reads it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import fnnet
from fnnet import optim
from fnnet.search import Choice, LogUniform, Space, plan_rungs, sample

# Train, with a schedule.
train, val = fnnet.split(fnnet.load_digits(), num_train=1200, num_val=500, seed=0)
stats = fnnet.fit_standardization(train)
model = fnnet.two_layer_net(input_dim=64, hidden_dim=32, num_classes=len(train.class_names))
params = model.init(np.random.default_rng(0))
train_step = fnnet.make_train_step(model)
num_epochs, batch_size = 3, 64
num_steps = num_epochs * fnnet.num_batches(train, batch_size)
optimizer = fnnet.sgd(optim.cosine(0.1, num_steps), momentum=0.9)
state = optimizer.init(params)
for epoch in range(num_epochs):
    for images, labels in fnnet.minibatches(train, batch_size=batch_size, seed=0, epoch=epoch):
        loss, grads = train_step(params, (fnnet.standardize(stats, images), labels), 1e-3)
        params, state = optimizer.update(params, state, grads)
    print(f"epoch {epoch + 1}: loss {loss:.3f}")

# Evaluate.
inputs = fnnet.standardize(stats, val.images)
with fnnet.use_threads(1):
    right = np.mean(fnnet.predict(model, params, inputs) == val.labels)
print(f"validation accuracy {right:.1%}, mean of W1 {params['W1'].mean():.4f}")
assert right > 0.9

# Check a gradient.
rng = np.random.default_rng(0)
x, w, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
y, cache = fnnet.fc_forward(x, w, b)
loss, grad_y = fnnet.softmax_loss(y, np.array([0, 1, 1, 0]))
grad_x, grad_w, grad_b = fnnet.fc_backward(grad_y, cache)


def loss_of(w: np.ndarray) -> float:
    """Return the loss as a function of the weights alone."""
    return fnnet.softmax_loss(fnnet.fc_forward(x, w, b)[0], np.array([0, 1, 1, 0]))[0]


assert np.allclose(grad_w, fnnet.numeric_gradient(loss_of, w))

# Save and load, and read a setting that the checkpoint holds.
checkpoint = fnnet.Checkpoint(
    config=fnnet.default_config(hidden_dim=32, dtype="float64"),
    params=params,
    preprocessing=stats,
    class_names=train.class_names,
    history=fnnet.History(),
)
with TemporaryDirectory() as folder:
    path = Path(folder) / "checkpoint.npz"
    fnnet.save_checkpoint(path, checkpoint)
    loaded = fnnet.load_checkpoint(path)
assert np.array_equal(loaded.params["W1"], params["W1"])
assert loaded.config.hidden_dim == (32,)

# Search.
space = Space({"learning_rate": LogUniform(0.01, 1), "reg": Choice((0.0, 0.01))})
print(sample(space, n=2, seed=0), plan_rungs(9, num_epochs=30))
print("fnnet", fnnet.__version__)
