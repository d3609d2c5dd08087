"use strict";

/* Gradient descent with momentum in a valley whose loss is (x * x + narrow * y * y) / 2. */

/** The positions, gradients and velocities of so many steps: v = b v + g, w = w - lr v. */
function descend(start, narrow, rate, momentum, steps) {
    const curvatures = [1, narrow];
    const path = [{ w: [...start], g: [0, 0], v: [0, 0] }];
    for (let step = 0; step < steps; step += 1) {
        const { w, v } = path.at(-1);
        const g = w.map((each, at) => curvatures[at] * each);
        const speed = v.map((each, at) => momentum * each + g[at]);
        path.push({ w: w.map((each, at) => each - rate * speed[at]), g, v: speed });
    }
    return path;
}

/** The loss at a place. */
function lossAt([x, y], narrow) {
    return (x * x + narrow * y * y) / 2;
}

/**
 * How a descent goes along a direction of one curvature, however long it goes: by the roots of
 * z * z - (1 + b - lr * curvature) z + b, the powers of which the distance is made of.
 */
function goes(rate, momentum, curvature) {
    const trace = 1 + momentum - rate * curvature;
    const inside = trace * trace - 4 * momentum;
    const swings = inside < 0;
    const root = swings
        ? Math.sqrt(momentum)
        : (trace + (trace < 0 ? -1 : 1) * Math.sqrt(inside)) / 2;
    const factor = Math.abs(root);
    let way = swings ? "swings" : root < 0 ? "zigzags" : "glides";
    if (Math.abs(factor - 1) < 1e-9) way = "stays";
    else if (factor > 1) way = "diverges";
    return { way, factor, steps: factor < 1 ? stepsToAHundredth(factor) : Infinity };
}

function stepsToAHundredth(factor) {
    return factor === 0 ? 1 : Math.max(1, Math.ceil(Math.log(0.01) / Math.log(factor)));
}

/** Above which learning rate a descent diverges. */
function largestRate(momentum, narrow) {
    return (2 * (1 + momentum)) / narrow;
}

/** Rates and momenta to begin with. The best ones: Polyak 1964, heavy ball. */
function presets(narrow) {
    const root = Math.sqrt(narrow);
    return {
        small: [0.2 / narrow, 0],
        best: [2 / (1 + narrow), 0],
        edge: [1.94 / narrow, 0],
        large: [2.06 / narrow, 0],
        momentum: [(2 / (1 + root)) ** 2, ((root - 1) / (root + 1)) ** 2],
        much: [0.5 / narrow, 0.97],
    };
}
