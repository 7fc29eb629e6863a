"use strict";
// Marks, lines and table rows of one run share data-run; choosing any of them shows the run everywhere.
const runs = JSON.parse(document.getElementById("runs").textContent);
const card = document.getElementById("card");
const reach = 26; // pixels between the pointer and a mark that it still means
let chosen = null;

// Without scripts the browser shows these titles; the card says more.
document.querySelectorAll(".run > title").forEach((title) => title.remove());

function centre(mark) {
  const box = mark.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

function nearest(figure, x, y) {
  let best = null, least = reach;
  for (const mark of figure.querySelectorAll(".run")) {
    const [markX, markY] = centre(mark);
    const distance = Math.hypot(markX - x, markY - y);
    if (distance < least) [best, least] = [mark, distance];
  }
  return best;
}

function drawRing(mark) {
  const place = mark.querySelector("use"), ring = document.createElementNS(mark.namespaceURI, "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("cx", place.getAttribute("x"));
  ring.setAttribute("cy", place.getAttribute("y"));
  ring.setAttribute("r", 5);
  mark.closest("svg").append(ring);
}

function clear() {
  if (chosen === null) return;
  chosen = null;
  card.hidden = true;
  document.querySelectorAll(".ring").forEach((one) => one.remove());
  document.querySelectorAll(".chosen").forEach((one) => one.classList.remove("chosen"));
  document.querySelectorAll("svg.choosing").forEach((one) => one.classList.remove("choosing"));
}

function choose(index) {
  if (index === chosen) return;
  clear();
  chosen = index;
  document.querySelectorAll(`[data-run="${index}"]`).forEach((one) => {
    one.classList.add("chosen");
    one.closest("svg")?.classList.add("choosing");
    if (one.matches(".run")) drawRing(one);
  });
  const title = document.createElement("b"), list = document.createElement("dl");
  title.textContent = runs[index].name;
  for (const [name, value] of runs[index].facts) {
    const term = document.createElement("dt"), said = document.createElement("dd");
    term.textContent = name;
    said.textContent = value;
    list.append(term, said);
  }
  card.replaceChildren(title, list);
}

function showCard(x, y) {
  card.hidden = false;
  const { width, height } = card.getBoundingClientRect();
  const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
  card.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  card.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - height - 8))}px`;
}

for (const figure of document.querySelectorAll("svg.figure")) {
  const point = (event) => {
    const mark = nearest(figure, event.clientX, event.clientY);
    if (!mark) return clear();
    choose(Number(mark.dataset.run));
    showCard(...centre(mark));
  };
  figure.addEventListener("pointermove", point);
  figure.addEventListener("pointerdown", point);
  figure.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") clear(); });
}
for (const row of document.querySelectorAll("tr[data-run]")) {
  row.addEventListener("pointerenter", () => { choose(Number(row.dataset.run)); });
  row.addEventListener("pointerleave", clear);
}
addEventListener("scroll", () => { card.hidden = true; }, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
addEventListener("pointerdown", (event) => { if (!event.target.closest("svg.figure, tr[data-run]")) clear(); });

function sortBy(table, column, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  table.querySelectorAll("thead th").forEach((one) => one.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (one, other) => {
    const [a, b] = [key(one), key(other)];
    const difference = Number(a) - Number(b);
    const order = Number.isNaN(difference) ? a.localeCompare(b) : difference;
    return ascending ? order : -order;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, column, header));
  });
}

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
