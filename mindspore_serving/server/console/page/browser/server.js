// Asks the server that has sent this page. All paths are relative, so that a proxy may put them elsewhere.

const KEY = "serving-key";
const MOST_MS = 30000;

let key = "";
try {
  key = sessionStorage.getItem(KEY) ?? "";
} catch { // a browser may forbid it; the key is then gone with the page
  key = "";
}

/** What a server says that does not answer as it was asked. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Whether a key is shown to the server. */
export function hasKey() {
  return key !== "";
}

/** Show a key to the server from now on; "" for none. It stays in this tab. */
export function useKey(text) {
  key = text;
  try {
    if (text) {
      sessionStorage.setItem(KEY, text);
    } else {
      sessionStorage.removeItem(KEY);
    }
  } catch { // as above
  }
}

/** Send a request, and return the reply whatever it is. */
export function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key) {
    headers.Authorization = `Bearer ${key}`;
  }
  return fetch(path, { ...options, headers, cache: "no-store" });
}

/** The JSON at a path; throws `Refused` where the server refuses, and other errors where it is not reached. */
export async function ask(path) {
  const reply = await request(path, { signal: AbortSignal.timeout(MOST_MS) });
  const text = await reply.text();
  if (!reply.ok) {
    throw new Refused(reply.status, errorOf(text) || `HTTP ${reply.status}`);
  }
  return JSON.parse(text);
}

function errorOf(text) {
  try {
    const said = JSON.parse(text);
    return typeof said.error_msg === "string" ? said.error_msg : text;
  } catch {
    return text;
  }
}
