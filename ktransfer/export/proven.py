"""How an export was proven, as sections of its card."""

from __future__ import annotations

from ktransfer.export.markdown import bullets, table, text
from ktransfer.export.result import ExportResult


def how_it_agrees(export: ExportResult) -> list[str]:
    """Say how far the export predicts the same as the model, in lines of Markdown."""
    found = export.agreement
    rows = [
        ["the same class", f"{found.top1_agreement:.1%}"],
        ["largest difference in probability", f"{found.max_difference:.1e}"],
        ["mean difference", f"{found.mean_difference:.1e}"],
    ]
    if found.bound is not None:
        rows.append(["bound, above which nothing is written", f"{found.bound:.0e}"])
    if found.accuracy is not None:
        rows.append(["accuracy of the export on these images", f"{found.accuracy:.1%}"])
        rows.append(["accuracy of the model", f"{found.model_accuracy:.1%}"])
    rows += [
        ["decoded in full by another program: the same class", f"{found.in_full_agreement:.1%}"],
        ["decoded in full: largest difference", f"{found.in_full_difference:.1e}"],
        ["images/s in batches: export", f"{found.images_per_second:,.0f}"],
        ["images/s in batches: model", f"{found.model_images_per_second:,.0f}"],
        ["ms for one image: export", f"{found.ms_per_image:.1f}"],
        ["ms for one image: model", f"{found.model_ms_per_image:.1f}"],
    ]
    return [
        f"Loaded again in its own runtime and compared with the model on {found.num_images:,} "
        f"{found.part} images, from file to label, one by one and in batches, before it was put in "
        "place:",
        "",
        *table(("", "figure"), rows, numbers=1),
        "",
        "To be fast, ktransfer decodes a JPEG of twice the network's size or more at a half, a "
        "quarter or an eighth of it, and so does `ktransfer predict`. Other programs decode it in "
        "full, and see pixels that differ a little: two lines above say what comes of it.",
        *(["", *bullets(text(each) for each in export.notes)] if export.notes else []),
    ]


def what_it_cost(export: ExportResult) -> list[str]:
    """Say what quantisation cost and brought, in lines of Markdown; none without it."""
    judged, found = export.quantised, export.agreement
    if judged is None:
        return []
    before = judged.float32
    shown = {
        "the same class as the model": ("{:.1%}", "top1_agreement"),
        "accuracy": ("{:.1%}", "accuracy"),
        "largest difference": ("{:.1e}", "max_difference"),
        "mean difference": ("{:.1e}", "mean_difference"),
        "images/s in batches": ("{:,.0f}", "images_per_second"),
        "ms for one image": ("{:.1f}", "ms_per_image"),
    }
    rows = [["size in bytes", f"{judged.float32_size_bytes:,}", f"{export.size_bytes:,}"]]
    for label, (form, name) in shown.items():
        values = [getattr(each, name) for each in (before, found)]
        if None not in values:  # accuracy, of images without labels
            rows.append([label, *(form.format(each) for each in values)])
    calibrated = (
        f" Calibrated on {judged.num_calibration_images:,} training images."
        if judged.num_calibration_images
        else ""
    )
    return [
        "",
        f"Quantised to {judged.kind}: {judged.sentence(found)}.{calibrated} The same images "
        "through the export in float32:",
        "",
        *table(("", "float32", judged.kind), rows, numbers=2),
    ]
