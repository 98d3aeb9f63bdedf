// The sentences that hold all words searched for: in the text, in what was heard, in the names of failures.
(() => {
  const at = (id) => document.getElementById(id);
  const table = document.querySelector(".sentences[aria-labelledby=sentences]");
  const search = at("search"), seed = at("seed"), found = at("found");
  const lines = [...table.querySelectorAll("[data-line]")];
  let words = null; // of each line, gathered when they are first asked for

  const wordsOf = (line) =>
    [...line.querySelectorAll(".text, .said, .badge")].map((one) => one.textContent).join(" ").replace(/\s+/g, " ").toLowerCase();

  function filter() {
    words ??= lines.map(wordsOf);
    const wanted = search.value.toLowerCase().trim().replace(/\s+/g, " ");
    const parts = words.some((one) => one.includes(wanted)) ? [wanted] : wanted.split(" "); // a phrase, else its words
    let shown = 0;
    lines.forEach((line, number) => {
      line.hidden = !parts.every((part) => words[number].includes(part));
      shown += !line.hidden;
    });
    found.textContent = wanted ? `${shown} of ${lines.length} sentences` : "";
  }

  search.addEventListener("input", filter);
  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("numbers").addEventListener("change", (event) => table.classList.toggle("all-numbers", event.target.checked));
  seed?.addEventListener("change", () => {
    for (const clip of table.querySelectorAll(".clip[data-seed]")) clip.hidden = seed.value !== "" && clip.dataset.seed !== seed.value;
  });
  for (const button of document.querySelectorAll("[data-search]")) button.addEventListener("click", () => {
    search.value = button.dataset.search;
    filter();
    search.focus();
    at("tools").scrollIntoView();
  });
  if (search.value) filter(); // what the browser kept over a reload
})();
