// data: [{kind, title, queries, keys, layers, heads, weights: base64 of uint16 [L, H, T, S]}, ...]
const at = (id) => document.getElementById(id);
const map = at("map"), pen = map.getContext("2d"), dark = matchMedia("(prefers-color-scheme: dark)");
for (const one of data) {
  const bytes = Uint8Array.from(atob(one.weights), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
  one.weights = Float32Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(2 * i, true) / 65535);
}
let here = { map: 0, layer: 0, head: 0, query: -1, key: -1 }, shape = null;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const current = () => data[here.map];
const weight = (one, layer, head, query, key) => one.weights[((layer * one.heads + head) * one.queries.length + query) * one.keys.length + key];

// From the paper's colour to the ink of the accent, in the root of the weight so that small ones show.
function shade(value) {
  const share = Math.sqrt(Math.max(0, Math.min(1, value)));
  const [from, to] = dark.matches ? [[27, 31, 38], [255, 214, 120]] : [[247, 248, 250], [24, 62, 110]];
  return from.map((low, i) => Math.round(low + share * (to[i] - low)));
}

function clip(text, most) { const letters = [...text]; return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : text; }

function draw() {
  const one = current(), ratio = window.devicePixelRatio || 1, room = at("scroller").clientWidth;
  if (!room) return;
  pen.font = "12px ui-monospace, Menlo, Consolas, monospace";
  const longest = (tokens) => Math.ceil(Math.max(...tokens.map((token) => pen.measureText(clip(token, 14)).width)));
  const left = longest(one.queries) + 12, top = longest(one.keys) + 12;
  const cell = Math.max(12, Math.min(44, Math.floor((room - left - 2) / one.keys.length)));
  const width = left + cell * one.keys.length + 2, height = top + cell * one.queries.length + 2;
  shape = { left, top, cell };
  map.style.width = `${width}px`;
  map.style.height = `${height}px`;
  // Browsers give no canvas beyond some size: a large one is drawn coarser.
  const fine = Math.min(ratio, 8000 / Math.max(width, height));
  map.width = Math.round(width * fine);
  map.height = Math.round(height * fine);
  pen.setTransform(fine, 0, 0, fine, 0, 0);
  one.queries.forEach((_, t) => one.keys.forEach((_, s) => {
    pen.fillStyle = `rgb(${shade(weight(one, here.layer, here.head, t, s))})`;
    pen.fillRect(left + s * cell, top + t * cell, cell - (cell > 14 ? 1 : 0), cell - (cell > 14 ? 1 : 0));
  }));
  drawTokens(one);
  if (here.query >= 0) {
    pen.strokeStyle = colour("--mark");
    pen.lineWidth = 2;
    pen.strokeRect(left + here.key * cell - 1, top + here.query * cell - 1, cell + 1, cell + 1);
  }
}

function drawTokens(one) {
  const { left, top, cell } = shape, [ink, mark] = ["--ink", "--mark"].map(colour);
  pen.font = "12px ui-monospace, Menlo, Consolas, monospace";
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  one.queries.forEach((token, t) => { pen.fillStyle = t === here.query ? mark : ink; pen.fillText(clip(token, 14), left - 6, top + (t + 0.5) * cell); });
  pen.textAlign = "left";
  one.keys.forEach((token, s) => {
    pen.save();
    pen.translate(left + (s + 0.5) * cell, top - 6);
    pen.rotate(-Math.PI / 2);
    pen.fillStyle = s === here.key ? mark : ink;
    pen.fillText(clip(token, 14), 0, 0);
    pen.restore();
  });
}

function say() {
  const one = current(), list = at("top");
  list.replaceChildren();
  at("said").replaceChildren();
  at("query").textContent = "A row's weights";
  if (here.query < 0) { at("said").textContent = `${one.title}: ${one.layers} layers of ${one.heads} heads, ${one.queries.length} × ${one.keys.length} tokens.`; return; }
  const value = document.createElement("b");
  value.textContent = weight(one, here.layer, here.head, here.query, here.key).toFixed(4);
  at("said").append(`${one.queries[here.query]} (${here.query}) looks at ${one.keys[here.key]} (${here.key}) with weight `, value);
  at("query").textContent = `${one.queries[here.query]} looks at`;
  const row = one.keys.map((token, s) => [token, weight(one, here.layer, here.head, here.query, s), s]).sort((a, b) => b[1] - a[1]);
  for (const [token, share, s] of row.slice(0, 8)) {
    const item = document.createElement("li"), name = document.createElement("span"), number = document.createElement("span");
    name.textContent = `${token} (${s})`;
    number.textContent = share.toFixed(4);
    item.append(name, number);
    list.append(item);
  }
}

function drawHeads() {
  const one = current(), box = at("heads"), [tall, wide] = [one.queries.length, one.keys.length];
  box.replaceChildren();
  for (let layer = 0; layer < one.layers; layer += 1) {
    const row = document.createElement("div"), name = document.createElement("span");
    row.className = "row";
    row.style.gridTemplateColumns = `22px repeat(${one.heads}, minmax(${one.heads > 8 ? 44 : 34}px, 150px))`;
    name.textContent = layer + 1;
    row.append(name);
    for (let head = 0; head < one.heads; head += 1) row.append(thumbnail(one, layer, head, tall, wide));
    box.append(row);
  }
}

function thumbnail(one, layer, head, tall, wide) {
  const button = document.createElement("button"), canvas = document.createElement("canvas");
  button.type = "button";
  button.title = `layer ${layer + 1}, head ${head + 1}`;
  button.setAttribute("aria-label", button.title);
  button.setAttribute("aria-pressed", String(layer === here.layer && head === here.head));
  [canvas.width, canvas.height] = [wide, tall];
  const brush = canvas.getContext("2d"), image = brush.createImageData(wide, tall);
  for (let i = 0; i < tall * wide; i += 1) image.data.set([...shade(one.weights[(layer * one.heads + head) * tall * wide + i]), 255], 4 * i);
  brush.putImageData(image, 0, 0);
  button.append(canvas);
  button.addEventListener("click", () => { here.layer = layer; here.head = head; all(); });
  return button;
}

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name, i) => { const option = document.createElement("option"); option.value = i; option.textContent = name; return option; }));
  select.value = chosen;
}

function all() {
  const one = current();
  fill(at("kind"), data.map((other) => other.title), here.map);
  fill(at("layer"), Array.from({ length: one.layers }, (_, i) => i + 1), here.layer);
  fill(at("head"), Array.from({ length: one.heads }, (_, i) => i + 1), here.head);
  draw();
  say();
  drawHeads();
}

function point(event) {
  if (!shape) return;
  const box = map.getBoundingClientRect(), one = current();
  const key = Math.floor((event.clientX - box.left - shape.left) / shape.cell), query = Math.floor((event.clientY - box.top - shape.top) / shape.cell);
  if (key < 0 || query < 0 || key >= one.keys.length || query >= one.queries.length) return;
  if (key === here.key && query === here.query) return;
  Object.assign(here, { key, query });
  draw();
  say();
}
map.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") point(event); });
map.addEventListener("click", point);
map.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key], one = current();
  if (!step) return;
  event.preventDefault();
  if (here.query < 0) [here.query, here.key] = [0, 0];
  else {
    here.query = Math.max(0, Math.min(one.queries.length - 1, here.query + step[0]));
    here.key = Math.max(0, Math.min(one.keys.length - 1, here.key + step[1]));
  }
  draw();
  say();
});
at("kind").addEventListener("change", (event) => {
  here = { map: Number(event.target.value), layer: 0, head: 0, query: -1, key: -1 };
  all();
});
for (const name of ["layer", "head"]) at(name).addEventListener("change", (event) => { here[name] = Number(event.target.value); all(); });
new ResizeObserver(draw).observe(at("scroller"));
dark.addEventListener("change", all);
all();
