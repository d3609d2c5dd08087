"use strict";

/* What drawings share: elements of SVG, scales from values to pixels, lines through points. */

/** An element of SVG. */
function svgElement(name, attributes = {}, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [each, value] of Object.entries(attributes)) made.setAttribute(each, value);
    if (text !== "") made.textContent = text;
    return made;
}

/** Values from `low` to `high` as pixels; beyond them, by so much the value is moved inside. */
function scale(low, high, from, to) {
    return (value) => {
        const share = (value - low) / (high - low);
        return from + Math.min(1.02, Math.max(-0.02, share)) * (to - from);
    };
}

/** The attribute `points` of a line through pairs of pixels. */
function through(pairs) {
    return pairs.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
}
