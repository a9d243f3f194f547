// Plays each clip of a list and sends its label; the next is shown once the label is on disk.
"use strict";

const at = (name) => document.getElementById(name);
const MOST_KEPT = 4; // clips fetched ahead or played before
// From quiet to loud; readable on its own dark ground in both colour schemes.
const SHADES = [[11, 10, 20], [62, 18, 95], [137, 40, 108], [208, 70, 74], [245, 139, 50], [252, 236, 160]];

let state = null, chosen = new Set(), busy = false, kept = new Map(), shown = null;
let named = false; // whether names of files and groups, which may give the label away, are shown
let matches = []; // buttons of the labels that the search found

async function ask(what, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(what, options);
  } catch {
    throw new Error("embcomp review does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  throw new Error((await answer.json().catch(() => ({}))).error || `error ${answer.status}`);
}

function say(text, kind = "error") {
  at("status").textContent = text;
  at("status").dataset.kind = kind;
}

// Sound and picture of a clip, fetched once.
function fetched(number) {
  if (!kept.has(number)) {
    const sound = ask(`sound/${number}`).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob));
    const picture = ask(`picture/${number}`).then((answer) => answer.json());
    const both = Promise.all([sound, picture]);
    both.catch(() => kept.delete(number));
    kept.set(number, both);
    for (const [old, value] of kept) {
      if (kept.size <= MOST_KEPT) break;
      kept.delete(old);
      value.then(([address]) => URL.revokeObjectURL(address), () => {});
    }
  }
  return kept.get(number);
}

// Send an action, and show what comes next.
async function act(what, body) {
  if (busy) return;
  busy = true;
  say("");
  try {
    show(await (await ask(what, body)).json());
  } catch (error) {
    say(error.message);
  } finally {
    busy = false;
  }
}

function show(given) {
  state = given;
  const { clip } = state, done = state.labelled;
  at("count").textContent = `${done} of ${state.total} labelled` + (state.skipped ? `, ${state.skipped} skipped` : "");
  at("progress").max = state.total;
  at("progress").value = done;
  at("undo").disabled = state.undo === null;
  at("clip").hidden = at("play").hidden = at("skip").hidden = at("names").hidden = !clip;
  at("save").hidden = !clip || !state.several;
  at("end").hidden = Boolean(clip);
  at("again").hidden = Boolean(clip) || !state.skipped;
  chosen = new Set();
  name();
  if (clip) {
    start(clip);
  } else {
    shown = null;
    at("sound").pause();
    at("ended").textContent = state.skipped ? `${state.skipped} ${state.skipped === 1 ? "clip was" : "clips were"} skipped` : "Every clip has a label";
    at("where").textContent = `The labels are in ${state.file}. You may close this page, and end embcomp review with Ctrl-C.`;
    document.body.dataset.state = "end";
  }
}

// What is shown of where a clip comes from.
function name() {
  const { clip, undo } = state;
  at("names").setAttribute("aria-pressed", String(named));
  at("last").textContent = undo === null ? "" : `Last: ${undo.said}: ${named ? undo.name : `clip ${undo.number + 1}`}`;
  if (!clip) return;
  at("name").textContent = named ? clip.name : `Clip ${clip.number + 1}`;
  at("about").textContent = named && clip.group ? `group ${clip.group}` : "";
}

function start(clip) {
  at("why").textContent = clip.why ? `Suggested: ${clip.why}` : "";
  at("said").hidden = !clip.predicted.length;
  at("predicted").textContent = clip.predicted.join(", ");
  at("accept").hidden = state.several || !agreed();
  const keyless = state.classes.some((one) => !one.key);
  at("classes").replaceChildren(...state.classes.map((one) => button(one, clip)));
  at("classes").classList.toggle("many", keyless);
  at("finding").hidden = !keyless;
  document.activeElement?.blur();
  clear();
  play(clip.number);
}

function button(one, clip) {
  const made = document.createElement("button"), name = document.createElement("span");
  made.type = "button";
  if (one.key) {
    const key = document.createElement("kbd");
    key.textContent = one.key.toUpperCase();
    made.append(key);
  }
  name.textContent = one.name;
  made.append(name);
  made.dataset.name = one.name;
  made.id = `class-${state.classes.indexOf(one)}`;
  made.classList.toggle("said", clip.predicted.includes(one.name));
  if (state.several) made.setAttribute("aria-pressed", "false");
  made.addEventListener("click", () => pick(one.name));
  return made;
}

// The predicted label, if it is one that can be chosen.
function agreed() {
  const said = state.clip ? state.clip.predicted : [];
  return said.length === 1 && state.classes.some((one) => one.name === said[0]) ? said[0] : null;
}

function pick(name) {
  if (!state.clip || busy) return;
  if (!state.several) {
    act("label", { clip: state.clip.number, labels: [name] });
    return;
  }
  if (!chosen.delete(name)) chosen.add(name);
  for (const one of at("classes").children) one.setAttribute("aria-pressed", String(chosen.has(one.dataset.name)));
}

// Without marks and capitals, so that a label is found however it is typed.
function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

// Show the labels that hold what is typed, those that begin with it first.
function search() {
  const wanted = plain(at("find").value.trim()), buttons = [...at("classes").children];
  for (const one of buttons) {
    const place = plain(one.dataset.name).indexOf(wanted);
    one.hidden = place < 0;
    one.style.order = place > 0 ? 1 : 0;
  }
  matches = wanted ? buttons.filter((one) => !one.hidden).sort((one, other) => one.style.order - other.style.order) : [];
  at("matches").textContent = !wanted ? "" : matches.length ? `${matches.length} of ${buttons.length}` : "no such label";
  mark(0);
}

// Mark a label that was found; Enter chooses it.
function mark(place) {
  for (const one of at("classes").querySelectorAll(".found")) one.classList.remove("found");
  const one = matches[place];
  at("find").setAttribute("aria-activedescendant", one ? one.id : "");
  one?.classList.add("found");
  one?.scrollIntoView({ block: "nearest" });
}

function typed(event) {
  const place = matches.findIndex((one) => one.classList.contains("found"));
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  if (event.key in steps && matches.length) {
    mark((place + steps[event.key] + matches.length) % matches.length);
  } else if (event.key === "Enter") {
    if (place < 0) return;
    pick(matches[place].dataset.name);
    clear();
  } else if (event.key === "Escape") {
    clear();
    at("find").blur();
  } else {
    return;
  }
  event.preventDefault();
}

function clear() {
  at("find").value = "";
  search();
}

function enter() {
  if (!state.clip) return;
  if (state.several) act("label", { clip: state.clip.number, labels: [...chosen] });
  else if (agreed() !== null) pick(agreed());
}

async function play(number) {
  document.body.dataset.state = "fetching";
  at("sound").pause();
  at("now").className = "";
  try {
    const [address, picture] = await fetched(number);
    if (!state.clip || state.clip.number !== number) return;
    if (shown !== number) {
      shown = number;
      draw(picture);
      at("sound").src = address;
    }
    at("sound").currentTime = 0;
    document.body.dataset.state = "ready";
    // Without a touch or a key before, browsers do not let a page play.
    at("sound").play().catch(() => say("Press Space or the button to play.", "hint"));
    if (state.next !== null) fetched(state.next).catch(() => {});
  } catch (error) {
    if (!state.clip || state.clip.number !== number) return;
    shown = null;
    const canvas = at("mel");
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    say(error.message);
    document.body.dataset.state = "failed";
  }
}

function draw(picture) {
  const { bands, frames } = picture, canvas = at("mel"), values = atob(picture.values);
  canvas.width = frames;
  canvas.height = bands;
  const pen = canvas.getContext("2d"), image = pen.createImageData(frames, bands);
  for (let band = 0; band < bands; band++) {
    for (let frame = 0; frame < frames; frame++) {
      const place = (values.charCodeAt(band * frames + frame) / 255) * (SHADES.length - 1);
      const low = Math.min(Math.floor(place), SHADES.length - 2), share = place - low;
      const pixel = 4 * ((bands - 1 - band) * frames + frame);
      for (let part = 0; part < 3; part++) {
        image.data[pixel + part] = SHADES[low][part] * (1 - share) + SHADES[low + 1][part] * share;
      }
      image.data[pixel + 3] = 255;
    }
  }
  pen.putImageData(image, 0, 0);
  at("length").textContent = `${picture.seconds.toFixed(2)} s`;
  at("top").textContent = `mel bands up to ${(picture.top / 1000).toFixed(1)} kHz`;
}

// A line over the spectrogram, where the sound is.
function follow() {
  const sound = at("sound");
  at("now").className = sound.paused ? "" : "on";
  if (!sound.paused && sound.duration) {
    at("now").style.transform = `translateX(${(sound.currentTime / sound.duration) * at("picture").clientWidth}px)`;
  }
  requestAnimationFrame(follow);
}

function replay() {
  if (!state.clip) return;
  say("");
  play(state.clip.number);
}

const ACTIONS = {
  " ": replay,
  s: () => state.clip && act("skip", { clip: state.clip.number }),
  u: () => !at("undo").disabled && act("undo", {}),
  n: () => {
    named = !named;
    name();
  },
  "/": () => at("find").focus(),
};

document.addEventListener("keydown", (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target === at("find")) return;
  const key = event.key.toLowerCase();
  if (key === "enter") {
    // On a button that has the focus it presses that button.
    if (document.activeElement instanceof HTMLButtonElement) return;
    event.preventDefault();
    enter();
    return;
  }
  const one = state.classes.find((found) => found.key && found.key === key);
  const action = ACTIONS[key] || (one && (() => pick(one.name)));
  if (!action) return;
  event.preventDefault();
  action();
});
document.addEventListener("keyup", (event) => event.key === " " && event.preventDefault());
at("play").addEventListener("click", replay);
at("skip").addEventListener("click", ACTIONS.s);
at("undo").addEventListener("click", ACTIONS.u);
at("save").addEventListener("click", enter);
at("names").addEventListener("click", ACTIONS.n);
at("find").addEventListener("input", search);
at("find").addEventListener("keydown", typed);
at("again").addEventListener("click", () => act("again", {}));
requestAnimationFrame(follow);
act("state");
