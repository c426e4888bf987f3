// Ticks of what is in view: enough of them on logarithmic axes of less than two decades too, bytes at powers of two.

const AT_TICKS = new Set(['B', 'B/s', 'bit', 'bit/s', 'flop/s', '/s', 'Hz', 'W']); // written at each tick, not in the title
const PATTERNS = [[6, [1]], [3, [1]], [2, [1]], [1, [1]], [1, [1, 2, 5]], [1, [1, 1.5, 2, 3, 5, 7]]];
const OCTAVES = [20, 10, 5, 4, 3, 2, 1].map((step) => [step, [1]]);
const LEAST_TICKS = 3;

function logTicks(low, high, binary) {
  const base = binary ? 2 : 10;
  const first = Math.floor(Math.log(low) / Math.log(base)) - 1;
  const last = Math.ceil(Math.log(high) / Math.log(base)) + 1;
  for (const [step, parts] of binary ? OCTAVES : PATTERNS) {
    const found = [];
    for (let power = step * Math.floor(first / step); power <= last; power += step) {
      for (const part of parts) found.push(Number((part * base ** power).toPrecision(15)));
    }
    const seen = found.filter((v) => v >= low && v <= high);
    if (seen.length >= LEAST_TICKS) return seen;
  }
  return evenTicks(low, high, binary);
}

function evenTicks(low, high, binary) {
  const rough = (high - low) / 4;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = binary ? 2 ** Math.floor(Math.log2(rough)) : power * [5, 2, 1].find((part) => part * power <= rough);
  const found = [];
  for (let place = Math.ceil(low / step); place <= Math.floor(high / step); place += 1) found.push(Number((place * step).toPrecision(15)));
  return found;
}

function tickText(column, v) {
  if (AT_TICKS.has(column.unit)) return plain(written(column, v));
  const power = Math.round(Math.log10(v));
  const round = Math.abs(v / 10 ** power - 1) < 1e-9;
  return round && (power >= 6 || power <= -5) ? `10<sup>${power}</sup>` : figure(v);
}

// After every change of what is in view, the axes that plotly has no good ticks for get their own.
function retick(state) {
  const { _fullLayout: layout } = document.getElementById('plot');
  const changed = {};
  for (const [name, column, log] of [['xaxis', state.x, state.xLog], ['yaxis', state.y, state.yLog]]) {
    if (!log && !AT_TICKS.has(column.unit)) continue;
    const ends = [...layout[name].range].sort((a, b) => a - b);
    const [low, high] = log ? ends.map((end) => 10 ** end) : ends;
    const places = (log ? logTicks : evenTicks)(low, high, column.unit === 'B');
    if (String(places) === String(layout[name].tickvals)) continue;
    changed[`${name}.tickmode`] = 'array';
    changed[`${name}.tickvals`] = places;
    changed[`${name}.ticktext`] = places.map((v) => tickText(column, v));
  }
  if (Object.keys(changed).length) Plotly.relayout('plot', changed);
}
