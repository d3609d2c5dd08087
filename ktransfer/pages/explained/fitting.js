"use strict";

/* A regression on waves, learned by gradient descent with momentum from weights of zero. */

/** What a model of so many waves reads of x: 1, and sines and cosines, the quicker the fainter. */
function featuresOf(x, { waves, fading }) {
    const read = [1];
    for (let wave = 1; wave <= waves; wave += 1) {
        const size = wave ** -fading;
        read.push(size * Math.sin(Math.PI * wave * x), size * Math.cos(Math.PI * wave * x));
    }
    return read;
}

function dot(a, b) {
    return a.reduce((total, each, at) => total + each * b[at], 0);
}

/** Points with as much noise as is asked for. */
function measured(part, count, noise) {
    const x = part.x.slice(0, count);
    return { x, y: x.map((_, at) => part.truth[at] + noise * part.noise[at]) };
}

function errorOf(rows, y, w) {
    return rows.reduce((total, row, at) => total + (dot(row, w) - y[at]) ** 2, 0) / rows.length;
}

/** The weights before each epoch and after the last, and both errors of each. */
function train(training, validation, model) {
    const rows = training.x.map((x) => featuresOf(x, model));
    const others = validation.x.map((x) => featuresOf(x, model));
    let w = rows[0].map(() => 0);
    let v = [...w];
    const found = { weights: [w], training: [errorOf(rows, training.y, w)], validation: [] };
    found.validation.push(errorOf(others, validation.y, w));
    for (let epoch = 0; epoch < model.epochs; epoch += 1) {
        const wrong = rows.map((row, at) => dot(row, w) - training.y[at]);
        const slope = (at) => wrong.reduce((sum, each, row) => sum + each * rows[row][at], 0);
        const g = w.map((_, at) => (2 * slope(at)) / rows.length);
        v = v.map((each, at) => model.momentum * each + g[at]);
        w = w.map((each, at) => each - model.rate * v[at]);
        found.weights.push(w);
        found.training.push(errorOf(rows, training.y, w));
        found.validation.push(errorOf(others, validation.y, w));
    }
    return found;
}

/** The epoch of the lowest error. */
function bestOf(errors) {
    return errors.indexOf(Math.min(...errors));
}

/** "under", "good" or "over", for each epoch. */
function fitsOf(errors, tolerance) {
    const best = bestOf(errors);
    return errors.map((error, epoch) => {
        if (error <= (1 + tolerance) * errors[best]) return "good";
        return epoch < best ? "under" : "over";
    });
}

/** When training stops that waits so many epochs for a better one, and which is kept. */
function stopping(errors, patience) {
    let kept = 0;
    for (let epoch = 1; epoch < errors.length; epoch += 1) {
        if (errors[epoch] < errors[kept]) kept = epoch;
        else if (epoch - kept >= patience) return { stop: epoch, kept };
    }
    return { stop: null, kept };
}
