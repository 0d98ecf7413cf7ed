"""Mistakes to make in the package on purpose: the tests must notice each.

``pytest tests/test_broken.py --broken`` makes one at a time in a copy of the
package and runs there the test files that are named with it.
"""

from attrs import frozen


@frozen
class Broken:
    """One mistake: a piece of text, found once in a module, and what takes its place."""

    module: str
    old: str
    new: str
    tests: str
    """Names of test modules, without ``test_``, separated by spaces."""


BROKEN: dict[str, Broken] = {
    # layers
    "grad_b averaged": Broken(
        "layers", "x.T, grad_y), grad_y.sum(axis=0)", "x.T, grad_y), grad_y.mean(axis=0)", "layers"
    ),
    "1/N again in grad_w": Broken(
        "layers", "product(x.T, grad_y), grad_y.sum", "product(x.T, grad_y) / len(x), grad_y.sum",
        "layers",
    ),
    "weights not transposed": Broken(
        "layers", "return product(grad_y, w.T), ", "return product(grad_y, w), ", "layers"
    ),
    "derivative of the ReLU 1 at 0": Broken(
        "layers", "np.maximum(x, 0), x > 0", "np.maximum(x, 0), x >= 0", "layers"
    ),
    "ReLU writes into its input": Broken(
        "layers", "return np.maximum(x, 0), x > 0",
        "return np.maximum(x, 0, out=x if x.flags.writeable else None), x > 0", "layers",
    ),
    "relu_backward writes into its input": Broken(
        "layers", "return grad_y * cache",
        "return np.multiply(grad_y, cache, out=grad_y if grad_y.flags.writeable else None)",
        "layers",
    ),
    "leaky ReLU": Broken("layers", "np.maximum(x, 0), x > 0", "np.maximum(x, x / 100), x > 0",
        "layers",
    ),
    "ReLU passes positive gradients only": Broken(
        "layers", "return grad_y * cache", "return np.maximum(grad_y, 0) * cache", "layers"
    ),
    "NaN let through by fc": Broken(
        "layers", "if not np.isfinite(y).all():", "if np.isinf(y).any():", "layers wrong_input"
    ),
    "decay of the first rows in every block": Broken(
        "layers", "self.decay * self.w[rows]", "self.decay * self.w[: rows.stop - rows.start]",
        "optim",
    ),
    "decay lost when a gradient is scaled": Broken(
        "layers", "self.w, factor * self.decay)", "self.w, self.decay)", "optim"
    ),
    "gradient put off although its arrays can change": Broken(
        "layers", "return all(map(is_immutable, arrays))",
        "return not any(array.flags.writeable for array in arrays)", "training",
    ),
    # losses
    "maximum not subtracted": Broken("losses", "wide -= wide.max(axis=0)", "pass", "losses"),
    "maximum of the whole batch": Broken("losses", "wide.max(axis=0)", "wide.max()", "losses"),
    "1/N missing in the softmax gradient": Broken("losses", "exp /= n * total", "exp /= total",
        "losses",
    ),
    "softmax loss summed": Broken("losses", "- d).mean())", "- d).sum())", "losses"),
    "probabilities clipped": Broken(
        "losses", "d = wide[of_label]", "d = np.maximum(wide[of_label], -700)", "losses"
    ),
    "log of the softmax": Broken(
        "losses", "(np.log1p(r + np.expm1(d)) - d).mean()", "-np.log(np.exp(d) / total).mean()",
        "losses",
    ),
    "softmax in the dtype of the scores": Broken(
        "losses", "np.promote_types(scores.dtype, np.float64)", "scores.dtype", "losses"
    ),
    "one-hot labels forgotten": Broken(
        "losses", "exp[of_label] = -r", "exp[of_label] = np.exp(d)", "losses"
    ),
    "l2_loss without 1/2": Broken("losses", "(diff) / (2 * n)", "(diff) / n", "losses"),
    "l2_loss over N·C": Broken("losses", "n = len(pred)", "n = pred.size", "losses"),
    "1/N missing in the l2 gradient": Broken("losses", "return loss, diff / n", "return loss, diff",
        "losses",
    ),
    "l2 gradient of the other sign": Broken(
        "losses", "diff = pred - target", "diff = target - pred", "losses"
    ),
    "gradient of the regularization twice": Broken(
        "losses", "grad_w = reg * w", "grad_w = 2 * reg * w", "losses"
    ),
    "regularization without 1/2": Broken(
        "losses", "return reg / 2 * total", "return reg * total", "losses"
    ),
    "the end of the sum of squares lost": Broken(
        "losses", "np.square(flat[whole:])", "np.square(flat[whole + 1 :])", "losses"
    ),
    # models
    "L2 on biases": Broken("models", 'return name.startswith("W")', "return True", "training"),
    "half the initial variance": Broken("models", "np.sqrt(2 / fan_in)", "np.sqrt(1 / fan_in)",
        "models",
    ),
    "initial variance of fan_out": Broken(
        "models", "np.sqrt(2 / fan_in)", "np.sqrt(2 / fan_out)", "models"
    ),
    "ReLU after the last layer": Broken(
        "models", "return y, fc_caches, relu_caches",
        "return relu_forward(y)[0], fc_caches, relu_caches", "models",
    ),
    "no ReLU at all": Broken(
        "models", "y, relu_cache = relu_forward(y)",
        "y, relu_cache = +y, np.ones(y.shape, bool)", "models",
    ),
    "mask of another ReLU": Broken("models", "relu_caches[layer - 2]", "relu_caches[-1]",
        "models gradcheck",
    ),
    "the loss's own array locked": Broken("models", "lock(grad_y.copy())", "lock(grad_y)",
        "models training",
    ),
    "parameters can be written to": Broken(
        "models", "{name: lock(array) for", "{name: array for", "models"
    ),
    # optim
    "momentum of the other sign": Broken(
        "optim", "out += np.multiply(v[rows]", "out -= np.multiply(v[rows]", "optim"
    ),
    "gradient ascent": Broken("optim", "gradient.scaled(-rate)", "gradient.scaled(rate)", "optim"),
    "Nesterov looks too far ahead": Broken(
        "optim", "momentum * (out - v[rows])", "momentum * out", "optim"
    ),
    "velocity never kept": Broken(
        "optim", "SgdState(step + 1, lock_all(velocity))", "SgdState(step + 1, state.velocity)",
        "optim",
    ),
    "velocity written to": Broken(
        "optim", "new_v = None if v is None else np.empty_like(p)",
        "new_v = v if v is None or v.flags.writeable else v.copy()", "optim wrong_input",
    ),
    "parameters written to": Broken(
        "optim", "new_p = np.empty_like(p)",
        "new_p = p if p.flags.writeable else np.empty_like(p)", "optim",
    ),
    "schedule off by one": Broken("optim", "schedule(step), low=0", "schedule(step + 1), low=0",
        "optim",
    ),
    "steps not counted": Broken("optim", "SgdState(step + 1,", "SgdState(step,", "optim"),
    "decay without the learning rate": Broken(
        "optim", "keep -= rate * gradient.decay", "keep -= gradient.decay", "optim"
    ),
    "a line that ends a step late": Broken(
        "optim", "max(0.0, 1 - step / num_steps)", "max(0.0, 1 - step / (num_steps + 1))", "optim"
    ),
    "steps of the schedule late by one": Broken("optim", "step >= drop", "step > drop", "optim"),
    "a warm-up that starts at 0": Broken(
        "optim", "(step + 1) / max(1, num_steps)", "step / max(1, num_steps)", "optim"
    ),
    # threads
    "the last rows left out": Broken(
        "threads", "slice(i * length // count, (i + 1) * length // count)",
        "slice(i * (length // count), (i + 1) * (length // count))", "optim training threads",
    ),
    "one thread does nothing": Broken(
        "threads", "for thread in range(1, num_threads)", "for thread in range(2, num_threads)",
        "threads",
    ),
    "errors in threads swallowed": Broken(
        "threads", "in filter(None, errors)", "in filter(None, errors[1:])", "threads"
    ),
    # training
    "L2 in the loss and not in the gradient": Broken(
        "training", "gradient.grad_y, w, reg)", "gradient.grad_y)", "training optim"
    ),
    "L2 in the gradient and not in the loss": Broken(
        "training", "loss += regularization_loss(w, reg)", "pass", "training"
    ),
    "the last of a tie predicted": Broken(
        "training", "apply(params, x).argmax(axis=1)", "apply(params, x)[:, ::-1].argmax(axis=1)",
        "training",
    ),
    "the last block not scored": Broken(
        "training", "num_blocks = num_batches(dataset, batch_size)",
        "num_blocks = max(1, len(dataset) // batch_size)", "training",
    ),
    "views summed": Broken("training", "sum(scores) / len(views)", "sum(scores)", "training"),
    "only the first view": Broken("training", "for view in views]", "for view in views[:1]]",
        "training experiment",
    ),
    "batches drawn before they are asked for": Broken(
        "training", "itertools.accumulate(batches,", "itertools.accumulate([*batches],", "training"
    ),
    "the fold yields its start": Broken(
        "training", "initial=state), 1, None)", "initial=state), 0, None)", "training"
    ),
    "parameters evaluated before the update": Broken(
        "training", "TrainState(state.step + 1, params,",
        "TrainState(state.step + 1, state.params,",
        "training",
    ),
    "the optimizer starts anew each step": Broken(
        "training", "state.params, state.opt_state, grads",
        "state.params, optimizer.init(state.params), grads", "training",
    ),
    "an infinite loss goes unnoticed": Broken(
        "training", "if not math.isfinite(loss):", "if math.isnan(loss):", "training"
    ),
    "the best epoch counted from 0": Broken(
        "training", "np.argmax(self.val_accuracy)) + 1", "np.argmax(self.val_accuracy))", "training"
    ),
    "the history of the last epoch only": Broken(
        "training", "lengths[i] += len(new)", "lengths[i] = len(new)", "training"
    ),
    # datasets, seeds
    "the last partial batch lost": Broken(
        "datasets", "range(0, len(order), batch_size)",
        "range(0, len(order) - batch_size + 1, batch_size)", "datasets",
    ),
    "batches begin with the second example": Broken(
        "datasets", "range(0, len(order), batch_size)", "range(1, len(order), batch_size)",
        "datasets",
    ),
    "number of batches rounded down": Broken(
        "datasets", "-(-len(dataset) //", "(len(dataset) //", "datasets"
    ),
    "labels not in step with the images": Broken(
        "datasets", "dataset.labels[part])", "dataset.labels[np.sort(part)])", "datasets"
    ),
    "every epoch in the same order": Broken(
        "datasets", 'generator(seed, "batches", epoch)', 'generator(seed, "batches")', "datasets"
    ),
    "batches never shuffled": Broken(
        "datasets", 'generator(seed, "batches", epoch).permutation(len(dataset))',
        "np.arange(len(dataset))", "datasets",
    ),
    "examples drawn with replacement": Broken(
        "datasets", '"batches", epoch).permutation(len(dataset))',
        '"batches", epoch).integers(len(dataset), size=len(dataset))', "datasets",
    ),
    "an example in both parts of a split": Broken(
        "datasets", "order[num_train : num_train + num_val]",
        "order[num_train - 1 : num_train - 1 + num_val]", "datasets",
    ),
    "the split depends on num_val": Broken(
        "datasets", '"split").permutation(len(dataset))',
        '"split").permutation(num_train + num_val)', "datasets",
    ),
    "every seed splits alike": Broken(
        "datasets", 'generator(seed, "split")', 'generator(0, "split")', "datasets"
    ),
    "seeds of all purposes alike": Broken(
        "seeds", "spawn_key=key", "spawn_key=key[1:]", "seeds"
    ),
    # preprocessing, augmentation
    "standard deviation of the wrong axis": Broken(
        "preprocessing", "np.square(block).sum(axis=0, dtype=np.int64)",
        "np.square(block).sum(dtype=np.int64)", "preprocessing",
    ),
    "squares of bytes overflow": Broken(
        "preprocessing", ".astype(np.uint16)", ".astype(np.uint8)", "preprocessing"
    ),
    "inputs not centered": Broken("preprocessing", "        out -= mean\n", "", "preprocessing"),
    "whitening keeps the faintest": Broken(
        "preprocessing", "slice(-1, -components - 1, -1)", "slice(0, components)", "preprocessing"
    ),
    "whitening without the root": Broken(
        "preprocessing", "np.sqrt(np.maximum(eigenvalues[kept], 0) + floor)",
        "(np.maximum(eigenvalues[kept], 0) + floor)", "preprocessing",
    ),
    "images upside down": Broken("augmentation", "[..., ::-1]", "[..., ::-1, :]", "augmentation"),
    "shifts wrap around": Broken("augmentation", 'mode="edge"', 'mode="wrap"', "augmentation"),
    "half of the shifts never drawn": Broken(
        "augmentation", "2 * k + 1, size", "k + 1, size", "augmentation"
    ),
    # the flow of the data
    "test images among the training images": Broken(
        "experiment", "dataset, _ = load_dataset(config)", "_, dataset = load_dataset(config)",
        "experiment",
    ),
    "digits trained on that are tested on": Broken(
        "experiment", "    return split(digits, len(digits) - DIGITS_TEST, DIGITS_TEST, seed=0)",
        "    return digits, split(digits, len(digits) - DIGITS_TEST, DIGITS_TEST, seed=0)[1]",
        "experiment",
    ),
    "preprocessing fitted to the validation part": Broken(
        "experiment", "fit_preprocessing(config, train)", "fit_preprocessing(config, val)",
        "experiment",
    ),
    "preprocessing fitted to all there is": Broken(
        "experiment", "assemble(config, *load_parts(config), fitted)",
        "assemble(config, *load_parts(config), fitted or fit_preprocessing(config, "
        "load_dataset(config)[0]))",
        "experiment",
    ),
    "validated on the training part": Broken(
        "experiment", "self.accuracy(params, self.val)", "self.accuracy(params, self.train)",
        "experiment",
    ),
    "augmentation alike in every epoch": Broken(
        "experiment", '"augmentation", epoch)', '"augmentation")', "experiment"
    ),
    "test images augmented": Broken(
        "experiment", "scores = score_dataset(self.model, params, dataset, self.preprocess,",
        "scores = score_dataset(self.model, params, dataset, lambda images: self.preprocess("
        "flip(generator(0, 'augmentation'), images)),",
        "experiment",
    ),
    "a resumed run begins with the first epoch's batches": Broken(
        "experiment", "self.batches(first_epoch))", "self.batches())", "resume"
    ),
    "the schedule does not span the run": Broken(
        "experiment", "config.num_epochs * steps_per_epoch", "steps_per_epoch", "experiment"
    ),
    "the first batch file read again and again": Broken(
        "cifar10", "place / (name + suffix)", "place / (names[0] + suffix)", "cifar10"
    ),
    "the label read as a pixel": Broken(
        "cifar10", "records[:, 1:], records[:, 0]", "records[:, :-1], records[:, 0]", "cifar10"
    ),
    # checkpoints
    "velocity not saved": Broken(
        "checkpoint", "for name, array in checkpoint.velocity.items()", "for name, array in ()",
        "resume checkpoint",
    ),
    "test accuracy not saved": Broken(
        "checkpoint", '"test_accuracy": checkpoint.test_accuracy', '"test_accuracy": None',
        "checkpoint",
    ),
    "record made anew while loading": Broken(
        "checkpoint", '        record=meta["record"],\n', "", "resume checkpoint"
    ),
    "accuracies exchanged": Broken(
        "checkpoint", 'history["train_accuracy"], history["val_accuracy"]',
        'history["val_accuracy"], history["train_accuracy"]', "checkpoint",
    ),
    "the step of a checkpoint forgotten": Broken(
        "checkpoint", "TrainState(step, self.params", "TrainState(0, self.params", "resume"
    ),
    "damage not noticed": Broken(
        "checkpoint", "if not _ends_in_digest(raw):", "if False:", "checkpoint hostile_checkpoint"
    ),
    "a damaged file becomes the one before": Broken(
        "checkpoint", "previous is not None and is_whole(path)", "previous is not None",
        "checkpoint",
    ),
    "the order in memory lost": Broken(
        "checkpoint", '"F" if fortran else "C"', '"C"', "checkpoint"
    ),
    "written in place": Broken(
        "files", "        temporary.replace(path)\n",
        "        path.write_bytes(temporary.read_bytes())\n        temporary.unlink()\n",
        "files checkpoint",
    ),
    # gradient checks
    "one-sided differences": Broken(
        "gradcheck", "below[index] -= steps[index]", "below[index] -= 1e-3 * steps[index]",
        "gradcheck",
    ),
    "a check that always passes": Broken(
        "gradcheck", "worst < tolerance\n", "worst < 1 + tolerance\n", "gradcheck"
    ),
    "only the sum of the differences compared": Broken(
        "gradcheck", "diff = np.abs(analytic - numeric)",
        "diff = np.abs((analytic - numeric).sum()) * np.ones_like(x)", "gradcheck",
    ),
}  # fmt: skip
