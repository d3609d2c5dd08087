"use strict";

/* What a person does on the page, and what it then shows. */

const facts = factsOf("facts");
const rule = makeRule(facts);
const { words } = facts;
const part = (id) => document.getElementById(id);

const state = { network: facts.networks[0], images: 0, classes: 0, similarity: 0, unknown: false, stack: null };

const drawStack = makeStack(part("row"), words, (number) => {
    state.stack = withBlockToggled(state.stack, number);
    show();
    say();
});
const drawMap = makeMap(part("map"), facts, rule, (perClass, similarity) => {
    Object.assign(state, { similarity, unknown: false });
    state.images = twoDigitsOnly(perClass * state.classes);
    show();
});

function similarityKnown() {
    return state.unknown ? null : state.similarity;
}

function advice() {
    return rule.advise(state.network, state.images, state.classes, similarityKnown());
}

function recommendedStack() {
    const { kept, trained, pretrained } = advice();
    return { kept, trained, pretrained };
}

/** A whole number with zeros behind its first two digits: what a slider on a logarithmic scale says. */
function twoDigitsOnly(number) {
    const unit = 10 ** Math.max(0, Math.floor(Math.log10(number)) - 1);
    return Math.max(1, Math.round(number / unit) * unit);
}

function text(id, value) {
    part(id).textContent = value;
}

/** In which respects the stack is not as advised, in words. */
function differences(stack, advised) {
    const said = [];
    const more = stack.trained - advised.trained;
    const count = Math.abs(more);
    const name = more > 0 ? "more" : "fewer";
    if (more !== 0) said.push(filled(words.stack[count === 1 ? `${name}_one` : name], { count }));
    if (stack.kept !== advised.kept) {
        said.push(filled(words.stack.head_at, { kept: stack.kept, recommended: advised.kept }));
    }
    if (stack.pretrained !== advised.pretrained) {
        said.push(words.stack[stack.pretrained ? "from_pretrained" : "from_random"]);
    }
    return said;
}

function showDials() {
    const { images, classes, network, stack } = state;
    part("images").value = Math.log10(images);
    part("images").setAttribute("aria-valuetext", grouped(String(images)));
    part("classes").value = Math.log10(classes);
    part("classes").setAttribute("aria-valuetext", grouped(String(classes)));
    for (const [id, value] of [["images-number", images], ["classes-number", classes]]) {
        // What is being typed stays as it is typed.
        if (document.activeElement !== part(id)) part(id).value = value;
        part(id).removeAttribute("aria-invalid");
    }
    part("similarity").value = state.similarity;
    part("similarity").disabled = state.unknown;
    part("unknown").checked = state.unknown;
    text("similarity-number", state.unknown ? "?" : state.similarity.toFixed(2));
    text("per-class", filled(words.readings.per_class, { per_class: images / classes }));
    part("kept").max = network.blocks.length;
    part("kept").value = stack.kept;
    text("kept-number", filled(words.stack.reads, { number: stack.kept, of: network.blocks.length }));
    part("random").checked = !stack.pretrained;
}

function showAdvice(advised) {
    const { images, classes, stack } = state;
    drawMap(images, classes, similarityKnown(), advised);
    text("cell", words.cells[advised.cell]);
    text("strategy", words.strategies[advised.strategy]);
    part("reasons").replaceChildren(...advised.reasons.map((reason) => listItem(reason)));
    const said = differences(stack, advised);
    part("follow").disabled = said.length === 0;
    const different = filled(words.stack.different, { differences: said.join(", ") });
    text("agreement", said.length === 0 ? words.stack.same : different);
}

function listItem(words_) {
    const item = document.createElement("li");
    item.textContent = words_;
    return item;
}

function borderWords({ kept, trained, pretrained }) {
    if (!pretrained) return words.stack.border_random;
    if (trained === 0) return filled(words.stack.border_all, { kept });
    if (trained === kept) return words.stack.border_none;
    return filled(words.stack.border_some, { frozen: kept - trained });
}

function showOutcome(outcome) {
    const { stack, network } = state;
    const whole = outcome.frozen + outcome.trainable;
    part("bar-frozen").style.flexGrow = outcome.frozen / whole;
    part("bar-trained").style.flexGrow = outcome.trainable / whole;
    text("frozen", rounded(outcome.frozen));
    part("frozen").title = grouped(String(outcome.frozen));
    const leftOut = filled(words.readings.left_out, { number: rounded(outcome.leftOut) });
    text("frozen-note", outcome.leftOut > 0 ? leftOut : words.readings.frozen);
    text("trained", rounded(outcome.trainable));
    part("trained").title = grouped(String(outcome.trainable));
    const inHead = stack.trained === 0 ? "trained_head" : "trained";
    text("trained-note", filled(words.readings[inHead], { head: outcome.head }));
    text("memory", filled(words.readings.memory, { number: twoDigits(outcome.memoryMb) }));
    const held = words.readings[stack.trained === 0 ? "memory_head" : "memory_tuning"];
    text("memory-note", filled(held, { batch: facts.costs.batch }));
    const passes = twoDigits(outcome.passes);
    const said = passes === "1" ? words.readings.passes_one : words.readings.passes;
    text("passes", filled(said, { number: passes }));
    text("passes-note", filled(words.readings.passes_note, { everything: twoDigits(outcome.passesOfAll) }));
    text("risk", outcome.risk.sentence);
    part("risk").dataset.level = outcome.risk.level;
    const stages = outcome.plan.stages.map((stage) => listItem(filled(words.readings.stage, stage)));
    part("stages").replaceChildren(...stages);
    text("command", filled(words.readings.command, { backbone: network.name }));
}

/** Show the whole state anew. */
function show() {
    const { network, stack, images, classes } = state;
    const advised = advice();
    const outcome = rule.outcome(network, stack, images, classes);
    showDials();
    showAdvice(advised);
    drawStack.show(network, stack, { classes, width: outcome.width, parameters: outcome.head }, advised);
    text("border", borderWords(stack));
    showOutcome(outcome);
}

/** Tell a screen reader what came of a lock that was turned. */
function say() {
    const { network, stack, images, classes } = state;
    const { trainable } = rule.outcome(network, stack, images, classes);
    text("said", filled(words.stack.said, { ...stack, parameters: trainable }));
}

function takeNetwork(name) {
    state.network = facts.networks.find((each) => each.name === name);
    drawStack.begin(state.network);
    state.stack = recommendedStack();
    show();
}

function takeExample(example) {
    const { images, classes, similarity } = example;
    Object.assign(state, { images, classes, similarity, unknown: false });
    if (state.stack !== null) show();
}

function takeNumber(id, name, least, most) {
    part(id).addEventListener("input", () => {
        const value = Number(part(id).value);
        if (!Number.isInteger(value) || value < least || value > most) {
            part(id).setAttribute("aria-invalid", "true");
            return;
        }
        state[name] = value;
        show();
    });
    part(id).addEventListener("blur", showDials);
}

function listen() {
    part("images").addEventListener("input", () => {
        state.images = twoDigitsOnly(10 ** Number(part("images").value));
        show();
    });
    part("classes").addEventListener("input", () => {
        state.classes = Math.max(2, twoDigitsOnly(10 ** Number(part("classes").value)));
        show();
    });
    part("similarity").addEventListener("input", () => {
        state.similarity = Number(part("similarity").value);
        show();
    });
    part("unknown").addEventListener("change", () => {
        state.unknown = part("unknown").checked;
        show();
    });
    takeNumber("images-number", "images", 1, 1e7);
    takeNumber("classes-number", "classes", 2, 1e5);
    part("network").addEventListener("change", () => takeNetwork(part("network").value));
    part("kept").addEventListener("input", () => {
        state.stack = withKept(state.stack, Number(part("kept").value));
        show();
    });
    part("random").addEventListener("change", () => {
        const pretrained = !part("random").checked;
        const trained = pretrained ? state.stack.trained : state.stack.kept;
        state.stack = { ...state.stack, pretrained, trained };
        show();
        say();
    });
    part("follow").addEventListener("click", () => {
        state.stack = recommendedStack();
        show();
        say();
    });
    part("save").addEventListener("click", savePlan);
}

function savePlan() {
    const { plan } = rule.outcome(state.network, state.stack, state.images, state.classes);
    const file = new Blob([`${JSON.stringify(plan, null, 2)}\n`], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "plan.json";
    link.click();
    URL.revokeObjectURL(link.href);
}

function makeChoices() {
    for (const network of facts.networks) part("network").append(new Option(network.title, network.name));
    for (const example of words.examples) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = example.title;
        button.addEventListener("click", () => takeExample(example));
        part("examples").append(button);
    }
}

makeChoices();
listen();
takeExample(words.examples[0]);
takeNetwork(facts.networks[0].name);
