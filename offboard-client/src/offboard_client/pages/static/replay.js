// Which of the two is shown, by what stands behind the # of the address; and keys, for whichever it is.
import { complain } from "./base.js";
import { showPlayer } from "./player.js";
import { refresh, showTable } from "./table.js";

const main = document.getElementById("main");
let shown = null;
let turn = 0;

async function show() {
  const mine = ++turn;
  if (shown) shown.close();
  shown = null;
  const id = location.hash.replace(/^#\/?/, "");
  try {
    if (/^[0-9a-f]{16}$/.test(id)) {
      const made = await showPlayer(main, id);
      if (mine === turn) shown = made;
      else made.close();
      return;
    }
    await refresh();
    if (mine !== turn) return;
    complain(null);
    shown = showTable(main);
  } catch (error) {
    complain(error);
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !shown) return;
  const writing = event.target.closest("input:not([type=range]), textarea, select, dialog");
  if (writing) {
    if (event.key === "Escape" && !event.target.closest("dialog")) event.target.blur();
    return;
  }
  if ((event.key === " " || event.key === "Enter") && event.target.closest("button, a, summary")) return;
  if (shown.key(event)) event.preventDefault();
});
addEventListener("hashchange", show);
addEventListener("pagehide", () => shown && shown.close());
show();
