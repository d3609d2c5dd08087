"use strict";

/* The first lesson: a descent, seen from above and by its loss. */

const facts = factsOf("facts");
const { words } = facts;
const part = (id) => document.getElementById(id);

const STEPS = 100;
const FRAME_MS = 90;
/** From the start of the descent: how far the loss is drawn, in powers of ten. */
const LOSSES = { low: -6, high: 2 };

const descent = { start: [-8.8, 3.4], narrow: 10, rate: 0.15, momentum: 0, step: 0, timer: null };
const plane = { x: scale(-10, 10, 20, 620), y: scale(-6, 6, 370, 10) };
const chart = { x: scale(0, STEPS, 60, 625), y: scale(LOSSES.low, LOSSES.high, 125, 10) };
const valley = drawValley();
const losses = drawLosses();

function drawValley() {
    const svg = part("valley");
    const clip = svgElement("clipPath", { id: "inside" });
    clip.append(svgElement("rect", { x: 10, y: 5, width: 620, height: 370, rx: 8 }));
    const inside = svgElement("g", { "clip-path": "url(#inside)" });
    const made = {
        rings: svgElement("g"),
        ahead: svgElement("polyline", { class: "ahead" }),
        path: svgElement("polyline", { class: "path" }),
        feet: svgElement("g"),
        ball: svgElement("circle", { class: "ball", r: 8 }),
    };
    const floor = svgElement("circle", { class: "floor", cx: plane.x(0), cy: plane.y(0), r: 3 });
    inside.append(svgElement("rect", { class: "frame", width: 640, height: 380 }));
    inside.append(made.rings, floor, made.ahead, made.path, made.feet, made.ball);
    svg.append(clip, inside, svgElement("rect", { x: 10, y: 5, width: 620, height: 370, rx: 8, fill: "none", class: "grid" }));
    return made;
}

function powerOfTen(power) {
    const digits = [...String(Math.abs(power))].map((each) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[each]);
    return `10${power < 0 ? "⁻" : ""}${digits.join("")}`;
}

function drawLosses() {
    const svg = part("losses");
    svg.append(svgElement("rect", { class: "frame", x: 60, y: 10, width: 565, height: 115 }));
    for (let power = LOSSES.low; power <= LOSSES.high; power += 2) {
        const y = chart.y(power);
        svg.append(svgElement("line", { class: "grid", x1: 60, x2: 625, y1: y, y2: y }));
        svg.append(svgElement("text", { x: 54, y: y + 4, "text-anchor": "end" }, powerOfTen(power)));
    }
    const at = { x: 625, y: 145, "text-anchor": "end" };
    svg.append(svgElement("text", at, words.steps.steps), svgElement("text", { x: 66, y: 24 }, words.steps.loss));
    const made = {
        path: svgElement("polyline", { class: "path" }),
        now: svgElement("line", { class: "now", y1: 10, y2: 125 }),
    };
    svg.append(made.path, made.now);
    return made;
}

function showRings(narrow) {
    const rings = [];
    for (let reach = 20; reach > 0.5; reach /= 1.35) {
        const radii = { rx: 30 * reach, ry: (30 * reach) / Math.sqrt(narrow) };
        rings.push(svgElement("ellipse", { class: "ring", cx: plane.x(0), cy: plane.y(0), ...radii }));
    }
    valley.rings.replaceChildren(...rings);
}

function showPath(path) {
    const pixels = path.map(({ w }) => [plane.x(w[0]), plane.y(w[1])]);
    const gone = pixels.slice(0, descent.step + 1);
    valley.ahead.setAttribute("points", through(pixels));
    valley.path.setAttribute("points", through(gone));
    const feet = gone.map(([cx, cy]) => svgElement("circle", { class: "foot", r: 3, cx, cy }));
    valley.feet.replaceChildren(...feet);
    const [x, y] = gone.at(-1);
    valley.ball.setAttribute("cx", x);
    valley.ball.setAttribute("cy", y);
}

function showLosses(path) {
    const first = lossAt(path[0].w, descent.narrow);
    const powers = path.map(({ w }) => Math.log10(Math.max(1e-300, lossAt(w, descent.narrow) / first)));
    losses.path.setAttribute("points", through(powers.map((power, step) => [chart.x(step), chart.y(power)])));
    losses.now.setAttribute("x1", chart.x(descent.step));
    losses.now.setAttribute("x2", chart.x(descent.step));
}

/** Three digits after the point, or a power of ten where that says nothing. */
function short(number) {
    const size = Math.abs(number);
    const plain = number === 0 || (size >= 0.001 && size < 1e5);
    return (plain ? number.toFixed(3) : number.toExponential(1)).replaceAll("-", "\u2212");
}

function showSums(path) {
    const { w } = path[descent.step];
    const next = path[Math.min(path.length - 1, descent.step + 1)];
    for (const at of [0, 1]) {
        part(`w${at}`).textContent = short(w[at]);
        part(`g${at}`).textContent = short(next.g[at]);
        part(`v${at}`).textContent = short(next.v[at]);
        part(`n${at}`).textContent = short(next.w[at]);
    }
}

/** What becomes of the descent in the end, in words. */
function verdictOf(along, across) {
    const ways = [along.way, across.way];
    if (ways.includes("diverges")) return ["diverges", words.verdicts.diverges];
    if (ways.includes("stays")) return ["stays", words.verdicts.stays];
    const steps = Math.max(along.steps, across.steps);
    return ["converges", filled(words.verdicts.converges, { steps })];
}

function directionWords(name, curvature, { way, steps }) {
    const pace = Number.isFinite(steps) ? filled(words.directions.pace, { steps }) : "";
    return filled(words.directions[name], { curvature, way: words.ways[way], pace });
}

function showVerdict() {
    const { rate, momentum, narrow } = descent;
    const along = goes(rate, momentum, 1);
    const across = goes(rate, momentum, narrow);
    const [way, verdict] = verdictOf(along, across);
    const limit = filled(words.verdicts.limit, { curvature: narrow, limit: largestRate(momentum, narrow) });
    part("verdict").textContent = verdict;
    part("verdict").dataset.way = way;
    part("along").textContent = directionWords("along", 1, along);
    part("across").textContent = `${directionWords("across", narrow, across)} ${limit}`;
    part("valley").setAttribute("aria-label", filled(words.verdicts.label, { steps: STEPS, verdict }));
    part("losses").setAttribute("aria-label", filled(words.verdicts.loss_label, { verdict }));
}

function showDials() {
    const { rate, momentum, narrow, step } = descent;
    part("rate").value = Math.log10(rate);
    part("rate").setAttribute("aria-valuetext", formatted(rate, "g"));
    part("momentum").value = momentum;
    part("narrow").value = narrow;
    part("step").value = step;
    part("rate-number").textContent = String(Number(rate.toPrecision(3)));
    part("momentum-number").textContent = momentum.toFixed(2);
    part("narrow-number").textContent = String(narrow);
    part("step-number").textContent = filled(words.steps.step, { step, steps: STEPS });
    part("play").textContent = words.steps[descent.timer === null ? "play" : "pause"];
}

function showDescent() {
    const { start, narrow, rate, momentum } = descent;
    const path = descend(start, narrow, rate, momentum, STEPS + 1);
    showRings(narrow);
    showPath(path.slice(0, STEPS + 1));
    showLosses(path.slice(0, STEPS + 1));
    showSums(path);
    showVerdict();
    showDials();
}

function changeDescent(change) {
    Object.assign(descent, change);
    showDescent();
}

function pause() {
    clearInterval(descent.timer);
    descent.timer = null;
}

function play() {
    if (descent.timer !== null) {
        pause();
        showDescent();
        return;
    }
    if (descent.step === STEPS) descent.step = 0;
    descent.timer = setInterval(() => {
        if (descent.step === STEPS - 1) pause();
        changeDescent({ step: descent.step + 1 });
    }, FRAME_MS);
    showDescent();
}

function takeStart(event) {
    const svg = part("valley");
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    changeDescent({ start: [(point.x - 320) / 30, (190 - point.y) / 30], step: STEPS });
}

function beginValley() {
    part("step").max = STEPS;
    part("rate").addEventListener("input", () => changeDescent({ rate: 10 ** Number(part("rate").value) }));
    part("momentum").addEventListener("input", () => changeDescent({ momentum: Number(part("momentum").value) }));
    part("narrow").addEventListener("input", () => changeDescent({ narrow: Number(part("narrow").value) }));
    part("step").addEventListener("input", () => changeDescent({ step: Number(part("step").value) }));
    part("play").addEventListener("click", play);
    part("valley").addEventListener("click", takeStart);
    for (const [name, title] of Object.entries(words.presets)) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = title;
        button.addEventListener("click", () => {
            const [rate, momentum] = presets(descent.narrow)[name];
            changeDescent({ rate, momentum, step: STEPS });
        });
        part("presets").append(button);
    }
    changeDescent({ step: STEPS });
}

beginValley();
