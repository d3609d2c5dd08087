"use strict";

/* The stack of blocks: the head, the blocks from the last to the first, the images. */

/** A stack whose head reads another block; what trained and what was frozen stays so. */
function withKept(stack, kept) {
    const frozen = stack.trained === 0 ? kept : Math.min(kept, stack.kept - stack.trained);
    return { ...stack, kept, trained: kept - frozen };
}

/** A stack with the lock of one block turned: it and all below lock, or it and all above unlock. */
function withBlockToggled(stack, number) {
    if (number > stack.kept) return withKept(stack, number);
    const frozen = stack.kept - stack.trained;
    const border = number > frozen ? number : number - 1;
    // What is frozen must know something.
    return { ...stack, trained: stack.kept - border, pretrained: stack.pretrained || border > 0 };
}

/** Draws stacks into an element, and says which block was pressed. */
function makeStack(row, words, onPressed) {
    let blocks = [];
    let inTabOrder = 0;
    const head = made("div", "place head");
    const images = made("div", "place pictures");
    const mark = made("div", "mark", words.stack.recommended);
    mark.setAttribute("aria-hidden", "true");
    row.setAttribute("role", "group");

    function made(tag, name, text = "") {
        const element = document.createElement(tag);
        element.className = name;
        element.textContent = text;
        return element;
    }

    function icon(name) {
        const svg = svgElement("svg", { "aria-hidden": "true" });
        svg.append(svgElement("use", { href: `#${name}` }));
        return svg;
    }

    function makeBlock(block, at, network) {
        const button = made("button", "block");
        const most = Math.max(...network.blocks.map((each) => each.parameters));
        const size = made("i", "size");
        size.style.width = `${(100 * Math.log1p(block.parameters)) / Math.log1p(most)}%`;
        button.type = "button";
        button.title = `${block.name}, ${block.output.join(" x ")}`;
        button.setAttribute("role", "switch");
        button.append(
            icon("locked"),
            made("span", "number", filled(words.blocks.number, { number: at + 1 })),
            made("span", "name", block.name),
            made("span", "parameters", grouped(String(block.parameters))),
            size,
        );
        button.addEventListener("click", () => {
            focusOn(at, false);
            onPressed(at + 1);
        });
        return button;
    }

    function focusOn(at, now = true) {
        inTabOrder = Math.min(blocks.length - 1, Math.max(0, at));
        blocks.forEach((each, number) => { each.tabIndex = number === inTabOrder ? 0 : -1; });
        if (now) blocks[inTabOrder].focus();
    }

    row.addEventListener("keydown", (event) => {
        const to = {
            ArrowUp: inTabOrder + 1, ArrowDown: inTabOrder - 1,
            Home: blocks.length - 1, End: 0,
            PageUp: inTabOrder + 10, PageDown: inTabOrder - 10,
        }[event.key];
        if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        focusOn(to);
    });

    /** Begin anew with the blocks of a network. */
    function begin(network) {
        blocks = network.blocks.map((block, at) => makeBlock(block, at, network));
        row.setAttribute("aria-label", filled(words.blocks.row, network));
        row.classList.toggle("many", blocks.length > 20);
        row.replaceChildren(head, ...[...blocks].reverse(), images);
        const [height, width] = network.input_size;
        const size = filled(words.stack.images_size, { height, width });
        images.replaceChildren(made("b", "", words.stack.images), made("span", "", size));
        focusOn(blocks.length - 1, false);
    }

    function showBlock(button, at, network, stack) {
        const number = at + 1;
        const used = number <= stack.kept;
        const trained = used && number > stack.kept - stack.trained;
        const state = used ? (trained ? "trained" : "frozen") : "left_out";
        const symbol = { trained: "unlocked", frozen: "locked", left_out: "absent" }[state];
        button.dataset.state = state;
        button.setAttribute("aria-checked", String(trained));
        const label = words.blocks[used ? "block" : "left_out"];
        button.setAttribute("aria-label", filled(label, { ...network.blocks[at], number }));
        button.querySelector("use").setAttribute("href", `#${symbol}`);
    }

    /** Show which blocks a stack freezes, and where the border is recommended. */
    function show(network, stack, head_, advice) {
        blocks.forEach((button, at) => showBlock(button, at, network, stack));
        const parameters = made("span", "", grouped(String(head_.parameters)));
        head.replaceChildren(
            made("b", "", words.stack.head), made("span", "", filled(words.stack.head_reads, head_)), parameters,
        );
        moveBefore(head, blocks[stack.kept - 1]);
        const border = advice.kept - advice.trained;
        const here = border === stack.kept - stack.trained && advice.kept === stack.kept;
        mark.hidden = here;
        if (here) mark.remove();
        else moveBefore(mark, border > 0 ? blocks[border - 1] : images);
    }

    function moveBefore(element, next) {
        // An element that is moved although it is in place would lose the focus of what is in it.
        if (element.nextSibling !== next) row.insertBefore(element, next);
    }

    return { begin, show };
}
