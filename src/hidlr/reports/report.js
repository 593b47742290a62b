// Values under the pointer, and under the arrow keys: all that this script does. Without it the page is complete.
"use strict";
(() => {
  const make = (tag, name, parent) => {
    const element = document.createElement(tag);
    element.className = name;
    return parent.appendChild(element);
  };
  const text = (tag, name, parent, words) => { make(tag, name, parent).textContent = words; };

  // As hidlr.reports.text.number with three digits.
  const short = (value) => {
    if (value === 0) return "0";
    const [mantissa, power] = value.toExponential(2).split("e");
    if (power < -2 || power > 3) return mantissa + "e" + Number(power);
    return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  };
  const whole = (value) => Number.isInteger(value) ? value.toLocaleString("en-US") : short(value);

  // Share of the way along an axis [name, first, last, logarithmic], in percent.
  const along = ([, first, last, log], value) => {
    const f = log ? Math.log10 : Number;
    return 100 * (f(value) - f(first)) / (f(last) - f(first));
  };

  const nearest = (values, wanted) => {
    let best = 0;
    values.forEach((value, i) => { if (Math.abs(value - wanted) < Math.abs(values[best] - wanted)) best = i; });
    return best;
  };

  class Panel {
    constructor(plot, data) {
      this.plot = plot;
      this.data = data;
      this.lines = (data.lines || []).map((line) => ({
        ...line,
        left: line.x.map((value) => along(data.x, value)),
        top: line.y.map((value) => 100 - along(data.y, value)),
      }));
      this.sorted = this.lines.every((line) => line.x.every((value, i) => i === 0 || value >= line.x[i - 1]));
      this.cells = data.cells || [];
      this.line = 0;
      this.point = this.lines.length ? this.lines[0].x.length - 1 : 0;
      const [left, top, width, height] = data.box;
      this.box = make("div", "panel", plot);
      Object.assign(this.box.style, { left: left + "%", top: top + "%", width: width + "%", height: height + "%" });
      // A slider: screen readers hand it the arrow keys, and say its text when it changes.
      const names = this.lines.length ? data.y[0] : plot.querySelector("svg").getAttribute("aria-label");
      const kind = { role: "slider", tabindex: "0", "aria-label": names + ", values", "aria-valuemin": "1" };
      Object.entries(kind).forEach(([name, value]) => this.box.setAttribute(name, value));
      this.say();
      this.box.addEventListener("pointermove", (event) => this.point_at(event));
      this.box.addEventListener("pointerdown", (event) => this.point_at(event));
      // A finger that is lifted leaves the values to be read; the next touch elsewhere takes them away.
      this.box.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") this.hide(); });
      document.addEventListener("pointerdown", (event) => { if (!this.box.contains(event.target)) this.hide(); });
      this.box.addEventListener("keydown", (event) => this.press(event));
      this.box.addEventListener("focus", () => { if (this.box.matches(":focus-visible")) this.show(); });
      this.box.addEventListener("blur", () => this.hide());
    }

    point_at(event) {
      const box = this.box.getBoundingClientRect();
      const x = 100 * (event.clientX - box.left) / box.width;
      const y = 100 * (event.clientY - box.top) / box.height;
      const far = (dx, dy) => Math.hypot(dx * box.width, dy * box.height) / 100;
      if (this.cells.length) {
        const away = this.cells.map(([, left, top, w, h]) => far(left + w / 2 - x, top + h / 2 - y));
        this.point = away.indexOf(Math.min(...away));
        return this.show();
      }
      let best = Infinity;
      this.lines.forEach((line, index) => {
        const places = this.sorted ? [nearest(line.left, x)] : line.left.keys();
        for (const point of places) {
          let away = far(line.left[point] - x, line.top[point] - y);
          // Between two points the line is as near as its points are.
          const next = point + Math.sign(x - line.left[point]);
          if (this.sorted && next in line.left) {
            const share = (x - line.left[point]) / (line.left[next] - line.left[point] || 1);
            away = far(0, line.top[point] + share * (line.top[next] - line.top[point]) - y);
          }
          if (!line.color) away = away < 12 ? away + 4 : Infinity;  // the background gives way
          if (away < best) [best, this.line, this.point] = [away, index, point];
        }
      });
      if (best < Infinity) this.show();
    }

    press(event) {
      const points = this.cells.length || this.lines[this.line].x.length;
      const far = Math.max(1, Math.round(points / 10));
      const to = {
        ArrowLeft: -1, ArrowRight: 1, PageDown: -far, PageUp: far, Home: -points, End: points,
      }[event.key];
      const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (event.key === "Escape") return this.hide();
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (turn && this.lines.length) {
        const x = this.lines[this.line].left[this.point];
        this.line = (this.line + turn + this.lines.length) % this.lines.length;
        this.point = nearest(this.lines[this.line].left, x);
      } else if (to || turn) {
        this.point = Math.min(points - 1, Math.max(0, this.point + (to || turn)));
      } else return;
      event.preventDefault();
      this.show();
    }

    say() {
      const [now, of] = [this.point + 1, this.cells.length || this.lines[this.line].x.length];
      const line = this.lines[this.line];
      const words = this.cells.length
        ? this.cells[this.point][0]
        : `${line.name}: ${short(line.y[this.point])} at ${this.data.x[0]} ${whole(line.x[this.point])}`;
      const state = { "aria-valuenow": now, "aria-valuemax": of, "aria-valuetext": words };
      Object.entries(state).forEach(([name, value]) => this.box.setAttribute(name, value));
    }

    show() {
      this.say();
      this.box.replaceChildren();
      this.note?.remove();
      this.note = make("div", "reading", this.plot);
      this.note.setAttribute("aria-hidden", "true");
      const at = this.cells.length ? this.show_cell() : this.show_lines();
      // Beside the place that is read, within the figure.
      const [frame, own, note] = [this.plot, this.box, this.note].map((part) => part.getBoundingClientRect());
      const x = own.left - frame.left + at * own.width / 100;
      const left = x + 14 + note.width <= frame.width ? x + 14 : x - 14 - note.width;
      this.note.style.left = Math.max(0, Math.min(left, frame.width - note.width)) + "px";
      // A small picture would be covered by its own values: there they stand below.
      const below = this.cells.length || frame.width < 480;
      this.note.style.top = own.top - frame.top + (below ? own.height + 4 : 0) + "px";
    }

    show_cell() {
      const [words, left, top, width, height] = this.cells[this.point];
      const mark = make("i", "cell", this.box);
      Object.assign(mark.style, { left: left + "%", top: top + "%", width: width + "%", height: height + "%" });
      text("p", "", this.note, words);
      return left + width / 2;
    }

    show_lines() {
      const active = this.lines[this.line];
      const [x, at] = [active.x[this.point], active.left[this.point]];
      const rule = make("i", "rule", this.box);
      rule.style.left = at + "%";
      text("p", "at", this.note, `${this.data.x[0]} ${whole(x)}`);
      const table = make("table", "", this.note);
      this.lines
        .map((line, index) => ({ line, point: index === this.line ? this.point : nearest(line.left, at) }))
        .filter(({ line }) => line.color || line === active)
        .sort((a, b) => a.line.top[a.point] - b.line.top[b.point])
        .forEach(({ line, point }) => {
          const dot = make("i", line === active ? "dot active" : "dot", this.box);
          const color = `var(--${line.color || "muted"})`;
          Object.assign(dot.style, { left: line.left[point] + "%", top: line.top[point] + "%", background: color });
          const row = make("tr", line === active ? "active" : "", table);
          const swatch = make("i", line.dashed ? "dash" : "", make("td", "", row));
          swatch.style.borderTopColor = color;
          text("th", "", row, line.name);
          text("td", "number", row, short(line.y[point]));
          // What was measured at another step says so.
          text("td", "at", row, line.x[point] === x ? "" : `at ${whole(line.x[point])}`);
        });
      return at;
    }

    hide() {
      this.box.replaceChildren();
      this.note?.remove();
    }
  }

  document.querySelectorAll("[data-panels]").forEach((plot) => {
    JSON.parse(plot.dataset.panels).forEach((data) => new Panel(plot, data));
  });
  document.querySelectorAll("[data-hint]").forEach((hint) => { hint.hidden = false; });
})();
