// The form that sends a request to a method, its reply, and the same request for other clients.

import { bodyOf, curlOf, pathOf, pythonOf, reachable, tritonOf } from "./client_code.js";
import { copyButton, element, setText, show } from "./dom.js";
import { request } from "./server.js";
import { fieldFor, indented, members, typeText } from "./values.js";

const MOST_SHOWN = 200000;
const NOT_HERE =
  "This listener has pages alone, so requests cannot be sent from here. The commands and programs below ask the "
  + "front ends that run methods.";

/** The form of one method. */
export class TryIt {
  /**
   * @param node Where it is shown.
   * @param catalog What `/console/methods` has said.
   * @param version The version that has been chosen.
   * @param method Its method.
   * @param frontEnds Returns what listens, as `/status` has it.
   */
  constructor(node, catalog, version, method, frontEnds) {
    this.catalog = catalog;
    this.version = version;
    this.method = method;
    this.frontEnds = frontEnds;
    this.fields = [];
    this.makeNodes();
    show(node, ...this.nodes());
    this.fill(method.examples[0]);
  }

  makeNodes() {
    const changed = () => this.showCode();
    this.inputs = element("div");
    this.raw = element("textarea", { id: "try-raw", rows: 10, spellcheck: "false" });
    this.rawField = element("div", { class: "field", hidden: true },
      element("label", { for: "try-raw" }, element("strong", {}, "instances"), " a list of objects, as JSON"), this.raw);
    this.toggle = element("button", { type: "button", click: () => this.switchForm() }, "Write JSON");
    this.send = element("button", { type: "submit", class: "send", disabled: !this.catalog.infers }, "Send");
    this.said = element("p", { role: "status", id: "try-status" });
    this.reply = element("pre", { id: "try-reply", tabindex: 0, "aria-label": "Reply", hidden: true });
    this.code = ["curl", "Python client", "tritonclient"].map((name) => {
      const text = element("pre", { tabindex: 0, "aria-label": `The same request with ${name}` });
      const copy = copyButton(`the request with ${name}`, () => text.textContent, text);
      return { name, text, copy };
    });
    this.versionChoice = element("select", { change: changed });
    const others = this.catalog.versions.filter((one) => one.servable === this.version.servable);
    this.versionChoice.append(
      element("option", { value: 0 }, "the newest"),
      element("option", { value: this.version.version, selected: others.length > 1 }, this.version.version),
    );
  }

  nodes() {
    const examples = element("select", { change: () => this.fill(this.method.examples[examples.value]) });
    examples.append(...this.method.examples.map((_, at) => element("option", { value: at }, `example ${at + 1}`)));
    const choices = element("div", { class: "choices" }, element("label", {}, "Version ", this.versionChoice));
    if (this.method.examples.length) {
      choices.append(element("label", {}, "Values of ", examples));
    }
    choices.append(this.toggle);
    const form = element("form", { submit: (event) => this.submit(event), input: () => this.showCode() },
      choices, this.inputs, this.rawField, this.send);
    const outputs = this.method.outputs.map((one) => `${one.name}: ${typeText(one)}`).join(", ");
    return [
      element("h3", {}, `${this.version.servable}/${this.version.version} ${this.method.name}`),
      ...(this.method.description ? [element("p", {}, this.method.description)] : []),
      ...(this.catalog.infers ? [] : [element("p", { class: "notice" }, NOT_HERE)]),
      form,
      element("p", { class: "faint" }, `It returns ${outputs || "nothing"}.`),
      this.said,
      this.reply,
      element("h3", {}, "The same request"),
      ...this.code.flatMap(({ name, text, copy }) => [element("p", {}, element("strong", {}, name), " ", copy), text]),
    ];
  }

  /** Fill the form with an example; undefined for none. */
  fill(example) {
    const values = example === undefined ? new Map() : members(example);
    this.fields = this.method.inputs.map((input, at) => ({
      input,
      ...fieldFor(input, values.get(input.name), `try-input-${at}`),
    }));
    show(this.inputs, ...this.fields.map((one) => one.node));
    if (!this.rawField.hidden) {
      this.raw.value = example === undefined ? "[]" : indented(`[${example}]`);
    }
    this.showCode();
  }

  switchForm() {
    const toRaw = this.rawField.hidden;
    if (toRaw) {
      try {
        this.raw.value = indented(bodyOf(this.call()).replace(/^\{"instances": /, "").replace(/\}$/, ""));
      } catch { // what is not filled in yet is written as JSON
        this.raw.value = "[]";
      }
    }
    this.rawField.hidden = !toRaw;
    this.inputs.hidden = toRaw;
    this.toggle.textContent = toRaw ? "Fill in a form" : "Write JSON";
    this.showCode();
  }

  /** The request as it is filled in; throws where something is wrong. */
  call() {
    const front = (kind) => this.frontEnds().find((one) => one.kind === kind)?.address ?? "";
    const here = new URL(".", document.baseURI).href;
    const rest = front("rest");
    const elsewhere = rest ? `${location.protocol}//${reachable(rest, location.hostname)}/` : "http://HOST:PORT/";
    const isRaw = !this.rawField.hidden;
    if (isRaw) {
      JSON.parse(this.raw.value);
    }
    return {
      servable: this.version.servable,
      version: Number(this.versionChoice.value),
      method: this.method,
      raw: isRaw ? this.raw.value.trim() : null,
      values: isRaw ? [] : this.fields.map((one) => ({ input: one.input, ...one.value() })),
      keys: this.catalog.asks_for_keys,
      restUrl: this.catalog.infers ? here : elsewhere,
      grpcAddress: reachable(front("grpc"), location.hostname),
    };
  }

  showCode() {
    let texts;
    try {
      const call = this.call();
      const other = "Fill in the form to see it.";
      texts = [curlOf(call), call.raw === null ? pythonOf(call) : other, call.raw === null ? tritonOf(call) : other];
    } catch (error) {
      texts = Array(3).fill(`Not complete: ${error.message}`);
    }
    this.code.forEach(({ text }, at) => setText(text, texts[at]));
  }

  async submit(event) {
    event.preventDefault();
    if (this.send.disabled) {
      return;
    }
    this.send.disabled = true;
    this.said.className = "";
    setText(this.said, "Sent");
    try {
      await this.ask(this.call());
    } catch (error) {
      this.said.className = "wrong";
      setText(this.said, `Nothing has come back: ${error.message}`);
      this.reply.hidden = true;
    } finally {
      this.send.disabled = !this.catalog.infers;
    }
  }

  async ask(call) {
    const began = performance.now();
    const reply = await request(pathOf(call), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: bodyOf(call),
    });
    const text = await reply.text();
    const ms = performance.now() - began;
    const version = reply.headers.get("X-Serving-Version");
    this.said.className = reply.ok ? "ready" : "wrong";
    const by = version ? `, answered by version ${version}` : "";
    setText(this.said, `HTTP ${reply.status} in ${ms.toFixed(1)} ms${by}, ${text.length} characters`);
    this.reply.hidden = false;
    const isLong = text.length > MOST_SHOWN;
    setText(this.reply, isLong ? `${text.slice(0, MOST_SHOWN)}\n... of which the first are shown` : indented(text));
  }
}
