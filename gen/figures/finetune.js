const body = document.querySelector("#errors tbody");
const filter = document.querySelector("#filter");

function show() {
  const wanted = filter.value.toLowerCase();
  body.replaceChildren(
    ...data.errors
      .filter((row) => [row.input, row.prediction, row.label].some((text) => text.toLowerCase().includes(wanted)))
      .map((row) => {
        const line = document.createElement("tr");
        for (const value of [row.number, row.input, row.prediction, row.label, row.error]) {
          const cell = document.createElement("td");
          cell.textContent = value;
          line.append(cell);
        }
        return line;
      }),
  );
}

filter.addEventListener("input", show);
show();
