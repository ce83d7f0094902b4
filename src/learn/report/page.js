'use strict';
// Sorts and filters tables, shows and hides series, reads points aloud and switches the theme. The page is whole without it.
(function () {
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const made = (name, properties) => Object.assign(document.createElement(name), properties);

  // Theme: as the system has it, light, dark.
  const root = document.documentElement;
  const button = made('button', { id: 'theme', type: 'button' });
  const themes = ['system', 'light', 'dark'];
  const kept = () => { try { return localStorage.getItem('pctr-theme'); } catch { return null; } };
  const use = (theme) => {
    if (theme === 'system') root.removeAttribute('data-theme'); else root.setAttribute('data-theme', theme);
    button.textContent = 'Theme: ' + theme;
    try { localStorage.setItem('pctr-theme', theme); } catch { /* A file may have no storage. */ }
  };
  let theme = themes.includes(kept()) ? kept() : 'system';
  button.addEventListener('click', () => { theme = themes[(themes.indexOf(theme) + 1) % themes.length]; use(theme); });
  use(theme);
  document.querySelector('.top').append(button);

  // Tables. A cell counts by the number it begins with; cells without one stay last.
  const number = (text) => {
    const found = /^[+−-]?[\d,]*\.?\d+(e[−-]?\d+)?/.exec(text.replace(/^[<#]\s*/, ''));
    return found ? Number(found[0].replace(/−/g, '-').replace(/,/g, '')) : NaN;
  };
  for (const table of all('table')) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    // A table of names and values is no list.
    if (rows.length < 2 || table.classList.contains('text')) continue;
    for (const head of all('thead th', table)) {
      const sort = made('button', { type: 'button', textContent: head.textContent });
      head.replaceChildren(sort);
      sort.addEventListener('click', () => {
        const order = { none: 'ascending', ascending: 'descending', descending: 'none' }[head.getAttribute('aria-sort') || 'none'];
        all('thead th', table).forEach((other) => other.removeAttribute('aria-sort'));
        if (order === 'none') { body.append(...rows); return; }
        head.setAttribute('aria-sort', order);
        const text = (row) => row.cells[head.cellIndex].textContent.trim();
        const numbers = rows.filter((row) => Number.isNaN(number(text(row)))).length * 2 < rows.length;
        const sign = order === 'ascending' ? 1 : -1;
        const compare = (a, b) => {
          if (!numbers) return sign * text(a).localeCompare(text(b), 'en', { numeric: true });
          const [x, y] = [number(text(a)), number(text(b))];
          if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
          return sign * (x - y);
        };
        body.append(...rows.slice().sort(compare));
      });
    }
    if (rows.length < 6) continue;
    const label = made('label', { className: 'filter' });
    const input = made('input', { type: 'search' });
    const count = made('output', {});
    input.setAttribute('aria-label', 'Filter rows: ' + table.caption.textContent);
    label.append('Filter', input, count);
    table.parentElement.before(label);
    input.addEventListener('input', () => {
      const wanted = input.value.toLowerCase();
      rows.forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
      count.textContent = wanted ? rows.filter((row) => !row.hidden).length + ' of ' + rows.length + ' rows' : '';
    });
  }

  // Legends show and hide their series. Of many lines with intervals, the first ones are shown at first: more cannot be told apart.
  for (const legend of all('ul.legend')) {
    const figure = legend.closest('figure');
    const crowded = legend.children.length > 4 && figure.querySelector('g[data-s] .line') && figure.querySelector('.whisker');
    Array.from(legend.children).forEach((entry, at) => {
      const toggle = made('button', { type: 'button' });
      toggle.append(...entry.childNodes);
      entry.append(toggle);
      const show = (shown) => {
        toggle.setAttribute('aria-pressed', String(shown));
        all('g[data-s="' + entry.dataset.s + '"]', figure).forEach((group) => group.classList.toggle('off', !shown));
      };
      toggle.addEventListener('click', () => show(toggle.getAttribute('aria-pressed') !== 'true'));
      show(!crowded || at < 3);
    });
    if (crowded) figure.querySelector('figcaption').append(' The first three are shown; click a name for more.');
  }

  // Points: the text of the one under the pointer, or of the one that the arrow keys are at.
  const tip = made('div', { id: 'tip' });
  tip.setAttribute('role', 'status');
  document.body.append(tip);
  all('svg .pt').forEach((point) => {
    const title = point.querySelector('title');
    point.dataset.t = title ? title.textContent : '';
    if (title) title.remove();
  });
  const show = (point) => {
    tip.textContent = point ? point.dataset.t : '';
    if (!point) return;
    const [at, own] = [point.getBoundingClientRect(), tip.getBoundingClientRect()];
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), window.innerWidth - own.width - 8);
    tip.style.left = left + 'px';
    tip.style.top = (at.top > own.height + 12 ? at.top - own.height - 8 : at.bottom + 8) + 'px';
  };
  for (const picture of all('svg')) {
    let read = null;
    const leave = () => { if (read) read.classList.remove('read'); read = null; show(null); };
    picture.addEventListener('pointerover', (event) => show(event.target.closest('.pt')));
    picture.addEventListener('pointerout', () => show(read));
    if (!picture.querySelector('.pt')) continue;
    picture.setAttribute('tabindex', '0');
    picture.setAttribute('aria-describedby', 'keys');
    picture.addEventListener('blur', leave);
    picture.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === 'Escape') leave();
      if (!step) return;
      event.preventDefault();
      const points = all('.pt', picture).filter((point) => !point.closest('.off'));
      const next = points[(points.indexOf(read) + step + points.length + (read ? 0 : step < 0)) % points.length];
      leave();
      if (next) { read = next; read.classList.add('read'); show(read); }
    });
  }

  // On paper nothing is folded away.
  let opened = [];
  window.addEventListener('beforeprint', () => { opened = all('details.group:not([open])'); opened.forEach((one) => { one.open = true; }); });
  window.addEventListener('afterprint', () => opened.forEach((one) => { one.open = false; }));
})();
