// The labels beside the map: how many of each class and how much ground they cover, a filter, and the labels that pass it.
// Only the rows in sight are in the page.

const VERSION = new URL(import.meta.url).search;
const { coverM2, sizeText, squareMetres } = await import(`./label_shapes.js${VERSION}`);
const { ICONS } = await import(`./label_icons.js${VERSION}`);

const ROW_PX = 26;
const SPARE_ROWS = 6;
const HIDDEN = 'terratune.list.hidden';
const ORIGINS = { drawn: 'Drawn', imported: 'Imported', sam: 'Segment Anything', 'smart-select': 'Smart select' };
const REVIEWS = { '': 'Not looked at', done: 'Done', doubtful: 'Doubtful' };

export class LabelList {
  constructor(editor, box) {
    this.editor = editor;
    this.box = box;
    this.wanted = { cls: null, origin: null, review: null };
    this.shown = []; // ids, newest first
    this.title = L.DomUtil.create('div', 'tt-list-title', box);
    this.summary = L.DomUtil.create('div', 'tt-list-classes', box);
    const filters = L.DomUtil.create('div', 'tt-list-filters', box);
    this.filters = [this.filter(filters, 'origin', 'Any origin', ORIGINS), this.filter(filters, 'review', 'Any review', REVIEWS)];
    this.all = L.DomUtil.create('button', 'tt-list-all', box);
    this.all.type = 'button';
    this.all.addEventListener('click', () => { this.all.blur(); editor.select(this.shown); });
    this.scroll = L.DomUtil.create('div', 'tt-list-rows', box);
    this.inside = L.DomUtil.create('div', '', this.scroll);
    this.scroll.addEventListener('scroll', () => this.drawRows());
    this.scroll.addEventListener('click', (event) => this.clicked(event));
    this.scroll.addEventListener('dblclick', (event) => { const id = this.rowOf(event); if (id) editor.zoomTo([id]); });
    new ResizeObserver(() => this.drawRows()).observe(this.scroll);
    this.showHidden(localStorage.getItem(HIDDEN) === '1');
  }

  filter(parent, name, any, options) {
    const field = L.DomUtil.create('select', '', parent);
    field.setAttribute('aria-label', `Filter: ${name}`);
    field.append(new Option(any, '*'), ...Object.entries(options).map(([value, shown]) => new Option(shown, value)));
    field.addEventListener('change', () => { this.wanted[name] = field.value === '*' ? null : field.value; field.blur(); this.refresh(); });
    return field;
  }

  toggle() { this.showHidden(!this.box.parentElement.classList.contains('tt-no-list')); this.editor.showButtons(); }

  showHidden(hidden) {
    this.box.parentElement.classList.toggle('tt-no-list', hidden);
    try { localStorage.setItem(HIDDEN, hidden ? '1' : '0'); } catch { /* shown again next time */ }
  }

  // Something has changed: once a frame is often enough.
  refresh() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = null; this.draw(); });
  }

  draw() {
    const { labels, classes } = this.editor;
    const totals = new Map(classes.map(({ value }) => [value, { count: 0, cover: 0 }]));
    const { cls, origin, review } = this.wanted;
    const shown = [];
    let whole = 0;
    for (const [id, known] of labels) {
      const { properties } = known.feature;
      const cover = coverM2(known.kind, known.size, properties.width_m);
      const total = totals.get(properties.class_value) || totals.set(properties.class_value, { count: 0, cover: 0 }).get(properties.class_value);
      total.count += 1;
      total.cover += cover;
      if (!this.editor.isHollow(known.feature)) whole += cover;
      const passes = (cls === null || cls === properties.class_value) && (origin === null || origin === properties.origin) && (review === null || review === (properties.review || ''));
      if (passes) shown.push(id);
    }
    this.shown = shown.reverse();
    const many = `${labels.size.toLocaleString('en')} label${labels.size === 1 ? '' : 's'}`;
    this.title.textContent = shown.length === labels.size ? many : `${shown.length.toLocaleString('en')} of ${many}`;
    this.all.hidden = !shown.length;
    this.all.textContent = shown.length === labels.size ? 'Choose all' : `Choose these ${shown.length.toLocaleString('en')}`;
    this.drawClasses(totals, whole);
    this.drawRows();
  }

  drawClasses(totals, whole) {
    const described = JSON.stringify([[...totals], this.wanted.cls, this.editor.classes]);
    if (described === this.classesDrawn) return;
    this.classesDrawn = described;
    this.summary.replaceChildren(...[...totals].map(([value, { count, cover }]) => {
      const cls = this.editor.classWith(value) || { name: 'Removed class', colour: '#888888' };
      const row = document.createElement('button');
      row.type = 'button';
      row.className = `tt-list-class${this.wanted.cls === value ? ' tt-on' : ''}`;
      const share = whole && !cls.hollow ? `${Math.round((100 * cover) / whole)} %` : '';
      row.title = `List only "${cls.name}". ${cls.hollow ? `${squareMetres(cover)}: what is not drawn there is background.` : 'Per cent: share of the ground that labels cover.'}`;
      row.setAttribute('aria-pressed', this.wanted.cls === value);
      row.append(swatch(cls), span(cls.name, 'tt-name'), span(count.toLocaleString('en'), 'tt-count'), span(share, 'tt-share'));
      row.addEventListener('click', () => { row.blur(); this.wanted.cls = this.wanted.cls === value ? null : value; this.refresh(); });
      return row;
    }));
  }

  drawRows() {
    this.inside.style.height = `${this.shown.length * ROW_PX}px`;
    if (!this.shown.length) {
      this.inside.replaceChildren(span(this.editor.labels.size ? 'No label passes the filter.' : 'Nothing is labelled yet. Choose a class above the map, then a tool: T outlines what you click, P draws an area, L a line along a road. ? lists all keys.', 'tt-list-nothing'));
      return;
    }
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / ROW_PX) - SPARE_ROWS);
    const rows = this.shown.filter((id) => this.editor.labels.has(id)).slice(first, first + Math.ceil(this.scroll.clientHeight / ROW_PX) + 2 * SPARE_ROWS);
    this.inside.replaceChildren(...rows.map((id, i) => this.row(id, (first + i) * ROW_PX)));
  }

  row(id, top) {
    const { feature, kind, size } = this.editor.labels.get(id);
    const cls = this.editor.classOf(feature) || { name: `class ${feature.properties.class_value}`, colour: '#888888' };
    const row = document.createElement('div');
    row.className = `tt-row${this.editor.selection.has(id) ? ' tt-on' : ''}`;
    row.style.top = `${top}px`;
    row.dataset.id = id;
    row.title = [ORIGINS[feature.properties.origin], REVIEWS[feature.properties.review || ''], feature.properties.note].filter(Boolean).join(' · ');
    const mark = span('', 'tt-mark');
    if (feature.properties.review) mark.innerHTML = `<svg viewBox="0 0 24 24">${ICONS[feature.properties.review]}</svg>`;
    row.append(swatch(cls), span(cls.name, 'tt-name'), span(sizeText(kind, size, feature.properties.width_m), 'tt-size'), mark);
    return row;
  }

  rowOf({ target }) { const row = target.closest('.tt-row'); return row && row.dataset.id; }

  clicked(event) {
    const id = this.rowOf(event);
    if (!id) return;
    const { selection } = this.editor;
    const at = this.shown.indexOf(id);
    const from = this.shown.indexOf(this.anchor);
    if (event.shiftKey && from >= 0) this.editor.select([...selection, ...this.shown.slice(Math.min(at, from), Math.max(at, from) + 1)]);
    else if (event.ctrlKey || event.metaKey) this.editor.select(selection.has(id) ? [...selection].filter((one) => one !== id) : [...selection, id]);
    else this.editor.select([id], { look: true });
    this.anchor = id;
  }

  // Bring a label's row into sight.
  reveal(id) {
    const at = this.shown.indexOf(id);
    if (at < 0 || (at * ROW_PX >= this.scroll.scrollTop && (at + 1) * ROW_PX <= this.scroll.scrollTop + this.scroll.clientHeight)) return;
    this.scroll.scrollTop = Math.max(0, at * ROW_PX - this.scroll.clientHeight / 2);
  }
}

function span(words, name) {
  const element = document.createElement('span');
  element.className = name;
  element.textContent = words;
  return element;
}

function swatch({ colour, hollow }) {
  const element = document.createElement('i');
  Object.assign(element.style, hollow ? { boxShadow: 'none', border: `2px dashed ${colour}`, boxSizing: 'border-box' } : { background: colour });
  return element;
}
