"use strict";
(() => {
  // Tables are sorted by their column headings, which become buttons.
  const compareTexts = new Intl.Collator(undefined, { numeric: true }).compare;
  const valueOf = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    return a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y) ? x - y : compareTexts(a, b);
  };
  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => direction * compare(valueOf(a, column), valueOf(b, column)));
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const ascending = heading.getAttribute("aria-sort") !== "ascending";
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending ? 1 : -1);
      });
    });
  }

  // Charts show in their legend what the curves are at the place (epoch) under the pointer, or at the one chosen by arrow keys;
  // all charts of a group together.
  const chartOf = (figure) => {
    const plot = figure.querySelector(".plot"), at = figure.querySelector(".at"), cursor = figure.querySelector(".cursor");
    const count = Number(plot.dataset.count), left = Number(plot.dataset.left), right = Number(plot.dataset.right);
    const entries = [...figure.querySelectorAll(".legend li")].map((item) => {
      const value = item.querySelector(".value");
      return { name: item.querySelector(".name").textContent, value, values: item.dataset.values.split("|"), resting: value.textContent };
    });
    const resting = at.textContent, labels = plot.dataset.labels ? plot.dataset.labels.split("|") : [];
    const placeOf = (index) => `${plot.dataset.name} ${labels[index] ?? index + 1}`;
    const show = (index) => {
      const shown = index !== null && index < count;
      at.textContent = shown ? placeOf(index) : resting;
      for (const entry of entries) entry.value.textContent = shown ? entry.values[index] ?? "-" : entry.resting;
      const x = count > 1 ? left + (right - left) * index / (count - 1) : left;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.style.visibility = shown ? "visible" : "hidden";
      if (shown) {
        plot.setAttribute("aria-valuenow", index + 1);
        plot.setAttribute("aria-valuetext", `${placeOf(index)}: ${entries.map((entry) => `${entry.name} ${entry.value.textContent}`).join(", ")}`);
      }
    };
    const indexAt = (event) => {
      const box = plot.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * plot.viewBox.baseVal.width;
      const index = right > left ? Math.round((x - left) / (right - left) * (count - 1)) : 0;
      return Math.min(Math.max(index, 0), count - 1);
    };
    return { plot, count, show, indexAt };
  };
  for (const group of document.querySelectorAll(".charts")) {
    const charts = [...group.querySelectorAll(".chart")].map(chartOf);
    const show = (index) => charts.forEach((chart) => chart.show(index));
    let current = null;
    const choose = (index) => show(current = index);
    for (const { plot, count, indexAt } of charts) {
      plot.addEventListener("pointermove", (event) => choose(indexAt(event)));
      plot.addEventListener("pointerdown", (event) => choose(indexAt(event)));
      plot.addEventListener("pointerleave", () => choose(null));
      if (count < 2) continue;
      plot.setAttribute("tabindex", "0");
      plot.setAttribute("role", "slider");
      plot.setAttribute("aria-valuemin", "1");
      plot.setAttribute("aria-valuemax", count);
      plot.setAttribute("aria-valuenow", count);
      plot.addEventListener("blur", () => choose(null));
      plot.addEventListener("keydown", (event) => {
        const from = Math.min(current ?? count - 1, count - 1);
        const to = { ArrowLeft: from - 1, ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1, PageDown: from - 10, PageUp: from + 10,
          Home: 0, End: count - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        choose(Math.min(Math.max(to, 0), count - 1));
      });
    }
  }

  // Paper shows everything.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });
})();
