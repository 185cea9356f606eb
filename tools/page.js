/* SPDX-License-Identifier: BSD-3-Clause
 *
 * page.js: what the page of attn plot answers. A row is asked for the keys that it looks at, a column for the queries
 * that look at it; who asks is a word of the text, a word of the matrix, a cell, or the arrow keys. Everything that is
 * shown comes from the numbers in #weights and the words in the page.
 */
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('weights').textContent);
  const heads = data.heads.map(head => {
    const bytes = Uint8Array.from(atob(head.values), c => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const values = Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    return { name: head.name, values };
  });
  const find = selector => document.querySelector(selector);
  const sides = ['rows', 'columns'];
  const other = { rows: 'columns', columns: 'rows' };
  const asks = { rows: 'looks at', columns: 'is looked at by' };
  const buttons = { rows: [...find('#rows').children], columns: [...find('#columns').children] };
  const labels = { rows: [...find('.row-words').children], columns: [...find('.column-words').children] };
  const choices = [...document.querySelectorAll('#heads input')];
  const edges = find('.edges'), scroll = find('.scroll'), cells = find('.cells'), band = find('.band');
  const numbers = [...document.querySelectorAll('.values b')];
  const said = find('#said'), tip = find('#tip');

  let head = 0, asked = 'rows';
  const at = { rows: 0, columns: 0 };

  /* Weights in units, which are a power of two: no bit is lost. */
  const value = (row, column) => heads[head].values[row * data.columns + column];
  const across = (side, i, j) => side === 'rows' ? value(i, j) : value(j, i);

  /* As the other pictures have it: halves go to the even digit, where toFixed takes the larger number. */
  function fixed(weight, digits) {
    const scaled = weight * 10 ** digits, below = Math.floor(scaled);
    return (scaled - below === 0.5 && below % 2 === 0 ? below / 10 ** digits : weight).toFixed(digits);
  }

  function format(value) {
    const weight = value * data.unit;
    if (data.notation === 'f') return fixed(weight, data.digits);
    return data.notation === 'e' ? weight.toExponential(data.digits) : String(Number(weight.toPrecision(data.digits)));
  }

  /* A word with what tells it from its equals; its direction does not reach what stands beside it. */
  function word(side, i) {
    const isolated = document.createElement('bdi');
    isolated.append(...[...buttons[side][i].childNodes].map(node => node.cloneNode(true)));
    return isolated;
  }

  function shade(element, value) {
    const part = data.largest > 0 ? value / data.largest : 0;
    element.style.setProperty('--part', part);
    element.classList.toggle('strong', part > 0.5);
  }

  function sayAnswer(answer) {
    const most = matchMedia('(max-width: 40rem)').matches ? 6 : 12;
    const side = other[asked], line = document.createElement('div'), name = document.createElement('b');
    name.append(word(asked, at[asked]));
    line.append(name, ' ' + asks[asked] + (heads.length > 1 ? ' (' + heads[head].name + ')' : '') + ' ');
    const best = answer.map((_, i) => i).filter(i => Number(format(answer[i])) > 0)
      .sort((a, b) => answer[b] - answer[a] || a - b);
    for (const i of best.slice(0, most)) {
      const item = document.createElement('span');
      item.className = 'item';
      shade(item, answer[i]);
      item.append(word(side, i), ' ' + format(answer[i]));
      line.append(item, ' ');
    }
    if (best.length === 0) line.append('nothing');
    if (best.length > most) line.append('and ' + (best.length - most) + ' more');
    said.replaceChildren(line);
  }

  function mark() {
    const i = at[asked], share = 1 / data[asked], row = asked === 'rows';
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

  function show() {
    const answer = Array.from({ length: data[other[asked]] }, (_, j) => across(asked, at[asked], j));
    for (const side of sides) {
      buttons[side].forEach((button, i) => {
        const chosen = side === asked && i === at[side];
        button.setAttribute('aria-pressed', String(chosen));
        button.tabIndex = i === at[side] ? 0 : -1;
        shade(button, side === asked ? 0 : answer[i]);
        labels[side][i].classList.toggle('chosen', chosen);
      });
    }
    sayAnswer(answer);
    mark();
  }

  /* Scrolls the matrix, and nothing else, until the word's row or column is in it. */
  function reveal(side, i) {
    const box = scroll.getBoundingClientRect(), inner = cells.getBoundingClientRect();
    const [start, end, size, first] = side === 'rows' ? ['top', 'bottom', 'height', 'scrollTop']
      : ['left', 'right', 'width', 'scrollLeft'];
    const words = find('.corner').getBoundingClientRect()[size], cell = inner[size] / data[side];
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
    const count = data[side], next = moves(at[side], count)[event.key];
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
    labels[side].forEach((label, i) => label.addEventListener('click', () => ask(side, i)));
  }

  /* The matrix by keys: up and down ask rows, left and right columns. */
  scroll.addEventListener('keydown', event => {
    if (!step(event, 'rows', (i, count) => ({ ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: count - 1 }))) {
      step(event, 'columns', i => ({ ArrowRight: i + 1, ArrowLeft: i - 1 }));
    }
  });

  function cellUnder(event) {
    const box = cells.getBoundingClientRect();
    const place = (from, length, count) => Math.min(count - 1, Math.max(0, Math.floor((from / length) * count)));
    return { row: place(event.clientY - box.top, box.height, data.rows),
      column: place(event.clientX - box.left, box.width, data.columns) };
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

  choices.forEach((choice, i) => choice.addEventListener('change', () => {
    head = i;
    const picture = cells.querySelector('img');
    picture.src = choice.parentElement.querySelector('img').src;
    picture.alt = heads[i].name;
    numbers.forEach((number, j) => {
      const weight = heads[head].values[j];
      number.textContent = format(weight);
      number.className = weight > data.largest / 2 ? 'strong' : Number(number.textContent) > 0 ? '' : 'nothing';
    });
    show();
  }));

  function showEdges() {
    edges.classList.toggle('more-right', scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 2);
    edges.classList.toggle('more-below', scroll.scrollTop + scroll.clientHeight < scroll.scrollHeight - 2);
  }
  scroll.addEventListener('scroll', showEdges, { passive: true });
  addEventListener('resize', showEdges);

  document.documentElement.classList.add('js');
  show();
  showEdges();
})();
