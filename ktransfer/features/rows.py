"""What the stages read: images, or what frozen blocks say of them, each computed only once.

Rows are held by what they were made of: the bytes of the files, the way of reading them, the
structure and the weights of the frozen blocks, the cut, the views. They are looked for in this
order: in this process, on disk (`ktransfer.cache`, shared with earlier runs), else computed from
the nearest rows before them. The weights are digested anew before every use, so that a training
that has moved a block can never be given what the block said before; where nothing trains between
several uses, `RowSource.weights_at_rest` does it once for all of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ktransfer.augment import source_size
from ktransfer.cache import CacheUnavailable, Draft, Store, content_key
from ktransfer.data import Part, Splits
from ktransfer.data.batches.rows import Rows, ordered_batches
from ktransfer.data.batches.streaming import ImageRows, faults_named
from ktransfer.errors import InputError
from ktransfer.features.forward import (
    DEFAULT_BUDGET_MB,
    FORWARD_BATCH_SIZE,
    Forward,
    NoSpaceError,
    compile_forward,
    extract,
    extract_images,
    forward_on_the_way,
    seconds_per_row,
)
from ktransfer.features.network import Network
from ktransfer.features.readable import ReadableParts
from ktransfer.features.row_target import RowTarget
from ktransfer.features.views import PLAIN, Views, view_batches
from ktransfer.show.progress import progress_bar

if TYPE_CHECKING:
    import tensorflow as tf

CACHE_DTYPES = ("float32", "float16")

#: Raised when images come out of `crop_and_resize` or of the decoders differently than before, or
#: when entries of before are not to be trusted: those of 1 might hold files changed meanwhile.
_READING_VERSION = 2


class RowSource:
    """The rows of a data set at any cut of a network.

    Args:
        network: what the rows are read by.
        splits: the images. Those that turn out to be unreadable are dropped from `splits` and
            named in its `skipped`.
        store: where rows are kept for later runs; None: nowhere.
        budget_mb: megabytes held in memory in all; what goes beyond is memory-mapped.
        dtype: `"float32"`, or `"float16"` for half the space.
        verbose: show progress.
        contents: the digests of the parts, where they are known already.
        kept: cuts whose rows are computed and kept on the way to later ones.
        sampled: the images are some of those of a training: a class of which none can be decoded
            here may have others there.
    """

    def __init__(
        self,
        network: Network,
        splits: Splits,
        *,
        store: Store | None,
        budget_mb: float = DEFAULT_BUDGET_MB,
        dtype: str = "float32",
        verbose: bool = True,
        contents: dict[str, str] | None = None,
        kept: Sequence[int] = (),
        sampled: bool = False,
    ) -> None:
        self.network = network
        self._parts = ReadableParts(splits, sampled=sampled)
        self.notes: list[str] = []
        self._store = store
        self._budget_mb = budget_mb
        self._dtype = dtype
        self._verbose = verbose
        #: Wall time that was spent on finding and computing rows.
        self.seconds = 0.0
        self.contents = contents or {each.name: each.content_digest() for each in splits.parts}
        #: By what was asked for: the key of the answer, and the answer.
        self._held: dict[tuple[str, int, Views], tuple[str, Rows]] = {}
        self._forwards: dict[str, Forward] = {}
        self._wider: RowSource | None = None
        self._kept_cuts = tuple(kept)
        #: The weights that are at rest: their digests, by the identity of the variable.
        self._digests: dict[int, str] | None = None

    @property
    def splits(self) -> Splits:
        """The images, without those that are known to be unreadable."""
        return self._parts.splits

    @contextmanager
    def weights_at_rest(self, digests: Mapping[int, str] | None = None) -> Iterator[None]:
        """Digest each weight of the network once for the time of a `with` block.

        What is in the block must train nothing.

        Args:
            digests: those that are known, by the identity of the variable.
        """
        outer = self._digests
        self._digests = dict(digests or {}) if outer is None else outer
        try:
            yield
        finally:
            self._digests = outer

    def rows(self, part_name: str, cut: int, views: Views = PLAIN) -> Rows:
        """Return the rows of a part at a cut.

        Args:
            part_name: "train", "validation" or "test".
            cut: how many first blocks made them; 0: they are the images, uint8.
            views: of each image; the rows of the first view come first.

        Returns:
            `(views.count * images, ...)`, in memory or memory-mapped, in the part's order. Images
            for which there is no room are `ImageRows`: decoded whenever they are read.
        """
        started, before = time.perf_counter(), self.seconds
        asked = (part_name, cut, views)
        with self.weights_at_rest(), self.faults_named():
            key = self._key(*asked)
            if not self._holds(asked, key):
                self._held.pop(asked, None)  # said by weights that have moved since
                self._held[asked] = (key, self._found(key, *asked))
        # Not added up: rows are made of other rows, whose time is a part of this.
        self.seconds = before + time.perf_counter() - started
        return self._held[asked][1]

    def faults_named(self) -> AbstractContextManager[None]:
        """As `data.batches.streaming.faults_named`, of all images that are streamed here."""
        return faults_named(self._image_rows())

    def _image_rows(self) -> Iterator[ImageRows]:
        for _, rows in self._held.values():
            if isinstance(rows, ImageRows):
                yield rows

    def has(self, part_name: str, cut: int) -> bool:
        """Tell whether the rows of a part at a cut were computed, here or in an earlier run."""
        asked, key = (part_name, cut, PLAIN), self._key(part_name, cut, PLAIN)
        return self._holds(asked, key) or (self._store is not None and self._store.has(key))

    def narrowed(self, network: Network) -> RowSource:
        """Give the same images to a network whose features are the first columns of these."""
        source = self._like(network, self._store)
        source._wider, source.seconds, source.notes = self, self.seconds, list(self.notes)
        return source

    def beside(self, network: Network, *, trained: bool = False) -> RowSource:
        """Give the same images to another network; if its blocks were trained, cache nothing."""
        source = self._like(network, None if trained else self._store)
        source._parts, source._wider = self._parts, None if trained else self._wider
        source._held = {asked: held for asked, held in self._held.items() if asked[1] == 0}
        return source

    def hold(self, part_name: str, cut: int, rows: Rows) -> None:
        """Take rows that are known already."""
        self._held[part_name, cut, PLAIN] = self._key(part_name, cut, PLAIN), rows

    def _like(self, network: Network, store: Store | None) -> RowSource:
        return RowSource(
            network,
            self._parts.all,
            store=store,
            budget_mb=self._budget_mb,
            dtype=self._dtype,
            verbose=self._verbose,
            contents=self.contents,
            kept=self._kept_cuts,
        )

    def seconds_per_image(self, cut: int) -> float:
        """Say how long the blocks before a cut take for an image; black ones do."""
        if self._wider and cut == self.network.num_blocks:
            return self._wider.seconds_per_image(cut)
        return seconds_per_row(self.forward(0, cut), self.network.row_shape(0))

    def sources(self, part_name: str, augmentation: str) -> Rows:
        """Return the images that an augmentation begins with, uint8; larger ones where it crops."""
        size = source_size(augmentation, self.network.backbone.input_size)
        if size == self.network.backbone.input_size:
            return self.rows(part_name, 0)
        return self.rows(part_name, 0, Views.of_images(size))

    def behind(self, batches: tf.data.Dataset, cut: int, *, start: int = 0) -> tf.data.Dataset:
        """Batches of `(rows at the cut, labels)` from `(images, labels)`, or rows at `start`.

        Weights behind the labels are kept.

        The rows are computed on the way by the program that computes those that are held: their
        bits are the same, and the program, whose weights are constants, is a quarter faster than
        the same blocks within the training step.
        """
        return forward_on_the_way(batches, self.forward(start, cut), self.network.row_shape(cut))

    @property
    def itemsize(self) -> int:
        """Bytes of a number in rows behind blocks."""
        return np.dtype(self._dtype).itemsize

    def free_mb(self) -> float:
        """Megabytes that more rows can take: in memory, or else on disk."""
        return max(self.memory_left_mb(), self._store.free_mb() if self._store else 0.0)

    # --- finding rows ---------------------------------------------------------------------------

    def _key(self, part_name: str, cut: int, views: Views) -> str:
        import tensorflow as tf

        return content_key(
            files=self.contents[part_name],
            reading=_READING_VERSION,
            input_size=list(self.network.backbone.input_size),
            network=self.network.rows_digest(cut, self._digests),
            row_shape=list(self.network.row_shape(cut)),
            views=[views.augmentation, views.count, views.seed],
            dtype="uint8" if cut == 0 else self._dtype,
            versions=[keras.__version__, tf.__version__],
        )

    def _found(self, key: str, part_name: str, cut: int, views: Views) -> Rows:
        """Rows that are not held: of a wider network, from the store, or computed."""
        if self._wider and cut == self.network.num_blocks and views == PLAIN:
            with self._wider.weights_at_rest(self._digests):
                wide = self._wider.rows(part_name, cut)
            assert isinstance(wide, np.ndarray)  # only images are streamed
            readable = self._wider._parts.indices(part_name)
            assert readable is not None  # of the pass that made the rows
            self._parts.narrow(part_name, readable)
            return wide[:, : self.network.row_shape(cut)[0]]
        found = self._load(key, part_name, cut, views)
        return self._compute(key, part_name, cut, views) if found is None else found

    def _load(self, key: str, part_name: str, cut: int, views: Views) -> np.ndarray | None:
        if self._store is None:
            return None
        entry = self._store.load(key, budget_mb=self.memory_left_mb())
        if entry is None:
            return None
        indices = entry.indices[: len(entry.indices) // views.count]  # again for every view
        fault = self._parts.why_incomplete(part_name, indices, self._read_size(cut, views))
        if fault:
            self._store.discard(key, fault)
            return None
        known = self._parts.indices(part_name)
        if known is not None and not np.array_equal(known, indices):
            return None  # a file can no longer be read
        self._parts.narrow(part_name, indices)
        values: np.ndarray = entry.values
        return values

    def memory_left_mb(self) -> float:
        """Megabytes of the memory budget that no rows take yet."""
        held = [values for _, values in self._held.values()]
        used = sum(each.nbytes for each in held if not isinstance(each, np.memmap | ImageRows))
        return max(0.0, self._budget_mb - used / 2**20)

    # --- computing rows -------------------------------------------------------------------------

    def _compute(self, key: str, part_name: str, cut: int, views: Views) -> Rows:
        try:
            return self._kept(key, part_name, cut, views)
        except NoSpaceError as error:
            if cut:
                raise
            return self._streamed(part_name, views, error)

    def _streamed(self, part_name: str, views: Views, error: NoSpaceError) -> ImageRows:
        """Images that there is no room for. Which of them can be decoded must be known before."""
        height, width, _ = self._stored_shape(0, views)
        self.notes.append(
            f"the decoded {part_name} images are kept nowhere and decoded anew in every epoch: "
            f"{error}"
        )
        if self._parts.indices(part_name) is None:
            part = self._parts.part(part_name)
            title = f"looking through {part_name}"
            with progress_bar(title, len(part), shown=self._verbose) as show:
                found = extract_images(
                    _nothing_of,
                    part,
                    (height, width),
                    into=np.empty((len(part), 0), np.uint8),
                    on_progress=show,
                )
            self._parts.narrow(part_name, found.indices)
        return ImageRows(self._parts.part(part_name), (height, width))

    def _kept(self, key: str, part_name: str, cut: int, views: Views) -> np.ndarray:
        part = self._parts.part(part_name)
        dataset, forward = self._work(part, cut, views)
        shape = (views.count * len(part), *self._stored_shape(cut, views))
        title = f"running {cut} frozen blocks, {part_name}" if cut else f"decoding {part_name}"
        dtype = self._dtype if cut else "uint8"
        with progress_bar(title, shape[0], shown=self._verbose) as show, ExitStack() as stack:
            budget_mb, draft = self.memory_left_mb(), self._draft(stack, key, shape, dtype)
            target = RowTarget.of(draft, shape, dtype, budget_mb=budget_mb)
            where: dict[str, Any] = {"into": target.values, "on_progress": show}
            if dataset is None:
                found = extract_images(forward, part, self._read_size(cut, views), **where)
            else:
                found = extract(forward, dataset, shape[0], **where)
            known = self._parts.indices(part_name)
            indices = found.indices if known is None else known
            if len(found.values) != views.count * len(indices):
                raise InputError(
                    f"{views.count * len(indices) - len(found.values)} images of the {part_name} "
                    "part could be read before and cannot be read now: was the folder changed?"
                )
            values = target.finish(found.values, np.tile(indices, views.count))
        self._parts.narrow(part_name, indices)
        return values

    def _read_size(self, cut: int, views: Views) -> tuple[int, int]:
        """Return the size at which the files are decoded for some rows."""
        if cut == 0:
            height, width, _ = self._stored_shape(cut, views)
            return height, width
        return source_size(views.augmentation, self.network.backbone.input_size)

    def _stored_shape(self, cut: int, views: Views) -> tuple[int, ...]:
        size = views.image_size
        return (*size, 3) if size else self.network.row_shape(cut)

    def _work(self, part: Part, cut: int, views: Views) -> tuple[tf.data.Dataset | None, Forward]:
        """Batches of `(something, indices)`, and the function that makes rows of them.

        None: the images of the part.
        """
        if cut == 0:
            return None, lambda images: images.numpy()
        before = self._nearest(part.name, cut, views)
        if before is None and views != PLAIN:
            images = self.sources(part.name, views.augmentation)
            batches = view_batches(images, views, self.network.backbone.input_size)
            return batches, self.forward(0, cut)
        if before is None:
            return None, self.forward(0, cut)
        values = self.rows(part.name, before, views)
        indices = np.arange(len(values), dtype=np.int32)
        dataset = ordered_batches(values, indices, batch_size=FORWARD_BATCH_SIZE)
        return dataset, self.forward(before, cut)

    def _nearest(self, part_name: str, cut: int, views: Views) -> int | None:
        """Find the last cut before `cut` at which rows are held and true, or are to be kept."""
        # Only of what is held: to digest a hundred layers for every cut would take seconds.
        asked = [(at, (part_name, at, views)) for at in range(cut - 1, -1, -1)]
        held = ((at, each) for at, each in asked if each in self._held)
        true = (at for at, each in held if self._holds(each, self._key(*each)))
        kept = (at for at in self._kept_cuts if at < cut)
        return max((*kept, *itertools.islice(true, 1)), default=None)

    def _holds(self, asked: tuple[str, int, Views], key: str) -> bool:
        return asked in self._held and self._held[asked][0] == key

    def forward(self, cut: int, later_cut: int) -> Forward:
        """Return the network between two cuts, compiled with its weights as they are now."""
        key = f"{cut} to {self.network.rows_digest(later_cut, self._digests)}"
        if key not in self._forwards:
            if len(self._forwards) > len(self._kept_cuts):
                self._forwards.clear()  # each holds a copy of the weights between its cuts
            self._forwards[key] = compile_forward(self.network.between(cut, later_cut))
        return self._forwards[key]

    def _draft(
        self, stack: ExitStack, key: str, shape: tuple[int, ...], dtype: str
    ) -> Draft | None:
        if self._store is None:
            return None
        try:
            return stack.enter_context(
                self._store.create(key, shape, dtype, {"shape": list(shape)})
            )
        except CacheUnavailable as error:
            self.notes.append(f"nothing is kept for later runs: {error}")
            self._store = None
            return None


def _nothing_of(images: tf.Tensor) -> np.ndarray:
    return np.empty((len(images), 0), np.uint8)
