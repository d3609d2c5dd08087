"""What the stages read: images, or what frozen blocks say of them, each computed only once.

Rows are held by what they were made of: the bytes of the files, the way of reading them, the
structure and the weights of the frozen blocks, the cut, the views. They are looked for in this
order: in this process, on disk (`ktransfer.cache`, shared with earlier runs), else computed from
the nearest rows before them. The weights are digested anew before every use, so that a training
that has moved a block can never be given what the block said before.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ktransfer.augment import augment, mix, source_size, view_seed
from ktransfer.cache import CacheUnavailable, Draft, Store, content_key
from ktransfer.data import Part, Skipped, Splits, decodable, explain_failures
from ktransfer.data.batches.parallel import PARALLEL_CALLS, PREFETCHED, untuned
from ktransfer.data.batches.rows import Mix, Render, Rows, ordered_batches
from ktransfer.data.batches.streaming import ImageRows, faults_named
from ktransfer.errors import InputError
from ktransfer.features.forward import (
    DEFAULT_BUDGET_MB,
    FORWARD_BATCH_SIZE,
    Forward,
    NoSpaceError,
    allocate,
    compile_forward,
    extract,
    extract_images,
)
from ktransfer.features.network import Network
from ktransfer.show.progress import progress_bar

if TYPE_CHECKING:
    import tensorflow as tf

CACHE_DTYPES = ("float32", "float16")

#: Images in the trial of `seconds_per_image`: few, for it must cost little beside what it may save.
_TRIED = 8

#: Raised when images come out of `crop_and_resize` or of the decoders differently than before, or
#: when entries of before are not to be trusted: those of 1 might hold files changed meanwhile.
_READING_VERSION = 2


@dataclass(frozen=True)
class Views:
    """Which views of an image rows are made of.

    Attributes:
        augmentation: as in `Stage`.
        count: how many fixed views there are of each image.
        seed: what they are drawn with.
    """

    augmentation: str = "none"
    count: int = 1
    seed: int = 0


PLAIN = Views()


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
        self.splits = self._all_splits = splits
        self.notes: list[str] = []
        self._store = store
        self._budget_mb = budget_mb
        self._dtype = dtype
        self._verbose = verbose
        #: Wall time that was spent on finding and computing rows.
        self.seconds = 0.0
        self.contents = contents or {each.name: each.content_digest() for each in splits.parts}
        self._readable: dict[str, np.ndarray] = {}
        #: By what was asked for: the key of the answer, and the answer.
        self._held: dict[tuple[str, int, Views], tuple[str, Rows]] = {}
        self._forwards: dict[str, Forward] = {}
        self._wider: RowSource | None = None
        self._kept_cuts = tuple(kept)
        self._sampled = sampled

    def rows(self, part_name: str, cut: int, views: Views = PLAIN) -> Rows:
        """The rows of a part at a cut.

        Args:
            part_name: "train", "validation" or "test".
            cut: how many first blocks made them; 0: they are the images, uint8.
            views: of each image; the rows of the first view come first.

        Returns:
            `(views.count * images, ...)`, in memory or memory-mapped, in the part's order. Images
            for which there is no room are `ImageRows`: decoded whenever they are read.
        """
        started, before = time.perf_counter(), self.seconds
        asked, key = (part_name, cut, views), self._key(part_name, cut, views)
        if not self._holds(asked, key):
            self._held.pop(asked, None)  # said by weights that have moved since
            with self.faults_named():
                self._held[asked] = (key, self._found(key, part_name, cut, views))
        # Not added up: rows are made of other rows, whose time is a part of this.
        self.seconds = before + time.perf_counter() - started
        return self._held[asked][1]

    def faults_named(self) -> AbstractContextManager[None]:
        """As `data.streaming.faults_named`, of all images that are streamed here."""
        return faults_named(self._image_rows())

    def _image_rows(self) -> Iterator[ImageRows]:
        for _, rows in self._held.values():
            if isinstance(rows, ImageRows):
                yield rows

    def has(self, part_name: str, cut: int) -> bool:
        """Whether the rows of a part at a cut were computed before, here or in an earlier run."""
        asked, key = (part_name, cut, PLAIN), self._key(part_name, cut, PLAIN)
        return self._holds(asked, key) or (self._store is not None and self._store.has(key))

    def narrowed(self, network: Network) -> RowSource:
        """The same images for a network whose head reads the first of these features, or others.

        Rows behind all blocks are the first columns of the rows here, and not computed again.

        Args:
            network: of the same backbone, with all of its blocks.
        """
        source = RowSource(
            network,
            self._all_splits,
            store=self._store,
            budget_mb=self._budget_mb,
            dtype=self._dtype,
            verbose=self._verbose,
            contents=self.contents,
            kept=self._kept_cuts,
        )
        source._wider, source.seconds = self, self.seconds
        source.notes = list(self.notes)
        return source

    def seconds_per_image(self, cut: int) -> float:
        """How long the blocks before a cut take for an image; black ones do."""
        if self._wider and cut == self.network.num_blocks:
            return self._wider.seconds_per_image(cut)
        forward = self.forward(0, cut)
        images = np.zeros((_TRIED, *self.network.row_shape(0)), np.uint8)
        forward(images)
        started = time.perf_counter()
        forward(images)
        return (time.perf_counter() - started) / _TRIED

    def sources(self, part_name: str, augmentation: str) -> Rows:
        """The images that an augmentation begins with, uint8; larger ones where it crops."""
        size = source_size(augmentation, self.network.backbone.input_size)
        if size == self.network.backbone.input_size:
            return self.rows(part_name, 0)
        return self.rows(part_name, 0, Views(f"source {size[0]}x{size[1]}"))

    def render(self, augmentation: str, seed: int) -> Render:
        """A function that makes views of `sources`, for `data.batches`."""
        size = self.network.backbone.input_size
        return lambda image, row, view: augment(
            image, view_seed(seed, row, view), augmentation, size
        )

    def mix(self) -> Mix:
        """A function that mixes batches of images and classes, for `data.batches`."""
        import tensorflow as tf

        classes = len(self.splits.class_names)

        def mixed(
            images: tf.Tensor, labels: tf.Tensor, *weights_and_seed: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            *weights, seed = weights_and_seed
            # Weights are mixed as the classes are: they travel as one more column.
            columns = [tf.one_hot(labels, classes), *(each[:, None] for each in weights)]
            images, columns = mix(images, tf.concat(columns, axis=1), seed)
            return images, columns[:, :classes], *(columns[:, classes] for _ in weights)

        return mixed

    def with_shares(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Batches with the share of each class, all or nothing, instead of the class."""
        import tensorflow as tf

        classes = len(self.splits.class_names)
        return batches.map(lambda images, labels: (images, tf.one_hot(labels, classes)))

    def behind(self, batches: tf.data.Dataset, cut: int, *, start: int = 0) -> tf.data.Dataset:
        """Batches of `(rows at the cut, labels)` from `(images, labels)`, or rows at `start`.

        Weights behind the labels are kept.

        The rows are computed on the way by the program that computes those that are held: their
        bits are the same, and the program, whose weights are constants, is a quarter faster than
        the same blocks within the training step.
        """
        import tensorflow as tf

        forward, shape = self.forward(start, cut), self.network.row_shape(cut)

        @tf.autograph.experimental.do_not_convert
        def run(images: tf.Tensor, *targets: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # As a call from outside: within the pipeline's own graph nothing would be folded.
            rows = tf.numpy_function(lambda each: forward(each), [images], tf.float32)
            return tf.ensure_shape(rows, (None, *shape)), *targets

        return batches.map(run).prefetch(1)

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
            network=self.network.rows_digest(cut),
            row_shape=list(self.network.row_shape(cut)),
            views=[views.augmentation, views.count, views.seed],
            dtype="uint8" if cut == 0 else self._dtype,
            versions=[keras.__version__, tf.__version__],
        )

    def _found(self, key: str, part_name: str, cut: int, views: Views) -> Rows:
        """Rows that are not held: of a wider network, from the store, or computed."""
        if self._wider and cut == self.network.num_blocks and views == PLAIN:
            wide = self._wider.rows(part_name, cut)
            assert isinstance(wide, np.ndarray)  # only images are streamed
            self._narrow(part_name, self._wider._readable[part_name])
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
        lacking = self._lacking(part_name, indices, self._read_size(cut, views))
        if len(lacking):
            part = next(each for each in self._all_splits.parts if each.name == part_name)
            self._store.discard(
                key,
                f"it lacks {len(lacking)} of {len(part)} images that can be read, such as "
                f"{part.images.name(int(lacking[0]))!r}",
            )
            return None
        known = self._readable.get(part_name)
        if known is not None and not np.array_equal(known, indices):
            return None  # a file can no longer be read
        self._narrow(part_name, indices)
        values: np.ndarray = entry.values
        return values

    def _lacking(self, part_name: str, indices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The images of a part that can be read and are not among the `indices`."""
        known = self._readable.get(part_name)
        if known is not None:
            return np.setdiff1d(known, indices)
        part = self._part(part_name)
        lost = np.setdiff1d(np.arange(len(part)), indices)
        return decodable(part, lost, size)

    def memory_left_mb(self) -> float:
        """Megabytes of the memory budget that no rows take yet."""
        held = [values for _, values in self._held.values()]
        used = sum(each.nbytes for each in held if not isinstance(each, np.memmap | ImageRows))
        return max(0.0, self._budget_mb - used / 2**20)

    def _narrow(self, part_name: str, indices: np.ndarray) -> None:
        """Take note of which images of a part can be decoded, when that is first known."""
        if part_name in self._readable:
            return
        self._readable[part_name] = indices
        parts = {part.name: part for part in self.splits.parts}
        part = parts[part_name]
        lost = np.setdiff1d(np.arange(len(part)), indices)
        failed = explain_failures(part, lost)
        parts[part_name] = part.select(indices)
        if part_name == "train" and not self._sampled:
            _check_classes_left(part.labels, lost, failed, self.splits.class_names)
        self.splits = self.splits.with_parts(list(parts.values()), failed)

    def _part(self, name: str) -> Part:
        return next(part for part in self.splits.parts if part.name == name)

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
        if part_name not in self._readable:
            part = self._part(part_name)
            title = f"looking through {part_name}"
            with progress_bar(title, len(part), shown=self._verbose) as show:
                found = extract_images(
                    _nothing_of,
                    part,
                    (height, width),
                    into=np.empty((len(part), 0), np.uint8),
                    on_progress=show,
                )
            self._narrow(part_name, found.indices)
        return ImageRows(self._part(part_name), (height, width))

    def _kept(self, key: str, part_name: str, cut: int, views: Views) -> np.ndarray:
        part = self._part(part_name)
        dataset, forward = self._work(part, cut, views)
        shape = (views.count * len(part), *self._stored_shape(cut, views))
        title = f"decoding {part_name}" if cut == 0 else f"running {cut} frozen blocks, {part_name}"
        with (
            progress_bar(title, shape[0], shown=self._verbose) as show,
            self._target(key, shape, "uint8" if cut == 0 else self._dtype) as target,
        ):
            where: dict[str, Any] = {"into": target.values, "on_progress": show}
            if dataset is None:
                found = extract_images(forward, part, self._read_size(cut, views), **where)
            else:
                found = extract(forward, dataset, shape[0], **where)
            indices = self._readable.get(part_name, found.indices)
            if len(found.values) != views.count * len(indices):
                raise InputError(
                    f"{views.count * len(indices) - len(found.values)} images of the {part_name} "
                    "part could be read before and cannot be read now: was the folder changed?"
                )
            values = target.finish(found.values, np.tile(indices, views.count))
        self._narrow(part_name, indices)
        return values

    def _read_size(self, cut: int, views: Views) -> tuple[int, int]:
        """The size at which the files are decoded for some rows."""
        if cut == 0:
            height, width, _ = self._stored_shape(cut, views)
            return height, width
        return source_size(views.augmentation, self.network.backbone.input_size)

    def _stored_shape(self, cut: int, views: Views) -> tuple[int, ...]:
        if not views.augmentation.startswith("source"):
            return self.network.row_shape(cut)
        height, width = views.augmentation.removeprefix("source ").split("x")
        return (int(height), int(width), 3)

    def _work(self, part: Part, cut: int, views: Views) -> tuple[tf.data.Dataset | None, Forward]:
        """Batches of `(something, indices)`, and the function that makes rows of them.

        None: the images of the part.
        """
        if cut == 0:
            return None, lambda images: images.numpy()
        before = self._nearest(part.name, cut, views)
        if before is None and views != PLAIN:
            return self._rendered(part, views), self.forward(0, cut)
        if before is None:
            return None, self.forward(0, cut)
        values = self.rows(part.name, before, views)
        indices = np.arange(len(values), dtype=np.int32)
        dataset = ordered_batches(values, indices, batch_size=FORWARD_BATCH_SIZE)
        return dataset, self.forward(before, cut)

    def _nearest(self, part_name: str, cut: int, views: Views) -> int | None:
        """The last cut before `cut` at which rows are held and still true, or are to be kept."""
        # Only of what is held: to digest a hundred layers for every cut would take seconds.
        asked = [(at, (part_name, at, views)) for at in range(cut - 1, -1, -1)]
        held = ((at, each) for at, each in asked if each in self._held)
        true = (at for at, each in held if self._holds(each, self._key(*each)))
        kept = (at for at in self._kept_cuts if at < cut)
        return max((*kept, *itertools.islice(true, 1)), default=None)

    def _holds(self, asked: tuple[str, int, Views], key: str) -> bool:
        return asked in self._held and self._held[asked][0] == key

    def _rendered(self, part: Part, views: Views) -> tf.data.Dataset:
        """Every view of every image, view by view."""
        import tensorflow as tf

        images = self.sources(part.name, views.augmentation)
        render = self.render(views.augmentation, views.seed)
        plain = ordered_batches(images, np.arange(len(images)), batch_size=FORWARD_BATCH_SIZE)

        def view_of(view: tf.Tensor) -> tf.data.Dataset:
            each = plain.unbatch().map(
                lambda image, row: (
                    render(image, row, view),
                    tf.cast(row + view * len(images), tf.int32),
                ),
                num_parallel_calls=PARALLEL_CALLS,
                deterministic=True,
            )
            return each.batch(FORWARD_BATCH_SIZE)

        batches = tf.data.Dataset.range(views.count).flat_map(view_of)
        return untuned(batches.prefetch(PREFETCHED))

    def forward(self, cut: int, later_cut: int) -> Forward:
        """The network between two cuts, compiled with its weights as they are now."""
        key = f"{cut} to {self.network.rows_digest(later_cut)}"
        if key not in self._forwards:
            if len(self._forwards) > len(self._kept_cuts):
                self._forwards.clear()  # each holds a copy of the weights between its cuts
            between = (
                self.network.between(cut, later_cut) if cut else self.network.prefix(later_cut)
            )
            self._forwards[key] = compile_forward(between)
        return self._forwards[key]

    @contextmanager
    def _target(self, key: str, shape: tuple[int, ...], dtype: str) -> Iterator[_Target]:
        """Where rows are written: an entry of the store, or else memory or a temporary file."""
        budget_mb = self.memory_left_mb()
        with ExitStack() as stack:
            draft = self._draft(stack, key, shape, dtype)
            if draft is None:
                held = allocate(shape, dtype, budget_mb=budget_mb)
                yield _Target(held, lambda rows, indices: rows)
                return

            def finish(rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
                values: np.ndarray = draft.commit(len(rows), indices, budget_mb=budget_mb).values
                return values

            yield _Target(draft.values, finish)

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


@dataclass(frozen=True, eq=False)
class _Target:
    """An array to be written, and what makes it final: given the rows written, and their images."""

    values: np.ndarray
    finish: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _nothing_of(images: tf.Tensor) -> np.ndarray:
    return np.empty((len(images), 0), np.uint8)


def _check_classes_left(
    labels: np.ndarray, lost: np.ndarray, failed: tuple[Skipped, ...], class_names: Sequence[str]
) -> None:
    """Refuse classes of which every image is among the `lost` ones."""
    for label in np.setdiff1d(labels, np.delete(labels, lost)):
        example = failed[int(np.argmax(labels[lost] == label))]
        raise InputError(
            f"no training image of class {class_names[label]!r} can be decoded; for example "
            f"{example.path!r}: {example.reason}"
        )
