"""Which quantisations there are, what they may cost, and how that is judged; no TensorFlow."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ktransfer.errors import InputError, RunError, unknown_name

if TYPE_CHECKING:
    from ktransfer.export.agreement import Agreement

#: Weights as float16, or weights and activations as whole numbers of 8 bits.
QUANTISATIONS = ("float16", "int8")

#: Most accuracy that may be lost, as a share: one point.
DEFAULT_MAX_LOSS = 0.01

#: ONNX has a scale for each channel of the weights from here on.
LEAST_INT8_OPSET = 13

_FORMATS = ("onnx", "litert")
# Of counts of images divided by each other.
_ROUNDING = 1e-9


def check_quantise(format: str, opset: int, quantise: str | None, max_loss: float) -> None:
    """Raise an `InputError` if the quantisation is unknown, or does not suit the format.

    Args:
        format: name of the format.
        opset: of ONNX.
        quantise: None or one of `QUANTISATIONS`.
        max_loss: most accuracy that may be lost, a share in [0, 1).
    """
    if isinstance(max_loss, bool) or not isinstance(max_loss, int | float) or not 0 <= max_loss < 1:
        raise InputError(
            "max_loss is the share of accuracy that quantisation may cost, from 0 to below 1 "
            f"(0.01 is one point; --max-loss counts in points), got {max_loss!r}"
        )
    if quantise is None:
        return
    if quantise not in QUANTISATIONS:
        raise unknown_name("quantisation", str(quantise), QUANTISATIONS)
    if format not in _FORMATS:
        raise InputError(
            f"the format {format} cannot be quantised: quantise={quantise!r} goes with "
            f"{' or '.join(_FORMATS)}"
        )
    if format == "onnx" and quantise == "int8" and opset < LEAST_INT8_OPSET:
        raise InputError(f"int8 needs opset {LEAST_INT8_OPSET} or higher, got opset {opset}")
    if format == "litert" and importlib.util.find_spec("ai_edge_quantizer") is None:
        raise InputError(
            'quantising LiteRT needs ai-edge-quantizer: pip install "ktransfer[litert]"'
        )


@dataclass(frozen=True)
class Quantised:
    """What quantisation cost and what it brought, against the same export in float32.

    Attributes:
        kind: `"float16"` or `"int8"`.
        judged_by: `"accuracy"`, or `"agreement"` where the images have no labels.
        lost: accuracy of the model less that of the file, a share; by agreement, the share of
            images that get another class.
        max_loss: what `lost` must not exceed.
        num_calibration_images: whose activations set the scales; 0 for float16, which needs none.
        float32_size_bytes: of the export in float32.
        float32: how that one was compared with the model, on the same images.
    """

    kind: str
    judged_by: str
    lost: float
    max_loss: float
    num_calibration_images: int
    float32_size_bytes: int
    float32: Agreement

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**own, "float32": self.float32.to_dict()}

    def sentence(self, found: Agreement) -> str:
        """Say what was lost, in words."""
        allowed = f"at most {100 * self.max_loss:.3g} points may be lost"
        if self.max_loss == 0.01:
            allowed = "at most 1 point may be lost"
        if self.judged_by == "agreement":
            return (
                f"{self.lost:.1%} of {found.num_images:,} images without labels get another class; "
                f"{allowed}"
            )
        return (
            f"{found.model_accuracy:.1%} of {found.num_images:,} images right before, "
            f"{found.accuracy:.1%} after; {allowed}"
        )


def judge(
    kind: str,
    found: Agreement,
    float32: Agreement,
    float32_size_bytes: int,
    *,
    max_loss: float,
    num_calibration_images: int,
) -> Quantised:
    """Let a quantised export pass, or refuse it.

    Args:
        kind: `"float16"` or `"int8"`.
        found: how the quantised file agrees with the model.
        float32: how the file that it was made of does, on the same images.
        float32_size_bytes: of that file.
        max_loss: most accuracy that may be lost, a share.
        num_calibration_images: how many it was calibrated on.

    Raises:
        RunError: it loses more; the message has the figures and says what may help.
    """
    if found.accuracy is None or found.model_accuracy is None:
        judged_by, lost = "agreement", 1.0 - found.top1_agreement
    else:
        judged_by, lost = "accuracy", found.model_accuracy - found.accuracy
    judged = Quantised(
        kind, judged_by, lost, max_loss, num_calibration_images, float32_size_bytes, float32
    )
    if not lost <= max_loss + _ROUNDING:
        other = 1.0 - found.top1_agreement
        raise RunError(
            f"quantised to {kind} the export loses {100 * lost:.1f} points of {judged_by}, so "
            f"nothing was written: {judged.sentence(found)}. {other:.1%} of the images get another "
            f"class than from the model. {_advice(judged)}"
        )
    return judged


def _advice(judged: Quantised) -> str:
    allow = "allow more with max_loss= (--max-loss)"
    if judged.kind == "float16":
        return f"Export it in float32, or {allow}"
    return (
        "Try quantise='float16', calibrate on more or other images (calibration=; "
        f"{judged.num_calibration_images} were used), or {allow}"
    )
