/* SPDX-License-Identifier: BSD-3-Clause
 *
 * page.js: what the page of attn plot answers. A row is asked for the keys that it looks at, a column for the queries
 * that look at it; who asks is a word of the text, a word of the matrix, a cell, or the arrow keys. Everything that is
 * shown comes from the numbers and words in #weights.
 */
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('weights').textContent);
  const heads = data.heads;
  heads.forEach((head, i) => {
    head.words = { rows: head.rowWords || heads[i - 1].words.rows, columns: head.columnWords || heads[i - 1].words.columns };
    for (const name of ['values', 'scores', 'factors']) head[name] = numbers.decode(head[name]);
    head.given = head.values;
  });
  const MOST_CELLS = 10000, MOST_WITH_NUMBERS = 15, MOST_WITH_FACTS = 40, MOST_WITH_LINES = 40;
  const find = selector => document.querySelector(selector);
  const sides = ['rows', 'columns'];
  const other = { rows: 'columns', columns: 'rows' };
  const asks = { rows: 'looks at', columns: 'is looked at by' };
  const labelBoxes = { rows: find('.row-words'), columns: find('.column-words') };
  const choices = [...document.querySelectorAll('#heads input')];
  const edges = find('.edges'), scroll = find('.scroll'), matrix = find('.matrix'), cells = find('.cells');
  const band = find('.band'), said = find('#said'), tip = find('#tip'), lines = find('#lines');
  const slider = find('#temperature');

  let head = heads[0], asked = 'rows';
  const at = { rows: 0, columns: 0 };
  const buttons = {}, labels = {};
  let grid = [], facts = [];

  const value = (row, column) => head.values[row * head.columns + column];
  const rowOf = row => head.values.subarray(row * head.columns, (row + 1) * head.columns);
  const across = (side, i, j) => side === 'rows' ? value(i, j) : value(j, i);
  const format = weight => numbers.format(weight * data.unit, data.notation, data.digits);
  const part = weight => data.largest > 0 ? Math.min(1, weight / data.largest) : 0;

  function create(name, attributes, ...content) {
    const element = document.createElement(name);
    for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
    element.append(...content);
    return element;
  }

  const isRepeated = (side, i) => head.words[side].some((word, j) => j !== i && word === head.words[side][i]);

  /* A word with what tells it from its equals. */
  function letters(side, i) {
    const word = head.words[side][i];
    return isRepeated(side, i) ? [word, create('sub', {}, i)] : [word];
  }

  /* The same in a line of others, which its direction does not reach; and as text. */
  const word = (side, i) => create('bdi', { lang: '' }, ...letters(side, i));
  const spoken = (side, i) => head.words[side][i] + (isRepeated(side, i) ? ' (' + i + ')' : '');

  function shade(element, weight) {
    element.style.setProperty('--part', part(weight));
    element.classList.toggle('strong', part(weight) > 0.5);
  }

  /* What the words are is drawn anew where they are others. */
  function buildWords(side) {
    const texts = head.words[side].map((text, i) => ({ lang: '', dir: 'auto', title: i + ': ' + text }));
    find('#' + side).replaceChildren(...texts.map((attributes, i) =>
      create('button', { type: 'button', ...attributes }, ...letters(side, i))));
    labelBoxes[side].replaceChildren(...texts.map((attributes, i) => create('span', attributes, ...letters(side, i))));
  }

  function takeWords(side) {
    buttons[side] = [...find('#' + side).children];
    labels[side] = [...labelBoxes[side].children];
    labels[side].forEach((label, i) => {
      label.id = side + '-' + i;
      label.setAttribute('role', side === 'rows' ? 'rowheader' : 'columnheader');
    });
  }

  /* A cell that can be walked to for each weight, where they are not too many. */
  function buildGrid() {
    const few = head.rows * head.columns <= MOST_CELLS, small = Math.max(head.rows, head.columns);
    const isLinked = new Map((head.links || []).map(([row, column, possible]) =>
      [row * head.columns + column, possible ? 'possible' : 'sure']));
    for (const old of matrix.querySelectorAll('.values, .facts, .facts-words')) old.remove();
    matrix.style.setProperty('--rows', head.rows);
    matrix.style.setProperty('--columns', head.columns);
    matrix.classList.toggle('numbers', small <= MOST_WITH_NUMBERS);
    matrix.classList.toggle('with-facts', few && small <= MOST_WITH_FACTS);
    cells.classList.toggle('live', few);
    grid = [];
    facts = [];
    if (!few) return;
    grid = Array.from({ length: head.rows * head.columns }, (_, i) => {
      const cell = create('b', { role: 'gridcell', tabindex: -1 });
      cell.link = isLinked.get(i);
      return cell;
    });
    const withFacts = small <= MOST_WITH_FACTS;
    cells.insertBefore(create('div', { class: 'values' }, ...Array.from({ length: head.rows }, (_, row) => create('div',
      { role: 'row', 'aria-owns': 'rows-' + row + (withFacts ? ' bits-' + row + ' keys-' + row : '') },
      ...grid.slice(row * head.columns, (row + 1) * head.columns)))), band);
    if (withFacts) buildFacts();
  }

  /* Beside each row: its entropy and its effective number of keys. */
  function buildFacts() {
    facts = Array.from({ length: head.rows }, (_, row) => ['bits', 'keys'].map(name =>
      create('span', { id: name + '-' + row, role: 'gridcell' })));
    labelBoxes.columns.after(create('div', { class: 'facts-words', 'aria-hidden': 'true' },
      create('span', {}, 'entropy, bits'), create('span', {}, 'effective keys')));
    cells.after(create('div', { class: 'facts' }, ...facts.flat()));
  }

  function showFacts(row, bits) {
    const keys = 2 ** bits, nothing = Number.isNaN(bits), [first, second] = facts[row];
    first.textContent = nothing ? '\u2013' : bits.toFixed(2);
    second.textContent = nothing ? '\u2013' : keys.toFixed(1);
    first.style.setProperty('--bar', nothing || head.columns === 1 ? 0 : bits / Math.log2(head.columns));
    second.style.setProperty('--bar', nothing ? 0 : keys / head.columns);
    first.setAttribute('aria-label', spoken('rows', row) + ': entropy ' + (nothing ? 'none' : bits.toFixed(2) + ' bits'));
    second.setAttribute('aria-label', spoken('rows', row) + ': ' + (nothing ? 'no' : keys.toFixed(1)) + ' effective keys');
  }

  const linkWords = { sure: ', a sure link', possible: ', a possible link' };

  /* Everything that follows from the weights alone. */
  function showWeights() {
    const withNumbers = matrix.classList.contains('numbers');
    let sum = 0, seen = 0;
    for (let row = 0; row < head.rows; row++) {
      const weights = rowOf(row), best = numbers.strongest(weights), bits = numbers.entropy(weights);
      if (!Number.isNaN(bits)) sum += 2 ** bits, seen++;
      if (facts.length > 0) showFacts(row, bits);
      for (let column = 0; grid.length > 0 && column < head.columns; column++) {
        const cell = grid[row * head.columns + column], text = format(weights[column]);
        cell.className = (cell.link || '') + (column === best ? ' best' : '') + (Number(text) > 0 ? '' : ' nothing');
        shade(cell, weights[column]);
        if (withNumbers) cell.textContent = text;
        cell.setAttribute('aria-label', spoken('rows', row) + ' looked ' + text + ' at ' + spoken('columns', column) +
          (column === best ? ', the most' : '') + (linkWords[cell.link] || ''));
      }
    }
    showTemperature(seen > 0 ? sum / seen : 0);
    show();
  }

  function sayAnswer(answer) {
    const most = matchMedia('(max-width: 40rem)').matches ? 6 : 12;
    const side = other[asked], line = document.createElement('div'), name = document.createElement('b');
    name.append(word(asked, at[asked]));
    line.append(name, ' ' + asks[asked] + (heads.length > 1 ? ' (' + head.name + ')' : '') + ' ');
    const best = answer.map((_, i) => i).filter(i => Number(format(answer[i])) > 0)
      .sort((a, b) => answer[b] - answer[a] || a - b);
    for (const i of best.slice(0, most)) {
      const item = create('span', { class: 'item' });
      shade(item, answer[i]);
      item.append(word(side, i), ' ' + format(answer[i]));
      line.append(item, ' ');
    }
    if (best.length === 0) line.append('nothing');
    if (best.length > most) line.append('and ' + (best.length - most) + ' more ');
    const bits = numbers.entropy(answer);
    if (asked === 'rows' && !Number.isNaN(bits)) {
      line.append(create('span', { class: 'bits' }, 'entropy ' + bits.toFixed(2) + ' bits, as of ' + (2 ** bits).toFixed(1) +
        ' keys'));
    }
    said.replaceChildren(line);
  }

  function mark() {
    const i = at[asked], share = 1 / head[asked], row = asked === 'rows';
    const small = find('#heads');
    if (small !== null) {
      small.dataset.asked = asked;
      small.style.setProperty('--from', i * share);
      small.style.setProperty('--share', share);
    }
    band.hidden = false;
    band.style.cssText = (row ? 'left:0;right:0;top:' : 'top:0;bottom:0;left:') + 'calc(var(--cell) * ' + i + ');' +
      (row ? 'height' : 'width') + ':var(--cell)';
  }

  /* Lines between the two texts: thin ones for links, and from the word that asks, as thick as the weights. */
  function draw() {
    const box = lines.getBoundingClientRect();
    const place = (side, i) => {
      const word = buttons[side][i].getBoundingClientRect();
      return [word.left + word.width / 2 - box.left, (side === 'rows' ? word.bottom : word.top) - box.top];
    };
    const line = (kind, row, column, width) => {
      const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      const [x, y] = place('rows', row), [endX, endY] = place('columns', column), bend = (endY - y) / 2;
      path.setAttribute('class', kind);
      path.setAttribute('d', 'M' + [x, y] + 'C' + [x, y + bend, endX, endY - bend, endX, endY]);
      path.style.strokeWidth = width + 'px';
      return path;
    };
    const drawn = [], few = Math.max(head.rows, head.columns) <= MOST_WITH_LINES;
    for (const [row, column, possible] of few && head.links || []) {
      drawn.push(line(possible ? 'link possible' : 'link', row, column, 1));
    }
    for (let j = 0; j < head[other[asked]]; j++) {
      const share = part(across(asked, at[asked], j)), [row, column] = asked === 'rows' ? [at.rows, j] : [j, at.columns];
      if (share >= 0.01) drawn.push(line('weight', row, column, 1 + 9 * share));
    }
    lines.replaceChildren(...drawn);
  }

  function show() {
    const answer = Array.from({ length: head[other[asked]] }, (_, j) => across(asked, at[asked], j));
    for (const side of sides) {
      buttons[side].forEach((button, i) => {
        const chosen = side === asked && i === at[side];
        button.setAttribute('aria-pressed', String(chosen));
        button.tabIndex = i === at[side] ? 0 : -1;
        shade(button, side === asked ? 0 : answer[i]);
        labels[side][i].classList.toggle('chosen', chosen);
      });
    }
    const here = at.rows * head.columns + at.columns;
    for (const cell of matrix.querySelectorAll('b[tabindex="0"]')) cell.tabIndex = -1;
    if (grid.length > 0) grid[here].tabIndex = 0;
    scroll.tabIndex = grid.length > 0 ? -1 : 0;
    sayAnswer(answer);
    mark();
    draw();
  }

  /* Scrolls the matrix, and nothing else, until the word's row or column is in it. */
  function reveal(side, i) {
    const box = scroll.getBoundingClientRect(), inner = cells.getBoundingClientRect();
    const [start, end, size, first] = side === 'rows' ? ['top', 'bottom', 'height', 'scrollTop']
      : ['left', 'right', 'width', 'scrollLeft'];
    const words = find('.corner').getBoundingClientRect()[size], cell = inner[size] / head[side];
    const from = inner[start] + i * cell - (box[start] + words), to = inner[start] + (i + 1) * cell - box[end] + 16;
    if (from < 0) scroll[first] += from;
    else if (to > 0) scroll[first] += to;
  }

  function ask(side, i) {
    asked = side;
    at[side] = i;
    show();
    reveal(side, i);
  }

  function step(event, side, moves) {
    const count = head[side], next = moves(at[side], count)[event.key];
    if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return false;
    event.preventDefault();
    ask(side, (next + count) % count);
    return true;
  }

  for (const side of sides) {
    find('#' + side).addEventListener('click', event => {
      const i = buttons[side].indexOf(event.target.closest('button'));
      if (i >= 0) ask(side, i);
    });
    find('#' + side).addEventListener('keydown', event => {
      const moved = step(event, side, (i, count) => ({ ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1,
        Home: 0, End: count - 1 }));
      if (moved) buttons[side][at[side]].focus();
    });
    labelBoxes[side].addEventListener('click', event => {
      const i = labels[side].indexOf(event.target.closest('span'));
      if (i >= 0) ask(side, i);
    });
  }

  /* The matrix by keys: up and down ask rows, left and right columns; Enter asks the row of the cell, with Shift its
   * column. */
  scroll.addEventListener('keydown', event => {
    const moved = step(event, 'rows', (i, count) => ({ ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: count - 1 })) ||
      step(event, 'columns', i => ({ ArrowRight: i + 1, ArrowLeft: i - 1 })) ||
      step(event, event.shiftKey ? 'columns' : 'rows', i => ({ Enter: i, ' ': i }));
    if (moved && grid.length > 0) grid[at.rows * head.columns + at.columns].focus({ preventScroll: true });
  });

  function cellUnder(event) {
    const box = cells.getBoundingClientRect();
    const place = (from, length, count) => Math.min(count - 1, Math.max(0, Math.floor((from / length) * count)));
    return { row: place(event.clientY - box.top, box.height, head.rows),
      column: place(event.clientX - box.left, box.width, head.columns) };
  }

  cells.addEventListener('click', event => {
    const { row, column } = cellUnder(event);
    at.columns = column;
    ask('rows', row);
  });
  cells.addEventListener('pointermove', event => {
    if (event.pointerType === 'touch') return;
    const { row, column } = cellUnder(event);
    tip.replaceChildren(word('rows', row), ' \u2192 ', word('columns', column), ' ' + format(value(row, column)));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.min(event.clientX + 14, innerWidth - width - 4) + 'px';
    tip.style.top = (event.clientY + 18 + height > innerHeight ? event.clientY - height - 8 : event.clientY + 18) + 'px';
  });
  cells.addEventListener('pointerleave', () => { tip.hidden = true; });

  /* The temperature: null is the model's own, with the weights that it gave. */
  let temperature = null;

  function showTemperature(keys) {
    if (slider === null) return;
    const now = temperature === null ? head.temperature : temperature;
    const text = Number(now.toPrecision(3)) + (temperature === null ? ', as the model has it' : '');
    const average = keys.toFixed(1) + ' effective keys on average';
    find('#keys').textContent = (head.scores === null ? '' : text + '; ') + average;
    slider.setAttribute('aria-valuetext', text + '; ' + average);
  }

  function setTemperature(to) {
    temperature = to;
    const now = to === null ? head.temperature : to;
    slider.value = Math.round(100 * Math.log10(now));
    find('#as-given').disabled = to === null;
    head.values = to === null ? head.given : numbers.weightsAt(head, to, data.unit);
    showWeights();
  }

  if (slider !== null) {
    slider.addEventListener('input', () => setTemperature(10 ** (slider.value / 100)));
    find('#as-given').addEventListener('click', () => setTemperature(null));
  }

  function describe() {
    if (slider === null) return;
    find('#about').textContent = head.note || '';
    find('#reference').replaceChildren(...head.reference === undefined ? []
      : ['Reference: ', create('span', { lang: '', dir: 'auto' }, head.reference)]);
    slider.disabled = head.scores === null;
    find('#softmax').classList.toggle('disabled', head.scores === null);
    find('#softmax-note').textContent = head.scores === null
      ? 'Its weights cannot be computed at another temperature, as the file has no scores for this model.'
      : 'Softmax of the scores' + (head.factors === null ? '' : ', times the factor of each cell') +
        ': a lower temperature is sharper, a higher one more even.';
  }

  function choose(i) {
    const before = head;
    head = heads[i];
    for (const side of sides) {
      if (head.words[side] !== before.words[side]) buildWords(side);
      if (head !== before && head.words[side] === before.words[side]) continue;
      takeWords(side);
      at[side] = Math.min(at[side], head[side] - 1);
    }
    const picture = cells.querySelector('img');
    if (choices.length > 0) picture.src = choices[i].parentElement.querySelector('img').src;
    picture.alt = head.rows * head.columns <= MOST_CELLS ? '' : head.name;
    if (heads.length > 1) find('#matrix-title').textContent = 'All weights of ' + head.name;
    buildGrid();
    describe();
    if (slider === null) showWeights();
    else setTemperature(null);
    showEdges();
  }

  choices.forEach((choice, i) => choice.addEventListener('change', () => choose(i)));

  function showEdges() {
    edges.classList.toggle('more-right', scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 2);
    edges.classList.toggle('more-below', scroll.scrollTop + scroll.clientHeight < scroll.scrollHeight - 2);
  }
  scroll.addEventListener('scroll', showEdges, { passive: true });
  addEventListener('resize', () => {
    showEdges();
    draw();
  });

  document.documentElement.classList.add('js');
  if (heads[0].rows * heads[0].columns <= MOST_CELLS) {
    matrix.setAttribute('role', 'grid');
    matrix.setAttribute('aria-labelledby', 'matrix-title');
    labelBoxes.columns.setAttribute('role', 'row');
  }
  choose(0);
})();
