"use strict";

// What label.js asks of the server: pictures, points, and that points are saved.

// ---- asking the server

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("the server does not answer; is tgim label still running?"), { away: true });
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(value.error || `the server answers ${answer.status}`), { status: answer.status });
  return value;
}

const put = (path, value) => ask(path, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

function load(number) {
  if (!known.has(number)) {
    const found = ask(`api/pictures/${number}`).then((told) => {
      const entry = { points: told.points, version: told.version, saved: JSON.stringify(told.points), saving: false, fault: told.fault, failed: "" };
      known.set(number, entry);
      return entry;
    });
    found.catch(() => known.delete(number));
    known.set(number, found);
  }
  return Promise.resolve(known.get(number));
}

function preview(number) {
  if (!previews.has(number)) {
    const address = fetch(`api/pictures/${number}/preview`).then(async (answer) => {
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || "the picture cannot be shown");
      return URL.createObjectURL(await answer.blob());
    }, () => { throw new Error("the server does not answer; is tgim label still running?"); });
    address.catch(() => previews.delete(number));
    previews.set(number, address);
    for (const old of previews.keys()) {
      if (previews.size <= AHEAD) break;
      if (old === number || old === current) continue;
      previews.get(old).then(URL.revokeObjectURL, () => {});
      previews.delete(old);
    }
  }
  return previews.get(number);
}

// ---- saving: one request at a time for a picture, always the newest points

async function save(number) {
  const entry = known.get(number);
  if (entry.saving) return;
  entry.saving = true;
  sign();
  try {
    while (JSON.stringify(entry.points) !== entry.saved || entry.fault) {
      const sent = JSON.stringify(entry.points);
      const told = await put(`api/pictures/${number}`, { name: names[number], points: entry.points, version: entry.version });
      Object.assign(entry, { version: told.version, saved: sent, fault: "" });
    }
    entry.failed = "";
  } catch (error) {
    entry.failed = error.message;
    if (error.away) setTimeout(() => { if (unsaved(entry)) save(number); }, AGAIN);
  }
  entry.saving = false;
  if (number === current) tell();
  sign();
}

const unsaved = (entry) => entry.points && JSON.stringify(entry.points) !== entry.saved;

function sign() {
  let text = "", kind = "";
  const entries = [...known.entries()].filter(([, entry]) => unsaved(entry));
  const failed = entries.find(([, entry]) => entry.failed);
  if (failed) {
    const where = failed[0] === current ? "" : ` (${names[failed[0]]})`;
    [text, kind] = [`not saved${where}: ${failed[1].failed}`, "failed"];
  } else if (entries.length) {
    text = "saving …";
  } else if (past.length || future.length) {
    [text, kind] = ["saved", "saved"];
  }
  by("sign").textContent = text;
  by("sign").className = `sign ${kind}`;
}

addEventListener("beforeunload", (event) => {
  if ([...known.values()].some(unsaved)) event.preventDefault();
});
