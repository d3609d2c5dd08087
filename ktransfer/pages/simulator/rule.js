"use strict";

/* The 2x2 rule of ktransfer.advisor.rule with its thresholds and sentences, and what a training
   costs by ktransfer.advisor.costs. A test compares both with Python. */

/** The reckoning of the page, on what Python laid into it. */
function makeRule(facts) {
    const { thresholds, sentences, costs, plans } = facts;

    function sizeOf(images, classes) {
        const perClass = images / classes;
        if (images < thresholds.small_num_images || perClass < thresholds.small_images_per_class) {
            return "small";
        }
        return perClass > thresholds.large_images_per_class ? "large" : "between";
    }

    function cellOf(size, similar) {
        return size === "between" ? size : `${size}_${similar ? "similar" : "different"}`;
    }

    function earlierBlock(blocks) {
        const [kept, of] = thresholds.earlier_blocks;
        return Math.max(1, Math.ceil((blocks * kept) / of));
    }

    /** The name of what to do, how many blocks to keep, and how many of these to train. */
    function strategyOf(cell, perClass, similar, blocks) {
        if (cell === "small_similar") return ["linear_probe", blocks, 0];
        if (cell === "small_different") return ["earlier_linear_probe", earlierBlock(blocks), 0];
        if (cell === "between") {
            const oneOf = thresholds.one_block_of[similar ? "similar" : "different"];
            return ["last_blocks", blocks, Math.max(1, roundHalfEven(blocks / oneOf))];
        }
        const scratch = perClass > thresholds.from_scratch_images_per_class;
        const name = cell === "large_different" && scratch ? "from_scratch" : "full_fine_tune";
        return [name, blocks, blocks];
    }

    function sizeReason(images, classes) {
        let size = sizeOf(images, classes);
        if (size === "small") size = images < thresholds.small_num_images ? "few" : "few_per_class";
        const values = { num_images: images, num_classes: classes, per_class: images / classes };
        return filled(sentences.size[size], values);
    }

    function similarityReason(similarity) {
        if (similarity === null) return sentences.similarity.unknown;
        const word = similarity >= thresholds.similar_from ? "similar" : "different";
        return filled(sentences.similarity[word], { similarity });
    }

    /** How many numbers are trained for each image: the level, and the sentence. */
    function overfittingRisk(trainable, images, headOnly) {
        const perImage = trainable / images;
        let level = "high";
        if (perImage < thresholds.low_risk_below) level = "low";
        else if (perImage < thresholds.high_risk_from) level = "moderate";
        const key = level === "moderate" && headOnly ? "moderate_head" : level;
        const values = { trainable, num_images: images, per_image: perImage };
        return { level, sentence: filled(sentences.risk[key], values) };
    }

    function sum(blocks, name) {
        return blocks.reduce((total, block) => total + block[name], 0);
    }

    /** How many numbers a head holds that reads the last of the first `kept` blocks. */
    function headParameters(network, kept, classes) {
        return (widthAt(network, kept) + 1) * classes;
    }

    function widthAt(network, kept) {
        return network.blocks[kept - 1].output.at(-1);
    }

    /** How many numbers train, the head's included. */
    function trainableOf(network, kept, trained, classes) {
        const blocks = network.blocks.slice(kept - trained, kept);
        return headParameters(network, kept, classes) + sum(blocks, "parameters");
    }

    /** What the rule advises for so many images and classes; similarity null: nobody said. */
    function advise(network, images, classes, similarity) {
        const similar = similarity === null || similarity >= thresholds.similar_from;
        const size = sizeOf(images, classes);
        const cell = cellOf(size, similar);
        const blocks = network.blocks.length;
        const [strategy, kept, trained] = strategyOf(cell, images / classes, similar, blocks);
        const trainable = trainableOf(network, kept, trained, classes);
        const why = sentences.why[strategy];
        return {
            size, cell, similar, strategy, kept, trained, trainable,
            pretrained: strategy !== "from_scratch",
            reasons: [sizeReason(images, classes), similarityReason(similarity), why],
            risk: overfittingRisk(trainable, images, trained === 0),
        };
    }

    /** The strategy that a stack amounts to. */
    function strategyOfStack(network, { kept, trained, pretrained }) {
        if (!pretrained) return "from_scratch";
        if (trained === 0) {
            return kept === network.blocks.length ? "linear_probe" : "earlier_linear_probe";
        }
        return trained === kept ? "full_fine_tune" : "last_blocks";
    }

    /** What `train --plan` takes. */
    function planOf(strategy, { kept, trained }) {
        const put = (value) => {
            if (Array.isArray(value)) return value.map(put);
            if (value !== null && typeof value === "object") {
                return Object.fromEntries(Object.entries(value).map(([at, each]) => [at, put(each)]));
            }
            if (value === "{kept}") return kept;
            if (value === "{trained}") return trained;
            return typeof value === "string" ? filled(value, { kept, trained }) : value;
        };
        return put(plans[strategy]);
    }

    /** Megabytes of a training beside the network itself, as of `Costs.head` and `.tuning`. */
    function memoryMb(network, { kept, trained }, images) {
        const blocks = network.blocks.slice(kept - trained, kept);
        const numbers = trained === 0
            ? images * widthAt(network, kept)
            : costs.per_activation * costs.batch * sum(blocks, "activations") +
              costs.per_weight * sum(blocks, "parameters");
        return (numbers * costs.float_bytes) / 2 ** 20;
    }

    /** Time in passes of all images through the whole network, as of `Costs`. */
    function passes(network, { kept, trained }, plan) {
        const whole = sum(network.blocks, "activations");
        const share = (blocks) => sum(blocks, "activations") / whole;
        const epochs = plan.stages
            .filter((stage) => stage.unfreeze > 0)
            .reduce((total, stage) => total + stage.epochs, 0);
        const steps = share(network.blocks.slice(kept - trained, kept)) * costs.step_by_forward;
        return share(network.blocks.slice(0, kept)) + epochs * steps;
    }

    /** All that a stack means for so many images and classes. */
    function outcome(network, stack, images, classes) {
        const { kept, trained } = stack;
        const strategy = strategyOfStack(network, stack);
        const plan = planOf(strategy, stack);
        const trainable = trainableOf(network, kept, trained, classes);
        const all = { kept: network.blocks.length, trained: network.blocks.length };
        return {
            strategy, plan, trainable,
            head: headParameters(network, kept, classes),
            width: widthAt(network, kept),
            frozen: sum(network.blocks.slice(0, kept - trained), "parameters"),
            leftOut: sum(network.blocks.slice(kept), "parameters"),
            memoryMb: memoryMb(network, stack, images),
            passes: passes(network, stack, plan),
            passesOfAll: passes(network, all, planOf("full_fine_tune", all)),
            risk: overfittingRisk(trainable, images, trained === 0),
        };
    }

    /** From how many images a class data counts as between small and large, for so many classes. */
    function smallBelow(classes) {
        return Math.max(thresholds.small_images_per_class, thresholds.small_num_images / classes);
    }

    return { advise, outcome, smallBelow };
}
