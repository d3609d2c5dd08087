"""The backbone as its row of blocks: what was frozen, what moved, and what each depth can tell."""

from __future__ import annotations

import math

from ktransfer.classifier import Classifier, FitResult
from ktransfer.pages.parts import (
    Part,
    Picture,
    Points,
    Section,
    Segment,
    Strip,
    Table,
    Text,
    cells,
    count,
    shares,
)
from ktransfer.pages.report.pictures import draw_depths, draw_gap


def row_of_blocks(classifier: Classifier) -> Section:
    """Return the blocks, each frozen or trained, and the proof that the frozen ones stayed."""
    result = classifier.result
    multipliers = _multipliers(result) if result else {}
    movement = result.movement if result else {}
    blocks = classifier.blocks
    frozen = sum(not trained for _, _, trained in blocks)
    head = classifier.summary().rows[-1]
    rows = [
        cells(
            f"{number}",
            name,
            "trained" if trained else "frozen",
            (float(still + trained), f"{still + trained:,}"),
            _number(multipliers.get(name) if trained else None),
            _number(movement.get(name, None if trained else 0.0)),
        )
        for number, (name, still, trained) in enumerate(blocks, 1)
    ]
    rows.append(cells("", "head", "trained", f"{head.trainable:,}", _number(1.0), "new"))
    strip = Strip(
        (*map(_segment, range(1, len(blocks) + 1), blocks), _head_segment(head.trainable)),
        f"{classifier.backbone.name}, from the image on the left to the classes on the right: "
        f"{frozen} of {count(len(blocks), 'block')} frozen. The wider, the more numbers "
        "(by their square root).",
    )
    table = Table(
        "Each block in figures; movement is norm(after - before) / norm(before) of its weights",
        ("Block", "Ends with", "", "Numbers", "Rate times", "Movement"),
        tuple(rows),
        words=frozenset({0, 1, 2}),
        folded=True,
    )
    return Section("blocks", "The backbone, block by block", (strip, table, *_proofs(result)))


def _multipliers(result: FitResult) -> dict[str, float]:
    """Say what multiplied the learning rate of a group in the last stage that trained it."""
    return {
        each["group"]: each["multiplier"]
        for stage in result.stages
        if stage.kept
        for each in stage.groups
    }


def _proofs(result: FitResult | None) -> tuple[Part, ...]:
    if result is None:
        return ()
    said = tuple(f"{stage.name}: {stage.proof or 'nothing was frozen'}" for stage in result.stages)
    return (Points(said, "Proof that what was frozen did not move, a digest of all its numbers"),)


def _number(value: float | None) -> tuple[float, str]:
    if value is None:
        return -1.0, "-"
    return value, f"{value:.3g}" if math.isfinite(value) else "from zero"


def _segment(number: int, block: tuple[str, int, int]) -> Segment:
    name, still, trained = block
    what = "trained" if trained else "frozen"
    size = still + trained
    return Segment(
        f"block {number}, {name}: {what}, {size:,} numbers",
        bool(trained),
        _width(size),
    )


def _head_segment(size: int) -> Segment:
    return Segment(f"head: trained, {size:,} numbers", True, _width(size))


def _width(size: int) -> float:
    """By the square root: the last blocks have a thousand times what the first have."""
    return round(math.sqrt(size) + 1, 1)


def by_depth(result: FitResult) -> Section | None:
    """Say what heads at several depths get right, and the domain gap by layer.

    None: not measured.
    """
    advice = result.advice
    parts: list[Part] = []
    measured = [each for each in advice.candidates if each.accuracy is not None and each.interval]
    if measured:
        rows = [
            cells(
                each.name.replace("_", " "),
                *shares(each.accuracy, *(each.interval or ())),
                (float(each.trainable_parameters), f"{each.trainable_parameters:,}"),
                "chosen" if each is advice.expected else "",
            )
            for each in measured
        ]
        parts.append(
            Table(
                "Heads on the training images, each image predicted by a head of the others",
                ("Head", "Right", "from", "to", "Numbers", ""),
                tuple(rows),
                words=frozenset({0, 5}),
            )
        )
    if advice.depths:
        parts.append(_depths(result))
    if advice.gap and advice.gap.layers:
        parts.append(_gap(result))
    if advice.more_data:
        parts.append(_more_data(result))
    return Section("depth", "What each depth can tell", tuple(parts)) if parts else None


def _depths(result: FitResult) -> Picture:
    rows = [
        cells(f"{each.block + 1}", each.name, *shares(each.accuracy, *each.interval))
        for each in result.advice.depths
    ]
    table = Table(
        "A head on each block by itself",
        ("Block", "Ends with", "Right", "from", "to"),
        tuple(rows),
        words=frozenset({0, 1}),
    )
    points = [(each.block + 1, each.accuracy, each.interval) for each in result.advice.depths]
    return Picture(
        draw_depths(points),
        "What a linear head on each block by itself gets right, with its 95 % interval.",
        (table,),
    )


def _gap(result: FitResult) -> Picture:
    gap = result.advice.gap
    assert gap is not None  # of the caller
    first, middle, last = gap.thirds
    rows = [
        cells(f"{number}", name, (value, f"{value:.4f}"))
        for number, (name, value) in enumerate(gap.layers.items(), 1)
    ]
    table = Table(
        "Domain gap by batch-norm layer, in nats",
        ("Layer", "Name", "Gap"),
        tuple(rows),
        words=frozenset({0, 1}),
        sortable=True,
    )
    return Picture(
        draw_gap(tuple(gap.layers.values())),
        f"How far the images are from the backbone's own, layer by layer: {first:.3f} in the first "
        f"third (colours, textures), {middle:.3f} in the middle, {last:.3f} in the last (what is "
        "shown). Below the line they count as similar.",
        (table,),
    )


def _more_data(result: FitResult) -> Text:
    curve = result.advice.more_data
    assert curve is not None  # of the caller
    points = ", ".join(
        f"{100 * accuracy:.1f} % with {images:,}"
        for images, accuracy in zip(curve.num_images, curve.accuracies, strict=True)
    )
    return Text((f"Would more images help? A head gets {points}. {curve.advice}",))
