"use strict";
// One clip at a time; space plays and pauses the focused clip, the arrows move between players as in the table.
const players = [...document.querySelectorAll("audio")];

function silenceOthers(player) {
  for (const other of players) if (other !== player) other.pause();
}

for (const player of players) {
  player.tabIndex = 0;
  player.addEventListener("play", () => {
    if (player.paused) return; // the event comes late: by now another clip may have been started
    silenceOthers(player);
    player.classList.add("playing");
  });
  for (const event of ["pause", "ended"]) player.addEventListener(event, () => player.classList.remove("playing"));
}

function next(player, key) {
  const row = Number(player.dataset.row), column = Number(player.dataset.column);
  const line = players.filter((one) => Number(one.dataset.row) === row);
  const place = line.indexOf(player);
  if (key === "ArrowRight") return line[place + 1];
  if (key === "ArrowLeft") return line[place - 1];
  const same = players.filter((one) => Number(one.dataset.column) === column);
  return same[same.indexOf(player) + (key === "ArrowDown" ? 1 : -1)];
}

// While capturing: the browser's own player would seek on arrows and press its focused button on space.
function pressed(event) {
  const player = event.target.closest?.("audio[data-row]");
  if (!player || event.ctrlKey || event.altKey || event.metaKey) return;
  const arrow = event.key.startsWith("Arrow");
  if (event.key !== " " && !arrow) return;
  event.preventDefault();
  event.stopPropagation();
  if (event.type !== "keydown" || (event.repeat && !arrow)) return;
  if (arrow) {
    const target = next(player, event.key);
    target?.focus();
    target?.scrollIntoView({ block: "nearest", inline: "nearest" });
  } else if (player.paused) {
    silenceOthers(player);
    player.play().catch((error) => {
      if (error.name !== "AbortError") throw error; // that one means: paused again before it began
    });
  } else {
    player.pause();
  }
}
document.addEventListener("keydown", pressed, true);
document.addEventListener("keyup", pressed, true);
