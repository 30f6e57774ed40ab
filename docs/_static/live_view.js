"use strict";
/* Shows the operators of live.js: tables of numbers, and the sum behind the one pointed at. */

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const NUMBER = /^[-+]?(\d+([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?$/i;
const PERHAPS_THOUSANDS = /^[-+]?[1-9]\d{0,2},\d{3}(?!\d)/;  // 1,000 is 1 to some, 1000 to others

/* A number as people type it, or NaN with what is asked for instead; `below` bounds a class. */
function parsed(text, below) {
  const typed = text.trim().replaceAll("−", "-");
  const value = NUMBER.test(typed) ? Number(typed.replace(",", ".")) : NaN;
  const twofold = PERHAPS_THOUSANDS.test(typed);
  if (below !== null) {
    const right = Number.isInteger(value) && value >= 0 && value < below && !twofold;
    return right ? { value } : { value: NaN, asked: `a class from 0 to ${below - 1}` };
  }
  if (!Number.isFinite(value)) return { value: NaN, asked: "a number" };
  if (!twofold) return { value };
  const [point, none] = [typed.replace(",", "."), typed.replace(",", "")];
  return { value: NaN, asked: `a number that is read in one way: ${point} or ${none}` };
}

let fieldCount = 0;

class LiveView {
  constructor(place) {
    this.place = place;
    this.operator = OPERATORS[place.dataset.operator];
    this.start = JSON.parse(place.dataset.start);
    this.told = null;
    this.tensors = {};
    for (const [name, { shape, values }] of Object.entries(this.start))
      this.tensors[name] = new Tensor(name, shape, [...values]);
    this.compute();
    this.draw();
    this.tellFirst();
    place.addEventListener("mouseover", (event) => this.pointed(event));
    place.addEventListener("focusin", (event) => this.pointed(event));
    place.addEventListener("keydown", (event) => this.walked(event));
  }

  /* The first numbers in the old cells, so that the focus stays. */
  reset() {
    for (const [name, { values }] of Object.entries(this.start))
      this.tensors[name].values = [...values];
    for (const field of this.place.querySelectorAll("input[data-cell]")) {
      field.value = field.defaultValue;
      this.accept(field);
    }
    this.compute();
    this.refresh();
    this.tellFirst();
  }

  tellFirst() {
    this.tell(Object.keys(this.entries).find((label) => label.startsWith("grad_")));
  }

  /* Forward, then every gradient; each entry by its label. */
  compute() {
    this.entries = {};
    const [shape, forward] = this.operator.out(this.tensors);
    this.tensors.out = this.filled("out", shape, forward);
    this.grads = Object.entries(this.operator.grads).map(([name, entry]) =>
      this.filled(`grad_${name}`, this.tensors[name].shape, (...at) => entry(this.tensors, ...at)));
  }

  filled(name, shape, entry) {
    const tensor = new Tensor(name, shape, []);
    for (const at of tensor.places()) {
      const found = entry(...at);
      tensor.values.push(found.value);
      this.entries[tensor.label(at)] = found;
    }
    return tensor;
  }

  draw() {
    const inputs = Object.keys(this.start).filter((name) => name !== "grad_out");
    const named = (names) => names.map((name) => this.tensors[name]);
    this.sum = element("div", { class: "live-sum", "aria-live": "polite" });
    const again = element("button", { type: "button", class: "live-reset" }, "Reset");
    again.addEventListener("click", () => this.reset());
    this.place.replaceChildren(
      this.step("Inputs, to type", named(inputs), true),
      this.step("Forward", [this.tensors.out], false),
      this.step("From behind, to type", [this.tensors.grad_out], true),
      this.step("Gradients", this.grads, false),
      this.sum,
      again,
    );
  }

  step(title, tensors, typed) {
    const tables = tensors.map((tensor) => this.table(tensor, typed));
    const name = element("p", { class: "live-title" }, title);
    return element("div", { class: "live-step", role: "group", "aria-label": title }, name,
      element("div", { class: "live-tensors" }, ...tables),
      ...(typed ? [element("div", { class: "live-refused", "aria-live": "polite" })] : []));
  }

  table(tensor, typed) {
    const shape = tensor.shape.length ? `(${tensor.shape.join(", ")})` : "";
    const body = element("tbody");
    let row = null;
    for (const [index, at] of tensor.places().entries()) {
      if (!row || (tensor.shape.length === 2 && at[1] === 0)) body.append((row = element("tr")));
      const cell = typed ? this.field(tensor, index, at) : this.result(tensor, index, at);
      row.append(element("td", {}, cell));
    }
    const title = element("caption", {}, element("code", {}, tensor.name), ` ${shape}`);
    return element("table", { class: "live-tensor" }, title, body);
  }

  field(tensor, index, at) {
    const label = tensor.label(at);
    const below = this.start[tensor.name].below;
    const inputmode = below === null ? "text" : "numeric";  // the decimal keypads have no minus
    const field = element("input", {
      "type": "text", inputmode, "autocomplete": "off", "aria-label": label,
      "data-cell": label, "data-refusal": `refusal-${++fieldCount}`,
      "value": shown(tensor.values[index]),
    });
    field.addEventListener("input", () => {
      const { value, asked } = parsed(field.value, below);
      if (asked) {
        this.refuse(field, asked);
        return;
      }
      this.accept(field);
      tensor.values[index] = value;
      this.compute();
      this.refresh();
    });
    return field;
  }

  result(tensor, index, at) {
    const label = tensor.label(at);
    const text = shown(tensor.values[index]);
    const name = `${label} = ${text}`;
    return element("button", { "type": "button", "data-cell": label, "aria-label": name }, text);
  }

  /* New numbers in the old cells, so that the focus stays. */
  refresh() {
    for (const cell of this.place.querySelectorAll("button[data-cell]")) {
      const text = shown(this.entries[cell.dataset.cell].value);
      cell.textContent = text;
      cell.setAttribute("aria-label", `${cell.dataset.cell} = ${text}`);
    }
    this.tell(this.told);
  }

  pointed(event) {
    const label = event.target.closest("button[data-cell]")?.dataset.cell;
    if (label) this.tell(label);
  }

  /* The sum behind one entry, and the cells that it is read from. */
  tell(label) {
    const entry = this.entries[label];
    if (!entry) return;
    this.told = label;
    const line = (text) => element("p", {}, text);
    this.sum.replaceChildren(
      line(`${label} = ${entry.symbols}`), line(`= ${entry.numbers}`), line(`= ${shown(entry.value)}`),
      ...entry.where.map((said) => line(`where ${said}`)));
    for (const cell of this.place.querySelectorAll("[data-cell]")) {
      cell.classList.toggle("told", cell.dataset.cell === label);
      cell.classList.toggle("felt", entry.from.includes(cell.dataset.cell));
    }
  }

  /* A sentence that belongs to the field as long as what it holds is no number. */
  refuse(field, asked) {
    const id = field.dataset.refusal;
    const said = `${field.dataset.cell} needs ${asked}; the last one still counts.`;
    const sentence = document.getElementById(id) ?? element("p", { id });
    if (sentence.textContent !== said) sentence.textContent = said;
    if (!sentence.isConnected)
      field.closest(".live-step").querySelector(".live-refused").append(sentence);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", id);
  }

  accept(field) {
    document.getElementById(field.dataset.refusal)?.remove();
    field.setAttribute("aria-invalid", "false");
    field.removeAttribute("aria-describedby");
  }

  /* Arrow keys walk through the cells of a table. */
  walked(event) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    const cell = event.target.closest("[data-cell]");
    if (!step || !cell || (cell.tagName === "INPUT" && step[1] !== 0)) return;
    const row = cell.closest("tr");
    const rows = [...row.parentElement.children];
    const next = rows[rows.indexOf(row) + step[0]]?.children[
      [...row.children].indexOf(cell.closest("td")) + step[1]];
    const target = next?.querySelector("[data-cell]");
    if (target) {
      event.preventDefault();
      target.focus();
    }
  }
}

for (const place of document.querySelectorAll(".live")) new LiveView(place);
