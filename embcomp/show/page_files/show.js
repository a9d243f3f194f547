"use strict";
// content.kind is "map": points [x, y, class], clips, classes; or "confusion": classes, cells [truth, predicted, [clip]], clips.
// A clip is { name, said, src }; src is empty where there is no sound.
const at = (name) => document.getElementById(name);
const content = JSON.parse(at("content").textContent);
const COLOURS = ["#2f7ed8", "#e07b1a", "#2a9d5c", "#c73a6d", "#8a63d2", "#8c6d31", "#17a2b8", "#31475e", "#b5bd00", "#e377c2"];
const WITHOUT = "#999"; // a label
const SIZE = 600, EDGE = 18;

function made(tag, text = "") {
  const found = document.createElement(tag);
  found.textContent = text;
  return found;
}

function play(clip) {
  const sound = at("sound");
  at("status").textContent = `${clip.name}${clip.said ? `: ${clip.said}` : ""}` + (clip.src ? "" : " (no sound)");
  sound.hidden = !clip.src;
  sound.pause();
  if (!clip.src) return;
  sound.src = clip.src;
  sound.play().catch((error) => {
    if (error.name !== "AbortError" && error.name !== "NotAllowedError") at("status").textContent += ` (does not play: ${error.message})`;
  });
}

function drawMap() {
  const [xs, ys] = [0, 1].map((part) => content.points.map((point) => point[part]));
  const place = (values, value) => {
    const low = Math.min(...values), high = Math.max(...values);
    return EDGE + ((value - low) / (high - low || 1)) * (SIZE - 2 * EDGE);
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${SIZE} ${SIZE}`);
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-label", "Map of the clips; left and right go from clip to clip");
  svg.setAttribute("tabindex", "0");
  const dots = content.points.map(([x, y, number]) => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    const about = { cx: place(xs, x), cy: SIZE - place(ys, y), r: 6, fill: number < 0 ? WITHOUT : COLOURS[number % COLOURS.length] };
    for (const [name, value] of Object.entries(about)) dot.setAttribute(name, value);
    svg.append(dot);
    return dot;
  });
  let now = -1;
  const choose = (number) => {
    dots[now]?.classList.remove("chosen");
    now = number;
    dots[now].classList.add("chosen");
    svg.append(dots[now]); // above the others
    play(content.clips[now]);
  };
  dots.forEach((dot, number) => dot.addEventListener("click", () => choose(number)));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const shown = dots.map((_, number) => number).filter((number) => !dots[number].classList.contains("off"));
    if (!shown.length) return;
    const place = shown.indexOf(now);
    choose(place < 0 ? shown[0] : shown[(place + step + shown.length) % shown.length]);
  });
  at("picture").append(svg);
  content.classes.forEach((name, number) => {
    const button = made("button"), colour = made("i");
    button.type = "button";
    colour.style.background = COLOURS[number % COLOURS.length];
    button.append(colour, name);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      content.points.forEach((point, place) => point[2] === number && dots[place].classList.toggle("off", !on));
    });
    at("legend").append(button);
  });
}

function drawConfusion() {
  const table = made("table"), head = made("thead"), body = made("tbody"), first = made("tr");
  first.append(made("th", "predicted →\ntruth ↓"), ...content.classes.map(upright));
  head.append(first);
  const cells = new Map(content.cells.map(([truth, predicted, clips]) => [`${truth} ${predicted}`, clips]));
  let now = null;
  content.classes.forEach((name, truth) => {
    const row = made("tr"), title = made("th", name);
    const counts = content.classes.map((_, predicted) => (cells.get(`${truth} ${predicted}`) || []).length);
    const total = counts.reduce((sum, count) => sum + count, 0);
    title.scope = "row";
    title.title = name;
    row.append(title);
    counts.forEach((count, predicted) => {
      const cell = made("td"), button = made("button"), shade = made("i");
      button.type = "button";
      button.disabled = !count;
      shade.style.opacity = total ? (0.75 * count) / total : 0;
      button.append(shade, made("span", count ? String(count) : ""));
      button.setAttribute("aria-label", `${name} predicted as ${content.classes[predicted]}: ${count}`);
      button.addEventListener("click", () => {
        now?.classList.remove("chosen");
        now = button;
        now.classList.add("chosen");
        at("status").textContent = `${name}, predicted as ${content.classes[predicted]}: ${count} clips`;
        at("clips").replaceChildren(...cells.get(`${truth} ${predicted}`).map((clip) => listed(content.clips[clip])));
      });
      cell.append(button);
      row.append(cell);
    });
    body.append(row);
  });
  table.append(head, body);
  at("picture").append(table);
}

function upright(name) {
  const head = made("th");
  head.scope = "col";
  head.title = name;
  head.append(made("span", name));
  return head;
}

function listed(clip) {
  const item = made("li"), button = made("button", clip.name + (clip.said ? `: ${clip.said}` : ""));
  button.type = "button";
  button.addEventListener("click", () => play(clip));
  item.append(button);
  return item;
}

if (content.kind === "map") drawMap();
else drawConfusion();
