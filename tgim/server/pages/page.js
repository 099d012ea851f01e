// The editing page: what is chosen, what is asked of the server, what is shown of its answers.

import { Stage } from "./drawing.js";

const $ = (id) => document.getElementById(id);
const IDEAS = {
  birds: ["red head and breast", "this bird is yellow with black wings", "blue wings", "white belly", "make its tail red"],
  flowers: ["red petals", "this flower is white with a yellow center", "purple petals", "orange petals"],
};
const SUFFIX = { "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/tiff": ".tif", "image/bmp": ".bmp",
  "image/gif": ".gif" };
const SHOWN = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"]; // by every browser

let models = [];
let picture = null; // {file, name, url, kind}
let part = "";
let asking = null; // AbortController of what is being asked
const edits = []; // {url, name, text, facts}
const stage = new Stage($("stage"), () => {
  $("clear").disabled = !(stage.box || stage.mask);
});

class Refused extends Error {}

// Ask the server; its error is a sentence. A busy one is asked again when it says.
async function ask(path, fields, signal) {
  for (let tries = 0; ; tries++) {
    let body;
    if (fields) {
      body = new FormData();
      for (const [name, value] of Object.entries(fields)) {
        if (value instanceof Blob) body.append(name, value, value.name || `${name}.png`);
        else if (value !== "" && value !== null && value !== undefined) body.append(name, value);
      }
    }
    let answer;
    try {
      answer = await fetch(path, fields ? { method: "POST", body, signal } : { signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("The server does not answer; is tgim serve still running?");
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
    const wait = Number(answer.headers.get("retry-after"));
    if (answer.status !== 429 || tries >= 5) throw new Refused(sentence(said.error));
    $("doing").textContent = `The server is busy; waiting ${wait} s`;
    await new Promise((done) => setTimeout(done, 1000 * Math.max(1, wait)));
    signal?.throwIfAborted();
  }
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function say(error) {
  $("error").textContent = error?.message ?? "";
  $("error").hidden = !error;
}

// Do what takes long: with a sign, one thing at a time, and with its error shown.
async function work(doing, task) {
  asking?.abort();
  const own = asking = new AbortController();
  say(null);
  $("doing").textContent = doing;
  $("working").hidden = false;
  try {
    await task(own.signal);
  } catch (error) {
    if (error.name !== "AbortError") say(error);
  } finally {
    if (asking === own) {
      asking = null;
      $("working").hidden = true;
    }
  }
}

async function open(file, kind = "") {
  say(null);
  let shown = file;
  const url = () => URL.createObjectURL(shown);
  $("drop").hidden = true;
  $("stage").hidden = false;
  await work("Opening", async (signal) => {
    try {
      if (!SHOWN.includes(file.type)) throw new Error("a kind that browsers do not show");
      await createImageBitmap(file);
    } catch {
      shown = await (await ask("show", { image: file }, signal)).blob();
    }
    if (picture) URL.revokeObjectURL(picture.url);
    picture = { file, name: file.name.replace(/\.[^.]*$/, "") || "picture", url: url(), kind };
    for (const edit of edits.splice(0)) URL.revokeObjectURL(edit.url);
    await stage.show(picture.url);
    choose("");
    list();
    $("facts").textContent = `${file.name}, ${stage.size.join(" x ")} pixels`;
  });
  const opened = Boolean(picture);
  $("drop").hidden = opened;
  $("stage").hidden = !opened;
  for (const id of ["edit", "variants"]) $(id).disabled = !opened;
  $("another").hidden = !opened;
  $("compare").hidden = $("download").hidden = true;
  $("clear").disabled = true;
  if (!opened) return;
  const match = models.find((model) => kind && model.name === kind);
  if (match) $("model").value = match.name;
  await findParts();
  $("text").focus();
}

// Chips of the parts that are in view; a picture without a subject, or an editor without parts, has none.
async function findParts() {
  const asked = picture, model = $("model").value;
  stage.labels = null;
  $("parts").hidden = true;
  $("chips").replaceChildren();
  choose("");
  let found;
  try {
    found = await (await ask("parts", { image: asked.file, model })).json();
  } catch {
    return;
  }
  if (asked !== picture || model !== $("model").value) return;
  await stage.setParts(found.map);
  const seen = new Set(stage.labels.index);
  for (const [i, name] of found.names.entries()) {
    if (i === 0 || !seen.has(i)) continue;
    const chip = button(name, () => choose(part === name ? "" : name));
    chip.dataset.part = i;
    chip.setAttribute("aria-pressed", "false");
    for (const [event, lit] of [["pointerenter", i], ["pointerleave", -1], ["focus", i], ["blur", -1]]) {
      chip.addEventListener(event, () => stage.light(lit));
    }
    $("chips").append(chip);
  }
  $("parts").hidden = !$("chips").children.length;
}

function choose(name) {
  part = name;
  for (const chip of $("chips").children) chip.setAttribute("aria-pressed", String(chip.textContent === name));
}

function button(text, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
}

async function edit(model, signal) {
  const text = $("text").value.trim(), strength = $("strength").value / 100;
  const suits = SHOWN.includes(picture.file.type);
  const answer = await ask("edit", {
    image: picture.file, text, model, strength, part, box: stage.boxField(), mask: await stage.maskFile(),
    format: suits ? "" : "png",
  }, signal);
  const blob = await answer.blob(), header = (name) => answer.headers.get(name);
  const notes = JSON.parse(header("x-tgim-notes") ?? "[]");
  const facts = [`${header("x-tgim-model")}: ${JSON.parse(header("x-tgim-caption"))}`, ...notes.map(sentence)];
  const number = edits.length ? `-${edits.length + 1}` : "";
  const name = `${picture.name}-edited${number}${SUFFIX[blob.type] ?? ""}`;
  edits.push({ url: URL.createObjectURL(blob), name, text, model: header("x-tgim-model"), facts: facts.join("\n") });
}

async function show(number) {
  const shown = edits[number];
  await stage.showAfter(shown.url);
  stage.split($("split").value);
  $("facts").textContent = shown.facts;
  $("compare").hidden = $("download").hidden = false;
  $("download").href = shown.url;
  $("download").download = shown.name;
  list(number);
}

function list(current = -1) {
  $("history").replaceChildren(...edits.map((each, number) => {
    const line = document.createElement("li"), thumb = document.createElement("img");
    const chosen = button("", () => show(number)), label = document.createElement("span");
    thumb.src = each.url;
    thumb.alt = "";
    label.textContent = `${each.text} (${each.model})`;
    chosen.append(thumb, label);
    chosen.setAttribute("aria-current", String(number === current));
    line.append(chosen);
    return line;
  }));
}

async function submit() {
  if (!picture || !$("form").reportValidity()) return;
  await work("Editing", async (signal) => {
    await edit($("model").value, signal);
    await show(edits.length - 1);
  });
}

function flowery(model) {
  return model.includes("flower");
}

async function variants() {
  if (!picture || !$("form").reportValidity()) return;
  await work("Editing", async (signal) => {
    const failed = [];
    const subject = flowery($("model").value);
    for (const { name } of models.filter((each) => each.edits && !each.searches && flowery(each.name) === subject)) {
      $("doing").textContent = `Editing by ${name}`;
      try {
        await edit(name, signal);
        await show(edits.length - 1);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        failed.push(`${name}: ${error.message}`);
      }
    }
    if (failed.length) $("facts").textContent += `\n${failed.join("\n")}`;
  });
}

async function example(kind) {
  await work("Drawing", async (signal) => {
    const seed = Math.floor(Math.random() * 1000);
    const blob = await (await ask(`sample?kind=${kind}&seed=${seed}`, null, signal)).blob();
    await open(new File([blob], `${kind.slice(0, -1)}-${seed}.png`, { type: blob.type }), kind);
    ideas(kind);
  });
}

function ideas(kind) {
  $("ideas").replaceChildren(...IDEAS[kind].map((text) => button(text, () => {
    $("text").value = text;
    submit();
  })));
}

function take(list) {
  const file = [...list].find((each) => each.type.startsWith("image/") || /\.(heic|heif|avif|tiff?)$/i.test(each.name));
  if (file) open(file);
  else if (list.length) say(new Refused(`${list[0].name} is no picture; drop a JPEG, PNG, WebP, TIFF, BMP, GIF or HEIC.`));
}

function press(tool) {
  const chosen = stage.tool === tool ? "" : tool;
  stage.use(chosen);
  for (const name of ["box", "brush"]) $(name).setAttribute("aria-pressed", String(name === chosen));
  $("width").hidden = chosen !== "brush";
}

async function start() {
  models = await (await ask("models")).json();
  $("model").replaceChildren(...models.filter((model) => model.edits).map((model) => {
    const slow = model.searches ? ", slow: it searches" : "";
    return new Option(`${model.name} (${model.title}${slow})`, model.name);
  }));
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    take($("file").files);
    $("file").value = "";
  });
  $("another").addEventListener("click", () => $("file").click());
  $("bird").addEventListener("click", () => example("birds"));
  $("flower").addEventListener("click", () => example("flowers"));
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("variants").addEventListener("click", variants);
  $("model").addEventListener("change", () => {
    ideas(flowery($("model").value) ? "flowers" : "birds");
    if (picture) findParts();
  });
  $("split").addEventListener("input", () => stage.split($("split").value));
  $("strength").addEventListener("input", () => {
    $("percent").textContent = `${$("strength").value} %`;
  });
  $("strength").addEventListener("change", () => {
    if (edits.length && $("text").value.trim()) submit();
  });
  for (const tool of ["box", "brush"]) $(tool).addEventListener("click", () => press(tool));
  $("thick").addEventListener("input", () => {
    stage.thick = Number($("thick").value);
  });
  $("clear").addEventListener("click", () => stage.clear());
  stage.overlay.addEventListener("pointermove", (event) => {
    if (!stage.tool) stage.light(stage.partAt(event));
  });
  stage.overlay.addEventListener("pointerleave", () => stage.light(-1));
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files);
    });
  }
  ideas("birds");
  document.body.dataset.ready = "yes";
}

start().catch(say);
