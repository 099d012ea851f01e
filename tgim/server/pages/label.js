"use strict";

// Places are fractions of the upright picture's width and height, as metadata.jsonl has them.

const BACKGROUND = "background";
const COLOURS = ["#ff9500", "#2f7bff", "#e6194b", "#2ca02c", "#b04be0", "#00b3c8", "#ff5fa8", "#9a6324", "#c2c200",
  "#5b3fd6", "#008f6b", "#ff6d3a"];
const GRAY = "#8a8f96";
const STEADY = 5; // pixels that a pointer may move in a click
const AHEAD = 6; // pictures that are kept
const AGAIN = 3000; // milliseconds until a save that did not come through is tried again

const by = (id) => document.getElementById(id);
const stage = by("stage"), picture = by("picture"), layer = by("points");

let names = [], marks = [], parts = [], suggested = [];
let current = -1; // number of the picture
let part = ""; // that the next click places
let chosen = null; // {part, place}: a point of the picture
let view = { scale: 1, x: 0, y: 0, fit: 1 }; // of the picture on the stage
let shown = -1; // number of the picture that is on the stage
const past = [], future = []; // {number, before, after}
const known = new Map(); // number -> {points, version, saved, saving, fault, failed}
const previews = new Map(); // number -> promise of an address

// ---- changes, and their undoing

const entry = () => { const found = known.get(current); return found && found.points ? found : null; };
const rounded = (value) => Math.min(1, Math.max(0, Math.round(value * 1e5) / 1e5));

function apply(number, points) {
  const found = known.get(number);
  found.points = points;
  const lists = Object.values(points);
  marks[number] = lists.some((each) => each.length) ? 1 : lists.length ? 2 : 0;
  save(number);
  if (number === current) draw();
}

function change(edit) {
  const found = entry();
  if (!found || shown !== current) return;
  const before = found.points, after = structuredClone(before);
  edit(after);
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  past.push({ number: current, before, after });
  future.length = 0;
  apply(current, after);
}

async function step(from, to, which) {
  const last = from.pop();
  if (!last) return;
  to.push(last);
  chosen = null;
  if (last.number !== current) await show(last.number);
  await load(last.number);
  apply(last.number, last[which]);
  chooseFirst();
}

const undo = () => step(past, future, "before");
const redo = () => step(future, past, "after");

function place(x, y) {
  const at = part;
  change((points) => { points[at] = [...(points[at] || []), [rounded(x), rounded(y)]]; });
  chosen = { part: at, place: entry().points[at].length - 1 };
  advance();
}

function remove(which) {
  const points = entry() && entry().points;
  if (!which || !points || !points[which.part] || !points[which.part][which.place]) return;
  chosen = null;
  change((now) => {
    now[which.part].splice(which.place, 1);
    if (!now[which.part].length) delete now[which.part];
  });
  choose(which.part);
}

function toggleAbsent() {
  const at = part;
  if (!at || !entry()) return;
  const absent = isAbsent(at);
  chosen = null;
  change((points) => { if (absent) delete points[at]; else points[at] = []; });
  if (!absent) advance();
}

const isAbsent = (name) => { const found = entry(); return Boolean(found && found.points[name] && !found.points[name].length); };
const isOpen = (name) => { const found = entry(); return Boolean(found && !(name in found.points)); };

function advance() {
  const start = parts.indexOf(part);
  for (let i = 1; i <= parts.length; i++) {
    const next = parts[(start + i) % parts.length];
    if (isOpen(next)) { part = next; break; }
  }
  draw();
}

function choose(name) { part = name; draw(); }
function chooseFirst() { part = parts.find(isOpen) || part || parts[0]; draw(); }

// ---- pictures

async function show(number) {
  number = Math.min(names.length - 1, Math.max(0, number));
  if (number === current && shown === current) return;
  current = number;
  chosen = null;
  picture.classList.add("coming");
  notice("");
  draw();
  let told = "";
  const [points, address] = await Promise.allSettled([load(number), preview(number)]);
  if (number !== current) return;
  if (address.status === "fulfilled") {
    picture.src = address.value;
    await picture.decode().catch(() => {});
    if (number !== current) return;
    picture.hidden = false;
  } else {
    picture.hidden = true;
    told = address.reason.message;
  }
  if (points.status === "rejected") told = points.reason.message;
  picture.classList.remove("coming");
  shown = points.status === "fulfilled" && address.status === "fulfilled" ? number : -1;
  stage.dataset.shown = names[shown] || "";
  if (told) notice(told);
  fit();
  chooseFirst();
  tell();
  for (const near of [number + 1, number + 2]) if (near < names.length) { preview(near).catch(() => {}); load(near).catch(() => {}); }
}

function tell() {
  const found = entry();
  if (found && found.fault && shown === current) notice(found.fault, true);
  else if (shown === current) notice("");
}

function notice(text, low = false) {
  by("notice").textContent = text;
  by("notice").hidden = !text;
  by("notice").classList.toggle("low", low);
}

function nextOpen() {
  for (let i = 1; i <= names.length; i++) {
    const number = (current + i) % names.length;
    if (!marks[number]) return show(number);
  }
  notice("All pictures have points.", true);
}

// ---- the picture on the stage

function fit() {
  const width = picture.naturalWidth || 1, height = picture.naturalHeight || 1, margin = 12;
  const scale = Math.min((stage.clientWidth - 2 * margin) / width, (stage.clientHeight - 2 * margin) / height);
  view = { scale, fit: scale, x: (stage.clientWidth - width * scale) / 2, y: (stage.clientHeight - height * scale) / 2 };
  settle();
}

function zoom(factor, x, y) {
  const scale = Math.min(Math.max(view.scale * factor, view.fit), Math.max(view.fit * 24, 8));
  const ratio = scale / view.scale;
  view.x = x - (x - view.x) * ratio;
  view.y = y - (y - view.y) * ratio;
  view.scale = scale;
  settle();
}

function settle() { // the picture stays in sight
  const sides = [["x", stage.clientWidth, picture.naturalWidth], ["y", stage.clientHeight, picture.naturalHeight]];
  for (const [axis, room, side] of sides) {
    const size = side * view.scale;
    if (size <= room) view[axis] = (room - size) / 2;
    else view[axis] = Math.min(room / 4, Math.max(room * 3 / 4 - size, view[axis]));
  }
  picture.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  drawPoints();
}

function placeOf(event) {
  const frame = stage.getBoundingClientRect();
  return {
    x: (event.clientX - frame.left - view.x) / (view.scale * picture.naturalWidth),
    y: (event.clientY - frame.top - view.y) / (view.scale * picture.naturalHeight),
  };
}

// ---- drawing

function colour(name) {
  return name === BACKGROUND ? GRAY : COLOURS[Math.max(0, parts.indexOf(name)) % COLOURS.length];
}

function key(name) {
  if (name === BACKGROUND) return "0";
  const place = parts.indexOf(name) + 1;
  return place <= 9 ? String(place) : "";
}

function element(kind, className, text = "") {
  const made = document.createElement(kind);
  made.className = className;
  made.textContent = text;
  return made;
}

function draw() {
  const found = entry();
  by("name").textContent = current < 0 ? "" : names[current];
  by("name").title = by("name").textContent;
  const labelled = marks.filter((mark) => mark === 1).length;
  by("progress").textContent = names.length ? `${current + 1} of ${names.length}, ${labelled} with points` : "";
  by("undo").disabled = !past.length;
  by("redo").disabled = !future.length;
  by("previous").disabled = current <= 0;
  by("following").disabled = current >= names.length - 1;
  by("remove").disabled = !chosen;
  by("hidden").disabled = !part || !found;
  by("hidden").textContent = part && isAbsent(part) ? "In view again" : "Not in view";
  const chips = parts.map((name) => {
    const chip = element("button", "chip");
    const places = found ? found.points[name] : undefined;
    chip.type = "button";
    chip.style.setProperty("--colour", colour(name));
    chip.setAttribute("aria-pressed", String(name === part));
    chip.classList.toggle("placed", Boolean(places && places.length));
    chip.classList.toggle("absent", Boolean(places && !places.length));
    chip.append(element("span", "dot"), element("span", "word", name));
    if (places && places.length > 1) chip.append(element("span", "count", `×${places.length}`));
    if (key(name)) chip.append(element("span", "key", key(name)));
    chip.addEventListener("click", () => { chosen = null; choose(name); });
    return chip;
  });
  const within = by("parts").contains(document.activeElement);
  by("parts").replaceChildren(...chips);
  const pressed = chips[parts.indexOf(part)];
  if (pressed) {
    if (within) pressed.focus({ preventScroll: true });
    by("parts").scrollLeft = pressed.offsetLeft - by("parts").offsetLeft - by("parts").clientWidth / 3;
  }
  drawPoints();
}

function drawPoints() {
  const found = entry(), drawn = [];
  if (found && shown === current) {
    const width = picture.naturalWidth * view.scale, height = picture.naturalHeight * view.scale;
    for (const [name, places] of Object.entries(found.points)) {
      places.forEach(([x, y, radius], place) => {
        const at = { left: view.x + x * width, top: view.y + y * height };
        const mark = (made) => {
          made.style.left = `${at.left}px`;
          made.style.top = `${at.top}px`;
          made.style.setProperty("--colour", colour(name));
          return made;
        };
        if (radius) {
          const reach = mark(element("div", "reach"));
          reach.style.width = reach.style.height = `${2 * radius * width}px`;
          drawn.push(reach);
        }
        const dot = mark(element("div", "point"));
        dot.dataset.part = name;
        dot.dataset.place = place;
        dot.classList.toggle("chosen", Boolean(chosen && chosen.part === name && chosen.place === place));
        dot.classList.toggle("left", at.left > stage.clientWidth - 110);
        dot.append(element("span", "", name));
        drawn.push(dot);
      });
    }
  }
  layer.classList.toggle("close", drawn.length > 14);
  layer.replaceChildren(...drawn);
}

// ---- keys and buttons

const removal = () => chosen || (entry() && entry().points[part] && entry().points[part].length
  ? { part, place: entry().points[part].length - 1 } : null);

function pressed(event) {
  if (document.querySelector("dialog[open]")) return;
  if (document.activeElement?.closest("button") && (event.key === " " || event.key === "Enter")) return;
  const control = event.ctrlKey || event.metaKey, name = event.key.toLowerCase();
  const middle = [stage.clientWidth / 2, stage.clientHeight / 2];
  let done = true;
  if (control && name === "z") (event.shiftKey ? redo : undo)();
  else if (control && name === "y") redo();
  else if (control || event.altKey) done = false;
  else if (name === "arrowleft" || (name === " " && event.shiftKey)) show(current - 1);
  else if (name === "arrowright" || name === " ") show(current + 1);
  else if (name === "n") nextOpen();
  else if (name === "x") toggleAbsent();
  else if (name === "delete" || name === "backspace") remove(removal());
  else if (name === "escape") { chosen = null; fit(); draw(); }
  else if (name === "+" || name === "=") zoom(1.5, ...middle);
  else if (name === "-") zoom(1 / 1.5, ...middle);
  else if (name === "?") by("help").showModal();
  else if (/^[0-9]$/.test(name)) {
    const found = parts.find((each) => key(each) === name);
    if (found) { chosen = null; choose(found); }
  } else done = false;
  if (done) event.preventDefault();
}

addEventListener("keydown", pressed);
addEventListener("click", (event) => { // keys go to the picture again
  if (event.detail && document.activeElement?.closest("header, footer")) document.activeElement.blur();
});
by("undo").addEventListener("click", undo);
by("redo").addEventListener("click", redo);
by("ask").addEventListener("click", () => by("help").showModal());
by("close-help").addEventListener("click", () => by("help").close());
by("previous").addEventListener("click", () => show(current - 1));
by("following").addEventListener("click", () => show(current + 1));
by("open").addEventListener("click", nextOpen);
by("hidden").addEventListener("click", toggleAbsent);
by("remove").addEventListener("click", () => remove(chosen));
by("sign").addEventListener("click", () => { for (const [number, each] of known) if (unsaved(each)) save(number); });

// ---- names of the parts

function nameParts() {
  by("help").close();
  by("naming-text").value = (parts.length ? parts : suggested).filter((name) => name !== BACKGROUND).join(", ");
  by("naming-fault").hidden = true;
  by("naming-cancel").hidden = !parts.length;
  by("naming").showModal();
}

by("name-parts").addEventListener("click", nameParts);
by("naming-cancel").addEventListener("click", () => by("naming").close());
by("naming").addEventListener("cancel", (event) => { if (!parts.length) event.preventDefault(); });
by("naming-text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  by("naming-form").requestSubmit();
});
by("naming-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    ({ parts } = await put("api/parts", { parts: by("naming-text").value.split(",") }));
    by("naming").close();
    part = "";
    chooseFirst();
  } catch (error) {
    by("naming-fault").textContent = error.message;
    by("naming-fault").hidden = false;
  }
});

async function start() {
  try {
    const told = await ask("api/folder");
    ({ names, marks, parts, suggested } = told);
    document.title = `${told.folder}: label parts`;
    const first = marks.indexOf(0);
    await show(first < 0 ? 0 : first);
    if (!parts.length) nameParts();
  } catch (error) {
    notice(error.message);
  }
}

start();
