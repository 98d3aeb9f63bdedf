// Blind listening. What is asked and what is exported: see blind.py. Votes stay in the browser, under the run's digest.
(() => {
  const section = document.getElementById("blind-test");
  if (!section || !document.getElementById("blind-setup")) return;
  const run = JSON.parse(section.dataset.blind);
  const at = (id) => document.getElementById(`blind-${id}`);
  const KEY = `timbre-votes-${run.run}`;
  const EVERY = 8; // after so many pairs one of their first half is asked again, with its sides changed
  const other = (side) => (side === "first" ? "second" : "first");

  // --- the state, and where it is kept ---
  let kept = true; // by the browser; else only as long as the page is open
  let unreadable = false;
  let state = load();
  let running = false;
  let shown = null; // the item that is asked now
  const missing = new Set(); // names of items whose sound cannot be loaded

  function fresh() {
    const random = crypto.getRandomValues(new Uint8Array(6));
    const listener = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return { listener, pair: 0, question: "similar", votes: [] };
  }

  function readable(found) {
    return (
      /^[0-9a-f]{12}$/.test(found?.listener) && Number.isInteger(found.pair) && found.pair in run.pairs &&
      Object.hasOwn(run.questions, found.question) &&
      Array.isArray(found.votes) && found.votes.every((vote) => ["first", "second", "tie"].includes(vote?.winner))
    );
  }

  function storage(use) {
    try {
      kept = true;
      return use(localStorage);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      kept = false; // the browser forbids it (a private window, a setting), or has no room
      return null;
    }
  }

  function load() {
    const text = storage((store) => store.getItem(KEY));
    if (text === null) return fresh();
    try {
      const found = JSON.parse(text);
      if (readable(found)) return found;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    unreadable = true;
    storage((store) => store.setItem(`${KEY}-unreadable`, text));
    return fresh();
  }

  const save = () => storage((store) => store.setItem(KEY, JSON.stringify(state)));

  // --- what is asked: the same for one listener after a reload, another order and other sides for the next ---
  function generator(words) { // xorshift32, begun at the FNV-1a hash of the words
    let number = 2166136261;
    for (const character of words) number = Math.imul(number ^ character.codePointAt(0), 16777619);
    number = number || 1;
    const draw = () => {
      number ^= number << 13;
      number ^= number >>> 17;
      number ^= number << 5;
      return (number >>> 0) / 2 ** 32;
    };
    for (let count = 0; count < 16; count++) draw();
    return (limit) => Math.floor(draw() * limit);
  }

  function plan() {
    const pair = run.pairs[state.pair];
    const draw = generator(`${state.listener} ${pair.first} ${pair.second} ${state.question}`);
    const trials = [...pair.trials];
    for (let last = trials.length - 1; last > 0; last--) {
      const place = draw(last + 1);
      [trials[last], trials[place]] = [trials[place], trials[last]];
    }
    const once = [], asked = [];
    for (const [number, seed, ...gains] of trials) {
      const row = run.rows[number];
      const references = run.rows.filter((one) => one !== row && one.recorded && one.speaker === row.speaker);
      const reference = references[draw(Math.max(1, references.length))];
      const item = { row, seed, gains, reference, left: draw(2) ? "first" : "second", repeat: false };
      once.push(item);
      asked.push(item);
      if (once.length % EVERY === 0) {
        const again = once[once.length - EVERY + draw(EVERY / 2)];
        asked.push({ ...again, left: other(again.left), repeat: true });
      }
    }
    return state.question === "similar" ? asked.filter((item) => item.reference) : asked;
  }

  const nameOf = (item) => JSON.stringify([item.row.id, item.seed, item.repeat]);
  const own = (vote, pair = run.pairs[state.pair], question = state.question) =>
    vote.first === pair.first && vote.second === pair.second && vote.question === question;

  function progress() {
    const asked = plan();
    const given = state.votes.filter((vote) => own(vote));
    const names = new Set(given.map(({ row, seed, repeat }) => nameOf({ row: { id: row }, seed, repeat })));
    const left = asked.filter((item) => !names.has(nameOf(item)));
    const open = left.filter((item) => !missing.has(nameOf(item)));
    return { total: asked.length, voted: asked.length - left.length, missing: left.length - open.length, next: open[0] ?? null };
  }

  // --- the clips ---
  const buttons = { 1: at("play-1"), 2: at("play-2"), reference: at("reference") };
  let clips = {};
  let last = "1";

  function clipOf(slot, condition, item, row, seed, gain) {
    const end = run.generated.includes(condition) ? `-${seed}` : "";
    const audio = new Audio();
    const clip = { audio, started: false };
    audio.preload = "auto";
    audio.volume = gain;
    audio.addEventListener("error", () => {
      if (shown !== item) return; // it was already taken away
      missing.add(nameOf(item));
      ask();
    });
    audio.addEventListener("timeupdate", () => {
      if (shown === item && slot !== "reference") at(`time-${slot}`).value = audio.currentTime / (audio.duration || 1);
    });
    for (const event of ["playing", "pause", "ended"]) audio.addEventListener(event, () => {
      if (shown !== item) return;
      if (event === "playing") clip.started = true; // not before: only then it was asked for and is there
      buttons[slot].setAttribute("aria-pressed", String(!audio.paused && !audio.ended));
      allow();
    });
    audio.src = `audio/${condition}/${row}${end}.mp3`;
    return clip;
  }

  function still(besides) {
    for (const { audio } of Object.values(clips)) if (audio !== besides) audio.pause();
    if (besides) for (const audio of document.querySelectorAll("audio")) audio.pause();
  }

  function drop() {
    for (const { audio } of Object.values(clips)) {
      audio.pause();
      audio.removeAttribute("src");
    }
    clips = {};
    for (const button of Object.values(buttons)) button.setAttribute("aria-pressed", "false");
    for (const slot of [1, 2]) at(`time-${slot}`).value = 0;
  }

  function play(slot, again = true) {
    const clip = clips[slot];
    if (!clip) return;
    still(clip.audio);
    if (again || clip.audio.ended) clip.audio.currentTime = 0;
    last = slot;
    clip.audio.play().catch((error) => {
      // AbortError: paused before it began. NotSupportedError: no such file, which the event "error" tells as well.
      if (!["AbortError", "NotSupportedError"].includes(error.name)) throw error;
    });
  }

  function toggle(slot) {
    const clip = clips[slot];
    if (clip && !clip.audio.paused && !clip.audio.ended) clip.audio.pause();
    else play(slot, slot !== last);
  }

  // A clip elsewhere on the page silences those of the test.
  document.addEventListener("play", () => still(null), true);

  // --- one pair ---
  const heardBoth = () => Boolean(clips[1]?.started && clips[2]?.started);
  function allow() {
    for (const id of ["choose-1", "choose-2", "tie"]) at(id).disabled = !heardBoth();
    at("hint").textContent = heardBoth() ? "Choose, or listen once more." : "Listen to both clips, then choose.";
  }

  function ask() {
    const { total, voted, missing: lost, next } = progress();
    drop();
    shown = next;
    trouble();
    if (!next) {
      running = false;
      draw();
      if (voted) at("reveal").focus();
      return;
    }
    const pair = run.pairs[state.pair];
    [next.left, other(next.left)].forEach((side, place) => {
      const gain = next.gains[side === "first" ? 0 : 1];
      clips[place + 1] = clipOf(String(place + 1), pair[side], next, next.row.id, next.seed, gain);
    });
    if (state.question === "similar") clips.reference = clipOf("reference", "gt", next, next.reference.id, null, 1);
    last = "1";
    at("progress").textContent = `Pair ${voted + 1} of ${total - lost}`;
    at("meter").max = total - lost;
    at("meter").value = voted;
    at("question").textContent = run.questions[state.question];
    at("text").textContent = next.row.text;
    at("reference").parentElement.hidden = !clips.reference;
    allow();
    draw();
    at("stage").focus({ preventScroll: true });
  }

  function vote(choice) {
    if (!shown || !heardBoth()) return;
    const winner = choice === "tie" ? "tie" : choice === "1" ? shown.left : other(shown.left);
    const { first, second } = run.pairs[state.pair];
    const { row, seed, left, repeat } = shown;
    state.votes.push({ question: state.question, first, second, row: row.id, seed, winner, left, repeat });
    save();
    ask();
  }

  function undo() {
    const place = state.votes.findLastIndex((one) => own(one));
    if (place < 0) return;
    state.votes.splice(place, 1);
    save();
    running = true;
    ask();
  }

  // --- around it ---
  const many = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

  function trouble() {
    const { missing: lost, total } = progress();
    const said = [];
    if (!kept) said.push("This browser keeps nothing for this page: export your votes before you close it.");
    if (unreadable) said.push("The votes that the browser kept for this page could not be read; they are set aside, and the test begins anew.");
    if (lost) said.push(`${lost === total ? "No sound could" : `The sound of ${many(lost, "pair")} could not`} be loaded: is the folder “audio” beside this page? Reload it to try again.`);
    at("trouble").textContent = said.join(" ");
    at("trouble").hidden = !said.length;
  }

  function draw() {
    const pair = run.pairs[state.pair];
    const { total, voted, next } = progress();
    at("setup").hidden = running;
    at("stage").hidden = !running;
    document.body.classList.toggle("blind-running", running);
    at("pair").value = String(state.pair);
    for (const input of at("setup").querySelectorAll("input")) input.checked = input.value === state.question;
    const extent = [voted ? `${voted} of ${many(total, "pair")} voted.` : `${many(total, "pair")}.`];
    if (pair.silent) extent.push(`${many(pair.silent, "pair is", "pairs are")} left out: a clip has no sound.`);
    if (pair.trials.length && !total) extent.push("There is no recording of another sentence to compare with; ask which sounds better.");
    at("extent").textContent = extent.join(" ");
    at("start").textContent = voted && next ? "Go on" : "Start";
    at("start").disabled = !next;
    at("votes").hidden = !state.votes.length;
    at("count").textContent = many(state.votes.length, "vote");
    at("undo").disabled = !state.votes.some((vote) => own(vote));
    at("sure").hidden = true;
    reveal(false);
    trouble();
  }

  function wilson(wins, total) { // 95 %, as stages/scoring/statistics.py
    const z2 = 1.959963984540054 ** 2 / total, rate = wins / total;
    const half = Math.sqrt(rate * (1 - rate) * z2 + z2 ** 2 / 4);
    return [(rate + z2 / 2 - half) / (1 + z2), (rate + z2 / 2 + half) / (1 + z2)].map((edge) => Math.max(0, Math.min(1, edge)));
  }

  function element(name, text, ...inside) {
    const made = document.createElement(name);
    made.textContent = text;
    made.append(...inside);
    return made;
  }

  function resultOf(pair, question, votes) {
    const once = votes.filter((one) => !one.repeat), again = votes.filter((one) => one.repeat);
    const count = (winner) => once.filter((one) => one.winner === winner).length;
    const [first, second] = [run.titles[pair.first], run.titles[pair.second]];
    const decided = count("first") + count("second");
    const place = (one) => [one.row, one.seed].join();
    const before = new Map(once.map((one) => [place(one), one.winner]));
    const steady = again.filter((one) => before.get(place(one)) === one.winner).length;
    const lines = [`“${first}” ${count("first")}, “${second}” ${count("second")}, no difference ${count("tie")}.`];
    if (decided) {
      const [low, high] = wilson(count("second"), decided).map((edge) => Math.round(100 * edge));
      lines.push(`Where you chose, “${second}” won ${Math.round((100 * count("second")) / decided)} % (95 % interval: ${low} to ${high} %).`);
      lines.push(low > 50 || high < 50 ? "" : "Too few or too even to tell them apart.");
    }
    if (again.length) lines.push(`${many(again.length, "pair")} asked twice, ${steady} answered alike.`);
    const texts = new Map(run.rows.map((row) => [row.id, row.text]));
    const chosen = votes.map((one) => {
      const answer = one.winner === "tie" ? `no difference; clip 1 was “${run.titles[pair[one.left]]}”`
        : `you chose clip ${one.winner === one.left ? 1 : 2}, “${run.titles[pair[one.winner]]}”`;
      const take = (one.seed === null ? "" : ` (seed ${one.seed})`) + (one.repeat ? " (asked again)" : "");
      return element("li", "", element("q", texts.get(one.row) ?? one.row), `${take}: ${answer}`);
    });
    const list = element("ol", "", ...chosen);
    return element("div", "", element("h3", `${first} / ${second}`), element("p", run.questions[question]),
      element("p", lines.filter(Boolean).join(" ")), element("details", "", element("summary", "Vote by vote"), list));
  }

  function reveal(open) {
    at("result").hidden = !open;
    at("reveal").setAttribute("aria-expanded", String(open));
    at("reveal").textContent = open ? "Hide the result" : "Show the result";
    at("result").replaceChildren();
    if (!open) return;
    for (const pair of run.pairs) for (const question of Object.keys(run.questions)) {
      const votes = state.votes.filter((one) => own(one, pair, question));
      if (votes.length) at("result").append(resultOf(pair, question, votes));
    }
  }

  function exportVotes() {
    const content = { schema: 1, run: run.run, listener: state.listener, votes: state.votes };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1), "\n"], { type: "application/json" }));
    link.download = `votes-${run.run}-${state.listener}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  function clear() {
    state = { ...fresh(), pair: state.pair, question: state.question }; // a new listener: another order, other sides
    unreadable = false;
    save();
    stop();
  }

  // --- what the person does ---
  function stop() {
    running = false;
    shown = null;
    drop();
    draw();
    at("start").focus();
  }

  at("setup").addEventListener("change", () => {
    state.pair = Number(at("pair").value);
    state.question = at("setup").querySelector("input:checked").value;
    draw();
  });
  at("setup").addEventListener("submit", (event) => {
    event.preventDefault();
    running = true;
    save();
    ask();
  });
  for (const slot of ["1", "2"]) {
    buttons[slot].addEventListener("click", () => toggle(slot));
    at(`choose-${slot}`).addEventListener("click", () => vote(slot));
  }
  at("reference").addEventListener("click", () => toggle("reference"));
  at("tie").addEventListener("click", () => vote("tie"));
  at("undo").addEventListener("click", undo);
  at("pause").addEventListener("click", stop);
  at("reveal").addEventListener("click", () => reveal(at("result").hidden));
  at("export").addEventListener("click", exportVotes);
  at("clear").addEventListener("click", () => {
    at("sure-count").textContent = `Clear ${many(state.votes.length, "vote")} for good and begin anew?`;
    at("sure").hidden = false;
    at("clear-no").focus();
  });
  at("clear-yes").addEventListener("click", clear);
  at("clear-no").addEventListener("click", () => {
    at("sure").hidden = true;
    at("clear").focus();
  });
  const keys = {
    ArrowLeft: () => play("1"), ArrowRight: () => play("2"), r: () => play("reference"), " ": () => toggle(last),
    1: () => vote("1"), 2: () => vote("2"), 0: () => vote("tie"), u: undo,
  };
  // While capturing and on the window, that is, before the keys of the rest of the page.
  addEventListener("keydown", (event) => {
    if (!running || event.ctrlKey || event.altKey || event.metaKey || !at("stage").contains(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const press = event.target.closest("button") && (key === " " || key === "Enter");
    if (press) event.stopPropagation(); // the button's own; the rest of the page has nothing to do with it
    if (press || !Object.hasOwn(keys, key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) keys[key]();
  }, true);

  // The same page in another tab: one state, so that neither writes over the other's votes.
  addEventListener("storage", (event) => {
    if (event.key !== KEY && event.key !== null) return;
    state = load();
    if (running) ask();
    else draw();
  });

  draw();
})();
