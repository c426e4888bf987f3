// The Pareto front of some rows: those that no other row beats; equal rows are on it together.

// `goals` are {column, high}: columns of numbers and whether higher is better. Rows without a finite value never count.
function frontOf(rows, goals) {
  const parts = goals.map(({ column, high }) => ({ numbers: column.numbers, sign: high ? -1 : 1 }));
  const usable = rows.filter((row) => parts.every((part) => Number.isFinite(part.numbers[row])));
  const order = (a, b) => {
    for (const { numbers, sign } of parts) {
      if (numbers[a] !== numbers[b]) return sign * (numbers[a] - numbers[b]);
    }
    return a - b;
  };
  const beats = (a, b) => {
    let better = false;
    for (const { numbers, sign } of parts) {
      const gap = sign * (numbers[a] - numbers[b]);
      if (gap > 0) return false;
      if (gap < 0) better = true;
    }
    return better;
  };
  usable.sort(order);
  const best = [];
  // In this order no row beats an earlier one; with two goals the last one found has the best second value.
  for (const row of usable) {
    let beaten = false;
    for (let place = best.length - 1; place >= 0 && !beaten; place -= 1) beaten = beats(best[place], row);
    if (!beaten) best.push(row);
  }
  return best;
}

// The fronts of the groups of some rows, one after the other, or one front of all of them.
function paretoFront(rows, goals, apart) {
  if (!apart) return frontOf(rows, goals);
  const parts = new Map();
  for (const row of rows) {
    if (!parts.has(groups[row])) parts.set(groups[row], []);
    parts.get(groups[row]).push(row);
  }
  return [...parts.values()].flatMap((part) => frontOf(part, goals));
}
