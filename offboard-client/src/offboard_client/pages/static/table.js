// The list of episodes: filtered and sorted here, for all of it is a few hundred kilobytes.
import { asked, clock, complain, day, el, played, verdict } from "./base.js";

const COLUMNS = [
  ["at", "when", (row) => row.at || 0],
  ["task", "task", (row) => row.task || ""],
  ["model", "model", (row) => row.model || ""],
  ["codec", "codec", (row) => row.codec || ""],
  ["outcome", "outcome", (row) => verdict(row).text],
  ["seconds", "length", (row) => row.seconds || 0],
];
const FILTERS = [
  ["task", "all tasks", (row) => row.task],
  ["model", "all models", (row) => row.model],
  ["outcome", "all outcomes", (row) => verdict(row).is],
];

/** What the list is told to show; it outlives the list while an episode is looked at. */
const state = { words: "", task: "", model: "", outcome: "", sort: "at", down: true };
let known = { folder: "", episodes: [] };

export async function refresh() {
  known = await asked("api/episodes");
  return known;
}

export const episodes = () => known.episodes;

/** Those that the filters let through, in their order. */
export function chosen() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = known.episodes.filter((row) => {
    const text = [row.name, row.task, row.model, row.codec, played(row), verdict(row).text, ...said(row, "note"), ...said(row, "tags")];
    const all = text.join(" ").toLowerCase();
    return words.every((word) => all.includes(word)) && FILTERS.every(([key, , of]) => !state[key] || of(row) === state[key]);
  });
  const of = COLUMNS.find(([key]) => key === state.sort)[2];
  const order = (a, b) => (typeof of(a) === "number" ? of(a) - of(b) : String(of(a)).localeCompare(String(of(b))));
  return rows.sort((a, b) => (state.down ? -1 : 1) * order(a, b) || a.name.localeCompare(b.name));
}

export function showTable(main) {
  document.title = "offboard replay";
  const body = el("tbody");
  const count = el("p", { className: "quiet", role: "status" });
  const search = el("input", {
    type: "search", placeholder: "search, also tags and notes", value: state.words, "aria-label": "search",
    oninput: () => { state.words = search.value; fill(); },
  });
  const selects = FILTERS.map(([key, all]) =>
    el("select", { "aria-label": all, "data-filter": key, onchange: (event) => { state[key] = event.target.value; fill(); } }));
  const heads = COLUMNS.map(([key, title]) =>
    el("th", { scope: "col", "data-column": key }, el("button", {
      type: "button", onclick: () => {
        state.down = state.sort === key ? !state.down : key === "at";
        state.sort = key;
        fill();
      },
    }, title)));
  const sorts = el("select", {
    "aria-label": "sort", className: "narrow", onchange: () => {
      [state.sort, state.down] = [sorts.value.slice(1), sorts.value[0] === "-"];
      fill();
    },
  }, ...COLUMNS.flatMap(([key, title]) => [
    el("option", { value: `-${key}` }, `${title} ↓`), el("option", { value: `+${key}` }, `${title} ↑`)]));

  function options() {
    FILTERS.forEach(([key, all, of], i) => {
      const values = [...new Set(known.episodes.map(of).filter(Boolean))].sort();
      selects[i].replaceChildren(el("option", { value: "" }, all), ...values.map((value) => el("option", { value }, value)));
      if (!values.includes(state[key])) state[key] = "";
      selects[i].value = state[key];
    });
  }

  function fill() {
    const rows = chosen();
    heads.forEach((head) => {
      const here = head.dataset.column === state.sort;
      head.setAttribute("aria-sort", here ? (state.down ? "descending" : "ascending") : "none");
    });
    sorts.value = (state.down ? "-" : "+") + state.sort;
    const scored = rows.filter((row) => verdict(row).by).length;
    count.textContent = `${rows.length} of ${known.episodes.length} episodes, ${scored} scored · ${known.folder}`;
    body.replaceChildren(...rows.map(line));
  }

  options();
  main.replaceChildren(
    el("header", {}, el("h1", {}, "offboard replay"),
      el("div", { className: "filters" }, search, ...selects, sorts)),
    count,
    el("table", { className: "episodes" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, ""), ...heads)), body),
  );
  fill();

  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const before = JSON.stringify(known);
      await refresh();
      complain(null);
      if (JSON.stringify(known) !== before) { options(); fill(); }
    } catch (error) {
      complain(error);
    }
  }, 10000);
  return { close: () => clearInterval(timer), key: () => false };
}

/** What was said of it here and when the trial was judged. */
const said = (row, what) => [row.review, row.trial].flatMap((each) => (each && each[what]) || []);

function line(row) {
  const is = verdict(row);
  const review = row.review || {};
  const open = `#/${row.id}`;
  const thumb = el("td", { className: "thumb" });
  if (row.state === "whole" && row.cameras.length) {
    thumb.append(el("img", {
      src: `api/episodes/${row.id}/thumbnail?stamp=${row.stamp}`, loading: "lazy", alt: "", width: 80, height: 60,
      onerror: (event) => event.target.remove(),
    }));
  }
  const title = row.task || row.name;
  const tags = [...new Set(said(row, "tags"))].map((tag) => el("span", { className: "tag" }, tag));
  return el("tr", { "data-id": row.id, onclick: (event) => { if (!event.target.closest("a")) location.hash = open; } },
    thumb,
    el("td", { className: "when" }, row.at ? day(row.at) : row.name, el("small", { className: "quiet" }, played(row))),
    el("td", { className: "task" }, el("a", { href: open }, title), el("small", { className: "quiet" }, row.name),
      row.error ? el("small", { className: "bad" }, row.error) : null),
    el("td", { className: "model" }, row.model || "–"),
    el("td", { className: "codec" }, row.codec || "–"),
    el("td", { className: "outcome" },
      el("span", { className: `verdict ${is.kind}${is.by === "scored here" ? " scored" : ""}`, title: is.by || "as recorded" }, is.text),
      ...tags, review.error ? el("small", { className: "bad" }, review.error) : null),
    el("td", { className: "length" }, clock(row.seconds)),
  );
}
