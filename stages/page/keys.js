// Space plays, the arrows move between clips as they lie in the table, digits and A/B switch the condition in place.
(() => {
  const { clipOf, lineOf, columnOf, visible, first, switches, toggle, turn } = listen;
  const dialog = document.getElementById("keys"), search = document.getElementById("search");
  const clips = () => [...document.querySelectorAll(".clip .play")].filter(visible);

  // Along the line: the nearest clip of another column, of the same seed if there is one.
  function across(button, step) {
    const line = lineOf(button);
    if (!line) return null;
    const columns = [...line.querySelectorAll("[data-column]")];
    let number = columns.indexOf(button.closest("[data-column]"));
    while (columns[(number += step)]) {
      const found = [...columns[number].querySelectorAll(".play")].filter(visible);
      if (found.length) return found.find((one) => clipOf(one).dataset.seed === clipOf(button).dataset.seed) ?? found[0];
    }
    return null;
  }

  // Along the column: the next seed, then the next line of the same table.
  function along(button, step) {
    const table = button.closest("table") ?? document;
    const same = clips().filter((one) => table.contains(one) && columnOf(one) === columnOf(button));
    return same[same.indexOf(button) + step];
  }

  function move(button, key) {
    const [direction, step] = { ArrowRight: [across, 1], ArrowLeft: [across, -1], ArrowDown: [along, 1], ArrowUp: [along, -1] }[key];
    const target = direction(button, step);
    target?.focus({ preventScroll: true });
    clipOf(target ?? button).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // Before the tuning or after it, of the kind (cloned or not) that is heard now.
  function side(name, other) {
    const now = switches.find((one) => one.getAttribute("aria-pressed") === "true");
    if (now?.dataset[name]) return turn(now.dataset[name]);
    if (now?.dataset[other]) return turn(now.dataset.column);
    turn(switches.find((one) => one.dataset[other]).dataset.column);
  }

  const play = (button) => button && toggle(button); // a search may have found nothing

  function help() {
    if (dialog.open) dialog.close();
    else dialog.showModal();
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const target = event.target, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (target.closest("input:not([type=checkbox]), select, textarea, [contenteditable], #blind-test")) {
      if (target === search && key === "Escape") {
        search.value = "";
        search.dispatchEvent(new Event("input"));
        search.blur();
      }
      return;
    }
    if (key === "?") return act(help);
    if (dialog.open) return;
    const button = target.closest(".clip .play");
    const own = target.closest("button, a, summary, input") && !button; // what space does to these is theirs
    if (key === " " && !own) act(() => event.repeat || play(button ?? listen.current ?? first()));
    else if (key.startsWith("Arrow") && button) act(() => move(button, event.key));
    else if (key === "/") act(() => search.focus());
    else if (key === "a") act(() => side("before", "after"));
    else if (key === "b") act(() => side("after", "before"));
    else if (switches[Number(key) - 1] && !event.repeat) act(() => turn(switches[Number(key) - 1].dataset.column));

    function act(what) {
      event.preventDefault();
      what();
    }
  });
  // The browser would press a focused button once more when the space bar comes up.
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.closest(".clip .play")) event.preventDefault();
  });
  document.getElementById("help").addEventListener("click", help);
})();
