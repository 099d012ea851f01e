"use strict";

// Mouse, pen and fingers on the picture of label.js.

const down = new Map(); // pointer -> {x, y}
let gesture = null; // {kind: "tap" | "pan" | "drag" | "pinch", ...}

stage.addEventListener("pointerdown", (event) => {
  if (event.button > 1) return;
  if (document.activeElement && document.activeElement !== document.body) document.activeElement.blur();
  const dot = event.target.closest(".point");
  stage.setPointerCapture(event.pointerId);
  down.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (down.size === 2) {
    gesture = { kind: "pinch", span: spread() };
  } else if (down.size === 1 && dot && event.button === 0) {
    chosen = { part: dot.dataset.part, place: Number(dot.dataset.place) };
    part = chosen.part;
    gesture = { kind: "drag", from: { x: event.clientX, y: event.clientY }, moved: false, to: null };
    draw();
  } else if (down.size === 1) {
    gesture = { kind: event.button === 1 ? "pan" : "tap", from: { x: event.clientX, y: event.clientY } };
  }
  if (event.button === 1) event.preventDefault();
});

stage.addEventListener("pointermove", (event) => {
  const last = down.get(event.pointerId);
  if (!last || !gesture) return;
  const dx = event.clientX - last.x, dy = event.clientY - last.y;
  down.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (gesture.kind === "pinch" && down.size === 2) {
    const span = spread(), frame = stage.getBoundingClientRect();
    view.x += span.x - gesture.span.x;
    view.y += span.y - gesture.span.y;
    zoom(span.distance / gesture.span.distance, span.x - frame.left, span.y - frame.top);
    gesture.span = span;
    return;
  }
  const far = gesture.from && Math.hypot(event.clientX - gesture.from.x, event.clientY - gesture.from.y) > STEADY;
  if (gesture.kind === "tap" && far) gesture.kind = "pan";
  if (gesture.kind === "pan") {
    stage.classList.add("panning");
    view.x += dx;
    view.y += dy;
    settle();
  } else if (gesture.kind === "drag" && (far || gesture.moved)) {
    gesture.moved = true;
    gesture.to = placeOf(event);
    const dot = layer.querySelector(".point.chosen");
    if (dot) {
      dot.style.left = `${view.x + rounded(gesture.to.x) * picture.naturalWidth * view.scale}px`;
      dot.style.top = `${view.y + rounded(gesture.to.y) * picture.naturalHeight * view.scale}px`;
    }
  }
});

function lift(event) {
  if (!down.delete(event.pointerId) || !gesture) return;
  stage.classList.remove("panning");
  if (event.type === "pointerup" && down.size === 0) {
    const { x, y } = placeOf(event);
    if (gesture.kind === "tap" && part && shown === current && x >= 0 && x <= 1 && y >= 0 && y <= 1) place(x, y);
    if (gesture.kind === "drag" && gesture.moved && chosen) {
      const { part: name, place: number } = chosen, to = gesture.to;
      change((points) => { points[name][number] = [rounded(to.x), rounded(to.y), ...points[name][number].slice(2)]; });
    }
  }
  if (down.size === 0) gesture = null;
  else if (gesture.kind === "pinch") gesture = { kind: "none" }; // the finger that stays places nothing
  if (!gesture) drawPoints();
}

stage.addEventListener("pointerup", lift);
stage.addEventListener("pointercancel", lift);

function spread() {
  const [one, two] = [...down.values()];
  return { x: (one.x + two.x) / 2, y: (one.y + two.y) / 2, distance: Math.max(1, Math.hypot(one.x - two.x, one.y - two.y)) };
}

stage.addEventListener("contextmenu", (event) => {
  event.preventDefault();
  const dot = event.target.closest(".point") || document.elementFromPoint(event.clientX, event.clientY)?.closest(".point");
  if (!dot) return;
  gesture = null;
  remove({ part: dot.dataset.part, place: Number(dot.dataset.place) });
});

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const frame = stage.getBoundingClientRect();
  const amount = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
  zoom(Math.exp(-Math.max(-120, Math.min(120, amount)) * (event.ctrlKey ? 0.01 : 0.002)), event.clientX - frame.left, event.clientY - frame.top);
}, { passive: false });

new ResizeObserver(fit).observe(stage);
