"""What divides small from large, similar from different, and little risk from much."""

SMALL_NUM_IMAGES = 500
SMALL_IMAGES_PER_CLASS = 100
LARGE_IMAGES_PER_CLASS = 1_000
FROM_SCRATCH_IMAGES_PER_CLASS = 5_000
SIMILAR_FROM = 0.5

#: Trained numbers for each image.
LOW_RISK_BELOW, HIGH_RISK_FROM = 10, 1_000

#: How many of so many first blocks the textbook keeps where few images differ from the source.
EARLIER_BLOCKS = (2, 3)

#: Of how many blocks one trains where there is neither little data nor much.
ONE_BLOCK_OF = {"similar": 6, "different": 3}
