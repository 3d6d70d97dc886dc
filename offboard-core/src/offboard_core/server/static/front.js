"use strict";
// The server's front: plain texts into elements, never markup. The token stays in this tab, and is in no address.
const $ = (id) => document.getElementById(id);
const EVERY = 2000, STAGES = ["total", "queue", "decode", "codec", "infer"];
const KEY = "offboard-token";
let looked = null, shown = "", asking = false;

function made(kind, text = "", name = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

async function ask(path) {
  const token = sessionStorage.getItem(KEY);
  const answer = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {}, cache: "no-store" });
  if (answer.status === 401) {
    sessionStorage.removeItem(KEY);
    $("login").hidden = false;
    $("shown").hidden = true;
    throw new Error(token ? "This is not the server's token." : "");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    const error = new Error(said.error || `${path}: ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return answer;
}

const seconds = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
const number = (value) => (value === null ? "not finite" : typeof value === "number" ? String(+value.toPrecision(5)) : String(value));

// What the numbers of a row are called: those of a pose as the protocol has them, others are counted.
const POSE = ["x", "y", "z", "qw", "qx", "qy", "qz"];
const called = (name, width) => (width === 7 && /^target_pose(\.|$)/.test(name) ? POSE : Array.from({ length: width }, (_, i) => String(i)));

// A line for each column of `rows`; null leaves a gap. `names`: of the columns, for a key.
function plot(title, rows, low = null, names = []) {
  const width = rows.length ? rows[0].length : 0;
  const all = rows.flat().filter((value) => value !== null).map(Number);
  const figure = made("figure");
  let bottom = low ?? Math.min(...all), top = Math.max(...all);
  figure.append(made("figcaption", all.length ? `${title}: ${number(bottom)} to ${number(top)}` : `${title}: nothing`));
  if (!all.length) return figure;
  if (top - bottom < 1e-9) { top += 0.5; bottom -= low === null ? 0.5 : 0; }
  const NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  for (let column = 0; column < Math.min(width, 64); column++) {
    let line = "", pen = "M";
    rows.forEach((row, index) => {
      if (row[column] === null || row[column] === undefined) { pen = "M"; return; }
      const x = rows.length > 1 ? (100 * index) / (rows.length - 1) : 50;
      line += `${pen}${x.toFixed(2)} ${(98 - (96 * (Number(row[column]) - bottom)) / (top - bottom)).toFixed(2)}`;
      if (rows.length === 1) line += "h2";
      pen = "L";
    });
    const path = document.createElementNS(NS, "path");
    path.setAttribute("d", line);
    path.setAttribute("class", `c${column % 8}`);
    svg.append(path);
  }
  figure.append(svg);
  if (names.length > 1) {
    const key = made("div", "", "key");
    key.append(...names.slice(0, 64).map((name, column) => {
      const one = made("span", name), mark = made("i", "", `c${column % 8}`);
      one.prepend(mark);
      return one;
    }));
    figure.append(key);
  }
  return figure;
}

function values(place, said) {
  const pictures = made("div", "", "pictures"), list = made("dl");
  for (const [name, value] of Object.entries(said || {})) {
    if (value.png) {
      value.png.forEach((png) => {
        const figure = made("figure"), image = made("img");
        image.src = `data:image/png;base64,${png}`;
        image.alt = name;
        const range = value.range ? `, ${value.range.map(number).join(" to ")}` : "";
        figure.append(image, made("figcaption", `${name}: ${value.shape.join(" × ")} ${value.dtype}${range}`));
        pictures.append(figure);
      });
    } else {
      const text = "text" in value ? value.text
        : "values" in value ? [value.values].flat(9).map(number).join("  ")
          : `${value.shape.join(" × ")} ${value.dtype}${value.range ? `, ${value.range.map(number).join(" to ")}` : ""}`;
      list.append(made("dt", name), made("dd", text));
    }
  }
  if (!said) list.append(made("dd", "nothing"));
  place.replaceChildren(pictures, list);
}

const chunk = (place, said) => place.replaceChildren(
  ...(said ? Object.entries(said.action).map(([name, rows]) => plot(`${name}, ${rows.length} steps`, rows, null, called(name, rows.length ? rows[0].length : 0))) : [made("p", "nothing", "quiet")]),
);

async function look() {
  if (looked === null) return;
  let answer;
  try {
    answer = await (await ask(`api/v1/sessions/${encodeURIComponent(looked)}/last`)).json();
  } catch (error) {
    if (error.status !== 404) throw error;
    $("about").textContent = "This session is over.";
    looked = null;
    return;
  }
  const last = answer.last;
  if (last === null) { $("about").textContent = "Waiting for its next observation."; return; }
  const key = `${answer.session} ${last.number}`;
  const ago = `${seconds(Math.max(0, Date.now() / 1000 - last.time))} ago`;
  $("about").textContent = `observation ${last.number}, ${ago}, ${number(last.timing.total_ms)} ms${last.error ? `: ${last.error}` : ""}`;
  if (key === shown) return;
  shown = key;
  values($("saw"), last.saw);
  values($("said"), last.said);
  chunk($("answered"), last.answered);
  chunk($("got"), last.got);
}

function sessions(holders) {
  const rows = holders.map((holder) => {
    const row = made("div", "", "session");
    row.append(made("b", holder.client), made("span", `for ${seconds(holder.for_s)}`), made("span", `idle ${seconds(holder.idle_s)}`, "quiet"));
    if (holder.session) {
      const button = made("button", "What its model saw");
      button.setAttribute("aria-pressed", String(holder.session === looked));
      button.dataset.session = holder.session;
      row.append(button);
    }
    return row;
  });
  const focused = document.activeElement?.dataset?.session;
  $("sessions").replaceChildren(...(rows.length ? rows : [made("p", "Nobody uses the model.", "quiet")]));
  if (focused) [...document.querySelectorAll("[data-session]")].find((one) => one.dataset.session === focused)?.focus();
}

function status(said) {
  const loaded = said.loaded;
  $("model").textContent = loaded ? loaded.model : said.loading ? `loading ${said.loading.model}` : "no model is loaded";
  document.title = `${loaded ? loaded.model : "offboard"} – offboard`;
  const parts = loaded ? [`${loaded.health.state}${loaded.health.reason ? `: ${loaded.health.reason}` : ""}`, `loaded ${seconds(loaded.for_s)} ago`] : [];
  if (said.loading) parts.push(said.loading.progress ? String(said.loading.progress) : "loading");
  parts.push(`${said.in_flight} under way`, `waited for: ${said.waiting?.length ? said.waiting.map(String).join(", ") : "nothing"}`, `${Math.round(said.memory_bytes / 1e6)} MB`);
  $("state").textContent = parts.join(" · ");
  sessions(said.holders);
  const outcomes = Object.entries(said.outcomes).flatMap(([name, count]) => [made("dt", name), made("dd", String(count))]);
  if (said.last_failure) outcomes.push(made("dt", "last failure"), made("dd", `${said.last_failure.time} ${said.last_failure.model}: ${said.last_failure.text}`));
  $("outcomes").replaceChildren(...(outcomes.length ? outcomes : [made("dd", "none yet")]));
}

const stages = (said) => $("stages").replaceChildren(...STAGES.map((stage) => plot(stage, said.mean_ms[stage].map((ms) => [ms]), 0)));

async function turn() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const [said, latencies] = [await ask("api/v1/status"), await ask("api/v1/latencies")];
    status(await said.json());
    stages(await latencies.json());
    $("login").hidden = true;
    $("shown").hidden = false;
    await look();
    $("error").hidden = true;
  } catch (error) {
    $("error").textContent = error instanceof TypeError ? "The server does not answer." : error.message;
    $("error").hidden = !$("error").textContent;
  } finally {
    asking = false;
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("token").value.trim());
  $("token").value = "";
  turn();
});
$("sessions").addEventListener("click", (event) => {
  const name = event.target.dataset.session;
  if (!name) return;
  looked = name === looked ? null : name;
  shown = "";
  $("look").hidden = looked === null;
  $("looked").textContent = `Session ${name}`;
  for (const place of ["saw", "said", "answered", "got"]) $(place).replaceChildren();
  turn();
});
setInterval(turn, EVERY);
turn();
