"use strict";
// Dark or light: as the system has it, or as was chosen here before.
const theme = {
  key: "timbre-theme",
  read() {
    try { return localStorage.getItem(this.key) ?? ""; } catch { return ""; } // a browser may keep nothing for files
  },
  keep(choice) {
    try { localStorage.setItem(this.key, choice); } catch { /* then it holds until the page is left */ }
  },
  show(choice) {
    if (["light", "dark"].includes(choice)) document.documentElement.dataset.theme = choice;
    else delete document.documentElement.dataset.theme;
  },
};
theme.show(theme.read());
document.addEventListener("DOMContentLoaded", () => {
  const select = document.getElementById("theme");
  select.value = document.documentElement.dataset.theme ?? "";
  select.addEventListener("change", () => {
    theme.show(select.value);
    theme.keep(select.value);
  });
});
