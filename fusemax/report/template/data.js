// The columns of the page's points, decoded, and how their values are written.

const report = JSON.parse(document.getElementById('data').textContent);
const PREFIXES = ['f', 'p', 'n', 'µ', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E', 'Z'];
const BINARY = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'Zi', 'Yi'];
const WITH_PREFIX = new Set(report.prefixed);
const CODES = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };
const FEW = 12;
const MANY = 60;

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const number = (value) => (value === null ? NaN : Number(value));

// A column: `numbers` (numbers), or `codes` into `values` (text). `distinct` holds its values in order, without the missing one.
function decode(column) {
  if (column.data !== undefined) {
    column.numbers = new Float64Array(bytes(column.data).buffer);
    column.distinct = Float64Array.from(new Set(column.numbers.filter((v) => !Number.isNaN(v)))).sort();
  } else {
    column.codes = new CODES[column.bits](bytes(column.codes).buffer);
    column.distinct = column.values.filter((v) => v !== null);
    if (column.kind === 'number') {
      const values = Float64Array.from(column.values, number);
      column.numbers = Float64Array.from(column.codes, (code) => values[code]);
      column.distinct = Float64Array.from(column.distinct, number).sort();
    }
  }
  const gaps = column.numbers ? column.numbers.some(Number.isNaN) : column.values.includes(null);
  column.varies = column.distinct.length + (gaps ? 1 : 0) > 1;
  column.gaps = gaps;
  column.label = column.unit ? `${column.title} (${column.unit})` : column.title;
  delete column.data;
  return column;
}

const columns = report.columns.map(decode);
const byName = new Map(columns.map((column) => [column.name, column]));
// Columns of one name for people are told apart by their own.
for (const column of columns.filter((one) => columns.some((other) => other !== one && other.label === one.label))) column.alike = true;
for (const column of columns.filter((one) => one.alike)) {
  column.title = column.name;
  column.label = column.unit ? `${column.name} (${column.unit})` : column.name;
}
const varying = columns.filter((column) => column.varies);
const axisColumns = columns.filter((column) => column.kind === 'number' && column.distinct.length && column.name !== report.key);

function value(column, row) {
  return column.numbers ? column.numbers[row] : column.values[column.codes[row]];
}

function figure(v, digits = 4) {
  if (Number.isInteger(v) && Math.abs(v) < 1e15) return v.toLocaleString('en-US');
  const size = Math.abs(v);
  if (size >= 1e6 || size < 1e-4) return v.toExponential(digits - 1);
  return Number(v.toPrecision(digits)).toLocaleString('en-US', { maximumFractionDigits: digits + 5 });
}

// A value as text with its unit and a prefix: 13.39 ms; bytes have binary ones, 16 MiB.
function written(column, v, digits = 4) {
  if (v === null || v === undefined || Number.isNaN(v)) return '–';
  if (typeof v !== 'number') return v;
  if (!WITH_PREFIX.has(column.unit) || v === 0 || !Number.isFinite(v)) return column.unit ? `${figure(v, digits)} ${column.unit}` : figure(v, digits);
  if (column.unit === 'B') {
    const power = Math.min(Math.max(Math.floor(Math.log2(Math.abs(Number(v.toPrecision(digits)))) / 10), 0), BINARY.length - 1);
    return `${Number((v / 1024 ** power).toPrecision(digits))} ${BINARY[power]}B`;
  }
  const step = Math.min(Math.max(Math.floor(Math.log10(Math.abs(Number(v.toPrecision(digits)))) / 3), -5), PREFIXES.length - 6);
  const scaled = v / 10 ** (3 * step);
  return `${Number(scaled.toPrecision(digits))} ${PREFIXES[step + 5]}${column.unit}`;
}

// Different values as different texts: with as many digits as that takes.
function apart(column, values) {
  for (let digits = 4; ; digits += 1) {
    const texts = values.map((v) => (v === null ? '(none)' : written(column, v, digits)));
    if (digits === 17 || new Set(texts).size === texts.length) return texts;
  }
}

const shown = (column, row) => written(column, value(column, row));
// Each row's group: rows with the same values in the columns that have fronts of their own.
const groups = (() => {
  const by = report.by.map((name) => byName.get(name));
  const known = new Map();
  return Uint32Array.from({ length: report.rows }, (_, row) => {
    const key = JSON.stringify(by.map((column) => String(value(column, row))));
    if (!known.has(key)) known.set(key, known.size);
    return known.get(key);
  });
})();

const count = (n, one, many) => `${n.toLocaleString('en-US')} ${n === 1 ? one : many}`;

// Elements hold what users wrote as text only.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, held] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), held);
    else if (name in element && typeof held !== 'string') element[name] = held;
    else element.setAttribute(name === 'className' ? 'class' : name, held);
  }
  element.append(...children);
  return element;
}

function choice(label, options, selected, change) {
  const select = make('select', { onchange: () => change(select.value) });
  for (const [key, text] of options) select.append(make('option', { value: key, selected: key === selected }, text));
  return { select, field: make('label', { className: 'field' }, label, select) };
}

function tick(label, checked, change) {
  const input = make('input', { type: 'checkbox', checked, onchange: () => change(input.checked) });
  return { input, field: make('label', { className: 'tick' }, input, make('span', {}, label)) };
}
