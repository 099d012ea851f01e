// The page: which picture and sentence there are, what the worker is asked, what is shown of its answer.

import { Editing } from "./editing.js";

const $ = (id) => document.getElementById(id);
const IDEAS = {
  birds: ["red head and breast", "this bird is yellow with black wings", "blue wings", "white belly", "make its tail red"],
  flowers: ["red petals", "this flower is white with a yellow center", "purple petals", "orange petals"],
};
const MOST = 100e6; // pixels
const JPEG_QUALITY = 0.95;
const editing = new Editing((said) => ($("doing").textContent = said));

let picture = null; // {id, name, type, pixels: ImageData}
let count = 0; // of pictures
let opened = 0; // of files
let opening = Promise.resolve(); // the file that is being read: an edit waits for it
let result = null; // ImageData
let turn = 0; // of what is being done: an answer to an older question is not shown

class Refused extends Error {}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function say(error) {
  $("error").textContent = error ? sentence(error.message) : "";
  $("error").hidden = !error;
}

// Do what takes long: with a sign, and with its error shown.
async function work(doing, task) {
  const own = ++turn;
  say(null);
  $("doing").textContent = doing;
  $("working").hidden = false;
  try {
    await task(() => own === turn);
  } catch (error) {
    if (own === turn) say(error);
  } finally {
    if (own === turn) {
      $("working").hidden = true;
      document.body.dataset.done = own;
    }
  }
}

// Decode a file upright, in sRGB.
async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    throw new Refused(`${file.name || "the picture"} cannot be read; take a JPEG, PNG or WebP file`);
  }
  if (bitmap.width * bitmap.height > MOST) {
    throw new Refused(`the picture has ${Math.round((bitmap.width * bitmap.height) / 1e6)} megapixels; take one of at most 100`);
  }
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  try {
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  } catch {
    throw new Refused("this browser has too little memory for the picture; take a smaller one");
  } finally {
    bitmap.close();
  }
}

function encoded(pixels, type) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return new Promise((done, failed) => {
    const taken = (blob) => (blob ? done(blob) : failed(new Refused("this browser cannot save a picture of that size")));
    canvas.toBlob(taken, type, JPEG_QUALITY);
  });
}

function show(id, blob) {
  const image = $(id);
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  return image.decode().catch(() => {});
}

function open(file) {
  $("drop").hidden = true;
  $("stage").hidden = false;
  $("edit").disabled = false;
  opening = read(file, ++opened);
  return work("Reading the picture", async () => {
    await opening;
    await editing.prepare($("model").value, sent());
  });
}

// Make a file the picture, unless another one was opened meanwhile.
async function read(file, own) {
  try {
    const pixels = await decoded(file);
    if (own !== opened) return;
    const name = (file.name || "picture").replace(/\.[^.]*$/, "");
    picture = { id: ++count, name, type: file.type === "image/jpeg" ? "image/jpeg" : "image/png", pixels };
    await start(file);
  } catch (error) {
    if (!picture) another();
    throw error;
  }
}

// Show the picture that is edited next.
async function start(blob) {
  result = null;
  for (const id of ["after", "divider", "compare", "download", "further"]) $(id).hidden = true;
  $("another").hidden = false;
  $("facts").textContent = "";
  await show("before", blob);
}

function another() {
  picture = null;
  $("edit").disabled = true;
  $("stage").hidden = true;
  for (const id of ["another", "download", "further", "compare"]) $(id).hidden = true;
  $("drop").hidden = false;
  $("facts").textContent = "";
  $("file").value = "";
  $("choose").focus();
}

function edit() {
  const text = $("text").value;
  $("facts").textContent = "";
  return work("Editing", async (current) => {
    await opening;
    const { pixels, name, type } = picture;
    const began = performance.now();
    const answer = await editing.edit($("model").value, sent(), text, $("strength").value / 100);
    if (!current()) return;
    const seconds = (performance.now() - began) / 1000;
    result = new ImageData(answer.levels, pixels.width, pixels.height);
    const blob = await encoded(result, type);
    if (!current()) return;
    await show("after", blob);
    $("download").href = $("after").src;
    $("download").download = `${name}-edited.${type === "image/jpeg" ? "jpg" : "png"}`;
    for (const id of ["after", "divider", "compare", "download", "further"]) $(id).hidden = false;
    split();
    const read = answer.caption === text.trim() ? "" : `Read as: ${answer.caption}\n`;
    $("facts").textContent = `${read}${answer.notes.map((note) => `${sentence(note)}\n`).join("")}${pixels.width} x ${pixels.height} pixels in ${seconds.toFixed(1)} s`;
  });
}

// The picture for the worker, which gets a copy.
function sent() {
  const { id, pixels } = picture;
  return { id, levels: pixels.data, width: pixels.width, height: pixels.height };
}

function split() {
  const place = Number($("split").value);
  $("after").style.clipPath = `inset(0 0 0 ${place}%)`;
  $("divider").style.left = `${place}%`;
}

function ideas() {
  $("ideas").replaceChildren(...IDEAS[$("model").value].map((text) => {
    const button = document.createElement("button");
    [button.type, button.textContent] = ["button", text];
    button.addEventListener("click", () => {
      $("text").value = text;
      if (!$("edit").disabled) edit();
    });
    return button;
  }));
}

async function sample(name) {
  $("model").value = name;
  ideas();
  const answer = await fetch(`${name}.jpg`).catch(() => null);
  if (!answer?.ok) return say(new Refused("the drawn picture cannot be loaded; is the connection still there?"));
  return open(new File([await answer.blob()], `${name}.jpg`, { type: "image/jpeg" }));
}

function firstPicture(data) {
  return [...(data?.files ?? [])].find((file) => file.type.startsWith("image/") || /\.(jpe?g|png|webp|gif|bmp|avif|heic)$/i.test(file.name));
}

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => $("file").files[0] && open($("file").files[0]));
for (const button of document.querySelectorAll("[data-sample]")) button.addEventListener("click", () => sample(button.dataset.sample));
$("another").addEventListener("click", another);
$("split").addEventListener("input", split);
$("strength").addEventListener("input", () => ($("percent").textContent = `${$("strength").value} %`));
$("model").addEventListener("change", () => {
  ideas();
  if (picture) work("Loading the editor", () => editing.prepare($("model").value, sent()));
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("edit").disabled) edit();
});
$("further").addEventListener("click", async () => {
  picture = { ...picture, id: ++count, pixels: result };
  await start(await encoded(result, picture.type));
  $("text").select();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name !== "drop") return;
    const file = firstPicture(event.dataTransfer);
    if (file) open(file);
    else say(new Refused("that is no picture; drop a JPEG, PNG or WebP file"));
  });
}
document.addEventListener("paste", (event) => {
  const file = firstPicture(event.clipboardData);
  if (file) open(file);
});
ideas();
document.body.dataset.ready = "";
