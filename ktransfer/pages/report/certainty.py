"""Whether the probabilities can be taken at their word."""

from __future__ import annotations

from ktransfer.pages.parts import Picture, Section, Table, Text, cells, percent, shares
from ktransfer.pages.report.judging import Judged
from ktransfer.pages.report.pictures import draw_reliability
from ktransfer.pages.report.reliability import Reliability, before_temperature, reliability


def certainty(judged: Judged, temperature: float | None) -> Section:
    """Say how sure the model is, and how often it is right, before and after its temperature.

    Args:
        judged: what it says.
        temperature: what its logits are divided by; None: not known.
    """
    key, title = "certainty", "Can its probabilities be trusted?"
    if judged.said is None:
        said = "Needs the images: their probabilities are not kept with a run."
        return Section(key, title, (Text((said,)),))
    labels, probabilities = judged.said.part.labels, judged.said.probabilities
    after = reliability(probabilities, labels)
    found = {"as it is": after}
    if temperature is not None:
        raw = before_temperature(probabilities, temperature)
        found = {"before the temperature": reliability(raw, labels), "after it": after}
    picture = Picture(
        draw_reliability(found),
        "Images by the probability of the class that is said, and the share of them that are "
        "right. On the diagonal a probability means what it says; below it the model is too sure.",
        tuple(_table(name, each) for name, each in found.items()),
    )
    return Section(key, title, (Text(_sentences(found, temperature, judged)), picture))


def _sentences(
    found: dict[str, Reliability], temperature: float | None, judged: Judged
) -> tuple[str, ...]:
    after, score = list(found.values())[-1], judged.score
    low, high = score.interval
    if low <= after.certainty <= high:
        leaning = "the two agree, as far as so many images can tell"
    else:
        more = "surer than it should be" if after.certainty > high else "less sure than it may be"
        leaning = f"it is {more}, by {100 * abs(after.certainty - score.accuracy):.1f} points"
    first = (
        f"On average it gives {percent(after.certainty)} to the class that it says, and is right "
        f"in {percent(score.accuracy)}: {leaning}."
    )
    if temperature is None:
        return (f"{first} The expected calibration error (ECE) is {percent(after.error)}.",)
    before = next(iter(found.values()))
    fitted = (
        " The temperature was fitted to these very images." if judged.part == "validation" else ""
    )
    return (
        first,
        f"Its logits are divided by a temperature of {temperature:.3g}, which does not change "
        f"what it says: the expected calibration error (ECE) is {percent(before.error)} before "
        f"and {percent(after.error)} after.{fitted}",
    )


def _table(name: str, found: Reliability) -> Table:
    rows = [
        cells(
            f"{percent(each.low)} to {percent(each.high)}",
            (float(each.images), f"{each.images:,}"),
            *shares(each.certainty, each.right),
        )
        for each in found.bins
    ]
    caption = f"{name[:1].upper()}{name[1:]}: ECE {percent(found.error)}"
    return Table(caption, ("Probability", "Images", "Mean probability", "Right"), tuple(rows))
