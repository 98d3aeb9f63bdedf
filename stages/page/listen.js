// One sound for the whole page, so that one clip plays at a time; the dock below shows which, and switches the condition.
const listen = (() => {
  const at = (id) => document.getElementById(id);
  const sound = at("sound"), dock = at("dock"), place = at("dock-place"), toggleButton = at("dock-play");
  const switches = [...dock.querySelectorAll(".switch button")];
  let current = null; // the button of the clip that plays or was played last
  let seed = null; // that was listened to last: recordings have none
  let moving = false; // the handle of the dock is held

  const clipOf = (button) => button.closest(".clip");
  const lineOf = (button) => button.closest("[data-line]");
  const columnOf = (button) => button.closest("[data-column]")?.dataset.column;
  const visible = (button) => !button.closest("[hidden], details:not([open])");
  const first = () => [...document.querySelectorAll(".sentences .clip .play")].find(visible);
  const say = (words) => { at("status").textContent = words; };

  const share = () => (sound.duration ? Math.min(sound.currentTime / sound.duration, 1) : 0);
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  function draw() {
    const playing = !sound.paused && !sound.ended;
    toggleButton.setAttribute("aria-pressed", String(playing));
    toggleButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    current?.setAttribute("aria-pressed", String(playing));
    clipOf(current)?.style.setProperty("--at", share());
    if (!moving) place.value = Math.round(1000 * share());
    const duration = sound.duration || 0;
    at("dock-time").textContent = `${clock(sound.currentTime)} / ${clock(duration)}`;
    place.setAttribute("aria-valuetext", `${sound.currentTime.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  }

  function tick() {
    draw();
    if (!sound.paused && !sound.ended) requestAnimationFrame(tick);
  }

  function choose(button) {
    if (current) {
      current.setAttribute("aria-pressed", "false");
      clipOf(current).classList.remove("current");
    }
    current = button;
    clipOf(button).classList.add("current");
    if (clipOf(button).dataset.seed) seed = clipOf(button).dataset.seed;
    dock.hidden = false;
    document.body.classList.add("docked");
    at("dock-title").textContent = button.getAttribute("aria-label");
    const own = columnOf(button);
    for (const one of switches) {
      one.setAttribute("aria-pressed", String(one.dataset.column === own));
      one.disabled = !inColumn(button, one.dataset.column);
    }
    sound.src = button.dataset.src;
  }

  // Play a clip from a place in it, 0 to 1. `start` false: only go there.
  function play(button, from = 0, start = true) {
    const another = button !== current;
    if (another) choose(button);
    const begin = () => {
      if (current !== button) return; // another clip was chosen in the meantime
      sound.currentTime = from * sound.duration;
      draw();
    };
    if (sound.readyState > 0 && !another) begin();
    else if (from > 0) sound.addEventListener("loadedmetadata", begin, { once: true });
    if (!start) return;
    sound.play().catch((error) => {
      if (error.name === "AbortError") return; // paused, or another clip chosen, before it began
      if (error.name !== "NotSupportedError") throw error;
      say(`${button.getAttribute("aria-label")}: this sound cannot be loaded. Is the folder audio beside the page?`);
    });
  }

  function toggle(button) {
    if (button !== current) return play(button);
    if (sound.paused || sound.ended) play(button, sound.ended ? 0 : share());
    else sound.pause();
  }

  // The clip of a line in a column: of this clip's seed, else of the one listened to last, else the first there is.
  function inColumn(button, column) {
    const line = lineOf(button);
    if (!line) return null;
    const found = [...line.querySelectorAll(`[data-column="${CSS.escape(column)}"] .play`)];
    const bySeed = (wanted) => found.find((one) => clipOf(one).dataset.seed === wanted);
    return bySeed(clipOf(button).dataset.seed) ?? bySeed(seed) ?? found[0] ?? null;
  }

  // Switch the condition of the same sentence, at the same place, going on as before.
  function turn(column) {
    const start = current ?? first();
    if (!start) return;
    const target = inColumn(start, column);
    if (!target) return say("Nothing to play there.");
    const focused = document.activeElement?.matches(".clip .play");
    const over = !current || sound.ended; // then the other one begins at its beginning
    if (target !== current) play(target, over ? 0 : share(), over || !sound.paused);
    if (focused) target.focus({ preventScroll: true });
    if (visible(target)) target.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".clip .play");
    if (button) {
      button.focus(); // some browsers do not give it to what is clicked
      toggle(button);
      return;
    }
    const wave = event.target.closest(".clip .wave");
    if (!wave) return;
    const box = wave.getBoundingClientRect();
    play(wave.previousElementSibling, Math.min(Math.max((event.clientX - box.left) / box.width, 0), 0.999));
  });
  toggleButton.addEventListener("click", () => current && toggle(current));
  for (const one of switches) one.addEventListener("click", () => turn(one.dataset.column));
  place.addEventListener("input", () => {
    moving = true;
    sound.currentTime = (place.value / 1000) * (sound.duration || 0);
  });
  place.addEventListener("change", () => { moving = false; });
  for (const event of ["pause", "ended", "seeked", "loadedmetadata"]) sound.addEventListener(event, draw);
  sound.addEventListener("play", tick);
  // Should anything else on the page make a sound, this one stops.
  document.addEventListener("play", (event) => { if (event.target !== sound) sound.pause(); }, true);

  return {
    clipOf, lineOf, columnOf, visible, first, say, toggle, turn,
    get current() { return current; },
    get switches() { return switches; },
  };
})();
