// The page: asks for `/status` each second, and shows what it says.

import { written } from "./charts.js";
import { byId, element, Kept, setText, show } from "./dom.js";
import * as live from "./live.js";
import { ask, hasKey, useKey } from "./server.js";
import { TryIt } from "./try_it.js";
import { typeText } from "./values.js";

const EACH_MS = 1000;
const WAIT_MS = 5000;
const SEARCH_MS = 250;
const MOST_ENDS = 20;
const THEME = "serving-theme";
const THEMES = { "": "as the system", dark: "dark", light: "light" };
const NO_STATUS = "This listener does not have the page 'status', so there are no figures here.";
const NO_LOGS = "Logs are shown to keys with the right 'manage'. This server asks for no keys, so nobody has that right.";
const NOT_YOUR_LOGS = "Logs are shown to keys with the right 'manage', which yours does not have.";

let catalog = null;
let status = null;
let states = "";
let listening = "";
let form = null;
let polls = 0;
let searching = 0;
let logOf = "";

function complain(text) {
  byId("notice").hidden = text === "";
  setText(byId("notice"), text);
}

function needsKey(error) {
  return error.status === 401 || error.status === 403;
}

/** Show what is wrong; a server that asks for a key is shown the field for it. */
function refused(error) {
  if (needsKey(error)) {
    byId("key-form").hidden = false;
    byId("forget").hidden = !hasKey();
    complain(hasKey() ? error.message : "");
    setText(byId("server"), "A key is needed");
    return;
  }
  complain(error.status ? error.message : `The server does not answer: ${error.message}`);
}

async function poll(round) {
  let wait = EACH_MS;
  try {
    if (!document.hidden) {
      const said = await ask("status");
      if (round !== polls) {
        return;
      }
      status = said;
      complain("");
      showStatus();
    }
  } catch (error) {
    if (round !== polls) {
      return;
    }
    if (needsKey(error) && catalog === null) {
      refused(error);
      return; // it goes on with the next key
    }
    wait = WAIT_MS;
    if (error.status === 404) {
      complain(NO_STATUS);
    } else {
      refused(error);
    }
  }
  setTimeout(() => poll(round), wait);
}

function showStatus() {
  const up = status.uptime_s < 120 ? `${Math.round(status.uptime_s)} s` : `${Math.round(status.uptime_s / 60)} min`;
  const line = byId("server");
  line.className = status.ready ? "ready" : "not-ready";
  setText(line, `${status.ready ? "Ready" : `Not ready: ${status.reason}`}. Version ${status.build}, up for ${up}, `
    + `${written(status.windows["10s"]?.requests_per_s)} requests/s, ${status.pending_requests} pending, `
    + `${written(status.memory_bytes, "bytes")}`);
  live.take(status);
  const copies = status.versions.flatMap((version) => version.copies);
  workers.show(copies);
  const ends = status.versions.flatMap((version) => version.last_restarts).sort((a, b) => a.ago_s - b.ago_s)
    .slice(0, MOST_ENDS);
  restarts.show(ends.length ? ends : [null]);
  const now = JSON.stringify(status.versions.map((one) => [one.servable, one.version, one.state, one.reason]));
  const addresses = JSON.stringify(status.front_ends.map((one) => [one.kind, one.address]));
  if (addresses !== listening) {
    listening = addresses;
    form?.showCode(); // it names these addresses
  }
  if (now !== states) {
    states = now;
    readMethods();
  }
}

// --- Servables and methods ---

async function readMethods() {
  const number = ++searching;
  try {
    const said = await ask(`console/methods?search=${encodeURIComponent(byId("search").value)}`);
    if (number === searching) {
      catalog = said;
      showMethods();
    }
  } catch (error) {
    if (number === searching) {
      refused(error);
      return error;
    }
  }
  return null;
}

function showMethods() {
  const left = [];
  if (catalog.methods_left_out || catalog.versions_left_out) {
    left.push(element("p", { class: "faint" }, `${catalog.methods_left_out} further methods and `
      + `${catalog.versions_left_out} further versions are not shown. Search for them.`));
  }
  if (!catalog.versions.length) {
    left.push(element("p", {}, "Nothing fits."));
  }
  show(byId("methods"), ...catalog.versions.map(versionNode), ...left);
  const mayManage = catalog.rights.includes("manage");
  setText(byId("log-rights"), mayManage ? "" : catalog.asks_for_keys ? NOT_YOUR_LOGS : NO_LOGS);
  const needsKey = catalog.asks_for_keys;
  byId("key-form").hidden = !needsKey;
  byId("forget").hidden = !hasKey();
}

function versionNode(version) {
  const state = element("span", { class: version.state === "ready" ? "ready" : "not-ready" }, version.state);
  const reason = version.reason ? ` (${version.reason})` : "";
  return element("div", { class: "version" },
    element("h3", {}, `${version.servable}/${version.version} `, state, reason),
    element("ul", { class: "method-list" }, ...version.methods.map((method) => methodNode(version, method))));
}

function methodNode(version, method) {
  const signature = (values) => values.map((one) => `${one.name}: ${typeText(one)}`).join(", ");
  const button = element("button", { type: "button", "aria-pressed": "false" }, method.name);
  button.addEventListener("click", () => {
    for (const one of byId("methods").querySelectorAll("button.chosen")) {
      one.classList.remove("chosen");
      one.setAttribute("aria-pressed", "false");
    }
    button.classList.add("chosen");
    button.setAttribute("aria-pressed", "true");
    form = new TryIt(byId("try"), catalog, version, method, () => status?.front_ends ?? []);
    byId("try-it").focus();
  });
  return element("li", {}, button,
    element("p", {}, element("code", {}, `(${signature(method.inputs)}) -> (${signature(method.outputs)})`)),
    ...(method.description ? [element("p", { class: "faint" }, method.description)] : []));
}

// --- Workers and their logs ---

const workers = new Kept(byId("workers"), (copy) => `${copy.worker} ${copy.pid}`, (copy) => {
  const cells = Array.from({ length: 6 }, () => element("td"));
  const button = element("button", { type: "button", "aria-label": `Log of ${copy.worker}`,
    click: () => readLog(copy.worker) }, "Log");
  const update = (now) => {
    const texts = [now.worker, now.state, now.pid || "-", now.memory_bytes ? written(now.memory_bytes, "bytes") : "-",
      `${now.slots_used} of ${now.slots}`, now.restarts];
    texts.forEach((text, at) => setText(cells[at], String(text)));
    cells[1].className = now.state === "ready" ? "ready" : "not-ready";
    button.disabled = !catalog?.rights.includes("manage");
  };
  return { node: element("tr", {}, ...cells, element("td", {}, button)), update };
});

const restarts = new Kept(byId("restarts"), (one) => (one ? `${one.at_unix_s} ${one.worker}` : ""), () => {
  const node = element("li");
  const update = (one) => setText(node, one ? `${Math.round(one.ago_s)} s ago: ${one.worker} ${one.reason}` : "None");
  return { node, update };
});

async function readLog(worker) {
  logOf = worker;
  byId("log").hidden = false;
  setText(byId("log-title"), `Log of ${worker}`);
  const lines = byId("log-lines");
  try {
    const said = await ask(`console/log?worker=${encodeURIComponent(worker)}`);
    setText(lines, (said.cut ? "...\n" : "") + (said.lines.join("\n") || "It is empty."));
  } catch (error) {
    setText(lines, error.message);
  }
  lines.scrollTop = lines.scrollHeight;
  lines.focus();
}

// --- Keys and colours ---

async function begin() {
  polls += 1;
  states = "";
  complain("");
  const round = polls;
  const error = await readMethods();
  if (error === null) {
    poll(round);
  } else if (!needsKey(error)) {
    setTimeout(() => round === polls && begin(), WAIT_MS);
  }
}

function setTheme(name) {
  if (name) {
    document.documentElement.dataset.theme = name;
  } else {
    delete document.documentElement.dataset.theme;
  }
  setText(byId("theme"), `Theme: ${THEMES[name]}`);
}

function startTheme() {
  const names = Object.keys(THEMES);
  let at = 0;
  try {
    at = Math.max(0, names.indexOf(localStorage.getItem(THEME) ?? ""));
  } catch { // a browser may forbid it
    at = 0;
  }
  setTheme(names[at]);
  byId("theme").addEventListener("click", () => {
    at = (at + 1) % names.length;
    setTheme(names[at]);
    try {
      localStorage.setItem(THEME, names[at]);
    } catch { // likewise
    }
  });
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  byId("key").value = "";
  begin();
});
byId("forget").addEventListener("click", () => {
  useKey("");
  location.reload();
});
byId("search").addEventListener("input", () => {
  const number = ++searching;
  setTimeout(() => number === searching && readMethods(), SEARCH_MS);
});
byId("log-again").addEventListener("click", () => readLog(logOf));

startTheme();
live.start();
begin();
