// What all pages share: elements without markup, requests, words for numbers.

/** An element. `props`: its properties, `on…` as listeners, `data-…`, `aria-…` and `role` as attributes. */
export function el(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (/^(aria-|data-|role$|list$|for$)/.test(key)) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Ask the server; what it refuses is thrown with its text. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: it was ended, or the network is gone");
  }
  if (answer.status === 401) location.reload();
  if (!answer.ok && answer.status !== 409) {
    let text = `the server answers ${answer.status}`;
    try {
      text = (await answer.json()).error || text;
    } catch {}
    throw new Error(text);
  }
  return answer;
}

export const asked = async (path, options) => (await ask(path, options)).json();

export const sent = (path, body) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

const banner = document.getElementById("error");

/** What went wrong, until something else is said. */
export function complain(error) {
  if (error && error.name === "AbortError") return;
  banner.textContent = error ? error.message || String(error) : "";
  banner.hidden = !error;
}

export function clock(seconds, digits = 0) {
  if (seconds === null || seconds === undefined || !isFinite(seconds)) return "–";
  const factor = 10 ** digits;
  const whole = Math.floor(seconds * factor) / factor;
  const minutes = Math.floor(whole / 60);
  const rest = (whole - 60 * minutes).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export const day = (at) =>
  at ? new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "–";

/** Which trial of an evaluation it was, and from which start. */
export const played = ({ number_of_trial: trial, start }) =>
  trial === null || trial === undefined ? "" : `trial ${trial}${start === null || start === undefined ? "" : `, start ${start}`}`;

/** Outcomes of trials that say nothing of the model, and how they look. */
const COUNTS = { error: "bad", annulled: "open" };

/** What became of an episode, as far as anybody has said: by whom, in which colour, and as what it is filtered. */
export function verdict(row) {
  const found = became(row);
  return { is: found.text, ...found };
}

function became(row) {
  if (row.state === "broken") return { text: "cannot be read", kind: "bad" };
  if (row.state === "unfinished") return { text: "unfinished", kind: "open" };
  const known = (value) => value !== null && value !== undefined;
  const words = ({ outcome, items, items_total, score }) => {
    if (known(items)) return `${outcome} ${items}${items_total ? `/${items_total}` : ""}`;
    return outcome === "partial" && known(score) ? `${outcome} ${Math.round(100 * score)} %` : outcome;
  };
  if (row.review && row.review.outcome) return { text: words(row.review), is: row.review.outcome, kind: row.review.outcome, by: "scored here" };
  if (row.trial) return { text: words(row.trial), is: row.trial.outcome, kind: COUNTS[row.trial.outcome] || row.trial.outcome, by: "as the trial was judged" };
  if (row.success === true) return { text: "success", kind: "success" };
  if (row.failure) return { text: String(row.failure[0]), kind: "bad" };
  if (row.success === false) return { text: "fail", kind: "fail" };
  return { text: "not scored", kind: "open" };
}
