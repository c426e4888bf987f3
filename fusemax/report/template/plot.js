// The scatter plot: the points, coloured; the front and the border of what it beats; details of the point under the pointer.

const PALETTE = ['#56B4E9', '#E69F00', '#009E73', '#CC79A7', '#D55E00', '#0072B2', '#B8A900', '#999999'];
const SCALE = [[0, '#3A6FB0'], [0.35, '#3FA7A0'], [0.7, '#B9C24B'], [1, '#F0A030']];
const BUTTONS = [['toImage', 'zoom2d', 'pan2d', 'zoomIn2d', 'zoomOut2d', 'resetScale2d']];
const WIDE = 30;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const wide = (column) => column.distinct[0] > 0 && column.distinct[column.distinct.length - 1] > WIDE * column.distinct[0];
const canLog = (column) => column.distinct[0] > 0;
// Plotly reads a little HTML and TeX in its texts; what users wrote is to be seen as it is.
const plain = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/\$/g, '&#36;');

const numberOr = (column, v) => (column.numbers ? number(v) : v);

let traceRows = [];

// The groups of a colour column of few values: its most frequent values, then the others together.
function groupsOf(column, rows) {
  const frequency = new Array(column.values.length).fill(0);
  for (const code of column.codes) frequency[code] += 1;
  const ranked = column.values.map((_, code) => code).sort((a, b) => frequency[b] - frequency[a] || a - b);
  const room = ranked.length > PALETTE.length ? PALETTE.length - 1 : ranked.length;
  const place = new Array(ranked.length).fill(PALETTE.length - 1);
  ranked.slice(0, room).sort((a, b) => a - b).forEach((code, nth) => { place[code] = nth; });
  const names = [];
  const texts = apart(column, column.values.map((v) => (v === null ? null : numberOr(column, v))));
  ranked.forEach((code) => { names[place[code]] = place[code] < room ? texts[code] : 'others'; });
  const groups = names.map((name, nth) => ({ name, colour: PALETTE[nth], rows: [] }));
  for (const row of rows) groups[place[column.codes[row]]].rows.push(row);
  return { groups, colourOf: (row) => PALETTE[place[column.codes[row]]] };
}

function scaleOf(column) {
  const log = wide(column);
  const at = log ? Math.log10 : (v) => v;
  const low = at(column.distinct[0]);
  const high = at(column.distinct[column.distinct.length - 1]);
  const marks = [0, 1, 2, 3, 4].map((nth) => low + (nth * (high - low)) / 4);
  return {
    colours: (rows) => rows.map((row) => at(column.numbers[row])),
    axis: {
      colorscale: SCALE,
      cmin: low,
      cmax: high,
      colorbar: {
        title: { text: plain(column.title), side: 'right' },
        tickvals: marks,
        ticktext: marks.map((mark) => written(column, Number((log ? 10 ** mark : mark).toPrecision(3)))),
        thickness: 12,
        outlinewidth: 0,
      },
    },
  };
}

function trace(name, rows, state, marker, others = {}) {
  traceRows.push(rows);
  return {
    type: 'scatter',
    mode: 'markers',
    name: plain(name),
    x: rows.map((row) => state.x.numbers[row]),
    y: rows.map((row) => state.y.numbers[row]),
    marker,
    hoverinfo: 'none',
    ...others,
  };
}

// Rows sorted by group, with -1, a row that does not exist, between the groups.
function broken(rows) {
  const sorted = [...rows].sort((a, b) => groups[a] - groups[b]);
  return sorted.flatMap((row, nth) => (nth && groups[row] !== groups[sorted[nth - 1]] ? [-1, row] : [row]));
}

// What an axis without points shows: where all of them are.
function rangeOf(column, log) {
  const ends = [column.distinct[0], column.distinct[column.distinct.length - 1]];
  const [low, high] = log ? ends.map(Math.log10) : ends;
  const room = 0.06 * (high - low) || 0.5;
  return [low - room, high + room];
}

function axisOf(column, log, empty) {
  return {
    title: { text: plain(AT_TICKS.has(column.unit) ? column.title : column.label), standoff: 8 },
    type: log ? 'log' : 'linear',
    exponentformat: 'SI',
    minexponent: WITH_PREFIX.has(column.unit) ? 1 : 3,
    range: empty ? rangeOf(column, log) : undefined,
    automargin: true,
    gridcolor: css('--line'),
    zeroline: false,
  };
}

// A ring around the point that the reader has picked; a shape is drawn anew without drawing all points anew.
function ringAround(state) {
  const at = state.picked === null ? [NaN, NaN] : [state.x.numbers[state.picked], state.y.numbers[state.picked]];
  if (!at.every(Number.isFinite)) return [];
  const [r, k] = [11, 6.075]; // four Bézier curves: plotly's own circle of so many pixels comes out as an ellipse
  const path = `M${-r},0C${-r},${-k} ${-k},${-r} 0,${-r}C${k},${-r} ${r},${-k} ${r},0C${r},${k} ${k},${r} 0,${r}C${-k},${r} ${-r},${k} ${-r},0Z`;
  return [{ type: 'path', path, xsizemode: 'pixel', ysizemode: 'pixel', xanchor: at[0], yanchor: at[1], line: { color: css('--accent'), width: 3 } }];
}

function draw(state) {
  const { rows, front } = state;
  const onFront = new Set(front);
  const there = (row) => Number.isFinite(state.x.numbers[row]) && Number.isFinite(state.y.numbers[row]);
  const others = rows.filter((row) => there(row) && !onFront.has(row));
  const best = front.filter(there).sort((a, b) => state.x.numbers[a] - state.x.numbers[b] || state.y.numbers[a] - state.y.numbers[b]);
  const size = others.length > 5000 ? 4 : others.length > 500 ? 5 : 7;
  const top = { symbol: 'diamond', size: 10, line: { width: 1.5, color: css('--front') } };
  traceRows = [];
  const traces = [];
  let coloraxis;
  if (!state.colour) {
    traces.push(trace('other points', others, state, { size, color: css('--other') }));
    top.color = css('--accent');
  } else if (state.colour.numbers && state.colour.distinct.length > PALETTE.length) {
    const scale = scaleOf(state.colour);
    coloraxis = scale.axis;
    traces.push(trace('other points', others, state, { size, color: scale.colours(others), coloraxis: 'coloraxis' }, { showlegend: false }));
    Object.assign(top, { color: scale.colours(best), coloraxis: 'coloraxis' });
  } else {
    const { groups, colourOf } = groupsOf(state.colour, others);
    for (const group of groups) {
      traces.push(trace(group.name, group.rows, state, { size, color: group.colour, opacity: 0.75 }));
    }
    top.color = best.map(colourOf);
  }
  if (state.overAxes()) {
    const line = { color: css('--front'), width: 1.2, shape: state.xHigh ? 'vh' : 'hv' };
    const path = state.apart ? broken(best) : best;
    traces.push(trace('', path, state, {}, { mode: 'lines', line, showlegend: false, hoverinfo: 'skip' }));
  }
  traces.push(trace('Pareto front', best, state, top, { showlegend: !coloraxis }));
  if (coloraxis) { // Plotly's legend cannot show colours of a scale
    const entry = (name, marker) => ({ ...trace(name, [], state, marker), x: [null], y: [null] });
    traces.push(entry('other points', { size, color: css('--other') }));
    traces.push(entry('Pareto front', { ...top, color: css('--page'), coloraxis: null }));
  }
  const narrow = window.innerWidth < 700;
  const layout = {
    xaxis: axisOf(state.x, state.xLog, !(best.length + others.length)),
    yaxis: axisOf(state.y, state.yLog, !(best.length + others.length)),
    coloraxis,
    shapes: ringAround(state),
    hovermode: 'closest',
    dragmode: narrow ? false : 'zoom',
    showlegend: true,
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, itemclick: false, itemdoubleclick: false,
      title: { text: state.colour && !coloraxis ? plain(state.colour.title) : 'Points' } },
    margin: { l: 60, r: 20, t: 20, b: 50 },
    paper_bgcolor: css('--page'),
    plot_bgcolor: css('--page'),
    font: { family: 'system-ui, "DejaVu Sans", sans-serif', size: 13, color: css('--text') },
    uirevision: [state.x.name, state.y.name, state.xLog, state.yLog].join('|'),
  };
  const config = { displaylogo: false, responsive: true, modeBarButtons: BUTTONS };
  Plotly.react('plot', traces, layout, config);
  retick(state);
  return best.length + others.length;
}

function heading(row) {
  const key = byName.get(report.key);
  return key ? `Point ${shown(key, row)}` : `Row ${(row + 1).toLocaleString('en-US')}`;
}

function details(row) {
  const list = make('dl');
  for (const column of varying) {
    if (column.name !== report.key) list.append(make('div', {}, make('dt', {}, column.title), make('dd', {}, shown(column, row))));
  }
  return [make('div', { className: 'head' }, heading(row)), list];
}

function hoveredRow(event) {
  const point = event.points[0];
  return traceRows[point.curveNumber]?.[point.pointNumber];
}

function showTip(event) {
  const row = hoveredRow(event);
  const tip = document.getElementById('tip');
  if (row === undefined || !event.event) return;
  tip.replaceChildren(...details(row));
  tip.hidden = false;
  const { clientX, clientY } = event.event.touches?.[0] ?? event.event;
  const box = tip.getBoundingClientRect();
  // Beside the point and inside of the axes, so that their titles can be read, as far as there is room.
  const area = document.querySelector('#plot .nsewdrag').getBoundingClientRect();
  const right = Math.min(area.right, window.innerWidth);
  const left = clientX + 16 + box.width > right ? clientX - box.width - 16 : clientX + 16;
  const lowest = Math.min(area.bottom, window.innerHeight) - box.height - 4;
  const below = document.getElementById('plot').getBoundingClientRect().bottom + 4;
  const top = lowest < 4 && below + box.height < window.innerHeight ? below : Math.min(clientY + 12, lowest);
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function hideTip() {
  document.getElementById('tip').hidden = true;
}
