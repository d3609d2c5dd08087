"""What the simulator says beside the sentences of the rule; filled in as those are."""

from ktransfer.advisor.thresholds import ONE_BLOCK_OF

#: What a strategy is called.
STRATEGIES = {
    "linear_probe": "Train the head alone",
    "earlier_linear_probe": "Train a head on earlier features",
    "last_blocks": "Train the last blocks too",
    "full_fine_tune": "Fine-tune every block",
    "from_scratch": "Train from scratch",
}

#: What a cell of the rule is called.
CELLS = {
    "small_similar": "Little data, similar domain",
    "small_different": "Little data, different domain",
    "between": "Neither little data nor much",
    "large_similar": "Much data, similar domain",
    "large_different": "Much data, different domain",
}

#: What stands in the map, a line for each element.
MAP = {
    "small_similar": ["head alone"],
    "small_different": ["head on", "earlier features"],
    "between_similar": [f"last blocks, 1 in {ONE_BLOCK_OF['similar']}"],
    "between_different": [f"last blocks, 1 in {ONE_BLOCK_OF['different']}"],
    "large_similar": ["every block"],
    "large_different": ["every block"],
    "from_scratch": ["from scratch"],
}

#: Situations to begin with.
EXAMPLES = (
    {"title": "300 photos, 5 flowers", "images": 300, "classes": 5, "similarity": 0.9},
    {"title": "300 spectrograms, 5 birds", "images": 300, "classes": 5, "similarity": 0.1},
    {"title": "4,000 photos, 10 dishes", "images": 4_000, "classes": 10, "similarity": 0.8},
    {"title": "60,000 photos, 20 products", "images": 60_000, "classes": 20, "similarity": 0.9},
    {"title": "40,000 X-rays, 4 findings", "images": 40_000, "classes": 4, "similarity": 0.1},
)

#: What a block is called by a screen reader; that it trains, the switch says.
BLOCKS = {
    "row": "Blocks of {title}, from the head down to the images; switched on is trained",
    "block": "Block {number}, {name}, {parameters:,} parameters",
    "left_out": "Block {number}, {name}, left out: take it in",
    "number": "Block {number}",
}

STACK = {
    "head": "New head",
    "head_reads": "{classes:,} classes on {width:,} features",
    "images": "Your images",
    "images_size": "{height} x {width} pixels",
    "recommended": "recommended border",
    "reads": "{number} of {of}",
    "border_all": "All {kept} blocks are frozen: computed once for each image, never run again.",
    "border_some": (
        "Blocks 1 to {frozen} are frozen: computed once for each image, never run again."
    ),
    "border_none": "No block is frozen: every step runs and moves them all.",
    "border_random": "All begin with random numbers, so all must train.",
    "same": "The stack is as recommended.",
    "different": "The stack is not as recommended: {differences}.",
    "more": "it trains {count} blocks more",
    "more_one": "it trains 1 block more",
    "fewer": "it trains {count} blocks fewer",
    "fewer_one": "it trains 1 block fewer",
    "head_at": "its head reads block {kept} instead of {recommended}",
    "from_random": "it starts from random weights",
    "from_pretrained": "it starts from pretrained weights",
    "said": "{trained} of {kept} blocks train, {parameters:,} parameters with the head.",
}

READINGS = {
    "per_class": "{per_class:,.0f} a class",
    "trained_head": "parameters, all in the head",
    "trained": "parameters, {head:,} in the head",
    "left_out": "parameters; {number} left out",
    "frozen": "parameters",
    "memory": "{number} MB",
    "memory_head": "the features of all images, held",
    "memory_tuning": "{batch} images a step: activations, gradients, Adam's moments",
    "passes": "{number} passes",
    "passes_one": "1 pass",
    "passes_note": "of the images through the network; to train every block takes {everything}",
    "stage": "{name}: at most {epochs} epochs, learning rate {learning_rate:g}",
    "command": "ktransfer train photos/ --backbone {backbone} --plan plan.json --out runs/photos",
}

#: The axes of the map, and what it is to those who do not see it.
AXES = {
    "images": "images a class",
    "different": "different",
    "similar": "similar",
    "label": (
        "The rule as a map: similarity to the right, images a class upwards. {cell}: {strategy}."
    ),
}
