// The charts: what `/status` has said in the last minutes, of the server or of one method.

import { BarChart, LineChart } from "./charts.js";
import { byId, element, show } from "./dom.js";

const MOST_SAMPLES = 180;
const LEAST_SAMPLES = 30;
const WINDOW = "10s";
const PHASES = ["total", "decode", "queue", "input", "compute", "output", "encode"];
const SERVER = "";

const rate = new LineChart("Requests per second", "", ["rate"]);
const times = new LineChart("Time of a request", "ms", ["p50", "p95", "p99"]);
const batches = new BarChart("Instances of a batch");
const queue = new LineChart("Queue", "", ["pending", "waiting"]);
const memory = new LineChart("Memory", "bytes", ["resident"]);
const samples = new Map([[SERVER, []]]);

/** Put charts and choices in their places. */
export function start() {
  show(byId("charts"), rate.node, times.node, batches.node, queue.node, memory.node);
  byId("phase").append(...PHASES.map((name) => element("option", { value: name }, name)));
  byId("scope").append(element("option", { value: SERVER }, "the server"));
  byId("phase").addEventListener("change", draw);
  byId("scope").addEventListener("change", () => {
    for (const name of samples.keys()) {
      if (name !== SERVER) {
        samples.delete(name);
      }
    }
    draw();
  });
}

/** Take what the server says now. */
export function take(status) {
  offer(status);
  const versions = status.versions;
  keep(SERVER, {
    window: status.windows[WINDOW],
    pending: status.pending_requests,
    waiting: versions.reduce((sum, one) => sum + one.waiting_instances, 0),
    memory: status.memory_bytes,
  });
  const chosen = byId("scope").value;
  if (chosen !== SERVER) {
    const [servable, number, name] = JSON.parse(chosen);
    const version = versions.find((one) => one.servable === servable && one.version === number);
    const method = version?.methods.find((one) => one.method === name);
    keep(chosen, {
      window: method?.windows[WINDOW],
      pending: version?.pending_requests ?? null,
      waiting: version?.waiting_instances ?? null,
      memory: version ? version.copies.reduce((sum, one) => sum + one.memory_bytes, 0) : null,
    });
  }
  draw();
}

function keep(scope, sample) {
  const kept = samples.get(scope) ?? [];
  kept.push(sample);
  samples.set(scope, kept.slice(-MOST_SAMPLES));
}

/** Offer the methods of which there are figures, with the chosen one whatever comes. */
function offer(status) {
  const select = byId("scope");
  const wanted = new Map([[SERVER, "the server"]]);
  if (select.value !== SERVER) {
    wanted.set(select.value, select.selectedOptions[0].textContent);
  }
  for (const version of status.versions) {
    for (const { method } of version.methods) {
      const value = JSON.stringify([version.servable, version.version, method]);
      wanted.set(value, `${version.servable}/${version.version} ${method}`);
    }
  }
  const offered = [...select.options].map((one) => one.value);
  if (offered.length === wanted.size && offered.every((value) => wanted.has(value))) {
    return;
  }
  const chosen = select.value;
  show(select, ...[...wanted].map(([value, text]) => element("option", { value }, text)));
  select.value = chosen;
}

function draw() {
  const kept = samples.get(byId("scope").value) ?? [];
  const room = Math.max(LEAST_SAMPLES, kept.length);
  const phase = byId("phase").value;
  const phaseOf = (sample) => sample.window?.phases[phase];
  rate.draw(kept.map(({ window }) => [window?.requests_per_s ?? null]), room);
  times.draw(
    kept.map(phaseOf).map((one) => [one?.p50_ms ?? null, one?.p95_ms ?? null, one?.p99_ms ?? null]),
    room,
  );
  const last = kept.at(-1)?.window;
  batches.draw(last?.batch_sizes ?? {}, last?.mean_batch ?? null);
  queue.draw(kept.map((one) => [one.pending, one.waiting]), room);
  memory.draw(kept.map((one) => [one.memory]), room);
}
