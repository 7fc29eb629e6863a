// data: {words: [...], points: [[x, y, z], ...], near: [[[word, cosine], ...], ...], counts: [...]}
const canvas = document.getElementById("cloud"), pen = canvas.getContext("2d");
const ids = new Map(data.words.map((word, id) => [word, id]));
const start = { yaw: 0.6, pitch: 0.35, zoom: 1 };
let view = { ...start }, chosen = -1, spinning = false, placed = [], queued = false;
const pointers = new Map();
let moved = 0, spread = 0;
// The largest distance from the centre but for the furthest hundredth is the radius of the view.
const lengths = data.points.map((p) => Math.hypot(...p)).sort((a, b) => a - b);
const radius = lengths[Math.floor(0.99 * (lengths.length - 1))] || 1;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function project([x, y, z], width, height) {
  const [a, b] = [view.yaw, view.pitch];
  const east = x * Math.cos(a) + z * Math.sin(a), deep = -x * Math.sin(a) + z * Math.cos(a);
  const north = y * Math.cos(b) - deep * Math.sin(b), near = y * Math.sin(b) + deep * Math.cos(b);
  const depth = near / radius, perspective = 1 / (1.9 - 0.55 * Math.max(-2, Math.min(2, depth)));
  const scale = 0.82 * Math.min(width, height) * view.zoom * perspective / radius;
  return { x: width / 2 + east * scale, y: height / 2 - north * scale, depth };
}

function draw() {
  queued = false;
  const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  if (!box.width) return;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const [ink, muted, mark, accent] = ["--ink", "--muted", "--mark", "--accent"].map(colour);
  const friends = new Set(chosen < 0 ? [] : data.near[chosen].map(([word]) => ids.get(word)).filter((id) => id !== undefined));
  placed = data.points.map((point, id) => ({ id, ...project(point, box.width, box.height) }));
  drawAxes(box, muted);
  for (const { id, x, y, depth } of [...placed].sort((a, b) => a.depth - b.depth)) {
    const friend = friends.has(id), self = id === chosen;
    pen.globalAlpha = self || friend ? 1 : (chosen < 0 ? 1 : 0.45) * Math.max(0.25, Math.min(0.9, 0.55 + 0.4 * depth));
    pen.fillStyle = self ? mark : friend ? accent : muted;
    pen.beginPath();
    pen.arc(x, y, self ? 5 : friend ? 4 : Math.max(1.2, 2.1 + depth), 0, 7);
    pen.fill();
  }
  drawLabels(box, friends, { ink, mark, accent });
  pen.globalAlpha = 1;
}

function drawAxes(box, muted) {
  pen.strokeStyle = pen.fillStyle = muted;
  pen.font = "11px system-ui, sans-serif";
  [[1, 0, 0], [0, 1, 0], [0, 0, 1]].forEach((axis, index) => {
    const from = project(axis.map((v) => -v * radius * 0.9), box.width, box.height), to = project(axis.map((v) => v * radius * 0.9), box.width, box.height);
    pen.globalAlpha = 0.35;
    pen.beginPath(); pen.moveTo(from.x, from.y); pen.lineTo(to.x, to.y); pen.stroke();
    pen.globalAlpha = 0.8;
    pen.fillText(`PC ${index + 1}`, to.x + 4, to.y - 4);
  });
}

// The chosen word first, then its neighbours, then by count; a label that would cover another is left out.
function drawLabels(box, friends, { ink, mark, accent }) {
  const taken = [], rank = (id) => (id === chosen ? -2 : friends.has(id) ? -1 : id);
  let drawn = 0;
  for (const { id, x, y, depth } of [...placed].sort((a, b) => rank(a.id) - rank(b.id))) {
    const special = id === chosen || friends.has(id);
    if (!special && (drawn > 160 || x < 0 || y < 0 || x > box.width || y > box.height)) continue;
    pen.font = special ? "600 14px system-ui, sans-serif" : "12px system-ui, sans-serif";
    const width = pen.measureText(data.words[id]).width;
    const left = Math.max(2, Math.min(x + 6, box.width - width - 2)), top = Math.max(9, Math.min(y, box.height - 9));
    const area = [left - 2, top - 9, left + width + 2, top + 9];
    if (id !== chosen && taken.some((t) => area[0] < t[2] && t[0] < area[2] && area[1] < t[3] && t[1] < area[3])) continue;
    taken.push(area);
    drawn += 1;
    pen.globalAlpha = special ? 1 : (chosen < 0 ? 1 : 0.4) * Math.max(0.4, Math.min(1, 0.75 + 0.4 * depth));
    pen.fillStyle = id === chosen ? mark : friends.has(id) ? accent : ink;
    pen.textBaseline = "middle";
    pen.fillText(data.words[id], left, top);
  }
}

function again() { if (!queued) { queued = true; requestAnimationFrame(draw); } }

function choose(id) {
  chosen = id;
  document.getElementById("word").value = id < 0 ? "" : data.words[id];
  document.getElementById("chosen").textContent = id < 0 ? "Choose a word" : `${data.words[id]} (${data.counts[id].toLocaleString("en")} times)`;
  const list = document.getElementById("near");
  list.replaceChildren();
  for (const [word, cosine] of id < 0 ? [] : data.near[id]) {
    const row = document.createElement("li"), name = document.createElement("span"), value = document.createElement("span");
    if (ids.has(word)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = word;
      button.addEventListener("click", () => choose(ids.get(word)));
      name.append(button);
    } else name.textContent = word;
    value.textContent = cosine.toFixed(3);
    row.append(name, value);
    list.append(row);
  }
  again();
}

function turn(yaw, pitch) {
  view.yaw += yaw;
  view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + pitch));
  again();
}
function zoom(factor) { view.zoom = Math.max(0.4, Math.min(12, view.zoom * factor)); again(); }
function reset() { view = { ...start }; choose(-1); }
function gap() { const [a, b] = [...pointers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); }

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (pointers.size === 1) moved = 0;
  if (pointers.size === 2) spread = gap();
});
canvas.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  moved += Math.abs(dx) + Math.abs(dy);
  if (pointers.size === 1) turn(dx * 0.008, dy * 0.008);
  if (pointers.size === 2) { const now = gap(); if (spread > 0) zoom(now / spread); spread = now; moved += 9; }
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    const alone = pointers.size === 1 && name === "pointerup";
    pointers.delete(event.pointerId);
    if (!alone || moved > 8) return;
    const box = canvas.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1, least = event.pointerType === "touch" ? 28 : 16;
    for (const point of placed) {
      const distance = Math.hypot(point.x - x, point.y - y);
      if (distance < least) [best, least] = [point.id, distance];
    }
    choose(best);
  });
}
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0015)); }, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const keys = {
    ArrowLeft: () => turn(-0.12, 0), ArrowRight: () => turn(0.12, 0), ArrowUp: () => turn(0, -0.12), ArrowDown: () => turn(0, 0.12),
    "+": () => zoom(1.15), "=": () => zoom(1.15), "-": () => zoom(1 / 1.15), 0: reset, Escape: () => choose(-1),
  };
  if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); }
});
document.getElementById("reset").addEventListener("click", reset);
document.getElementById("spin").addEventListener("click", (event) => {
  spinning = !spinning;
  event.target.setAttribute("aria-pressed", String(spinning));
  event.target.textContent = spinning ? "Stop turning" : "Turn slowly";
  requestAnimationFrame(spinOnce);
});
function spinOnce() { if (spinning) { turn(0.006, 0); requestAnimationFrame(spinOnce); } }
const field = document.getElementById("word");
for (const name of ["change", "input"]) {
  field.addEventListener(name, () => {
    const word = field.value.trim().toLowerCase();
    if (ids.has(word)) choose(ids.get(word));
    else if (name === "change" && word) document.getElementById("chosen").textContent = `“${word}” is not in the cloud`;
  });
}
document.getElementById("words").append(...data.words.map((word) => { const option = document.createElement("option"); option.value = word; return option; }));
new ResizeObserver(again).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
again();
