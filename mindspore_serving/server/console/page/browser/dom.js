// Builds what is shown. Texts become text nodes and values of attributes alone: no name, reply or log line of a server
// is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, and with nodes or texts in it. A function is called on the event of its name. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of a drawing. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** The element of the page that has an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Show nodes or texts in place of what was in an element. */
export function show(node, ...children) {
  node.replaceChildren(...children);
}

/** Set a text, unless it is there already: what somebody has selected stays so. */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      node.addEventListener(name, value);
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children);
  return node;
}

/**
 * Children of an element that are kept from one moment to the next, so that none loses the focus.
 *
 * `make` gets an item and returns a node with a function that shows another item of the same key in it.
 */
export class Kept {
  constructor(node, keyOf, make) {
    this.node = node;
    this.keyOf = keyOf;
    this.make = make;
    this.known = new Map();
  }

  show(items) {
    const known = new Map();
    for (const item of items) {
      const key = this.keyOf(item);
      const made = this.known.get(key) ?? this.make(item);
      made.update(item);
      known.set(key, made);
    }
    for (const [key, made] of this.known) {
      if (!known.has(key)) {
        made.node.remove();
      }
    }
    [...known.values()].forEach((made, at) => {
      if (this.node.children[at] !== made.node) {
        this.node.insertBefore(made.node, this.node.children[at] ?? null);
      }
    });
    this.known = known;
  }
}

/** A button that copies a text, and says what it has done. */
export function copyButton(what, text, node) {
  const button = element("button", { type: "button", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch { // pages without HTTPS may not copy by themselves
      getSelection().selectAllChildren(node);
      button.textContent = "Selected: copy it with the keyboard";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 3000);
  });
  return button;
}
