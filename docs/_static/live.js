"use strict";
/* The live views: numbers that one types flow forward, and their gradients back.

   Every number shown is an entry: a value with the sum that it is. A sum has terms, a term has
   factors, and a factor knows which cells it is read from, so that value, sum and highlighting are
   one thing. Each operator's formula stands once, in OPERATORS. */

const DECIMALS = 4;
const DIGITS = 6;
const DIGITS_BEFORE_E = 3;
const CELL = 8;  // signs that it has room for

/* At most four decimals and six digits, and no 0 at the end; three digits, or as many as the cell
   has room for, and a power of ten of what is smaller than 0.001 or is a million and more. */
function shown(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "∞" : "-∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 10 ** (1 - DECIMALS) || size >= 10 ** DIGITS) {
    const texts = range(DIGITS_BEFORE_E).reverse().map((decimals) => {
      const [digits, power] = value.toExponential(decimals).split("e");
      return `${trimmed(digits)}e${Number(power)}`;
    });
    return texts.find((text) => text.length <= CELL);
  }
  const before = Math.floor(Math.log10(size)) + 1;
  return trimmed(value.toFixed(Math.min(DECIMALS, DIGITS - before)));
}

const range = (n) => [...Array(n).keys()];
const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const bracketed = (text) => (text.startsWith("-") ? `(${text})` : text);

/* A number with a name of its own, such as 1/n; `from` are the cells that it is read from, `where`
   says what a name stands for that is in no cell. */
const factor = (text, value, from = [], where = []) => ({ text, value, from, where });

/* A sum of products of factors. */
function sum(...terms) {
  const product = (term, read) => term.map(read).join(" · ");
  const used = terms.filter((term) => term.length);
  return {
    value: used.reduce((all, term) => all + term.reduce((one, f) => one * f.value, 1), 0),
    symbols: used.map((term) => product(term, (f) => f.text)).join(" + ") || "0",
    numbers: used.map((term) => product(term, (f) => bracketed(shown(f.value)))).join(" + ") || "0",
    from: used.flat().flatMap((f) => f.from),
    where: [...new Set(used.flat().flatMap((f) => f.where))],
  };
}

/* A value that is no sum of products, with how it is written. */
const written = (value, symbols, numbers, from) => ({ value, symbols, numbers, from, where: [] });

class Tensor {
  constructor(name, shape, values) {
    this.name = name;
    this.shape = shape;
    this.values = values;
  }

  places() {
    const [rows, columns] = this.shape.length === 2 ? this.shape : [1, this.shape[0] ?? 1];
    const all = [];
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++)
        all.push(this.shape.length === 2 ? [i, j] : this.shape.length ? [j] : []);
    return all;
  }

  label(place) {
    return place.length ? `${this.name}[${place.join(", ")}]` : this.name;
  }

  at(...place) {
    const index = place.reduce((flat, i, axis) => flat * this.shape[axis] + i, 0);
    return factor(this.label(place), this.values[index], [this.label(place)]);
  }
}

const minus = (a, b) => factor(`(${a.text} - ${b.text})`, a.value - b.value,
  [...a.from, ...b.from], [...a.where, ...b.where]);
const oneMinus = (a) => factor(`(1 - ${a.text})`, 1 - a.value, a.from);

/* An operator of every entry by itself: its value, and the factors of its slope. */
const pointwise = (f, symbols, slope) => ({
  out: ({ x }) => [x.shape, (...at) => {
    const one = x.at(...at);
    return written(f(one.value), symbols(one.text), symbols(shown(one.value)), one.from);
  }],
  grads: {
    x: ({ x, out, grad_out }, ...at) =>
      sum([...slope(x.at(...at), out.at(...at)), grad_out.at(...at)]),
  },
});

/* e to the power of each entry of a row, less the largest, over the sum of these. */
function probability(x, i, j) {
  const row = range(x.shape[1]).map((k) => x.at(i, k));
  const largest = Math.max(...row.map((one) => one.value));
  const powers = row.map((one) => Math.exp(one.value - largest));
  const total = powers.reduce((all, one) => all + one, 0);
  const read = (one) => shown(one.value);
  return {
    value: powers[j] / total,
    log: row[j].value - largest - Math.log(total),
    symbols: `exp(${row[j].text}) / (${row.map((one) => `exp(${one.text})`).join(" + ")})`,
    numbers: `exp(${read(row[j])}) / (${row.map((one) => `exp(${read(one)})`).join(" + ")})`,
    from: row.flatMap((one) => one.from),
    where: [],
  };
}

const likelihood = (x, i, j) => {
  const p = probability(x, i, j);
  const name = `p[${i}, ${j}]`;
  return factor(name, p.value, p.from, [`${name} = ${p.numbers} = ${shown(p.value)}`]);
};

const OPERATORS = {
  lin: {
    out: ({ x, w, b }) => [[x.shape[0], w.shape[1]], (n, o) =>
      sum(...range(x.shape[1]).map((i) => [x.at(n, i), w.at(i, o)]), [b.at(o)])],
    grads: {
      x: ({ w, grad_out }, n, i) =>
        sum(...range(w.shape[1]).map((o) => [grad_out.at(n, o), w.at(i, o)])),
      w: ({ x, grad_out }, i, o) =>
        sum(...range(x.shape[0]).map((n) => [x.at(n, i), grad_out.at(n, o)])),
      b: ({ grad_out }, o) => sum(...range(grad_out.shape[0]).map((n) => [grad_out.at(n, o)])),
    },
  },
  relu: pointwise((x) => Math.max(x, 0), (x) => `max(${x}, 0)`,
    (x) => [factor(`[${x.text} > 0]`, x.value > 0 ? 1 : 0, x.from)]),
  sigmoid: pointwise((x) => 1 / (1 + Math.exp(-x)), (x) => `1 / (1 + exp(-${bracketed(x)}))`,
    (x, s) => [s, oneMinus(s)]),
  tanh: pointwise(Math.tanh, (x) => `tanh(${x})`,
    (x, t) => [factor(`(1 - ${t.text}²)`, 1 - t.value ** 2, t.from)]),
  exp: pointwise(Math.exp, (x) => `exp(${x})`, (x, y) => [y]),
  sin: pointwise(Math.sin, (x) => `sin(${x})`,
    (x) => [factor(`cos(${x.text})`, Math.cos(x.value), x.from)]),
  cos: pointwise(Math.cos, (x) => `cos(${x})`,
    (x) => [factor(`-sin(${x.text})`, -Math.sin(x.value), x.from)]),
  shifted_square: pointwise((x) => (x + 1) ** 2, (x) => `(${x} + 1)²`,
    (x) => [factor("2", 2), factor(`(${x.text} + 1)`, x.value + 1, x.from)]),
  softmax: {
    out: ({ x }) => [x.shape, (i, j) => probability(x, i, j)],
    grads: {
      x: ({ out, grad_out }, n, j) => sum(...range(out.shape[1]).map((i) => {
        const p = out.at(n, j);
        const slope = factor(`(${i === j ? 1 : 0} - ${p.text})`, (i === j) - p.value, p.from);
        return [grad_out.at(n, i), out.at(n, i), slope];
      })),
    },
  },
  log_softmax: {
    out: ({ x }) => [x.shape, (i, j) => {
      const p = probability(x, i, j);
      return written(p.log, `ln(${p.symbols})`, `ln(${p.numbers})`, p.from);
    }],
    grads: {
      x: ({ x, grad_out }, n, j) => {
        const p = likelihood(x, n, j);
        const taken = factor(`-${p.text}`, -p.value, p.from, p.where);
        return sum([grad_out.at(n, j)],
          ...range(x.shape[1]).map((i) => [taken, grad_out.at(n, i)]));
      },
    },
  },
  mse: {
    out: ({ pred, target }) => [[], () => {
      const n = pred.shape[0];
      const term = (i) => minus(pred.at(i, 0), target.at(i));
      return sum(...range(n).map((i) => [factor(`1/${n}`, 1 / n), term(i), term(i)]));
    }],
    grads: {
      pred: ({ pred, target, grad_out }, i, j) =>
        sum([grad_out.at(), factor(`2/${pred.shape[0]}`, 2 / pred.shape[0]),
          minus(pred.at(i, j), target.at(i))]),
    },
  },
  bce_with_logits: {
    out: ({ x, target }) => [[], () => sum(...x.places().map((at) => {
      const [z, t] = [x.at(...at), target.at(...at)];
      const loss = Math.max(z.value, 0) - z.value * t.value + Math.log1p(Math.exp(-Math.abs(z.value)));
      return [factor(`1/${x.values.length}`, 1 / x.values.length),
        factor(`(ln(1 + exp(${z.text})) - ${z.text} · ${t.text})`, loss, [...z.from, ...t.from])];
    }))],
    grads: {
      x: ({ x, target, grad_out }, ...at) => {
        const [z, t] = [x.at(...at), target.at(...at)];
        const s = factor(`sigmoid(${z.text})`, 1 / (1 + Math.exp(-z.value)), z.from,
          [`sigmoid(${z.text}) = ${shown(1 / (1 + Math.exp(-z.value)))}`]);
        return sum([grad_out.at(), factor(`1/${x.values.length}`, 1 / x.values.length), minus(s, t)]);
      },
    },
  },
  cross_entropy: {
    out: ({ logits, target }) => [[], () => {
      const n = logits.shape[0];
      return sum(...range(n).map((i) => {
        const right = target.at(i);
        const p = probability(logits, i, right.value);
        const { text, where } = likelihood(logits, i, right.value);
        return [factor(`1/${n}`, 1 / n),
          factor(`(-ln ${text})`, -p.log, [...p.from, ...right.from], where)];
      }));
    }],
    grads: {
      logits: ({ logits, target, grad_out }, i, j) => {
        const n = logits.shape[0];
        const right = target.at(i);
        const hit = factor(`[${j} = ${right.text}]`, right.value === j ? 1 : 0, right.from);
        return sum([grad_out.at(), factor(`1/${n}`, 1 / n), minus(likelihood(logits, i, j), hit)]);
      },
    },
  },
};
