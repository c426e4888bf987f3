// One filter per column that varies: boxes to tick for few values, bounds for numbers, words for many texts.

// Do something once before the next frame, however often it is asked for: a slider moves more often than points can be drawn.
const soon = (() => {
  let waiting = false;
  return (act) => {
    if (!waiting) requestAnimationFrame(() => { waiting = false; act(); });
    waiting = true;
  };
})();

// A filter: {element, passes(row), active(), reset()}.
function boxes(column, changed) {
  const options = Array.from(column.distinct);
  if (column.gaps) options.push(null);
  const off = new Set();
  const same = (v) => (typeof v === 'number' && Number.isNaN(v) ? null : v ?? null);
  const texts = apart(column, options);
  const ticks = options.map((option, nth) => tick(texts[nth], true, (on) => {
    if (on) off.delete(option);
    else off.add(option);
    changed();
  }));
  const every = (on) => {
    off.clear();
    if (!on) options.forEach((option) => off.add(option));
    ticks.forEach(({ input }) => { input.checked = on; });
  };
  const button = (text, on) => make('button', { type: 'button', onclick: () => { every(on); changed(); } }, text);
  return {
    element: make('div', {},
      make('div', { className: 'choices' }, ...ticks.map(({ field }) => field)),
      make('div', { className: 'ticks' }, button('All', true), button('None', false))),
    passes: (row) => !off.has(same(value(column, row))),
    active: () => off.size > 0,
    empty: () => off.size === options.length,
    state: () => (off.size ? `${options.length - off.size} of ${options.length}` : `${options.length} values`),
    reset: () => every(true),
  };
}

function bounds(column, changed) {
  const values = column.distinct;
  const last = values.length - 1;
  let low = -Infinity;
  let high = Infinity;
  const place = (v) => { // of the first value that is at least v
    let from = 0;
    let to = values.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (values[middle] < v) from = middle + 1;
      else to = middle;
    }
    return from;
  };
  const field = (text, set) => {
    const input = make('input', { type: 'number', step: 'any', placeholder: text, 'aria-label': `${text} of ${column.label}`,
      onchange: () => { set(input.value === '' ? null : Number(input.value)); update(); } });
    return input;
  };
  const slide = (text, start, set) => {
    const input = make('input', { type: 'range', min: '0', max: String(last), value: String(start), 'aria-label': `${text} of ${column.label}`,
      oninput: () => { set(Number(input.value)); sync(); soon(changed); } });
    return input;
  };
  const lowest = field('least', (v) => { low = v ?? -Infinity; });
  const highest = field('most', (v) => { high = v ?? Infinity; });
  const left = slide('least', 0, (nth) => { low = nth === 0 ? -Infinity : values[Math.min(nth, Number(right.value))]; });
  const right = slide('most', last, (nth) => { high = nth === last ? Infinity : values[Math.max(nth, Number(left.value))]; });
  function sync() {
    lowest.value = low === -Infinity ? '' : low;
    highest.value = high === Infinity ? '' : high;
    left.value = Math.min(place(low), last);
    const above = place(high);
    right.value = Math.min(above <= last && values[above] > high ? Math.max(0, above - 1) : above, last);
    left.setAttribute('aria-valuetext', written(column, values[left.value]));
    right.setAttribute('aria-valuetext', written(column, values[right.value]));
  }
  function update() {
    sync();
    changed();
  }
  sync();
  return {
    element: make('div', {}, make('div', { className: 'slider' }, left, right), make('div', { className: 'bounds' }, lowest, highest)),
    passes: (row) => (low === -Infinity && high === Infinity) || (column.numbers[row] >= low && column.numbers[row] <= high),
    active: () => low !== -Infinity || high !== Infinity,
    state: () => `${written(column, Math.max(low, values[0]))} to ${written(column, Math.min(high, values[last]))}`,
    reset: () => { low = -Infinity; high = Infinity; sync(); },
  };
}

function words(column, changed) {
  let hits = null;
  const input = make('input', { type: 'search', placeholder: 'contains', 'aria-label': `${column.label} contains`,
    oninput: () => {
      const wanted = input.value.toLowerCase();
      hits = wanted ? column.values.map((text) => (text ?? '').toLowerCase().includes(wanted)) : null;
      changed();
    } });
  return {
    element: input,
    passes: (row) => !hits || hits[column.codes[row]],
    active: () => hits !== null,
    state: () => (hits ? `contains ${input.value}` : `${column.distinct.length} values`),
    reset: () => { input.value = ''; hits = null; },
  };
}

function makeFilters(changed) {
  const home = document.getElementById('filters');
  const reset = document.getElementById('reset');
  const filters = varying.filter((column) => column.name !== report.key).map((column) => {
    const few = column.distinct.length <= (column.numbers ? FEW : MANY);
    const filter = (few ? boxes : column.numbers ? bounds : words)(column, () => { tell(); changed(); });
    const state = make('span', { className: 'state' });
    home.insertBefore(make('details', { open: false, 'data-column': column.name },
      make('summary', {}, column.label, ' ', state), filter.element), reset);
    return { ...filter, mark: state, label: column.label };
  });
  function tell() {
    for (const filter of filters) {
      filter.mark.textContent = filter.state();
      filter.mark.classList.toggle('on', filter.active());
    }
    reset.disabled = !filters.some((filter) => filter.active());
  }
  reset.addEventListener('click', () => {
    filters.forEach((filter) => filter.reset());
    tell();
    changed();
  });
  tell();
  home.hidden = !filters.length;
  return {
    empty: () => filters.filter((filter) => filter.empty?.()).map((filter) => filter.label),
    reset: () => reset.click(),
    active: () => filters.some((filter) => filter.active()),
    rows: () => {
      const used = filters.filter((filter) => filter.active());
      const rows = [];
      for (let row = 0; row < report.rows; row += 1) if (used.every((filter) => filter.passes(row))) rows.push(row);
      return rows;
    },
  };
}
