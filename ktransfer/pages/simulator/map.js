"use strict";

/* The map of the rule: similarity to the right, images a class upwards on a logarithmic scale. */

/** Draws the map into an svg element once, and lets it be moved. */
function makeMap(svg, facts, rule, onChosen) {
    const { thresholds, words } = facts;
    const box = { left: 54, right: 356, top: 8, bottom: 270 };
    const mostPerClass = 5;
    const right = (similarity) => box.left + similarity * (box.right - box.left);
    const up = (perClass) => {
        const share = Math.log10(Math.min(10 ** mostPerClass, Math.max(1, perClass))) / mostPerClass;
        return box.bottom - share * (box.bottom - box.top);
    };

    function makeCell(name) {
        const cell = svgElement("g", { class: "cell", "data-cell": name });
        cell.append(svgElement("rect", { rx: 3 }));
        for (const line of words.map[name]) cell.append(svgElement("text", {}, line));
        svg.append(cell);
        return [name, cell];
    }

    function place(cell, from, to, low, high) {
        const [x, y, width, height] = [right(from), up(high), right(to) - right(from), up(low) - up(high)];
        const rect = cell.firstChild;
        const inset = 1.5;
        rect.setAttribute("x", x + inset);
        rect.setAttribute("y", y + inset);
        rect.setAttribute("width", Math.max(0, width - 2 * inset));
        rect.setAttribute("height", Math.max(0, height - 2 * inset));
        const lines = cell.querySelectorAll("text");
        lines.forEach((line, at) => {
            line.setAttribute("x", x + width / 2);
            line.setAttribute("y", y + height / 2 + 4.5 + (at - (lines.length - 1) / 2) * 15);
            line.style.visibility = height < 15 * lines.length ? "hidden" : "visible";
        });
    }

    const cells = Object.fromEntries(Object.keys(words.map).map(makeCell));
    for (let digits = 0; digits <= mostPerClass; digits += 1) {
        const number = 10 ** digits;
        const at = { class: "axis", x: box.left - 5, y: up(number) + 4, "text-anchor": "end" };
        svg.append(svgElement("text", at, grouped(String(number))));
    }
    const below = box.bottom + 17;
    const middle = right(thresholds.similar_from);
    const limit = formatted(thresholds.similar_from, "g");
    svg.append(
        svgElement("text", { class: "axis", x: box.left, y: below }, words.axes.different),
        svgElement("text", { class: "axis", x: middle, y: below, "text-anchor": "middle" }, limit),
        svgElement("text", { class: "axis", x: box.right, y: below, "text-anchor": "end" }, words.axes.similar),
        svgElement("text", { class: "axis", x: 2, y: below + 22 }, `↑ ${words.axes.images}`),
    );
    const dot = svgElement("circle", { class: "dot", r: 8 });
    svg.append(dot);

    svg.addEventListener("click", (event) => {
        const point = new DOMPoint(event.clientX, event.clientY)
            .matrixTransform(svg.getScreenCTM().inverse());
        const share = (box.bottom - point.y) / (box.bottom - box.top);
        const similarity = (point.x - box.left) / (box.right - box.left);
        const within = (value) => Math.min(1, Math.max(0, value));
        onChosen(10 ** (mostPerClass * within(share)), Math.round(100 * within(similarity)) / 100);
    });

    /** Move the borders to where they lie for so many classes, and the dot. */
    return function show(images, classes, similarity, advice) {
        const { large_images_per_class: large, from_scratch_images_per_class: scratch } = thresholds;
        const small = rule.smallBelow(classes);
        const half = thresholds.similar_from;
        const top = 10 ** mostPerClass;
        place(cells.small_different, 0, half, 1, small);
        place(cells.small_similar, half, 1, 1, small);
        place(cells.between_different, 0, half, small, large);
        place(cells.between_similar, half, 1, small, large);
        place(cells.large_different, 0, half, large, scratch);
        place(cells.from_scratch, 0, half, scratch, top);
        place(cells.large_similar, half, 1, large, top);
        const side = advice.similar ? "similar" : "different";
        const own = advice.strategy === "from_scratch" ? "from_scratch" : `${advice.size}_${side}`;
        for (const [name, cell] of Object.entries(cells)) cell.classList.toggle("here", name === own);
        // What nobody said is taken to be similar: in the middle of that side.
        dot.setAttribute("cx", right(similarity ?? (1 + half) / 2));
        dot.setAttribute("cy", up(images / classes));
        const values = { cell: words.cells[advice.cell], strategy: words.strategies[advice.strategy] };
        svg.setAttribute("aria-label", filled(words.axes.label, values));
    };
}
