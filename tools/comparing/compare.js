"use strict";
// One clip at a time. A and B change over to the other run at the same moment of the same sentence; the arrows move.
const players = [...document.querySelectorAll("audio[data-line]")];
const lineOf = (player) => Number(player.dataset.line), sideOf = (player) => Number(player.dataset.side);
const seen = (player) => player.offsetParent !== null;
let last = null;

function silenceOthers(player) {
  for (const other of players) if (other !== player) other.pause();
}

for (const player of players) {
  player.tabIndex = 0;
  player.addEventListener("focus", () => { last = player; });
  player.addEventListener("play", () => {
    if (player.paused) return; // the event comes late: by now another clip may have been started
    silenceOthers(player);
    last = player;
    player.classList.add("cmp-playing");
  });
  for (const event of ["pause", "ended"]) player.addEventListener(event, () => player.classList.remove("cmp-playing"));
}

function start(player) {
  silenceOthers(player);
  player.play().catch((error) => {
    if (error.name !== "AbortError") throw error; // that one means: paused again before it began
  });
}

function go(player) {
  player?.focus();
  player?.scrollIntoView({ block: "nearest" });
}

function beside(player, side) {
  return players.find((one) => lineOf(one) === lineOf(player) && sideOf(one) === side);
}

function changeOver(player, side) {
  const other = beside(player, side);
  if (!other) return;
  const sounding = !player.paused, moment = player.currentTime;
  go(other);
  if (other !== player && (sounding || moment)) {
    const set = () => { other.currentTime = Math.min(moment, other.duration || moment); };
    if (other.readyState) set(); else other.addEventListener("loadedmetadata", set, { once: true });
    if (!other.readyState) other.load();
  }
  if (sounding) start(other);
}

// In the order in which they stand: the table can be sorted anew.
function below(player, step) {
  const column = [...document.querySelectorAll(`audio[data-side="${sideOf(player)}"]`)].filter(seen);
  return column[column.indexOf(player) + step];
}

// While capturing: the browser's own player would seek on arrows and press its focused button on space.
function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const inside = event.target.closest?.("audio[data-line]");
  if (!inside && event.target.closest?.("input, select, textarea, button, summary, a, [tabindex]")) return;
  const player = inside ?? (last && seen(last) ? last : players.find(seen));
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const sides = { a: 0, b: 1, ArrowLeft: 0, ArrowRight: 1 }, arrow = key.startsWith("Arrow");
  if (!player || (arrow && !inside) || !(key === " " || key in sides || arrow)) return;
  event.preventDefault();
  event.stopPropagation();
  if (event.type !== "keydown" || (event.repeat && !arrow)) return;
  if (key === "ArrowUp" || key === "ArrowDown") go(below(player, key === "ArrowDown" ? 1 : -1));
  else if (arrow) go(beside(player, sides[key]));
  else if (key in sides) changeOver(player, sides[key]);
  else if (player.paused) { go(player); start(player); } else player.pause();
}
document.addEventListener("keydown", pressed, true);
document.addEventListener("keyup", pressed, true);

const form = document.querySelector(".cmp-tools"), table = document.querySelector(".cmp-clips");
function choose() {
  const words = form.elements.words.value.trim().toLowerCase();
  const shown = new Set([...form.querySelectorAll("[name=condition]:checked")].map((box) => box.value));
  let count = 0;
  for (const sentence of table.tBodies) {
    for (const row of sentence.querySelectorAll("tr[data-condition]")) row.hidden = !shown.has(row.dataset.condition);
    sentence.hidden = !sentence.textContent.toLowerCase().includes(words);
    count += !sentence.hidden;
  }
  for (const player of players) if (!seen(player)) player.pause();
  document.querySelector(".cmp-count").textContent = `${count} of ${table.tBodies.length} sentences`;
}
function sort() {
  const by = form.elements.order.value === "change"
    ? (one, other) => other.dataset.change - one.dataset.change || one.dataset.place - other.dataset.place
    : (one, other) => one.dataset.place - other.dataset.place;
  table.append(...[...table.tBodies].sort(by));
}
if (form) {
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", choose);
  form.elements.order.addEventListener("change", sort);
  choose();
}
