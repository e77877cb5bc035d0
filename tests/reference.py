"""What the C core computes, by definition: slow float64 NumPy written from the mathematics.

`KERNELS` has a function for every name in ``csrc/kernels/kernels.def``, `LAYERS` one for every kind
in ``csrc/nn/layers.def``; ``test_kernels.py`` fails where one is missing. A layer function takes
its inputs and returns its output with the function that carries gradients back through it. Images
are (N, C, H, W) here; where a kernel's memory is (pixels, channels), so are the arguments.
"""

import colorsys
import math

import numpy as np

KERNELS, LAYERS = {}, {}
LANES = 16  # channels in the engine's memory are padded to a multiple of this


def kernel(function):
    """Register a definition; infinities and NaN are part of it, so NumPy need not warn."""
    quiet = np.errstate(over="ignore", invalid="ignore")(function)
    KERNELS[function.__name__] = quiet
    return quiet


def layer(kind):
    def register(function):
        LAYERS[kind] = function
        return function

    return register


# --- random numbers: Philox4x32-10 (Salmon et al., SC 2011)

def philox(counter, key):
    """Ten rounds on four counter words and two key words; 32-bit words in and out."""
    x, k, mask = list(counter), list(key), 0xFFFFFFFF
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(b >> 32) ^ x[1] ^ k[0], b & mask, (a >> 32) ^ x[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return x


def random_words(seed, epoch, position, operation, blocks):
    """The first `blocks` blocks of four words of a key."""
    key = (seed & 0xFFFFFFFF, seed >> 32)
    return [w for i in range(blocks) for w in philox((i, position, epoch, operation), key)]


def random_uniform(seed, epoch, position, operation, n):
    """Two words make a double: 53 bits of the first followed by the second."""
    words = random_words(seed, epoch, position, operation, (n + 1) // 2)
    pairs = zip(words[0::2], words[1::2])
    return np.array([((a << 32 | b) >> 11) / 2**53 for a, b in pairs][:n])


# --- pointwise

@kernel
def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


@kernel
def relu(x):
    return np.maximum(np.asarray(x, np.float64), 0)


@kernel
def relu_backward(y, dy):
    return np.where(y > 0, dy, 0.0)


def dropout_kept(n, seed, epoch, position, operation, p):
    """Which of n elements stay: those whose 24 random bits, as a number of [0, 1), reach p."""
    words = np.array(random_words(seed, epoch, position, operation, (n + 3) // 4)[:n], np.uint64)
    return (words >> np.uint64(8)) / 2.0**24 >= np.float32(p)


@kernel
def dropout(x, seed, epoch, position, operation, p):
    kept = dropout_kept(len(x), seed, epoch, position, operation, p)
    return np.where(kept, np.asarray(x, np.float64) / (1 - float(np.float32(p))), 0.0)


# --- activations, by number and by name

ACTIVATIONS = ("identity", "relu", "sigmoid", "silu", "hardsigmoid", "hardswish", "gelu")


def _hardsigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


def below(x):
    """P(N <= x) of the normal distribution."""
    return np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)) / 2, otypes=[float])(x)


@kernel
def activate(x, act):
    x = np.asarray(x, np.float64)
    return {"identity": lambda: x, "relu": lambda: np.maximum(x, 0), "sigmoid": lambda: sigmoid(x),
            "silu": lambda: x * sigmoid(x), "hardsigmoid": lambda: _hardsigmoid(x),
            "hardswish": lambda: x * _hardsigmoid(x),
            "gelu": lambda: x * below(x)}[ACTIVATIONS[act]]()


@np.errstate(over="ignore", invalid="ignore")
def slope(x, act):
    """The derivative of an activation; at a corner that of the flat side."""
    x = np.asarray(x, np.float64)
    s, r, inside = sigmoid(x), sigmoid(-x), abs(x) < 3
    at = {"identity": np.ones_like(x), "relu": np.where(x > 0, 1.0, 0.0), "sigmoid": s * r,
          "silu": s + x * s * r, "hardsigmoid": np.where(inside, 1 / 6, 0.0),
          "hardswish": np.where(inside, x / 3 + 0.5, np.where(x > 0, 1.0, 0.0)),
          "gelu": below(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)}[ACTIVATIONS[act]]
    return np.where(np.isnan(x) & (ACTIVATIONS[act] not in ("identity", "relu")), x, at)


@kernel
def activate_backward(x, dy, act):
    return slope(x, act) * dy


# --- losses and metrics

# --- bfloat16

@kernel
def widen(halves):
    """The floats whose upper 16 bits these are."""
    return (np.asarray(halves, np.uint16).astype(np.uint32) << 16).view(np.float32)


def _distance(x, halves):
    """From |x| to the size of a bfloat16, where what comes after the largest is 2^128."""
    size = np.abs(widen(halves).astype(np.float64))
    return np.abs(np.abs(x.astype(np.float64)) - np.where(np.isfinite(size), size, 2.0**128))


@kernel
def narrow(x):
    """Of the two bfloat16 that a float lies between the nearer one, or the even one."""
    x = np.asarray(x, np.float32)
    short = (x.view(np.uint32) >> 16).astype(np.uint16)
    far = short + np.uint16(1)  # the next one away from 0
    away = _distance(x, far) - _distance(x, short)
    halves = np.where((away < 0) | ((away == 0) & (short % 2 == 1)), far, short)
    return np.where(np.isnan(x), short | 0x40, np.where(np.isinf(x), short, halves))


def _times(coefficient, value):
    """coefficient * value, where a coefficient of 0 leaves nothing of an infinite value."""
    return np.where((coefficient == 0) & np.isinf(value), 0.0, coefficient * value)


def _loss(logits, targets, weight, pos_weight, smoothing, missing, present, absent):
    """w (q t L + (1 - t) M) with the losses of a label that is there and of one that is not, each
    given as a function from (s, 1 - s, -log s, -log(1 - s)) to itself and its slope in x."""
    x, t = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    w, q = np.asarray(weight, np.float64), np.asarray(pos_weight, np.float64)
    known = ~np.isnan(t) if missing else np.True_
    t = t * (1 - smoothing) + smoothing / 2
    parts = sigmoid(x), sigmoid(-x), np.logaddexp(0, -x), np.logaddexp(0, x)
    (there, there_slope), (not_there, not_there_slope) = present(*parts), absent(*parts)
    loss = w * (_times(q * t, there) + _times(1 - t, not_there))
    slope = w * (q * t * there_slope + (1 - t) * not_there_slope)
    return np.where(known, loss, 0), np.where(known, slope, 0)


@kernel
def bce(logits, targets, weight=1.0, pos_weight=1.0, smoothing=0.0, missing=False):
    """Elementwise loss -w (q t log s + (1 - t) log(1 - s)) with s = sigmoid(x), and dloss / dx."""
    return _loss(logits, targets, weight, pos_weight, smoothing, missing,
                 lambda s, r, log_s, log_r: (log_s, -r), lambda s, r, log_s, log_r: (log_r, s))


@kernel
def asymmetric(logits, targets, weight=1.0, pos_weight=1.0, smoothing=0.0, missing=False,
               gamma_neg=0.0, gamma_pos=0.0, clip=0.0):
    """Ridnik et al. (2021): -w (q t (1 - s)^g log s + (1 - t) p^h log(1 - p)), p = max(s - m, 0)"""
    clip = float(np.float32(clip))

    def present(s, r, log_s, log_r):
        return _times(r**gamma_pos, log_s), -(r**gamma_pos) * (r + gamma_pos * _times(s, log_s))

    def absent(s, r, log_s, log_r):
        if not clip:
            return _times(s**gamma_neg, log_r), s**gamma_neg * (s + gamma_neg * _times(r, log_r))
        p = np.where(s > clip, s - clip, 1)
        power, log_rest = p**gamma_neg, -np.log1p(-np.where(s > clip, p, 0))
        slope = s * r * (1 / np.where(s > clip, 1 - p, 1) + gamma_neg * log_rest / p)
        there = np.where(np.isnan(s), s, s > clip)
        return power * log_rest * there, power * slope * there

    return _loss(logits, targets, weight, pos_weight, smoothing, missing, present, absent)


@kernel
def count_over(scores, limit):
    return sum(s > limit for s in np.asarray(scores).tolist())


@kernel
def count_between(scores, marks):
    """Of ascending marks: how many scores lie between the last one and this, how many equal it."""
    counts = np.zeros((len(marks) + 1, 2), int)
    for score in np.asarray(scores, np.float64).tolist():
        counts[sum(mark < score for mark in marks), int(score in marks)] += 1
    return counts


@kernel
def count_equal(scores, targets, thresh):
    return sum(
        bool(s > h) == bool(t)
        for row, wanted in zip(scores, targets)
        for s, t, h in zip(row, wanted, thresh)
    )


def _both_there_decided(targets, decided):
    t, d = np.asarray(targets) != 0, np.asarray(decided) != 0
    return np.stack([t & d, t, d]).astype(np.float64)


@kernel
def count_labels(targets, decided):
    return _both_there_decided(targets, decided).sum(1)


@kernel
def count_rows(targets, decided):
    return _both_there_decided(targets, decided).sum(2)


@kernel
def weigh_labels(targets, decided, weights):
    return (_both_there_decided(targets, decided) * np.asarray(weights)[:, None]).sum(1)


def rank_edges(bits):
    """The number below each bin, ascending: the floats with zeros but in their upper bits. NaN
    where that is no number."""
    places = (np.arange(1 << bits) << (32 - bits)) - 2**31
    pattern = np.where(places < 0, 2**31 - places, places)
    pattern[0] = 2**32 - 1
    return pattern.astype(np.uint32).view(np.float32)


@kernel
def count_ranks(scores, targets, bits):
    """Bin b is above edge b and not above edge b + 1; edges that are no numbers have no bins."""
    edges, out = rank_edges(bits), np.zeros((np.shape(scores)[1], 1 << bits, 2), np.int64)
    numbers = np.flatnonzero(~np.isnan(edges))
    for row, wanted in zip(scores, targets):
        for label, (score, target) in enumerate(zip(row, wanted)):
            below = numbers[edges[numbers] < score]
            b = below[-1] if len(below) else numbers[0] - 1
            out[label, b, int(target != 0)] += 1
    return out


@kernel
def count_above(scores, targets, thresholds):
    """Of each label and number of thresholds that scores are above; the rows all right from a
    threshold on, less those that are no longer."""
    scores, wanted = np.asarray(scores), np.asarray(targets) != 0
    out = np.zeros((scores.shape[1], len(thresholds) + 1, 2), np.int64)
    for row, present in zip(scores, wanted):
        for label, (score, target) in enumerate(zip(row, present)):
            out[label, sum(bool(score > t) for t in thresholds), int(target)] += 1
    right = [((scores > t) == wanted).all(1).sum() for t in thresholds]
    return out, np.diff(right, prepend=0)


def accuracy(scores, targets, thresh):
    return count_equal(scores, targets, thresh) / np.size(scores)


def average_precision(scores, targets):
    """Sum over the distinct scores, from the highest, of (recall gained) x (precision there)."""
    targets, total, recall = np.asarray(targets) != 0, 0.0, 0.0
    if not targets.any():
        return np.nan
    for score in sorted(set(np.asarray(scores, np.float64).tolist()), reverse=True):
        above = np.asarray(scores) >= score
        reached = (above & targets).sum() / targets.sum()
        total += (reached - recall) * (above & targets).sum() / above.sum()
        recall = reached
    return total


def roc_auc(scores, targets):
    """The share of pairs of a positive and a negative that are in order, ties a half."""
    s, t = np.asarray(scores), np.asarray(targets) != 0
    above, below = s[t][:, None], s[~t]
    return np.mean((above > below) + 0.5 * (above == below))


def row_ranking(scores, targets):
    """Of one photo: average precision, coverage, and the share of pairs in the wrong order."""
    s, t = np.asarray(scores), np.asarray(targets) != 0
    if not t.any():
        return np.nan, 0, 0
    reached = s[t].min()
    wrong = np.mean(s[t][:, None] <= s[~t]) if not t.all() else 0
    return average_precision(s, t), (s >= reached).sum(), wrong


def found_at_k(scores, targets, k):
    """How many labels of a photo its k highest scores find, the mean over the orders of ties."""
    s, t, left, found = np.asarray(scores), np.asarray(targets) != 0, k, 0.0
    for score in sorted(set(s.tolist()), reverse=True):
        tied = s == score
        taken = min(left, tied.sum())
        found += taken * t[tied].mean()
        left -= taken
    return found


@kernel
def column_items(scores, targets, row):
    """A row for each label; the rank of a score is its place on the line of all float32s."""
    bits = np.abs(scores).astype(np.float32).view(np.uint32).astype(np.int64)
    rank = np.where(np.asarray(scores) < 0, 2**31 - 1 - bits, 2**31 + bits)
    rows = row + np.arange(len(rank))[:, None]
    items = rank.astype(np.uint64) << 32 | (2 * rows + (np.asarray(targets) != 0)).astype(np.uint64)
    return items.T, bool(np.isnan(scores).any())


@kernel
def column_scores(scores, targets):
    """A row for each label, and the ranks of its positives in the order of their rows."""
    columns = (np.asarray(scores, np.float64) + 0.0).T
    items, nan = column_items(scores, targets, 0)
    positives = [[int(item) >> 32 for item in row if int(item) & 1] for row in items]
    return columns, positives, nan


@kernel
def highest_below(scores, limit):
    return max((s for s in np.asarray(scores).tolist() if not s >= limit), default=-np.inf)


@kernel
def sort_descending(items):
    return np.array(sorted(items.tolist(), key=lambda item: -(item >> 32)), np.uint64)


@kernel
def row_places(scores, targets):
    """Of each label that is there: how many are above it, as high or above, there of the latter."""
    there = [(s, bool(t)) for s, t in zip(np.asarray(scores).tolist(), targets)]
    found = [[sum(s > x for s, _ in there), sum(s >= x for s, _ in there),
              sum(s >= x and t for s, t in there)] for x, t in there if t]
    return np.array(found).reshape(-1, 3)


# --- matrix products

@kernel
def gemm_tile(rows, offset, run, weights, start=0.0):
    """rows[i] is the memory from a pixel on; weights (taps, run, columns), start (columns,)."""
    out = np.zeros((len(rows), weights.shape[2])) + start
    for i, row in enumerate(rows):
        for t, start in enumerate(offset):
            out[i] += np.asarray(row[start : start + run], np.float64) @ weights[t].astype(float)
    return out


@kernel
def gemm_dots(rows, weights, start=0.0, segment=1 << 20, there=None):
    """rows (pixels, run) and weights (run / 2, columns, 2) of bfloat16, as the machine rounds.

    Of each pair the second product is added first; sums of `segment` steps are added to what is
    there.
    """
    a, w = widen(rows), widen(weights)
    done, total = there, np.full((len(a), w.shape[1]), start, np.float32)
    for k in range(0, a.shape[1], 2):
        for step in (1, 0):  # a product of two numbers of 8 bits is exact in float32
            total = total + a[:, k + step, None] * w[k // 2, :, step]
        if (k + 2) % segment == 0 or k + 2 == a.shape[1]:
            done = total if done is None else done + total
            total = np.zeros_like(total)
    return done


@kernel
def gemm_outer(a, b):
    """a (pixels, rows), b (pixels, columns) of all segments one after the other."""
    return np.asarray(a, np.float64).T @ np.asarray(b, np.float64)


# --- depthwise convolution, on (rows, pixels, channels)

def _depthwise_windows(x, weights_shape, step, pixels):
    """(rows, cols, pixels, channels): what each tap meets."""
    rows, cols, _ = weights_shape
    return np.stack([[x[r, q : q + step * (pixels - 1) + 1 : step] for q in range(cols)]
                     for r in range(rows)]).astype(np.float64)


@kernel
def depthwise_row(x, weights, step, pixels, bias=0.0):
    windows = _depthwise_windows(x, weights.shape, step, pixels)
    return np.einsum("rqpc,rqc->pc", windows, weights.astype(np.float64)) + bias


@kernel
def depthwise_weights(x, dy, cols, step):
    """Gradients of the taps, (cols, cols, channels), and of the bias."""
    dy = np.asarray(dy, np.float64)
    windows = _depthwise_windows(x, (cols, cols, dy.shape[1]), step, len(dy))
    return np.einsum("rqpc,pc->rqc", windows, dy), dy.sum(0)


# --- Winograd's transforms of a tile, (lines, lines or pixels, channels)

# Of a convolution of stride 1, and of the taps 0 and 2 of one of stride 2; the last one is not
# there in a tile of three outputs.
WINOGRAD_POINTS = {1: (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, np.inf, -(2**0.5)),
                   2: (0.5, -0.5, 1.5, np.inf, -1.5)}


def _polynomials(stride, outputs):
    """(Bt, G, At) of F(outputs, taps), by their definition as values of polynomials.

    For fewer than four outputs, Bt is multiplied by what that takes from G, so that G is that of
    four.
    """
    every = WINOGRAD_POINTS[stride]
    taps, n = len(every) - 3, len(every) - 4 + outputs
    bt, at, g = np.zeros((n, n)), np.zeros((outputs, n)), np.zeros((len(every), taps))
    for j, point in enumerate(every[:n]):
        others = [q for k, q in enumerate(every[:n]) if k != j and np.isfinite(q)]
        product = np.poly(others)[::-1]
        bt[j, : len(product)] = product
        at[:, j] = np.eye(outputs)[-1] if np.isinf(point) else point ** np.arange(outputs)
        if np.isfinite(point):
            bt[j] *= np.prod([point - q for q in every[n:]])
    for j, point in enumerate(every):
        others = [q for k, q in enumerate(every) if k != j and np.isfinite(q)]
        scale = np.prod(point - np.array(others))
        g[j] = np.eye(taps)[-1] if np.isinf(point) else point ** np.arange(taps) / scale
    return bt, g, at


def winograd_matrices(stride, outputs):
    """(Bt, G, At) along one axis.

    Stride 2: even inputs meet the taps 0 and 2; odd ones meet tap 1, the last point, in a line for
    each output.
    """
    bt, g, at = _polynomials(stride, outputs)
    if stride == 1:
        return bt, g, at
    n = outputs + 1
    lines, taps = np.zeros((2 * outputs + 1,) * 2), np.zeros((6, 3))
    lines[:n, 0::2], lines[n:, 1::2] = bt, np.eye(outputs)
    taps[:5, 0::2], taps[5, 1] = g, 1
    return lines, taps, np.hstack([at, np.eye(outputs)])


def _back_matrices(outputs):
    """(Bt, At) of the gradient of a stride 2 convolution's input: inputs are dy."""
    bt, _, at = _polynomials(2, outputs)
    lines = np.zeros((2 * outputs + 1, outputs + 1))
    lines[: outputs + 1], lines[outputs + 1 :, :outputs] = bt, np.eye(outputs)
    pixels = np.zeros((2 * outputs, 2 * outputs + 1))
    pixels[1::2, : outputs + 1], pixels[0::2, outputs + 1 :] = at, np.eye(outputs)
    return lines, pixels


def _both_axes(rows, cols, x):
    return np.einsum("ip,jq,pqc->ijc", rows, cols, np.asarray(x, np.float64))


@kernel
def wino_input(pixels):
    rows, cols, _ = pixels.shape
    return _both_axes(winograd_matrices(1, rows - 2)[0], winograd_matrices(1, cols - 2)[0], pixels)


@kernel
def wino_output(lines):
    rows, cols, _ = lines.shape
    return _both_axes(winograd_matrices(1, rows - 2)[2], winograd_matrices(1, cols - 2)[2], lines)


@kernel
def wino_gradient(pixels):
    rows, cols, _ = pixels.shape
    return _both_axes(winograd_matrices(1, rows)[2].T, winograd_matrices(1, cols)[2].T, pixels)


@kernel
def wino_weights(taps):
    g = winograd_matrices(1, 4)[1]
    return _both_axes(g, g, taps)


@kernel
def wino_weights_backward(points):
    g = winograd_matrices(1, 4)[1]
    return _both_axes(g.T, g.T, points)


@kernel
def wino_s2_input(pixels):
    rows, cols = (size // 2 for size in pixels.shape[:2])
    return _both_axes(winograd_matrices(2, rows)[0], winograd_matrices(2, cols)[0], pixels)


@kernel
def wino_s2_output(lines):
    rows, cols = (size // 2 for size in lines.shape[:2])
    return _both_axes(winograd_matrices(2, rows)[2], winograd_matrices(2, cols)[2], lines)


@kernel
def wino_s2_gradient(pixels):
    rows, cols, _ = pixels.shape
    return _both_axes(winograd_matrices(2, rows)[2].T, winograd_matrices(2, cols)[2].T, pixels)


@kernel
def wino_s2_back_input(pixels):
    rows, cols, _ = pixels.shape
    return _both_axes(_back_matrices(rows - 1)[0], _back_matrices(cols - 1)[0], pixels)


@kernel
def wino_s2_back_output(lines):
    rows, cols = (size // 2 for size in lines.shape[:2])
    return _both_axes(_back_matrices(rows)[1], _back_matrices(cols)[1], lines)


@kernel
def wino_s2_weights(taps):
    g = winograd_matrices(2, 4)[1]
    return _both_axes(g, g, taps)


@kernel
def wino_s2_weights_backward(points):
    g = winograd_matrices(2, 4)[1]
    return _both_axes(g.T, g.T, points)


# --- batch norm, on (pixels, channels)

@kernel
def norm_sums(x, shift):
    d = np.asarray(x, np.float64) - shift
    return d.sum(0), (d * d).sum(0)


@kernel
def norm_apply(x, residual, scale, shift, act):
    y = np.asarray(x, np.float64) * scale + shift
    return activate(y if residual is None else y + residual, act)


def _before_activation(passed, dy):
    """dz = dy where a ReLU let the output pass, or times the slope of another activation."""
    dy = np.asarray(dy, np.float64)
    return np.where(passed, dy, 0.0) if passed.dtype == bool else dy * passed


@kernel
def norm_rewrite(x, residual, scale, shift, act):
    """norm_apply, of x and a residual in bfloat16."""
    residual = None if residual is None else widen(residual)
    return norm_apply(widen(x), residual, scale, shift, act)


@kernel
def norm_backward_sums(passed, x, dy, mean, inverse):
    """(sum dz, sum dz xhat)"""
    dz = _before_activation(passed, dy)
    return dz.sum(0), (dz * ((np.asarray(x, np.float64) - mean) * inverse)).sum(0)


@kernel
def norm_backward(passed, dy, x, a, b, c):
    """(dx, dz): the gradients of the input and of the residual."""
    dz = _before_activation(passed, dy)
    return np.asarray(a, np.float64) * dz + np.asarray(b, np.float64) * x + c, dz


# --- layer norm, on (pixels, channels)

@kernel
def layer_norm(x, weight, bias, eps):
    """(y, mean, 1 / deviation), the latter two of each pixel."""
    x = np.asarray(x, np.float64)
    mean = x.mean(1)
    inverse = 1 / np.sqrt(((x - mean[:, None]) ** 2).mean(1) + eps)
    return (x - mean[:, None]) * inverse[:, None] * weight + bias, mean, inverse


@kernel
def layer_norm_backward(x, dy, weight, mean, inverse):
    """(dx, dweight, dbias)"""
    inverse = np.asarray(inverse, np.float64)[:, None]
    xhat = (x - np.asarray(mean, np.float64)[:, None]) * inverse
    dz = np.asarray(dy, np.float64) * weight
    dx = inverse * (dz - dz.mean(1)[:, None] - xhat * (dz * xhat).mean(1)[:, None])
    return dx, (dy * xhat).sum(0), np.asarray(dy, np.float64).sum(0)


# --- layer scale, on (pixels, channels)

@kernel
def layer_scale_backward(x, dy, scale):
    """(dx, sum of dy x): the gradients of the input and of the scale."""
    dy = np.asarray(dy, np.float64)
    return dy * scale, (dy * x).sum(0)


# --- pooling, on (taps or pixels, channels)

def _first_largest(x):
    """Index of the first largest value of every column; the first NaN is larger than all."""
    return np.where(np.isnan(x).any(0), np.isnan(x).argmax(0), np.nan_to_num(
        x, nan=-np.inf, posinf=np.inf, neginf=-np.inf).argmax(0))


@kernel
def max_window(window, scale=1.0, shift=0.0, act=0):
    y = activate(np.asarray(window, np.float64) * scale + shift, act)
    tap = _first_largest(y)
    return np.take_along_axis(y, tap[None], 0)[0], tap


@kernel
def max_window_backward(dy, tap, dx):
    out = np.array(dx, np.float64)
    for c, t in enumerate(tap):
        if 0 <= t < len(out):
            out[t, c] += dy[c]
    return out


@kernel
def sum_and_max(x, first):
    at = _first_largest(np.asarray(x, np.float64))
    return (np.asarray(x, np.float64).sum(0),
            np.take_along_axis(np.asarray(x, np.float64), at[None], 0)[0], first + at)


@kernel
def sum_pixels(x):
    return np.asarray(x, np.float64).sum(0)


@kernel
def spread_pixels(d, pixels):
    return np.tile(np.asarray(d, np.float64), (pixels, 1))


# --- scale, on (pixels, channels)

@kernel
def scale_pixels(x, factor):
    return np.asarray(x, np.float64) * factor


@kernel
def scale_backward(x, dy, factor):
    """Gradients of x and of the factor."""
    dy = np.asarray(dy, np.float64)
    return dy * factor, (dy * x).sum(0)


# --- optimizer

@kernel
def adam(p, g, m, v, keep, mom, sqr_mom, eps, rate, debias):
    m = mom * m + (1 - mom) * g
    v = sqr_mom * v + (1 - sqr_mom) * g * g
    return p * keep - rate * m / (np.sqrt(v * debias) + eps), m, v


def adam_step(p, g, m, v, step, lr, mom, sqr_mom, eps, wd):
    """One step as fastai defines it; returns the new (p, m, v)."""
    return adam(p, g, m, v, 1 - lr * wd, mom, sqr_mom, eps, lr / (1 - mom**step),
                1 / (1 - sqr_mom**step))


@kernel
def sgd(p, g, m, keep, mom, rate):
    m = mom * m + g
    return p * keep - rate * m, m


@kernel
def lion(p, g, m, keep, mom, late_mom, rate):
    way = mom * m + (1 - mom) * g
    return p * keep - rate * np.sign(way), late_mom * m + (1 - late_mom) * g


def sgd_step(p, g, m, lr, mom, wd):
    """One step as fastai and torch define it; returns the new (p, m)."""
    return sgd(p, g, m, 1 - lr * wd, mom, lr)


def lion_step(p, g, m, lr, mom, sqr_mom, wd):
    """One step as Chen et al. (2023) define it; returns the new (p, m)."""
    return lion(p, g, m, 1 - lr * wd, mom, sqr_mom, lr)


def radam_step(p, g, m, v, step, lr, mom, sqr_mom, eps, wd):
    """One step as fastai defines it; returns the new (p, m, v)."""
    m, v = mom * m + (1 - mom) * g, sqr_mom * v + (1 - sqr_mom) * g * g
    p, rate = p * (1 - lr * wd), lr / (1 - mom**step)
    most = 2 / (1 - sqr_mom) - 1
    r = most - 2 * step * sqr_mom**step / (1 - sqr_mom**step)
    if r <= 5:
        return p - rate * m, m, v
    rectified = np.sqrt((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r))
    return p - rate * rectified * m / (np.sqrt(v / (1 - sqr_mom**step)) + eps), m, v


# --- pixels, RGB triples

REFLECT, CLAMP, ZEROS = range(3)  # what lies outside of an image


def reflect(t, last, margin=0.0):
    """Reflect a position `margin` outside of 0 and `last`, the centers of the border pixels."""
    span = last + 2 * margin
    if span == 0:
        return 0.0
    t = abs(t + margin) % (2 * span)
    return min(max((2 * span - t if t > span else t) - margin, 0.0), last)


def _pixel(image, y, x):
    """A pixel as part of 1; black outside."""
    inside = 0 <= y < image.shape[0] and 0 <= x < image.shape[1]
    return image[y, x] / 255.0 if inside else np.zeros(3)


def sample(image, y, x, nearest=False):
    """Bilinear value of an (H, W, 3) image at a position, as part of 1; black outside."""
    if nearest:
        return _pixel(image, round(y), round(x))
    top, left = math.floor(y), math.floor(x)
    fy, fx = y - top, x - left
    upper, lower = ((1 - fx) * _pixel(image, row, left) + fx * _pixel(image, row, left + 1)
                    for row in (top, top + 1))
    return (1 - fy) * upper + fy * lower


@kernel
def warp_row(image, matrix, row, out_width, border=REFLECT, margin=0.0, nearest=False):
    out = np.zeros((out_width, 3))
    for column in range(out_width):
        x, y, w = matrix @ np.array([column, row, 1.0])
        x, y = (x / w, y / w) if abs(w) > 0 else (column, row)
        last_y, last_x = image.shape[0] - 1, image.shape[1] - 1
        if border == REFLECT:
            y, x = reflect(y, last_y, margin), reflect(x, last_x, margin)
        elif border == CLAMP:
            y, x = min(max(y, 0), last_y), min(max(x, 0), last_x)
        out[column] = sample(image, y, x, nearest)
    return out


@kernel
def light(x, add, multiply):
    p = np.clip(np.asarray(x, np.float64), 1e-7, 1 - 1e-7)
    return sigmoid((np.log(p / (1 - p)) + add) * multiply)


@kernel
def tint(x, map_):
    p = np.clip(np.asarray(x, np.float64), 1e-7, 1 - 1e-7)
    return sigmoid(np.log(p / (1 - p)) @ map_[:, :3].T.astype(np.float64) + map_[:, 3])


@kernel
def turn_hue(x, turn):
    out = np.array(x, np.float64)
    for pixel in out.reshape(-1, 3):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        pixel[:] = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
    return out


@kernel
def normalize(x, mean, std):
    return (np.asarray(x, np.float64) - mean) / std


@kernel
def look_up(x, table):
    return np.stack([table[x[:, c], c] for c in range(3)], 1).astype(np.float64)


# --- layers: (inputs, parameters, options, ...) -> (output, backward)
# backward(dy) -> (gradients of the inputs, {suffix: gradient of the parameter})

def _window(x, r, q, h, w, stride):
    return x[:, :, r : r + stride * (h - 1) + 1 : stride, q : q + stride * (w - 1) + 1 : stride]


def _pad(x, padding, value=0.0):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)),
                  constant_values=value)


def wide(v):
    """A number for each channel, for all pixels."""
    return v[None, :, None, None]


def _crop(x, padding):
    return x[:, :, padding : x.shape[2] - padding, padding : x.shape[3] - padding]


@layer("conv")
def conv(inputs, params, options, **_):
    (x,), weight = inputs, params["weight"]
    size, stride, padding = options["kernel"], options.get("stride", 1), options.get("padding", 0)
    padded = _pad(x, padding)
    h, w = ((d - size) // stride + 1 for d in padded.shape[2:])
    taps = [(r, q) for r in range(size) for q in range(size)]
    y = sum(np.einsum("nchw,kc->nkhw", _window(padded, r, q, h, w, stride), weight[:, :, r, q])
            for r, q in taps) + wide(params.get("bias", np.zeros(len(weight))))

    def backward(dy):
        dx, dweight = np.zeros_like(padded), np.zeros_like(weight)
        for r, q in taps:
            _window(dx, r, q, h, w, stride)[...] += np.einsum(
                "nkhw,kc->nchw", dy, weight[:, :, r, q])
            dweight[:, :, r, q] = np.einsum(
                "nkhw,nchw->kc", dy, _window(padded, r, q, h, w, stride))
        grads = {"weight": dweight, "bias": dy.sum((0, 2, 3))}
        return (_crop(dx, padding),), {name: grads[name] for name in params}

    return y, backward


@layer("depthwise")
def depthwise(inputs, params, options, **_):
    (x,), weight = inputs, params["weight"][:, 0]
    size, stride, padding = options["kernel"], options.get("stride", 1), options.get("padding", 0)
    padded = _pad(x, padding)
    h, w = ((d - size) // stride + 1 for d in padded.shape[2:])
    taps = [(r, q) for r in range(size) for q in range(size)]

    def each(values):
        return values[None, :, None, None]

    y = sum(_window(padded, r, q, h, w, stride) * each(weight[:, r, q]) for r, q in taps)

    def backward(dy):
        dx, dweight = np.zeros_like(padded), np.zeros_like(params["weight"])
        for r, q in taps:
            _window(dx, r, q, h, w, stride)[...] += dy * each(weight[:, r, q])
            dweight[:, 0, r, q] = (dy * _window(padded, r, q, h, w, stride)).sum((0, 2, 3))
        grads = {"weight": dweight, "bias": dy.sum((0, 2, 3))}
        return (_crop(dx, padding),), {name: grads[name] for name in params}

    return y + each(params.get("bias", np.zeros(len(weight)))), backward


@layer("linear")
def linear(inputs, params, options, **_):
    """Of the channels of every pixel."""
    (x,), weight = inputs, params["weight"]
    shape, weight = weight.shape, weight.reshape(len(weight), -1)  # (K, C), or (K, C, 1, 1)
    y = np.einsum("nchw,kc->nkhw", x, weight) + wide(params.get("bias", np.zeros(len(weight))))

    def backward(dy):
        grads = {"weight": np.einsum("nkhw,nchw->kc", dy, x).reshape(shape),
                 "bias": dy.sum((0, 2, 3))}
        dx = np.einsum("nkhw,kc->nchw", dy, weight)
        return (dx,), {name: grads[name] for name in params}

    return y, backward


@layer("batchnorm")
def batchnorm(inputs, params, options, train, buffers, **_):
    """Training moves `buffers`, the running statistics, in place."""
    act = ACTIVATIONS.index("relu" if options.get("relu") else options.get("act", "identity"))

    x, eps, take = inputs[0], options.get("eps", 1e-5), options.get("momentum", 0.1)
    n, mean, var = x.size // x.shape[1], buffers["running_mean"], buffers["running_var"]
    if train:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        new = {"running_mean": mean, "running_var": var * n / (n - 1)}
        for name, value in new.items():
            buffers[name] = (1 - take) * buffers[name] + take * value
    inverse = 1 / np.sqrt(var + eps)
    xhat = (x - wide(mean)) * wide(inverse)
    z = xhat * wide(params["weight"]) + wide(params["bias"]) + (inputs[1] if inputs[1:] else 0.0)

    def backward(dy):
        dz = slope(z, act) * dy
        dbias, dweight = dz.sum((0, 2, 3)), (dz * xhat).sum((0, 2, 3))
        dx = wide(params["weight"] * inverse) * (dz - wide(dbias) / n - xhat * wide(dweight) / n)
        return (dx, dz)[: len(inputs)], {"weight": dweight, "bias": dbias}

    return activate(z, act), backward


def _pixels(x):
    """(N, C, H, W) as (pixels, channels)."""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def _images(pixels, shape):
    n, c, h, w = shape
    return pixels.reshape(n, h, w, c).transpose(0, 3, 1, 2)


@layer("layernorm")
def layernorm(inputs, params, options, **_):
    (x,), weight = inputs, params["weight"]
    y, mean, inverse = layer_norm(_pixels(x), weight, params["bias"], options.get("eps", 1e-5))

    def backward(dy):
        dx, dweight, dbias = layer_norm_backward(_pixels(x), _pixels(dy), weight, mean, inverse)
        return (_images(dx, x.shape),), {"weight": dweight, "bias": dbias}

    return _images(y, x.shape), backward


@layer("layerscale")
def layerscale(inputs, params, options, **_):
    (x, residual), gamma = inputs, params["gamma"]
    return x * wide(gamma) + residual, lambda dy: (
        (dy * wide(gamma), dy), {"gamma": (dy * x).sum((0, 2, 3))})


@layer("relu")
def relu_layer(inputs, params, options, **_):
    return relu(inputs[0]), lambda dy: ((np.where(inputs[0] > 0, dy, 0.0),), {})


@layer("activation")
def activation_layer(inputs, params, options, **_):
    act = ACTIVATIONS.index(options["act"])
    return activate(inputs[0], act), lambda dy: ((slope(inputs[0], act) * dy,), {})


@layer("scale")
def scale(inputs, params, options, **_):
    x, factor = inputs
    return x * factor, lambda dy: ((dy * factor, (dy * x).sum((2, 3), keepdims=True)), {})


@layer("dropout")
def dropout_layer(inputs, params, options, train, index, key, **_):
    """The mask of an image belongs to its position, the layer and the line of the image. In a line
    the elements are counted over pixels and padded channels."""
    (x,) = inputs
    if not train:
        return x, lambda dy: ((dy,), {})
    n, channels, h, w = x.shape
    padded = -(-channels // LANES) * LANES
    p, (seed, epoch, position), scale = options["p"], key, np.zeros_like(x)
    for i in range(n):
        for line in range(h):
            operation = (0x10000 + index) ^ (line << 20)
            kept = dropout_kept(w * padded, seed, epoch, position + i, operation, p)
            scale[i, :, line] = kept.reshape(w, padded)[:, :channels].T / (1 - p)
    return x * scale, lambda dy: ((dy * scale,), {})


@layer("maxpool")
def maxpool(inputs, params, options, **_):
    (x,), size = inputs, options["kernel"]
    stride, padding = options.get("stride", 1), options.get("padding", 0)
    padded = _pad(x, padding, -np.inf)
    h, w = ((d - size) // stride + 1 for d in padded.shape[2:])
    taps = [(r, q) for r in range(size) for q in range(size)]
    windows = np.stack([_window(padded, r, q, h, w, stride) for r, q in taps])
    best = _first_largest(windows)

    def backward(dy):
        dx = np.zeros_like(padded)
        for t, (r, q) in enumerate(taps):
            _window(dx, r, q, h, w, stride)[...] += np.where(best == t, dy, 0.0)
        return (_crop(dx, padding),), {}

    return windows.max(0), backward


@layer("avgpool")
def avgpool(inputs, params, options, **_):
    (x,) = inputs
    share = 1 / (x.shape[2] * x.shape[3])
    return (x.mean((2, 3), keepdims=True),
            lambda dy: ((np.broadcast_to(dy * share, x.shape).copy(),), {}))


@layer("concatpool")
def concatpool(inputs, params, options, **_):
    (x,) = inputs
    n, c = x.shape[:2]
    flat = x.reshape(n, c, -1)
    at = flat.argmax(2)
    y = np.concatenate([flat.max(2), flat.mean(2)], 1)

    def backward(dy):
        dx = np.zeros_like(flat) + dy[:, c:, 0] / flat.shape[2]
        rows, columns = np.ogrid[:n, :c]
        dx[rows, columns, at] += dy[:, :c, 0, 0]
        return (dx.reshape(x.shape),), {}

    return y[:, :, None, None], backward


# --- networks

class Network:
    """A list of (kind, name, inputs, options), as ``_core.Net`` takes it, in float64.

    `state` is a dict of arrays, parameters and running statistics, under the names of the net;
    training forwards move the running statistics in it.
    """

    def __init__(self, spec, state):
        self.spec = spec
        self.state = {name: np.array(value, np.float64) for name, value in state.items()}

    def _part(self, name, suffixes):
        found = {s: self.state.get(f"{name}.{s}") for s in suffixes}
        return {s: value for s, value in found.items() if value is not None}

    def forward(self, x, train=False, key=(0, 0, 0)):
        """(N, C, H, W) -> the last layer's output, (N, L) where that is 1 x 1 pixels."""
        tensors, self._backward = [np.asarray(x, np.float64)], []
        for index, (kind, name, inputs, options) in enumerate(self.spec):
            buffers = self._part(name, ("running_mean", "running_var"))
            params = self._part(name, ("weight", "bias", "gamma"))
            y, backward = LAYERS[kind]([tensors[i] for i in inputs], params, options, train=train,
                                       buffers=buffers, index=index, key=key)
            self.state.update({f"{name}.{s}": value for s, value in buffers.items()})
            tensors.append(y)
            self._backward.append(backward)
        self._shapes = [t.shape for t in tensors]
        return y[:, :, 0, 0] if y.shape[2:] == (1, 1) else y

    def backward(self, dy):
        """Gradients of all parameters by name, and that of the images as ``"x"``."""
        tensors = [np.zeros(shape) for shape in self._shapes]
        tensors[-1] += np.asarray(dy, np.float64).reshape(self._shapes[-1])
        grads = {}
        for index in reversed(range(len(self.spec))):
            _, name, inputs, _ = self.spec[index]
            dinputs, dparams = self._backward[index](tensors[index + 1])
            for i, d in zip(inputs, dinputs):
                tensors[i] += d
            grads.update({f"{name}.{suffix}": d for suffix, d in dparams.items()})
        return grads | {"x": tensors[0]}


# --- what the tests of nets share

def nhwc(x):
    """A (N, C, H, W) array as ``_core`` takes it: float32, a view of (N, H, W, C) memory."""
    pixels = np.ascontiguousarray(np.asarray(x, np.float32).transpose(0, 2, 3, 1))
    return pixels.transpose(0, 3, 1, 2)


def random_state(net, rng):
    """Parameters and running statistics of the size that trained ones have."""
    state = {}
    for name, value in net.parameters().items():
        size = 1 / np.sqrt(value[0].size) if value.ndim > 1 else 0.3
        state[name] = rng.normal(size=value.shape) * size
        if value.ndim == 1 and f"{name[:-7]}.running_var" in net.buffers():
            state[name] += 1
    for name, value in net.buffers().items():
        state[name] = rng.random(value.shape) + 0.5
    return {name: value.astype(np.float32) for name, value in state.items()}


def small_resnet(width=20, labels=5, p=0.3):
    """A spec with everything that a residual network has, small enough to run often."""
    return [
        ("conv", "stem", (0,), {"out": width, "kernel": 3, "stride": 2, "padding": 1}),  # 1
        ("batchnorm", "stem_bn", (1,), {"relu": True}),
        ("maxpool", "", (2,), {"kernel": 3, "stride": 2, "padding": 1}),  # 3
        ("conv", "a1", (3,), {"out": width, "kernel": 3, "padding": 1}),
        ("batchnorm", "a1_bn", (4,), {"relu": True}),
        ("conv", "a2", (5,), {"out": width, "kernel": 3, "padding": 1}),
        ("batchnorm", "a2_bn", (6, 3), {"relu": True}),  # 7
        ("conv", "b1", (7,), {"out": 2 * width, "kernel": 3, "stride": 2, "padding": 1}),
        ("batchnorm", "b1_bn", (8,), {"relu": True}),
        ("conv", "b2", (9,), {"out": 2 * width, "kernel": 3, "padding": 1}),  # 10
        ("conv", "b_down", (7,), {"out": 2 * width, "kernel": 1, "stride": 2}),
        ("batchnorm", "b_down_bn", (11,), {}),  # 12
        ("batchnorm", "b2_bn", (10, 12), {"relu": True}),  # 13
        ("concatpool", "", (13,), {}),
        ("batchnorm", "head_bn", (14,), {}),
        ("dropout", "", (15,), {"p": p}),
        ("linear", "fc1", (16,), {"out": 2 * width, "bias": True}),
        ("relu", "", (17,), {}),
        ("dropout", "", (18,), {"p": p}),
        ("linear", "fc2", (19,), {"out": labels, "bias": True}),
    ]
