// data: the report of a curation; stages: [{name, kept: [sample], dropped: [sample], scores, lengths_in, lengths_out}]
const chosen = (id) => document.getElementById(id);
const all = "all stages";
for (const name of [all, ...data.stages.map((stage) => stage.name)]) {
  const option = document.createElement("option");
  option.textContent = name;
  chosen("stage").append(option);
}

function element(kind, text, name) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function chart(title, bins, unit, name) {
  const entries = Object.entries(bins).filter(([bin]) => bin !== "none").map(([bin, count]) => [Number(bin), count]);
  if (!entries.length) return null;
  entries.sort((a, b) => a[0] - b[0]);
  const most = Math.max(...entries.map(([, count]) => count));
  const box = element("div"), bars = element("div", "", "bars");
  bars.setAttribute("role", "img");
  bars.setAttribute("aria-label", `${title}: ${entries.map(([bin, count]) => `${bin}: ${count}`).join(", ")}`);
  for (const [bin, count] of entries) {
    const bar = element("span", "", name);
    bar.style.height = `${Math.max(1, (100 * count) / most)}%`;
    bar.title = `from ${bin} ${unit}: ${count.toLocaleString("en")} documents`;
    bars.append(bar);
  }
  box.append(element("p", title, "quiet"), bars);
  box.append(element("p", `${entries[0][0]} to ${entries[entries.length - 1][0]} ${unit}`, "quiet"));
  return box;
}

function draw() {
  const wanted = chosen("stage").value, side = chosen("side").value, word = chosen("search").value.trim().toLowerCase();
  const stages = data.stages.filter((stage) => wanted === all || stage.name === wanted);
  const charts = wanted === all ? [] : stages.flatMap((stage) => [
    chart("Lengths in", stage.lengths_in, "bytes", ""),
    chart("Lengths out", stage.lengths_out, "bytes", "after"),
    chart("Scores", stage.scores, "", ""),
  ]);
  chosen("charts").replaceChildren(...charts.filter(Boolean));
  const rows = [];
  for (const stage of stages) {
    for (const kind of ["dropped", "kept"]) {
      if (side !== "both" && side !== kind) continue;
      for (const sample of stage[kind]) rows.push({ stage: stage.name, kind, ...sample });
    }
  }
  const matching = rows.filter((row) => !word ||
    [row.stage, row.kind, row.name, row.source, row.why, row.text].join("\n").toLowerCase().includes(word));
  chosen("found").textContent = `${matching.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} samples`;
  chosen("samples").replaceChildren(...matching.map((row) => {
    const box = element("div", "", "sample");
    const score = row.score === undefined ? "" : `, score ${row.score}`;
    box.append(element("div", `${row.stage}, ${row.kind}${row.why ? `: ${row.why}` : ""}${score}`));
    box.append(element("div", `${row.name} (${row.source})`, "quiet"), element("pre", row.text));
    return box;
  }));
}

for (const id of ["stage", "side"]) chosen(id).addEventListener("change", draw);
chosen("search").addEventListener("input", draw);
draw();
