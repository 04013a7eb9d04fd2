// Charts of the last minutes as SVG. Each says its last values as text, too.

import { drawn, element, setText, show } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 100;
const MOST_BARS = 40;
const CLASSES = ["one", "two", "three"];

/** A number with its unit, short. */
export function written(value, unit = "") {
  if (value === null || value === undefined) {
    return "-";
  }
  if (unit === "bytes") {
    return value >= 1 << 30 ? `${(value / (1 << 30)).toFixed(2)} GiB` : `${(value / (1 << 20)).toFixed(1)} MiB`;
  }
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  const text = value.toFixed(digits);
  return unit ? `${text} ${unit}` : text;
}

/** Lines over time, from left to right. */
export class LineChart {
  /**
   * @param title What it shows.
   * @param unit Of all values; "" for numbers of something.
   * @param names Names of one to three lines.
   */
  constructor(title, unit, names) {
    this.title = title;
    this.unit = unit;
    this.names = names;
    this.most = element("span", { class: "faint" });
    this.paths = names.map((_, at) => drawn("path", { class: CLASSES[at] }));
    this.svg = drawn(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
      ...this.paths,
    );
    this.values = names.map((_, at) => element("span", { class: CLASSES[at] }));
    this.node = element(
      "figure",
      {},
      element("figcaption", {}, title, this.most),
      this.svg,
      element("p", { class: "figures" }, ...this.values),
    );
  }

  /**
   * Draw it anew.
   *
   * @param rows Values by line, null where there is none, the newest last.
   * @param room How many rows have room.
   */
  draw(rows, room) {
    const all = rows.flat().filter((value) => value !== null);
    const most = Math.max(0, ...all);
    this.names.forEach((_, at) => {
      const places = rows.map((row, number) => place(number + room - rows.length, row[at], room, most));
      this.paths[at].setAttribute("d", path(places));
    });
    const last = rows.at(-1) ?? [];
    const texts = this.names.map((name, at) => `${name} ${written(last[at], this.unit)}`);
    texts.forEach((text, at) => setText(this.values[at], text));
    setText(this.most, all.length ? `highest ${written(most, this.unit)}` : "nothing yet");
    this.svg.setAttribute("aria-label", `${this.title}, now: ${texts.join(", ")}; ${this.most.textContent}`);
  }
}

/** Bars, one for each size. */
export class BarChart {
  constructor(title) {
    this.title = title;
    this.about = element("span", { class: "faint" });
    this.svg = drawn("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": title,
    });
    this.text = element("p", { class: "figures" });
    this.node = element("figure", {}, element("figcaption", {}, title, this.about), this.svg, this.text);
  }

  /**
   * Draw it anew.
   *
   * @param counts Number of batches by size, as text.
   * @param mean Mean size; null where there is none.
   */
  draw(counts, mean) {
    const sizes = Object.keys(counts).map(Number).sort((a, b) => a - b);
    const shown = sizes.length <= MOST_BARS ? sizes : topOf(sizes, counts);
    const most = Math.max(0, ...shown.map((size) => counts[size]));
    const step = WIDTH / Math.max(shown.length, 8);
    const bars = shown.map((size, at) => {
      const height = Math.max(1, (counts[size] / most) * (HEIGHT - 4));
      return drawn("rect", { x: at * step + step / 8, y: HEIGHT - height, width: (step * 3) / 4, height });
    });
    show(this.svg, ...bars);
    const texts = shown.slice(0, 8).map((size) => `${size}: ${counts[size]} times`);
    setText(this.text, texts.join(", ") + (shown.length > 8 ? ", ..." : ""));
    setText(this.about, mean === null ? "nothing yet" : `mean ${written(mean)}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${texts.join(", ") || "none"}; ${this.about.textContent}`);
  }
}

function topOf(sizes, counts) {
  const top = [...sizes].sort((a, b) => counts[b] - counts[a]).slice(0, MOST_BARS);
  return top.sort((a, b) => a - b);
}

function place(at, value, room, most) {
  if (value === null || value === undefined) {
    return null;
  }
  const x = (at / Math.max(1, room - 1)) * WIDTH;
  const y = HEIGHT - 2 - (most ? (value / most) * (HEIGHT - 6) : 0);
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}

/** A line through places; where one is missing, it begins anew. */
function path(places) {
  let pen = "M";
  let text = "";
  for (const one of places) {
    if (one === null) {
      pen = "M";
    } else {
      text += `${pen}${one}`;
      pen = "L";
    }
  }
  return text;
}
