"""A training step of several processes, each with its part of every batch.

All hold the same weights. The gradient of a batch's loss is the sum of what its parts give: each
rank's share is added up over the ranks while the backward pass goes on (`GradientSum`), and
all take the same step. MPI's sums are in an order that follows from the sizes of arrays and the
number of ranks, whoever comes first: the same run twice gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from mlclassify.arrays import images_to_c
from mlclassify.ranks import MPIRanks, Ranks, current
from mlclassify.types import AnyArray, Float32, Float64

BUCKET_BYTES = 4 << 20  # of gradients that are summed in one message


class Alone:
    """How the only process of a group trains: each method does what its name says, and no more.

    Parameters
    ----------
    ranks : Ranks
    """

    sum: Callable[[Float64], None] | None = None  # what the batch norms of a forward pass call

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def stream(self, dl: Any, seed: int, epoch: int) -> Generator[Any, None, None]:
        """Load this rank's part of each batch of an epoch."""
        batches: Generator[Any, None, None] = dl.stream(seed, epoch)
        return batches

    def check(self, learn: Any) -> None:
        """Raise ValueError where ranks would not train the same model on the same data."""

    def whole_loss(
        self, loss_func: Any, loss: float, gradient: Float32, targets: AnyArray
    ) -> tuple[float, Float32]:
        """Return the loss of the whole batch, and its gradient at this rank's logits."""
        return loss, gradient

    def backward(self, model: Any, gradient: Float32, accumulate: bool) -> None:
        """Run the backward pass, after which the gradients are those of the whole batch."""
        model.backward(gradient, accumulate=accumulate)

    def predict(
        self, model: Any, x: AnyArray, targets: AnyArray, n: int
    ) -> tuple[AnyArray, AnyArray]:
        """Return logits and targets of all `n` photos of a batch, of which this rank has a part."""
        return model.forward(images_to_c(x)), targets

    def settle(self, model: Any) -> None:
        """Make sure that all ranks have the same model, after the batches of an epoch."""


class Together(Alone):
    """How a rank of several trains.

    Parameters
    ----------
    ranks : MPIRanks
    sync_bn : bool
        Whether batch norms use the statistics of the whole batch, as a single process would. Else
        each rank normalizes by those of its part, and running statistics are averaged after an
        epoch.
    bucket_bytes : int
        How many gradients go in one message.
    """

    ranks: MPIRanks

    def __init__(self, ranks: MPIRanks, sync_bn: bool, bucket_bytes: int = BUCKET_BYTES) -> None:
        super().__init__(ranks)
        self.sync_bn, self.bucket_bytes = sync_bn, bucket_bytes
        self.sum = ranks.sum if sync_bn else None

    def stream(self, dl: Any, seed: int, epoch: int) -> Generator[Any, None, None]:
        batches: Generator[Any, None, None] = dl.stream(
            seed, epoch, part=(self.ranks.rank, self.ranks.size)
        )
        return batches

    def check(self, learn: Any) -> None:
        train, size = learn.dls.train, self.ranks.size
        least = 2 if learn.model.needs_pairs else 1  # batch norm cannot be trained with one photo
        if train.smallest_batch < least * size:
            raise ValueError(
                f"fit: each of {size} processes must get at least {least} photos of every batch, "
                f"got {train.n} photos with batch size {train.bs}; choose another bs, or "
                "drop_last=True"
            )
        self._check_same(learn)

    def _check_same(self, learn: Any) -> None:
        train, valid = learn.dls.train, learn.dls.valid
        for what, value in (
            ("seed", (learn.seed, learn.epochs_begun)),
            ("labels", list(learn.dls.vocab)),
            ("batches", [(dl.n, dl.bs, len(dl)) for dl in (train, valid)]),
            ("trained parameters", list(learn.model.trainable)),
            ("weights", _bytes_of(learn.model.state_dict())),
        ):
            if not self.ranks.same(str(value)):
                raise ValueError(
                    f"fit: the {what} must be the same on all ranks, got others than those of rank "
                    f"{self.ranks.rank}; a script that is launched must do the same on each, and "
                    "split data by a seed"
                )

    def whole_loss(
        self, loss_func: Any, loss: float, gradient: Float32, targets: AnyArray
    ) -> tuple[float, Float32]:
        count = self._count(loss_func, targets)
        sums = np.array([float(loss) * count if count else 0.0, count])
        self.ranks.sum(sums)
        if _reduction(loss_func) == "sum":
            return float(sums[0]), gradient
        if not count:  # the mean of no cell is no number, nor is its gradient
            gradient = np.zeros_like(gradient)
        whole = float(sums[0] / sums[1]) if sums[1] else float(loss)
        return whole, gradient * np.float32(count / max(sums[1], 1))

    def _count(self, loss_func: Any, targets: AnyArray) -> float:
        """How much this rank's loss counts: by the cells that it is the mean of."""
        if _reduction(loss_func) == "sum":
            return 1.0
        return float(np.count_nonzero(~np.isnan(targets)))

    def backward(self, model: Any, gradient: Float32, accumulate: bool) -> None:
        gradients = model.net.gradients()
        before = {name: g.copy() for name, g in gradients.items()} if accumulate else {}
        total = GradientSum(self.ranks, gradients, self.bucket_bytes)
        model.backward(gradient, sum=self.sum, ready=total.ready)
        total.finish()
        for name, earlier in before.items():
            gradients[name] += earlier

    def predict(
        self, model: Any, x: AnyArray, targets: AnyArray, n: int
    ) -> tuple[AnyArray, AnyArray]:
        logits = np.empty_like(targets, np.float32)  # of no photo, where n is below the ranks
        if len(x):
            logits = model.forward(images_to_c(x))
        pair = np.concatenate([logits, targets], axis=1, dtype=np.float32)
        whole = self.ranks.gather_rows(pair, n)
        width = logits.shape[1]
        return np.ascontiguousarray(whole[:, :width]), np.ascontiguousarray(whole[:, width:])

    def settle(self, model: Any) -> None:
        if not self.sync_bn:
            self._average_statistics(model)
        if not self.ranks.same(_bytes_of(model.state_dict())):
            raise RuntimeError(
                "fit: all ranks must have the same weights after an epoch, got others than those "
                f"of rank {self.ranks.rank}: something was done to the model on some of them only"
            )

    def _average_statistics(self, model: Any) -> None:
        buffers = {name: np.array(value) for name, value in model.net.buffers().items()}
        for value in buffers.values():
            self.ranks.sum(value)
            value /= self.ranks.size
        model.net.load_state_dict(buffers)


class GradientSum:
    """The gradients of a backward pass, summed over all ranks while the pass goes on.

    They go in buckets, in the order in which layers give them, the last layer first. A bucket's
    sum is begun when the last of its layers is ready, and goes on beside the layers before it.

    Parameters
    ----------
    ranks : MPIRanks
    gradients : dict of str to float32 array
        By name of the parameter, in the order of layers; summed in place.
    bucket_bytes : int
        A bucket is full with so many.
    """

    def __init__(
        self, ranks: MPIRanks, gradients: dict[str, Float32], bucket_bytes: int
    ) -> None:
        self._ranks = ranks
        self._buckets = make_buckets(gradients, bucket_bytes)
        self._begun = 0

    def ready(self, layer: str) -> None:
        """Take the gradients of a layer, which are complete, and let what is on its way go on."""
        for bucket in self._buckets[self._begun :]:
            if layer in bucket.layers:
                bucket.missing.discard(layer)
        while self._begun < len(self._buckets) and not self._buckets[self._begun].missing:
            self._begin()
        # MPI libraries without a thread of their own send on only inside of calls such as this one.
        self._ranks.mpi.Request.Testall([b.request for b in self._buckets[: self._begun]])

    def _begin(self) -> None:
        bucket = self._buckets[self._begun]
        self._begun += 1
        bucket.pack()
        bucket.request = self._ranks.begin_sum(bucket.flat)

    def finish(self) -> None:
        """Go on when all gradients are those of all ranks."""
        while self._begun < len(self._buckets):  # layers that the loss does not depend on
            self._begin()
        for bucket in self._buckets:
            bucket.request.Wait()
            bucket.unpack()


class Bucket:
    """Gradients that are summed in one message.

    Parameters
    ----------
    layers : sequence of str
    gradients : sequence of float32 arrays
        Of these layers.
    """

    request: Any = None

    def __init__(self, layers: Sequence[str], gradients: Sequence[Float32]) -> None:
        self.layers, self.missing, self.gradients = set(layers), set(layers), gradients
        self.flat: Float32 = np.empty(sum(g.size for g in gradients), np.float32)

    def pack(self) -> None:
        """Copy the gradients into the message."""
        np.concatenate([g.reshape(-1) for g in self.gradients], out=self.flat)

    def unpack(self) -> None:
        """Copy the message into the gradients."""
        at = 0
        for gradient in self.gradients:
            gradient.reshape(-1)[...] = self.flat[at : at + gradient.size]
            at += gradient.size


def make_buckets(gradients: dict[str, Float32], bucket_bytes: int) -> list[Bucket]:
    """Return buckets of whole layers, the last layer first.

    Parameters
    ----------
    gradients : dict of str to float32 array
        By name of the parameter, ``layer.weight`` or ``layer.bias``, in the order of layers.
    bucket_bytes : int
        A bucket is full with so many; a layer may have more.

    Returns
    -------
    list of Bucket

    Examples
    --------
    >>> gradients = {f"{name}.weight": np.zeros(100, np.float32) for name in "abc"}
    >>> [sorted(bucket.layers) for bucket in make_buckets(gradients, 800)]
    [['b', 'c'], ['a']]
    """
    buckets: list[Bucket] = []
    layers: list[str] = []
    arrays: list[Float32] = []
    by_layer: dict[str, list[Float32]] = {}
    for name, gradient in gradients.items():
        by_layer.setdefault(name.rpartition(".")[0], []).append(gradient)
    for layer in reversed(by_layer):
        layers.append(layer)
        arrays += by_layer[layer]
        if sum(g.nbytes for g in arrays) >= bucket_bytes:
            buckets.append(Bucket(layers, arrays))
            layers, arrays = [], []
    return [*buckets, Bucket(layers, arrays)] if layers else buckets


def sharing(sync_bn: bool = True) -> Alone:
    """Return how a step is shared in the group of this process."""
    ranks = current()
    return Together(ranks, sync_bn) if isinstance(ranks, MPIRanks) else Alone(ranks)


def _reduction(loss_func: Any) -> str:
    return str(getattr(getattr(loss_func, "func", loss_func), "reduction", "mean"))


def _bytes_of(state: dict[str, Float32]) -> str:
    digest = sha256()
    for value in state.values():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
