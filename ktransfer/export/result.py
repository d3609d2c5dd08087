"""What an export came to: plain data that prints and serialises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ktransfer.export.agreement import Agreement
from ktransfer.export.quantisation import Quantised
from ktransfer.show.results import Printed, Row


@dataclass(frozen=True)
class ExportResult(Printed):
    """An export that predicts the same as the model; print it for a table.

    Attributes:
        path: of the file, or of the folder.
        format: `"onnx"`, `"litert"`, `"savedmodel"` or `"keras"`.
        size_bytes: of the file, or of all files in the folder.
        sha256: of the file; of a folder that of the output of `sha256sum` over its files, by name.
        card: path of the model card beside it.
        input_size: height and width in pixels that the network sees.
        any_size: whether it resizes by itself; else it takes images of `input_size` only.
        opset: of an ONNX file; None of the others.
        agreement: how it was compared with the model.
        notes: remarks that are no errors.
        seconds: wall time by phase: `convert`, `compare`, and `quantise`.
        quantised: what quantisation cost and brought; None: it computes in float32.
    """

    path: Path
    format: str
    size_bytes: int
    sha256: str
    card: Path
    input_size: tuple[int, int]
    any_size: bool
    opset: int | None
    agreement: Agreement
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    quantised: Quantised | None = None

    @property
    def quantisation(self) -> str | None:
        """None, `"float16"` or `"int8"`."""
        return self.quantised.kind if self.quantised else None

    @property
    def gain(self) -> str | None:
        """What quantisation brought, in words; None where there was none."""
        if self.quantised is None:
            return None
        times = self.quantised.float32_size_bytes / self.size_bytes
        speed, before = self.agreement, self.quantised.float32
        return (
            f"{times:.1f} times smaller than in float32 "
            f"({self.quantised.float32_size_bytes / 1e6:,.1f} MB), "
            f"{speed.images_per_second / before.images_per_second:.1f} times as fast in batches, "
            f"{before.ms_per_image / speed.ms_per_image:.1f} times one by one"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            **own,
            "path": str(self.path),
            "card": str(self.card),
            "input_size": list(self.input_size),
            "agreement": self.agreement.to_dict(),
            "notes": list(self.notes),
            "quantisation": self.quantisation,
            "quantised": self.quantised.to_dict() if self.quantised else None,
            "seconds": dict(self.seconds),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Say what is printed: a label and a sentence each."""
        found = self.agreement
        height, width = self.input_size
        takes = "any size" if self.any_size else f"{height} x {width} pixels only"
        opset = f", opset {self.opset}" if self.opset else ""
        opset += f", {self.quantisation}" if self.quantisation else ""
        bound = f" (bound {found.bound:.0e})" if found.bound is not None else ""
        rows = [
            ("Exported", f"{self.path} ({self.format}{opset}, {self.size_bytes / 1e6:,.1f} MB)"),
            ("SHA-256", self.sha256),
            ("Takes", f"uint8 RGB images of {takes}, in batches of any number"),
            (
                "Agreement",
                f"{found.top1_agreement:.1%} the same class on {found.num_images} {found.part} "
                f"images; probabilities differ by {found.max_difference:.1e} at most, "
                f"{found.mean_difference:.1e} on average{bound}",
            ),
        ]
        if self.quantised:
            rows.append(("Quantised", self.quantised.sentence(found)))
            rows.append(("", str(self.gain)))
        elif found.accuracy is not None:
            rows.append(
                (
                    "Accuracy",
                    f"{found.accuracy:.1%} of these images, the model {found.model_accuracy:.1%}",
                )
            )
        rows.append(
            (
                "Speed",
                f"{found.images_per_second:,.0f} images/s in batches, the model "
                f"{found.model_images_per_second:,.0f}; one by one {found.ms_per_image:.1f} ms, "
                f"the model {found.model_ms_per_image:.1f} ms",
            )
        )
        rows += [("Card", str(self.card)), *(("Note", each) for each in self.notes)]
        return rows

    def printed(self) -> Iterator[Row]:
        """Say where the export lies, and how it was proven."""
        return (Row(label, (text,)) for label, text in self.rows())
