// A request as commands and programs that send the same.

const KEY_VARIABLE = "SERVING_API_KEY";
const ANY_ADDRESS = /^(0\.0\.0\.0|\[?::\]?)(?=:\d+$)/;
const NUMPY = { bool: "bool_" };
const LITERALS = { true: "True", false: "False", null: "None" };

/** The path at which REST runs a method, relative to the page. */
export function pathOf(call) {
  const version = call.version ? `/version/${call.version}` : "";
  return `model/${encodeURIComponent(call.servable)}${version}:${encodeURIComponent(call.method.name)}`;
}

/** The body, as JSON. */
export function bodyOf(call) {
  return `{"instances": ${call.raw ?? `[{${membersOf(call.values, (one) => one.json)}}]`}}`;
}

/** Commands for a shell. */
export function curlOf(call) {
  const url = `${call.restUrl}${pathOf(call)}`;
  const key = call.keys ? ` \\\n  -H "Authorization: Bearer $${KEY_VARIABLE}"` : "";
  const head = `curl -sS ${shellQuoted(url)} -H 'Content-Type: application/json'${key} \\\n  -d`;
  if (call.raw !== null || call.values.every((one) => one.file === null)) {
    return `${head} ${shellQuoted(bodyOf(call))}`;
  }
  const text = membersOf(call.values, (one) =>
    one.file === null ? hereQuoted(one.json) : `{"b64": "$(base64 -w0 ${shellQuoted(one.file)})"}`, hereQuoted);
  return `${head} @- <<END\n{"instances": [{${text}}]}\nEND`;
}

/** A program with the Python client of this server. */
export function pythonOf(call) {
  const address = call.grpcAddress || "HOST:PORT";
  const names = [address, call.servable, call.method.name].map(pythonText);
  const more = [call.version ? `version_number=${call.version}` : "", call.keys ? keyOf("api_key=") : ""];
  const values = call.values.map((one) => `    ${pythonText(one.input.name)}: ${pythonValue(one)},`);
  return [
    ...(call.grpcAddress ? [] : ["# gRPC is not started here: server.start_grpc_server does that"]),
    ...importsOf(call, values),
    "from mindspore_serving.client import Client",
    "",
    `client = Client(${[...names, ...more.filter(Boolean)].join(", ")})`,
    "reply = client.infer([{",
    ...values,
    "}])",
    "print(reply)",
  ].join("\n");
}

/** A program with tritonclient. */
export function tritonOf(call) {
  const rows = (one) => call.method.rows && !one.input.shared;
  const values = call.values.map((one) => `    ${pythonText(one.input.name)}: ${tritonValue(one, rows(one))},`);
  const outputs = call.method.outputs.map((one) => pythonText(one.name));
  const secure = call.restUrl.startsWith("https:") ? ", ssl=True" : "";
  const host = call.restUrl.replace(/^https?:\/\//, "").replace(/\/$/, "");
  const more = [call.version ? `model_version="${call.version}"` : ""];
  more.push(call.keys ? `headers={"Authorization": "Bearer " + ${keyOf("")}}` : "");
  return [
    ...importsOf(call, [...values, "np."]),
    "import tritonclient.http as triton",
    "from tritonclient.utils import np_to_triton_dtype",
    "",
    `client = triton.InferenceServerClient(${pythonText(host)}${secure})`,
    "inputs = []",
    "for name, value in {",
    ...values,
    "}.items():",
    "    inputs.append(triton.InferInput(name, value.shape, np_to_triton_dtype(value.dtype)))",
    "    inputs[-1].set_data_from_numpy(value)",
    `reply = client.infer(${[pythonText(call.method.model), "inputs", ...more.filter(Boolean)].join(", ")})`,
    ...outputs.map((name) => `print(reply.as_numpy(${name}))`),
  ].join("\n");
}

/** An address at which a client elsewhere may ask: the host of the page in place of "all addresses of this machine". */
export function reachable(address, host) {
  return address.replace(ANY_ADDRESS, host);
}

function importsOf(call, lines) {
  const text = lines.join("\n");
  return [
    ...(text.includes("base64.") ? ["import base64"] : []),
    ...(call.keys ? ["import os"] : []),
    ...(text.includes("base64.") || call.keys ? [""] : []),
    ...(text.includes("np.") ? ["import numpy as np"] : []),
  ];
}

function membersOf(values, textOf, quoted = (text) => text) {
  return values.map((one) => `${quoted(JSON.stringify(one.input.name))}: ${textOf(one)}`).join(", ");
}

function keyOf(before) {
  return `${before}os.environ["${KEY_VARIABLE}"]`;
}

/** A value for the Python client. */
function pythonValue(one) {
  const value = JSON.parse(one.json);
  if (one.file !== null) {
    return `open(${pythonText(one.file)}, "rb").read()`;
  }
  if (typeof value === "string") {
    return pythonText(value);
  }
  if (value !== null && typeof value === "object" && "b64" in value) {
    return typedBytes(value);
  }
  const dtype = dtypeOf(one.input.dtype, one.json);
  return dtype ? `np.array(${literal(one.json)}, np.${dtype})` : literal(one.json);
}

/** A value for tritonclient: always an array. */
function tritonValue(one, isRow) {
  const text = pythonValue(one);
  if (text.startsWith("np.")) {
    return isRow ? `${text}[np.newaxis]` : text;
  }
  const bytes = text.startsWith('"') ? `${text}.encode()` : text;
  return `np.array([${bytes}], np.object_)`;
}

/** Bytes, or numbers that are written with their type. */
function typedBytes(value) {
  const bytes = `base64.b64decode(${pythonText(value.b64)})`;
  if (!value.type || value.type === "bytes") {
    return bytes;
  }
  if (value.type === "str") {
    return `${bytes}.decode()`;
  }
  const dtype = value.type.replace(/^fp/, "float");
  return `np.frombuffer(${bytes}, ${pythonText(dtype)}).reshape(${JSON.stringify(value.shape ?? [])})`;
}

/** The data type of numbers; where an input takes any, the one that REST reads them as; "" for what are none. */
function dtypeOf(dtype, json) {
  if (json.includes('"')) {
    return "";
  }
  if (dtype !== "unknown") {
    return NUMPY[dtype] ?? dtype;
  }
  return /true|false/.test(json) ? "bool_" : /[.eE]/.test(json) ? "float32" : "int32";
}

/** JSON as Python writes it; numbers stay as they are written. */
function literal(json) {
  return json.replace(/"(?:[^"\\]|\\.)*"|true|false|null/g, (token) => LITERALS[token] ?? token);
}

/** A text as Python writes it: JSON writes texts likewise. */
function pythonText(text) {
  return JSON.stringify(text);
}

function shellQuoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A text in a here-document in which commands are run. */
function hereQuoted(text) {
  return text.replace(/[\\$`]/g, "\\$&");
}
