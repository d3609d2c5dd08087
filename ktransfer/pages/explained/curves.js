"use strict";

/* The second lesson: errors by epoch, from underfitting to overfitting, and when to stop. */

const EPOCHS = facts.fitting.epochs;
const lesson = { count: 16, waves: 12, noise: 0.35, patience: 10, epoch: 12, trained: null };
const plot = { left: 60, right: 625, top: 34, bottom: 265 };
const epochs = scale(0, EPOCHS, plot.left, plot.right);
const field = { x: scale(-1, 1, 15, 625), y: scale(-2.6, 2.4, 250, 10) };

function modelNow() {
    return { ...facts.fitting, waves: lesson.waves };
}

function learn() {
    const { training, validation } = facts.points;
    const own = measured(training, lesson.count, lesson.noise);
    const others = measured(validation, validation.x.length, lesson.noise);
    const found = train(own, others, modelNow());
    const fits = fitsOf(found.validation, facts.tolerance);
    lesson.trained = { ...found, own, others, fits, best: bestOf(found.validation) };
}

/** Neighbouring epochs that are the same kind of fit, as [kind, first, last]. */
function zonesOf(fits) {
    const zones = [];
    fits.forEach((fit, epoch) => {
        if (zones.at(-1)?.[0] === fit) zones.at(-1)[2] = epoch;
        else zones.push([fit, epoch, epoch]);
    });
    return zones;
}

function zone([fit, first, last]) {
    const from = epochs(Math.max(0, first - 0.5));
    const to = epochs(Math.min(EPOCHS, last + 0.5));
    const area = { class: `zone ${fit}`, x: from, y: plot.top, width: to - from, height: plot.bottom - plot.top };
    const drawn = [svgElement("rect", area)];
    if (to - from > 75) {
        const at = { class: fit, x: (from + to) / 2, y: plot.top - 8, "text-anchor": "middle" };
        drawn.push(svgElement("text", at, words.fits[fit]));
    }
    return drawn;
}

function line(name, errors, up) {
    const points = through(errors.map((error, epoch) => [epochs(epoch), up(error)]));
    return svgElement("polyline", { class: name, points });
}

function upright(epoch, name, title, y) {
    const x = epochs(epoch);
    const drawn = [svgElement("line", { class: name, x1: x, x2: x, y1: plot.top, y2: plot.bottom })];
    const end = x > plot.right - 50;
    const at = { x: x + (end ? -4 : 4), y, "text-anchor": end ? "end" : "start" };
    if (title) drawn.push(svgElement("text", at, title));
    return drawn;
}

function showErrors(stop) {
    const { training, validation, fits, best } = lesson.trained;
    const most = 1.08 * Math.max(training[0], validation[0]);
    const up = scale(0, most, plot.bottom, plot.top);
    const name = (kind, errors, lift) => {
        const at = { class: kind, x: plot.right - 6, y: up(errors.at(-1)) + lift, "text-anchor": "end" };
        return svgElement("text", at, words.curves[kind]);
    };
    const ticks = [0, 0.25, 0.5, 0.75, 1].filter((tick) => tick < most).map((tick) =>
        svgElement("text", { x: plot.left - 8, y: up(tick) + 4, "text-anchor": "end" }, tick.toFixed(2)));
    part("errors").replaceChildren(
        svgElement("rect", { class: "frame", x: plot.left, y: plot.top, width: plot.right - plot.left, height: plot.bottom - plot.top }),
        ...zonesOf(fits).flatMap(zone),
        ...ticks,
        ...upright(best, "mark", words.curves.best, plot.top + 16),
        ...(stop === null ? [] : upright(stop, "mark", words.curves.stop, plot.top + 34)),
        line("training", training, up), line("validation", validation, up),
        name("training", training, -9), name("validation", validation, -9),
        ...upright(lesson.epoch, "now", "", 0),
        svgElement("circle", { class: "point", r: 5, cx: epochs(lesson.epoch), cy: up(training[lesson.epoch]) }),
        svgElement("circle", { class: "ball-of-validation", r: 5, cx: epochs(lesson.epoch), cy: up(validation[lesson.epoch]) }),
        svgElement("text", { x: plot.left, y: plot.bottom + 20 }, "0"),
        svgElement("text", { x: plot.right, y: plot.bottom + 20, "text-anchor": "end" }, `${words.curves.epoch} ${EPOCHS}`),
    );
}

function showFit() {
    const { own, others, weights } = lesson.trained;
    const { curve } = facts.points;
    const w = weights[lesson.epoch];
    const says = curve.x.map((x) => [field.x(x), field.y(dot(featuresOf(x, modelNow()), w))]);
    const truth = curve.x.map((x, at) => [field.x(x), field.y(curve.truth[at])]);
    const circles = ({ x, y }, name, r) =>
        x.map((each, at) => svgElement("circle", { class: name, r, cx: field.x(each), cy: field.y(y[at]) }));
    part("fit").replaceChildren(
        svgElement("rect", { class: "frame", x: 10, y: 5, width: 620, height: 250, rx: 8 }),
        svgElement("polyline", { class: "truth", points: through(truth) }),
        ...circles(others, "other", 4),
        svgElement("polyline", { class: "model", points: through(says) }),
        ...circles(own, "point", 5),
    );
    part("fit").setAttribute("aria-label", filled(words.fit_sentences.fit_label, lesson));
}

function stoppingWords({ stop, kept }) {
    const { validation, best } = lesson.trained;
    const values = { patience: lesson.patience, stop, kept, epochs: EPOCHS };
    const said = filled(words.stopping[stop === null ? "never" : "stops"], values);
    if (kept === best) return `${said} ${words.stopping.right}`;
    const lower = 100 * (1 - validation[best] / validation[kept]);
    return `${said} ${filled(words.stopping.impatient, { best, lower })}`;
}

function showLesson() {
    const { training, validation, fits, best } = lesson.trained;
    const { epoch } = lesson;
    const stopped = stopping(validation, lesson.patience);
    showErrors(stopped.stop);
    showFit();
    const fit = fits[epoch];
    part("fit-name").textContent = words.fits[fit];
    part("fit-name").dataset.way = fit;
    part("fit-sentence").textContent = filled(words.fit_sentences[fit], { tolerance: 100 * facts.tolerance });
    const errors = { epoch, train: training[epoch], validation: validation[epoch] };
    part("fit-at").textContent = filled(words.fit_sentences.at, errors);
    const lowest = { epochs: EPOCHS, lowest: validation[best], best };
    part("errors").setAttribute("aria-label", filled(words.fit_sentences.label, lowest));
    part("stopping").textContent = stoppingWords(stopped);
    part("epoch").value = epoch;
    part("epoch-number").textContent = filled(words.curves.of, { number: epoch, of: EPOCHS });
    for (const name of ["count", "waves", "patience"]) part(`${name}-number`).textContent = lesson[name];
    part("noise-number").textContent = lesson.noise.toFixed(2);
}

function beginLesson() {
    part("epoch").max = EPOCHS;
    for (const name of ["count", "waves", "noise", "patience", "epoch"]) {
        part(name).addEventListener("input", () => {
            lesson[name] = Number(part(name).value);
            if (name !== "epoch" && name !== "patience") learn();
            showLesson();
        });
    }
    part("errors").addEventListener("click", (event) => {
        const svg = part("errors");
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        const share = (point.x - plot.left) / (plot.right - plot.left);
        lesson.epoch = Math.round(EPOCHS * Math.min(1, Math.max(0, share)));
        showLesson();
    });
    learn();
    showLesson();
}

beginLesson();
