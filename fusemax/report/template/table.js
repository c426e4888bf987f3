// The front's rows as a table: sorted by any column, in pages, saved as CSV.

const PAGE_ROWS = 20;

function makeTable(state, pick) {
  const home = document.getElementById('table');
  const pager = document.getElementById('pager');
  const sort = { name: state.y.name, down: false };
  let rows = [];
  let page = 0;

  function ordered() {
    const column = byName.get(sort.name);
    const sign = sort.down ? -1 : 1;
    const missing = (v) => v === null || v === undefined || Number.isNaN(v);
    return [...rows].sort((a, b) => {
      const [left, right] = [value(column, a), value(column, b)];
      if (missing(left) || missing(right)) return missing(left) - missing(right) || a - b;
      const gap = column.numbers ? left - right : left.localeCompare(right, 'en', { numeric: true });
      return sign * gap || a - b;
    });
  }

  function listed() {
    const first = [byName.get(report.key), state.x, state.y].filter(Boolean);
    return [...new Set([...first, ...varying])];
  }

  function head(column) {
    const sorted = sort.name === column.name;
    const button = make('button', { type: 'button', onclick: () => {
      Object.assign(sort, { name: column.name, down: sorted ? !sort.down : false });
      page = 0;
      show();
      home.querySelector('th[aria-sort] button')?.focus();
    } }, column.title + (sorted ? (sort.down ? ' ▼' : ' ▲') : ''));
    const order = sorted ? { 'aria-sort': sort.down ? 'descending' : 'ascending' } : {};
    return make('th', { scope: 'col', className: column.numbers ? 'number' : '', ...order }, button);
  }

  function line(row, all) {
    const cells = all.map((column) => make('td', { className: column.numbers ? 'number' : '',
      title: String(value(column, row) ?? '') }, shown(column, row)));
    const act = () => pick(row);
    return make('tr', { tabIndex: 0, 'aria-selected': String(row === state.picked), onclick: act,
      onkeydown: (event) => { if (event.key === 'Enter') act(); } }, ...cells);
  }

  function save() {
    const guarded = (text) => (/^'*[=+@\t\r\n\uff1d\uff0b\uff20\uff0d-]/.test(text) ? `'${text}` : text); // else a spreadsheet runs it
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    const cell = (v) => (v === null || v === undefined || Number.isNaN(v) ? '' : quoted(typeof v === 'string' ? guarded(v) : String(v)));
    const lines = [columns.map((column) => quoted(guarded(column.name))), ...ordered().map((row) => columns.map((column) => cell(value(column, row))))];
    const blob = new Blob([lines.map((cells) => cells.join(',')).join('\n'), '\n'], { type: 'text/csv' });
    const link = make('a', { href: URL.createObjectURL(blob), download: 'pareto.csv' });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function show() {
    const all = listed();
    const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
    page = Math.min(Math.max(page, 0), pages - 1);
    const seen = ordered().slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS);
    home.replaceChildren(
      make('thead', {}, make('tr', {}, ...all.map(head))),
      make('tbody', {}, ...seen.map((row) => line(row, all))));
    const turn = (text, by, possible) => make('button', { type: 'button', disabled: !possible, onclick: () => { page += by; show(); } }, text);
    pager.replaceChildren(
      make('span', {}, `${count(rows.length, 'point', 'points')}, page ${page + 1} of ${pages}`),
      turn('Previous', -1, page > 0),
      turn('Next', 1, page < pages - 1),
      make('button', { type: 'button', disabled: !rows.length, onclick: save }, 'Save as CSV'));
  }

  return {
    fill: (front) => {
      rows = front;
      page = 0;
      show();
    },
    show,
  };
}
