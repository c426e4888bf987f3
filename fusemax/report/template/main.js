// What is chosen, and what follows from it.

const named = (objectives) => objectives.map(({ column, high }) => `${column.title} ${high ? '↑' : '↓'}`).join(', ');
const goals = report.objectives.map(({ column, maximize }) => ({ column: byName.get(column), high: maximize }));

const state = {
  x: byName.get(report.x),
  y: byName.get(report.y),
  xHigh: report.xHigh,
  yHigh: report.yHigh,
  colour: byName.get(report.colour) ?? null,
  over: '',
  apart: report.by.length > 0,
  picked: null,
  overAxes: () => state.over === 'axes',
  goals: () => (state.overAxes() ? [{ column: state.x, high: state.xHigh }, { column: state.y, high: state.yHigh }] : goals),
};
state.xLog = wide(state.x);
state.yLog = wide(state.y);
const onAxes = () => goals.length === 2 && [[state.x, state.xHigh], [state.y, state.yHigh]]
  .every(([column, high]) => goals.some((goal) => goal.column === column && goal.high === high));
const asOpened = onAxes();
state.over = asOpened ? 'axes' : 'objectives';

let filters;
let table;

function update() {
  const rows = filters.rows();
  Object.assign(state, { rows, front: paretoFront(rows, state.goals(), state.apart) });
  const drawn = draw(state);
  const gone = rows.length - drawn;
  document.getElementById('counts').textContent =
    `${count(drawn, 'point', 'points')} of ${report.rows.toLocaleString('en-US')} shown, ${state.front.length.toLocaleString('en-US')} on the front`
    + (gone ? `; ${count(gone, 'has', 'have')} no value on these axes` : '');
  const exact = report.rows === report.allRows || (report.wholeFront && !filters.active() && state.apart === report.by.length > 0 && (!state.overAxes() || onAxes()));
  document.getElementById('exactness').textContent = exact ? '' :
    `This front is that of the points in this page, ${report.rows.toLocaleString('en-US')} of ${report.allRows.toLocaleString('en-US')}.`;
  tellNothing(drawn);
  table.fill(state.front);
}

// What a reader who sees no point can do about it.
function tellNothing(drawn) {
  const home = document.getElementById('nothing');
  home.hidden = drawn > 0;
  const empty = filters.empty();
  const why = empty.length ? `nothing is ticked under ${empty.join(', ')}` : 'no point passes all filters';
  home.replaceChildren(
    filters.active() ? `No points are left: ${why}. ` : 'No point has a value on both axes. ',
    ...(filters.active() ? [make('button', { type: 'button', onclick: filters.reset }, 'Reset filters')] : []));
}

function pick(row) {
  state.picked = state.picked === row ? null : row;
  const panel = document.getElementById('picked');
  panel.hidden = state.picked === null;
  panel.replaceChildren(...(state.picked === null ? [] : details(state.picked)));
  Plotly.relayout('plot', { shapes: ringAround(state) });
  table.show();
}

function axisControls(name, label) {
  const options = axisColumns.map((column) => [column.name, column.label]);
  const log = tick('logarithmic', state[`${name}Log`], (on) => { state[`${name}Log`] = on; update(); });
  const high = tick('higher is better', state[`${name}High`], (on) => { state[`${name}High`] = on; update(); });
  const enable = () => {
    log.input.disabled = !canLog(state[name]);
    log.input.checked = state[`${name}Log`];
    high.input.checked = state[`${name}High`];
  };
  const { select, field } = choice(label, options, state[name].name, (key) => {
    const column = byName.get(key);
    const goal = goals.find((one) => one.column === column);
    Object.assign(state, { [name]: column, [`${name}Log`]: wide(column), [`${name}High`]: goal ? goal.high : column.higher });
    enable();
    update();
  });
  select.id = name;
  log.input.id = `${name}-log`;
  high.input.id = `${name}-high`;
  enable();
  return [field, make('div', { className: 'ticks' }, log.field, high.field)];
}

function makeControls() {
  const home = document.getElementById('axes');
  home.append(...axisControls('x', 'Horizontal'), ...axisControls('y', 'Vertical'));
  const colours = [['', 'none'], ...varying.filter((c) => c.name !== report.key && (c.numbers || c.distinct.length <= MANY)).map((c) => [c.name, c.label])];
  const colour = choice('Colour', colours, report.colour ?? '', (key) => { state.colour = byName.get(key) ?? null; update(); });
  colour.select.id = 'colour';
  home.append(colour.field);
  if (!asOpened) {
    const over = choice('Front over', [['objectives', named(goals)], ['axes', 'the two axes']], state.over, (key) => { state.over = key; update(); });
    over.select.id = 'over';
    home.append(over.field);
  }
  if (report.by.length) {
    const each = report.by.map((name) => byName.get(name).title).join(', ');
    const apart = choice('A front for each', [['apart', each], ['', 'none: one front over all points']], 'apart', (key) => { state.apart = key !== ''; update(); });
    apart.select.id = 'apart';
    home.append(apart.field);
  }
}

function listConstants() {
  const same = columns.filter((column) => !column.varies && column.name !== report.key);
  const home = document.getElementById('same');
  home.parentElement.hidden = !same.length;
  home.append(...same.map((column) => make('div', {}, make('dt', {}, column.title), make('dd', {}, shown(column, 0)))));
}

makeControls();
listConstants();
filters = makeFilters(update);
table = makeTable(state, pick);
update();
const plot = document.getElementById('plot');
plot.on('plotly_relayout', () => retick(state));
plot.on('plotly_hover', showTip);
plot.on('plotly_unhover', hideTip);
plot.on('plotly_click', (event) => {
  const row = hoveredRow(event);
  if (row !== undefined) pick(row);
});
window.addEventListener('scroll', hideTip, { passive: true });
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(state));
