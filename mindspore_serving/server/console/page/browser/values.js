// Values of inputs: fields in which people write them, as JSON text. The text of a number is never read as a number of
// JavaScript, which would round large ones.

import { element } from "./dom.js";

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g;
const OPENS = new Set("{[");
const CLOSES = new Set("}]");
const LINE = 80;
const MOST_ZEROS = 4096;
const MOST_FILE_BYTES = 64 << 20;
const BOOL = "bool";

/** What is known of an input or output, in words. */
export function typeText(value) {
  if (value.content) {
    return value.content;
  }
  if (value.dtype === "string") {
    return "text";
  }
  const dtype = value.dtype === "unknown" ? "any type" : value.dtype;
  return value.shape && value.dtype !== "bytes" ? `${dtype} [${value.shape.join(", ")}]` : dtype;
}

/** The values of a JSON object by name, each as its text. */
export function members(text) {
  const found = new Map();
  let depth = 0;
  let name = null;
  let value = "";
  for (const token of text.match(TOKENS) ?? []) {
    const closes = CLOSES.has(token);
    depth -= closes ? 1 : 0;
    if ((depth === 0 && closes) || (depth === 1 && token === ",")) {
      if (name !== null) {
        found.set(name, value);
      }
      name = null;
      value = "";
    } else if (depth === 1 && name === null) {
      name = JSON.parse(token);
    } else if (depth >= 1 && !(token === ":" && value === "")) {
      value += spaced(token);
    }
    depth += OPENS.has(token) ? 1 : 0;
  }
  return found;
}

/** JSON on several lines, with short lists and objects on one, and as many plain values on a line as fit. */
export function indented(text) {
  const tokens = text.match(TOKENS) ?? [];
  const open = [];
  const lines = [""];
  const newLine = () => lines.push("  ".repeat(open.length));
  const add = (more) => { lines[lines.length - 1] += more; };
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (OPENS.has(token)) {
      const end = endOfShort(tokens, at);
      if (end >= 0) {
        add(tokens.slice(at, end + 1).map(spaced).join(""));
        at = end;
      } else {
        add(token);
        open.push(token);
        newLine();
      }
    } else if (CLOSES.has(token)) {
      open.pop();
      newLine();
      add(token);
    } else if (token === ",") {
      const isPlain = open.at(-1) === "[" && !CLOSES.has(tokens[at - 1]) && !OPENS.has(tokens[at + 1]);
      add(isPlain && lines.at(-1).length < LINE ? ", " : ",");
      if (!isPlain || lines.at(-1).length >= LINE) {
        newLine();
      }
    } else {
      add(spaced(token));
    }
  }
  return lines.join("\n");
}

function spaced(token) {
  return token === "," || token === ":" ? `${token} ` : token;
}

/** Where a list or an object ends that is short; -1 for a longer one. */
function endOfShort(tokens, begin) {
  let depth = 0;
  let length = 0;
  for (let at = begin; at < tokens.length && length <= LINE; at += 1) {
    length += tokens[at].length + 1;
    depth += OPENS.has(tokens[at]) ? 1 : 0;
    depth -= CLOSES.has(tokens[at]) ? 1 : 0;
    if (depth === 0 && length <= LINE) {
      return at;
    }
  }
  return -1;
}

/**
 * A field for an input.
 *
 * @param input What is known of it.
 * @param example Its value in an example, as JSON text; undefined for none.
 * @param id Of the element that people write in.
 * @returns Its `node`, and `value()`, which returns the text as `json` and the name of a `file`, or throws.
 */
export function fieldFor(input, example, id) {
  const makers = { bytes: bytesField, string: textField };
  const made = (makers[input.dtype] ?? jsonField)(input, example, id);
  const label = element("label", { for: id }, element("strong", {}, input.name), ` ${typeText(input)}`);
  const about = input.description ? [element("p", { class: "faint" }, input.description)] : [];
  return { node: element("div", { class: "field" }, label, ...about, ...made.nodes), value: made.value };
}

function textField(input, example, id) {
  const area = element("textarea", { id, rows: 3 });
  area.value = example === undefined ? "" : String(JSON.parse(example));
  return { nodes: [area], value: () => ({ json: JSON.stringify(area.value), file: null }) };
}

function jsonField(input, example, id) {
  const isSingle = input.shape?.length === 0 && input.dtype !== "unknown";
  const field = isSingle
    ? element("input", { id, type: "text", inputmode: "decimal", autocomplete: "off" })
    : element("textarea", { id, rows: 5, spellcheck: "false", placeholder: "a value as JSON" });
  const text = example ?? zeros(input);
  field.value = isSingle ? text : indented(text);
  const value = () => {
    const json = field.value.trim();
    try {
      JSON.parse(json);
    } catch (error) {
      throw new Error(`${input.name} is not JSON: ${error.message}`);
    }
    return { json, file: null };
  };
  return { nodes: [field], value };
}

/** Zeros of the shape of an input; "" where that is not known or large. */
function zeros(input) {
  if (input.shape === null) {
    return "";
  }
  const sizes = input.shape.map((size) => (size < 0 ? 1 : size));
  if (sizes.reduce((product, size) => product * Math.max(size, 1), 1) > MOST_ZEROS) {
    return "";
  }
  const zero = input.dtype === BOOL ? "false" : "0";
  return sizes.reduceRight((text, size) => `[${Array(size).fill(text).join(", ")}]`, zero);
}

function bytesField(input, example, id) {
  let base64 = example === undefined ? null : JSON.parse(example).b64;
  let name = null;
  const isImage = input.content === "image";
  const file = element("input", { id, type: "file", ...(isImage ? { accept: "image/*" } : {}) });
  const about = element("p", { class: "faint" }, base64 === null ? "" : "The bytes of the example are sent.");
  const picture = element("img", { alt: "", hidden: true });
  const preview = (source, text) => {
    URL.revokeObjectURL(picture.src);
    picture.hidden = source === "";
    if (source) {
      picture.src = source;
    } else {
      picture.removeAttribute("src");
    }
    picture.alt = text;
  };
  if (isImage && base64) {
    preview(`data:image/png;base64,${base64}`, "The picture of the example");
  }
  file.addEventListener("change", () => {
    const chosen = file.files[0];
    base64 = null;
    name = null;
    preview("", "");
    if (!chosen) {
      about.textContent = "";
      return;
    }
    if (chosen.size > MOST_FILE_BYTES) {
      about.textContent = `${chosen.name} has more than ${MOST_FILE_BYTES >> 20} MiB.`;
      return;
    }
    if (isImage || chosen.type.startsWith("image/")) {
      preview(URL.createObjectURL(chosen), chosen.name);
    }
    about.textContent = `${chosen.name}, ${chosen.size} bytes`;
    base64Of(chosen).then((text) => {
      if (file.files[0] !== chosen) { // another one was chosen meanwhile
        return;
      }
      base64 = text;
      name = chosen.name;
      file.dispatchEvent(new Event("input", { bubbles: true }));
    }, (error) => { about.textContent = `${chosen.name} cannot be read: ${error.message}`; });
  });
  const value = () => {
    if (base64 === null) {
      throw new Error(`${input.name} has no file yet`);
    }
    return { json: JSON.stringify({ b64: base64 }), file: name };
  };
  return { nodes: [file, about, picture], value };
}

function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}
