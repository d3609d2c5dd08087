"use strict";

/* Texts that Python wrote as templates of str.format, filled in as Python does. */

/** The data that Python laid into the page. */
function factsOf(id) {
    return JSON.parse(document.getElementById(id).textContent);
}

/** Round to a whole number, halves to the even one, as Python's round and format do. */
function roundHalfEven(value) {
    const low = Math.floor(value);
    const rest = value - low;
    if (rest === 0.5) return low % 2 === 0 ? low : low + 1;
    return rest < 0.5 ? low : low + 1;
}

/** Commas between thousands. */
function grouped(digits) {
    return digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** One value by a format of Python: empty, ",", ",.0f", "g", or such as ".3f". */
function formatted(value, format = "") {
    if (format === "") return String(value);
    if (format === ",") return grouped(String(value));
    if (format === ",.0f") return grouped(String(roundHalfEven(value)));
    if (/^\.\df$/.test(format)) return value.toFixed(Number(format[1]));
    if (format === "g") return String(Number(value.toPrecision(6)));
    throw new Error(`a format that is not known here: ${format}`);
}

/** A template with its values. */
function filled(template, values) {
    return template.replace(/\{(\w+)(?::([^}]*))?\}/g, (_, name, format) => {
        if (!(name in values)) throw new Error(`nothing to fill in for ${name}: ${template}`);
        return formatted(values[name], format);
    });
}

/** A number for people who read it in passing: 11.2 M, 414,720. */
function rounded(number) {
    if (number >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
    return grouped(String(Math.round(number)));
}

/** Two digits of a number, or all before the point: 0.59, 6.1, 343. */
function twoDigits(number) {
    if (number >= 100) return grouped(String(Math.round(number)));
    return String(Number(number.toPrecision(2)));
}
