"""Layers as students write them: thirty that are right, and wrong ones with their mistakes.

Each text below holds files that begin with a line `# title`; of a wrong one, the title is the
function, and after a colon the remark that the report must make.
"""


def files(text: str) -> dict[str, str]:
    """Return the files of a text by their titles."""
    parts = (part.partition("\n") for part in ("\n" + text).split("\n# ")[1:])
    return {title: f"import numpy as np\n{code}" for title, _, code in parts}


RIGHT = files("""
# fc as in the lecture
def fc_forward(x, w, b):
    return x @ w + b, (x, w, b)
def fc_backward(grad_out, cache):
    x, w, b = cache
    return grad_out @ w.T, x.T @ grad_out, grad_out.sum(axis=0)
# fc in loops
def fc_forward(x, w, b):
    out = np.zeros((x.shape[0], w.shape[1]))
    for i in range(x.shape[0]):
        for j in range(w.shape[1]):
            for k in range(x.shape[1]):
                out[i, j] += x[i, k] * w[k, j]
            out[i, j] += b[j]
    return out, {"x": x, "w": w}
def fc_backward(grad_out, cache):
    x, w = cache["x"], cache["w"]
    gx, gw, gb = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[1])
    for i in range(x.shape[0]):
        for j in range(w.shape[1]):
            gb[j] += grad_out[i, j]
            for k in range(x.shape[1]):
                gx[i, k] += grad_out[i, j] * w[k, j]
                gw[k, j] += grad_out[i, j] * x[i, k]
    return gx, gw, gb
# fc with einsum and a list
def fc_forward(x, w, b):
    return [np.einsum("nd,dh->nh", x, w) + b, [x.copy(), w.copy()]]
def fc_backward(grad_out, cache):
    x, w = cache
    return [np.einsum("nh,dh->nd", grad_out, w), np.einsum("nd,nh->dh", x, grad_out),
            np.einsum("nh->h", grad_out)]
# fc with a class as cache
class Cache:
    pass
def fc_forward(x, w, b):
    cache = Cache()
    cache.x, cache.w = x, w
    return np.dot(x, w) + b[None, :], cache
def fc_backward(grad_out, cache):
    n = len(grad_out)
    grad_b = np.dot(np.ones(n), grad_out)
    return np.dot(grad_out, cache.w.T), np.dot(cache.x.T, grad_out), grad_b
# fc with the bias as a column of ones
def fc_forward(x, w, b):
    ones = np.hstack([x, np.ones((len(x), 1))])
    both = np.vstack([w, b])
    return ones.dot(both), (ones, both)
def fc_backward(grad_out, cache):
    ones, both = cache
    grad = ones.T.dot(grad_out)
    return grad_out.dot(both.T)[:, :-1], grad[:-1], grad[-1]
# fc that closes over its arguments, with transposed views
def fc_forward(x, w, b):
    def cache(grad):
        return (w @ grad.T).T, (grad.T @ x).T, np.add.reduce(grad)
    return (w.T @ x.T + b[:, None]).T, cache
def fc_backward(grad_out, cache):
    return cache(grad_out)
# fc in a dataclass, in float64 whatever comes
from dataclasses import dataclass
@dataclass
class Saved:
    x: np.ndarray
    w: np.ndarray
def fc_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Saved]:
    x, w = x.astype(np.float64), w.astype(np.float64)
    return np.matmul(x, w) + b, Saved(x, w)
def fc_backward(grad_out, cache):
    return (np.matmul(grad_out, cache.w.transpose()), np.matmul(cache.x.transpose(), grad_out),
            np.sum(grad_out, 0))
# relu with maximum
def relu_forward(x):
    return np.maximum(0, x), x
def relu_backward(grad_out, cache):
    return grad_out * (cache > 0)
# relu with where
def relu_forward(x):
    return np.where(x > 0, x, 0.0), x > 0
def relu_backward(grad_out, cache):
    return np.where(cache, grad_out, 0.0)
# relu with a mask on a copy
def relu_forward(x):
    out = x.copy()
    out[out < 0] = 0
    return out, out
def relu_backward(grad_out, cache):
    grad = np.array(grad_out)
    grad[cache == 0] = 0
    return grad
# relu in loops, for 2-D only
def relu_forward(x):
    n, d = x.shape
    out = np.zeros_like(x)
    for i in range(n):
        for j in range(d):
            out[i, j] = max(x[i, j], 0)
    return out, {"x": x}
def relu_backward(grad_out, cache):
    out = np.zeros_like(grad_out)
    for i, row in enumerate(cache["x"]):
        for j, value in enumerate(row):
            if value > 0:
                out[i, j] = grad_out[i, j]
    return out
# relu with a product and a heaviside step
def relu_forward(x):
    return x * (x > 0), (x,)
def relu_backward(grad_out, cache):
    (x,) = cache
    return np.heaviside(x, 0.0) * grad_out
# relu with the absolute value
def relu_forward(x):
    return (x + np.abs(x)) / 2, np.sign(x)
def relu_backward(grad_out, cache):
    return grad_out * np.maximum(cache, 0)
# relu with clip and a view
def relu_forward(x):
    return np.clip(x, 0, None), x.view()
def relu_backward(grad_out, cache):
    return np.multiply(grad_out, (cache > 0).astype(grad_out.dtype))[:]
# softmax as in the lecture
def softmax_loss(x, y):
    shifted = x - np.max(x, axis=1, keepdims=True)
    z = np.sum(np.exp(shifted), axis=1, keepdims=True)
    log_probs = shifted - np.log(z)
    probs = np.exp(log_probs)
    n = x.shape[0]
    loss = -np.sum(log_probs[np.arange(n), y]) / n
    dx = probs.copy()
    dx[np.arange(n), y] -= 1
    dx /= n
    return loss, dx
# softmax with one-hot labels
def softmax_loss(x, y):
    n, c = x.shape
    hot = np.eye(c)[y]
    s = x - x.max(axis=1)[:, None]
    log_p = s - np.log(np.exp(s).sum(axis=1))[:, None]
    return float(-(hot * log_p).sum() / n), (np.exp(log_p) - hot) / n
# softmax in loops
import math
def softmax_loss(x, y):
    n, c = x.shape
    loss, grad = 0.0, np.zeros((n, c))
    for i in range(n):
        m = max(float(v) for v in x[i])
        z = sum(math.exp(float(v) - m) for v in x[i])
        loss += math.log(z) + m - float(x[i, y[i]])
        for j in range(c):
            grad[i, j] = (math.exp(float(x[i, j]) - m) / z - (j == y[i])) / n
    return loss / n, grad
# softmax with log-sum-exp
def logsumexp(x):
    m = np.amax(x, axis=-1)
    return m + np.log(np.exp(x - m[..., None]).sum(axis=-1))
def softmax_loss(x, y):
    n = len(x)
    lse = logsumexp(x)
    g = np.exp(x - lse[:, None])
    g[np.arange(n), y] -= 1.0
    return np.mean(lse - np.take_along_axis(x, y[:, None], axis=1)[:, 0]), g / n
# softmax with logaddexp
def softmax_loss(x, y):
    logs = np.logaddexp.reduce(x, axis=1)
    picked = x[np.arange(x.shape[0]), y]
    grad = np.exp(x - logs.reshape(-1, 1))
    np.subtract.at(grad, (np.arange(x.shape[0]), y), 1)
    return (logs - picked).mean(), np.divide(grad, x.shape[0])
# softmax in place on a copy, the loss as an array
def softmax_loss(x, y):
    x = np.array(x, dtype=np.float64)
    x -= x.max(axis=1, keepdims=True)
    label = x[np.arange(len(x)), y].copy()
    np.exp(x, out=x)
    total = x.sum(axis=1)
    x /= total[:, np.newaxis]
    x[np.arange(len(x)), y] -= 1
    x *= 1 / len(x)
    return np.asarray((np.log(total) - label).mean()), x
# softmax transposed
def softmax_loss(x, y):
    s = (x - x.max(1, keepdims=True)).T
    e = np.exp(s)
    z = e.sum(0)
    p = (e / z).T
    hot = (np.arange(x.shape[1]) == y[:, None]).astype(float)
    return [np.average(np.log(z) - s.T[hot == 1]), (p - hot) * (1.0 / x.shape[0])]
# l2 as in the lecture
def l2_loss(pred, target):
    diff = pred - target
    return 0.5 * np.sum(diff ** 2) / pred.shape[0], diff / pred.shape[0]
# l2 in loops
def l2_loss(pred, target):
    n, d = pred.shape
    loss, grad = 0.0, np.zeros((n, d))
    for i in range(n):
        for j in range(d):
            diff = float(pred[i, j]) - float(target[i, j])
            loss += diff * diff / (2 * n)
            grad[i, j] = diff / n
    return loss, grad
# l2 with a norm
def l2_loss(pred, target):
    n = len(pred)
    return np.linalg.norm(pred - target) ** 2 / (2 * n), -(target - pred) / n
# l2 with vdot and einsum
def l2_loss(pred, target):
    d = np.subtract(pred, target)
    return float(np.vdot(d, d)) / len(d) / 2, np.einsum("nd->nd", d) * (1 / len(d))
# l2 as a mean over rows
def l2_loss(pred, target):
    rows = ((pred - target) ** 2).sum(axis=1) / 2
    return rows.mean(), (pred - target) / rows.size
# regularization as in the lecture
def l2_regularization(w, reg):
    return 0.5 * reg * np.sum(w * w), reg * w
# regularization in loops
def l2_regularization(w, reg):
    loss, grad = 0.0, np.empty_like(w)
    for index, value in np.ndenumerate(w):
        loss += reg * float(value) ** 2 / 2
        grad[index] = reg * value
    return loss, grad
# regularization with a norm
def l2_regularization(w, reg):
    return reg / 2 * np.linalg.norm(w) ** 2, np.multiply(w, reg)
# regularization in place on a copy
def l2_regularization(w, reg):
    grad = w.copy()
    grad *= reg
    return (w.ravel() @ grad.ravel()) / 2, grad
""")

FC = """
def fc_forward(x, w, b):
    return x @ w + b, (x, w)
"""
RELU = """
def relu_forward(x):
    return np.maximum(x, 0), x
"""

SOFTMAX = """
def softmax_loss(x, y):
    n = len(x)
    s = x - x.max(axis=1, keepdims=True)
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(n), y]).mean()
    p[np.arange(n), y] -= 1
    return loss, p / n
"""

WRONG = files(f"""
# fc_forward: out: b is missing
def fc_forward(x, w, b):
    return x @ w, (x, w)
# fc_forward: out: w is transposed
def fc_forward(x, w, b):
    return x @ w.T + b, (x, w)
# fc_forward: the forward pass must return (out, cache)
def fc_forward(x, w, b):
    return x @ w + b
# fc_forward: x was written to
def fc_forward(x, w, b):
    x -= x.mean(axis=0)
    x += 0.5
    return x @ w + b, (x, w)
# fc_backward: grad_w: 1/N of the right value
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return grad_out @ w.T, x.T @ grad_out / len(x), grad_out.sum(axis=0)
# fc_backward: grad_b: not summed over the batch
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return grad_out @ w.T, x.T @ grad_out, grad_out
# fc_backward: grad_b: averaged over the batch
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return grad_out @ w.T, x.T @ grad_out, grad_out.mean(axis=0)
# fc_backward: grad_b: one axis too many
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return grad_out @ w.T, x.T @ grad_out, grad_out.sum(axis=0, keepdims=True)
# fc_backward: grad_b: summed over the wrong axis
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return grad_out @ w.T, x.T @ grad_out, grad_out.sum(axis=1)
# fc_backward: grad_x: w is not transposed
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return grad_out @ w, x.T @ grad_out, grad_out.sum(axis=0)
# fc_backward: grad_w: transposed
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return grad_out @ w.T, grad_out.T @ x, grad_out.sum(axis=0)
# fc_backward: grad_x: returned in another order
{FC}
def fc_backward(grad_out, cache):
    x, w = cache
    return x.T @ grad_out, grad_out @ w.T, grad_out.sum(axis=0)
# fc_backward: another forward pass changes the result
saved = None
def fc_forward(x, w, b):
    global saved
    saved = x, w
    return x @ w + b, None
def fc_backward(grad_out, cache):
    x, w = saved
    return grad_out @ w.T, x.T @ grad_out, grad_out.sum(axis=0)
# fc_backward: a second call with the same cache differs
{FC.replace("(x, w)", "[x.copy(), w]")}
def fc_backward(grad_out, cache):
    x, w = cache
    grad_w = x.T @ grad_out
    x *= 0
    return grad_out @ w.T, grad_w, grad_out.sum(axis=0)
# relu_forward: out: the absolute value
def relu_forward(x):
    return np.abs(x), x
# relu_forward: x was written to
def relu_forward(x):
    x[x < 0] = 0
    return x, x
# relu_backward: grad_x: the mask is that of grad_out
{RELU}
def relu_backward(grad_out, cache):
    return np.where(grad_out > 0, grad_out, 0)
# relu_backward: grad_x: the mask x > 0 is missing
{RELU}
def relu_backward(grad_out, cache):
    return grad_out.copy()
# relu_backward: grad_x: at x = 0 it must be 0
{RELU}
def relu_backward(grad_out, cache):
    return grad_out * (cache >= 0)
# relu_backward: grad_x: grad_out is missing
{RELU}
def relu_backward(grad_out, cache):
    return (cache > 0).astype(float)
# relu_backward: grad_x must be floating, found bool
{RELU}
def relu_backward(grad_out, cache):
    return cache > 0
# relu_backward: grad_out was written to
{RELU}
def relu_backward(grad_out, cache):
    grad_out[cache <= 0] = 0
    return grad_out
# softmax_loss: loss: large scores: subtract
{SOFTMAX.replace("x - x.max(axis=1, keepdims=True)", "x")}
# softmax_loss: loss: subtract the largest score of each row, not that of the whole array
{SOFTMAX.replace("x.max(axis=1, keepdims=True)", "x.max()")}
# softmax_loss: loss: N times the right value
{SOFTMAX.replace(".mean()", ".sum()")}
# softmax_loss: grad_x: N times the right value
{SOFTMAX.replace("p / n", "p")}
# softmax_loss: grad_x: the -1 at the label is missing
def softmax_loss(x, y):
    n = len(x)
    s = x - x.max(axis=1, keepdims=True)
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(n), y]).mean(), p / n
# softmax_loss: grad_x: the 1 at the label is not divided by N
{SOFTMAX.replace("p[np.arange(n), y] -= 1", "p[np.arange(n), y] -= n")}
# softmax_loss: grad_x: p[:, y] takes whole columns
{SOFTMAX.replace("p[np.arange(n), y] -= 1", "p[:, y] -= 1")}
# softmax_loss: loss: axis 0 instead of axis 1
{SOFTMAX.replace("axis=1", "axis=0")}
# softmax_loss: loss: the sign is wrong
{SOFTMAX.replace("-np.log", "np.log")}
# softmax_loss: x was written to
{SOFTMAX.replace("s = x - ", "s = x; s -= ")}
# softmax_loss: loss: nearly right
{SOFTMAX.replace("y]).mean", "y] + 1e-8).mean")}
# fc_forward: out: nearly right
def fc_forward(x, w, b):
    return (x @ w + b).astype(np.float32), (x, w)
# l2_loss: loss: the mean is over all elements: divide the sum by N only; and there is no 1/2
def l2_loss(pred, target):
    return ((pred - target) ** 2).mean(), (pred - target) / len(pred)
# l2_loss: grad_pred: 2 times the right value
def l2_loss(pred, target):
    n = len(pred)
    return ((pred - target) ** 2).sum() / (2 * n), 2 * (pred - target) / n
# l2_loss: grad_pred: the sign is wrong
def l2_loss(pred, target):
    n = len(pred)
    return ((pred - target) ** 2).sum() / (2 * n), (target - pred) / n
# l2_loss: loss: N times the right value
def l2_loss(pred, target):
    return ((pred - target) ** 2).sum() / 2, (pred - target) / len(pred)
# l2_loss: loss: 2 N times the right value
def l2_loss(pred, target):
    return ((pred - target) ** 2).sum(), (pred - target) / len(pred)
# l2_loss: loss: the mean is over all elements: divide the sum by N only
def l2_loss(pred, target):
    return ((pred - target) ** 2).mean() / 2, (pred - target) / len(pred)
# l2_loss: grad_pred: 1/2 of the right value
def l2_loss(pred, target):
    n = len(pred)
    return ((pred - target) ** 2).sum() / (2 * n), (pred - target) / (2 * n)
# l2_loss: must return (loss, grad_pred), found float
def l2_loss(pred, target):
    return float(((pred - target) ** 2).sum() / len(pred) / 2)
# l2_regularization: grad_w: 2 times the right value
def l2_regularization(w, reg):
    return reg / 2 * np.sum(w * w), 2 * reg * w
# l2_regularization: loss: 2 times the right value
def l2_regularization(w, reg):
    return reg * np.sum(w * w), reg * w
# l2_regularization: grad_w: 0 everywhere
def l2_regularization(w, reg):
    return reg / 2 * np.sum(w * w), np.zeros_like(w)
# l2_regularization: grad_w: reg is missing
def l2_regularization(w, reg):
    return reg / 2 * np.sum(w * w), w.copy()
# l2_regularization: grad_w must be floating, found list
def l2_regularization(w, reg):
    return reg / 2 * np.sum(w * w), (reg * w).tolist()
""")

NET = """
class Net:
    def __init__(self, input_dim, hidden_dim, num_classes):
        draw = np.random.default_rng(0).normal
        self.params = {
            "W1": draw(size=(input_dim, hidden_dim)),
            "b1": np.zeros(hidden_dim),
            "W2": draw(size=(hidden_dim, num_classes)),
            "b2": np.zeros(num_classes),
        }
    def parameters(self):
        return self.params
    def forward(self, X):
        p = self.params
        hidden = np.maximum(X @ p["W1"] + p["b1"], 0)
        return hidden @ p["W2"] + p["b2"], (X, hidden)
    def backward(self, grad_scores, cache):
        X, hidden = cache
        grad = (grad_scores @ self.params["W2"].T) * (hidden > 0)
        return {"W2": hidden.T @ grad_scores, "b2": grad_scores.sum(axis=0),
                "W1": X.T @ grad, "b1": grad.sum(axis=0)}
"""
LINEAR = """
class Linear:
    def __init__(self, num_features, num_classes):
        self.w, self.b = np.ones((num_features, num_classes)), np.zeros(num_classes)
    def parameters(self):
        return [self.w, self.b]
    def forward(self, X):
        return X @ self.w + self.b, X
    def backward(self, grad_scores, cache):
        return [cache.T @ grad_scores, grad_scores.sum(axis=0)]
"""
WITH_DEFAULTS = "input_dim=400, hidden_dim=50, num_classes=10):"
NETS = files(f"""
# a two-layer net
{NET}
# with widths that have defaults, and many features
{NET.replace("input_dim, hidden_dim, num_classes):", WITH_DEFAULTS)}
# biases first
{NET.replace("= {", '= {"b1": 0, "b2": 0,').replace("b1': 0", "b1': np.zeros(hidden_dim)")}
# a linear classifier with lists
{LINEAR}
# a base class beside the class
class Base:
    def parameters(self):
        raise NotImplementedError
    forward = backward = parameters
{LINEAR.replace("class Linear:", "class Linear(Base):")}
""")
A_LIST = "return {k: p.tolist() for k, p in self.params.items()}"
COPIES = "return {k: p.copy() for k, p in self.params.items()}"
WRONG_NETS = files(f"""
# grad_W1: 1/N of the right value
{NET.replace("X.T @ grad,", "X.T @ grad / len(X),")}
# grad_W2 has shape (4, 5), expected (5, 4)
{NET.replace("hidden.T @ grad_scores", "grad_scores.T @ hidden")}
# scores
{NET.replace('p["b1"], 0)', 'p["b1"], -1)')}
# backward must return gradients for ['W1', 'b1', 'W2', 'b2'], found ['W2', 'W1', 'b1']
{NET.replace('"b2": grad_scores.sum(axis=0),', "")}
# parameters() must return float64 arrays
{NET.replace("return self.params", A_LIST)}
# parameters() must return the arrays that forward reads, not copies
{NET.replace("return self.params", COPIES)}
# parameters() must return W1, b1, or W1, b1, W2, b2
{NET.replace('"b2": np.zeros(num_classes),', "")}
# a second call with the same cache differs
{NET.replace('return {"W2"', 'hidden *= 2; return {"W2"')}
# TypeError: Net.__init__() missing 4 required positional arguments
{NET.replace("num_classes):", "num_classes, seed):")}
# x was written to
{NET.replace("p = self.params", "p = self.params; X *= 1.5")}
""")
