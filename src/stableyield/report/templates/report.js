(function () {
  "use strict";
  const narrow = window.matchMedia("(max-width: 720px)");
  const charts = new Map();

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Ink and paper follow the page, light or dark; the colours of the curves suit both.
  function layoutOf(spec) {
    const layout = { ...spec.layout, ...(narrow.matches ? spec.narrow : {}) };
    layout.font = { ...layout.font, color: colour("--muted") };
    layout.hoverlabel = {
      ...layout.hoverlabel,
      bgcolor: colour("--card"),
      bordercolor: colour("--line"),
      font: { ...layout.hoverlabel.font, color: colour("--ink") },
    };
    if (narrow.matches && layout.xaxis.type === "date") {
      layout.xaxis = { ...layout.xaxis, nticks: 4 };
    }
    return layout;
  }

  function draw() {
    for (const [id, spec] of charts) {
      Plotly.react(id + "-plot", spec.data, layoutOf(spec), { displayModeBar: false, responsive: true });
    }
  }

  for (const element of document.querySelectorAll("script[type='application/json']")) {
    charts.set(element.id.replace(/-data$/, ""), JSON.parse(element.textContent));
  }

  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      const spec = charts.get(button.dataset.chart);
      button.setAttribute("aria-pressed", String(shown));
      for (const trace of button.dataset.traces.split(",")) {
        spec.data[Number(trace)].visible = shown;
      }
      Plotly.restyle(button.dataset.chart + "-plot", { visible: shown }, button.dataset.traces.split(",").map(Number));
    });
  }

  narrow.addEventListener("change", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
