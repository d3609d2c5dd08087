"""What the page says of a descent and of a training; filled in with `str.format`."""

#: Descents to begin with; their rates depend on how narrow the valley is.
PRESETS = {
    "small": "rate too small",
    "best": "best without momentum",
    "edge": "at the edge",
    "large": "rate too large",
    "momentum": "best with momentum",
    "much": "too much momentum",
}

#: How a descent goes along one direction.
WAYS = {
    "glides": "it glides down one side",
    "zigzags": "it jumps from side to side",
    "swings": "it overshoots and swings back",
    "stays": "it neither comes nearer nor leaves",
    "diverges": "each step leads further away",
}

DIRECTIONS = {
    "along": "Along the valley (curvature {curvature:g}): {way}{pace}.",
    "across": "Across it (curvature {curvature:g}): {way}{pace}.",
    "pace": "; a hundredth of the way is left after about {steps:,} steps",
}

VERDICTS = {
    "converges": "Converges in about {steps:,} steps",
    "stays": "Never arrives",
    "diverges": "Diverges",
    "limit": "Above a rate of 2 (1 + b) / {curvature:g} = {limit:.3f} it diverges.",
    "label": "The valley from above, and the path of {steps} steps from the start. {verdict}.",
    "loss_label": "The loss at each step, on a logarithmic scale. {verdict}.",
}

STEPS = {
    "step": "{step} of {steps}",
    "play": "Play",
    "pause": "Pause",
    "loss": "loss",
    "steps": "step",
}

#: What an epoch is, beside the best one.
FITS = {
    "under": "Underfitting",
    "good": "A good fit",
    "over": "Overfitting",
}

FIT_SENTENCES = {
    "under": (
        "Both errors are high and fall together: the model has not yet learned what the points "
        "have in common. Train on."
    ),
    "good": (
        "The validation error is within {tolerance} % of its lowest: what was learned from the "
        "training points holds for others."
    ),
    "over": (
        "The training error falls on, the validation error does not: the model learns the noise "
        "of its own points by heart."
    ),
    "at": "Epoch {epoch}: training error {train:.3f}, validation error {validation:.3f}.",
    "label": "Training and validation error over {epochs} epochs; the lowest validation error is "
    "{lowest:.3f}, at epoch {best}.",
    "fit_label": "The training points, the validation points, and the curve at epoch {epoch}.",
}

STOPPING = {
    "stops": (
        "With a patience of {patience}, training stops after epoch {stop}, and the weights of "
        "epoch {kept} are kept."
    ),
    "never": (
        "With a patience of {patience}, training never stops within {epochs} epochs; the weights "
        "of epoch {kept} are kept."
    ),
    "right": "That is the best there is.",
    "impatient": "Too impatient: at epoch {best} the validation error is {lower:.0f} % lower.",
}

CURVES = {
    "training": "training",
    "validation": "validation",
    "truth": "truth",
    "error": "error",
    "epoch": "epoch",
    "best": "best",
    "stop": "stops",
    "of": "{number} of {of}",
}
