// What stands around the label map: tools and classes above it, what can be done with the chosen labels over it, hint and
// state of saving below it, questions and the sheet of keys on top.

const VERSION = new URL(import.meta.url).search;
const { ICONS } = await import(`./label_icons.js${VERSION}`);
const { shownKey, shownKeys } = await import(`./label_actions.js${VERSION}`);
const { metres, sizeOf, squareMetres } = await import(`./label_shapes.js${VERSION}`);

const MAX_WIDTH_M = 200;
const RARE = ['box', 'freeline', 'freearea', 'circle', 'whole', 'cut', 'split']; // where there is little room, these are in a menu
const STRIP = ['done', 'doubtful', 'zoom', 'duplicate', 'merge', 'square', 'similar', 'refine', 'history', 'remove']; // shown where they can be done

export class LabelBar {
  constructor(editor) {
    this.editor = editor;
    const { box, host } = editor.canvas;
    const bar = L.DomUtil.create('div', 'tt-bar');
    box.insertBefore(bar, box.firstChild);
    this.actions = new Map(editor.actions.flatMap(({ entries }) => entries).filter(({ action }) => action).map((one) => [one.action, one]));
    this.buttons = [];
    const tools = L.DomUtil.create('div', 'tt-tools', bar);
    this.toolButtons = new Map(); // tool -> its buttons
    this.tools = new Map(editor.tools.map((one) => [one.tool, one]));
    for (const group of editor.toolGroups) {
      if (tools.hasChildNodes()) L.DomUtil.create('span', `tt-gap${group.every(({ tool }) => RARE.includes(tool)) ? ' tt-rare' : ''}`, tools);
      for (const { tool } of group) this.toolButton(tools, tool, RARE.includes(tool) ? ' tt-rare' : '');
    }
    this.addMore(tools, bar);
    L.DomUtil.create('span', 'tt-gap', tools);
    for (const action of ['undo', 'redo', 'snap']) this.actionButton(tools, action);
    this.classBar = L.DomUtil.create('div', 'tt-classes', bar);
    this.allClasses = this.menu(bar, 'tt-all-classes', this.button(bar, 'down', '', 'All classes', () => this.allClasses.toggle()));
    const right = L.DomUtil.create('div', 'tt-right', bar);
    this.newWidth = this.widthField(right, 'Line width (m)', 'Lines and points drawn from now on are burnt this wide into tiles. Left empty, the width on the Tiles page holds.', (width) => editor.setLineWidth(width));
    this.actionButton(right, 'list');
    new ResizeObserver(() => this.fitClasses()).observe(bar);
    this.strip = L.DomUtil.create('div', 'tt-strip tt-over', host);
    this.strip.hidden = true;
    L.DomEvent.disableClickPropagation(this.strip);
    const foot = L.DomUtil.create('div', 'tt-foot', box);
    this.hintLine = L.DomUtil.create('span', 'tt-hint', foot);
    this.stateLine = L.DomUtil.create('span', 'tt-state', foot);
    this.stateLine.setAttribute('role', 'status');
    this.actionButton(foot, 'versions');
    this.actionButton(foot, 'help');
    this.complaint = L.DomUtil.create('div', 'tt-complaint tt-over', host);
    this.complaint.setAttribute('role', 'alert');
    this.complaint.hidden = true;
  }

  toolButton(parent, name, className = '') {
    const { key, name: shown, hint, icon } = this.tools.get(name);
    const button = this.button(parent, icon, shown, `${shown} (${shownKey(key)}). ${hint}`, () => { this.closeMenus(); this.editor.useTool(name); });
    button.className += className;
    L.DomUtil.create('kbd', '', button).textContent = key.toUpperCase();
    this.toolButtons.set(name, [...(this.toolButtons.get(name) || []), button]);
  }

  // The tools that are seldom used. While one of them is in hand the button shows it.
  addMore(tools, bar) {
    this.more = this.button(tools, 'down', 'More', 'More tools', () => this.moreTools.toggle());
    this.more.classList.add('tt-more');
    this.moreTools = this.menu(bar, 'tt-more-tools', this.more);
    for (const name of RARE) this.toolButton(this.moreTools.box, name);
  }

  // A box below a button: opened and closed by it, closed by Esc, by a press elsewhere and when something in it was chosen.
  menu(parent, className, button) {
    const box = L.DomUtil.create('div', `tt-menu tt-over ${className}`, parent);
    box.hidden = true;
    button.setAttribute('aria-expanded', 'false');
    button.setAttribute('aria-haspopup', 'true');
    const one = {
      box, button,
      toggle: (open = box.hidden) => {
        box.hidden = !open;
        button.setAttribute('aria-expanded', String(open));
        if (!open) return;
        const { left, bottom } = button.getBoundingClientRect();
        const frame = this.editor.canvas.box.getBoundingClientRect();
        box.style.top = `${bottom - frame.top + 4}px`;
        box.style.left = `${Math.max(4, Math.min(left - frame.left, frame.width - box.offsetWidth - 8))}px`;
      },
    };
    this.menus = [...(this.menus || []), one];
    return one;
  }

  // Whether one was open.
  closeMenus(target = null) {
    const open = (this.menus || []).filter(({ box, button }) => !box.hidden && !(target && (box.contains(target) || button.contains(target))));
    for (const one of open) one.toggle(false);
    return open.length > 0;
  }

  button(parent, icon, name, title, action) {
    const button = L.DomUtil.create('button', 'tt-button', parent);
    button.type = 'button';
    button.title = title;
    button.setAttribute('aria-label', name || title);
    button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[icon]}</svg>`;
    if (name) L.DomUtil.create('span', '', button).textContent = name;
    button.addEventListener('click', () => { button.blur(); action(); });
    return button;
  }

  actionButton(parent, action) {
    const one = this.actions.get(action);
    const button = this.button(parent, one.icon, one.button || '', `${one.what} (${shownKeys(one)})`, () => one.run());
    button.setAttribute('aria-label', one.what);
    this.buttons.push([button, one]);
    return button;
  }

  widthField(parent, name, title, changed) {
    const label = L.DomUtil.create('label', 'tt-width', parent);
    label.title = title;
    L.DomUtil.create('span', '', label).textContent = name;
    const field = L.DomUtil.create('input', '', label);
    Object.assign(field, { type: 'number', min: 0.1, max: MAX_WIDTH_M, step: 0.5 });
    field.setAttribute('aria-label', name);
    field.addEventListener('change', () => {
      const width = field.value === '' ? null : Math.min(Math.max(Number(field.value), 0.1), MAX_WIDTH_M);
      changed(Number.isFinite(width) ? width : null);
    });
    field.addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === 'Escape') field.blur(); });
    return field;
  }

  show() {
    const { editor } = this;
    for (const [tool, buttons] of this.toolButtons) {
      for (const button of buttons) {
        button.classList.toggle('tt-on', tool === editor.tool);
        button.setAttribute('aria-pressed', tool === editor.tool);
      }
    }
    this.showMore(RARE.includes(editor.tool) ? this.tools.get(editor.tool) : null);
    this.newWidth.parentElement.hidden = !['line', 'point'].includes(editor.active.draws);
    const width = editor.lineWidth ?? '';
    if (document.activeElement !== this.newWidth && this.newWidth.value !== String(width)) this.newWidth.value = width;
    const described = JSON.stringify([editor.classes, editor.classValue]);
    if (described !== this.classesShown) { this.classesShown = described; this.showClasses(); }
    this.showStrip();
    for (const [button, { enabled, pressed }] of this.buttons) {
      if (enabled) button.disabled = !enabled();
      if (enabled && this.strip.contains(button)) button.hidden = button.disabled;
      if (pressed) button.setAttribute('aria-pressed', pressed());
    }
    this.showHint();
  }

  showMore(tool) {
    const { icon, name, key } = tool || { icon: 'down', name: 'More', key: '' };
    if (this.moreShown === name) return;
    this.moreShown = name;
    this.more.classList.toggle('tt-on', Boolean(tool));
    this.more.querySelector('svg').innerHTML = ICONS[icon];
    this.more.querySelector('span').textContent = tool ? key.toUpperCase() : name;
    this.more.title = tool ? `${name}. More tools` : 'More tools';
  }

  showClasses() {
    const { classes } = this.editor;
    this.classBar.replaceChildren(...classes.map((cls, i) => this.classButton(cls, i)));
    this.allClasses.box.replaceChildren(...classes.map((cls, i) => this.classButton(cls, i)));
    this.fitClasses();
  }

  classButton(cls, i) {
    const { editor } = this;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = `tt-class${cls.value === editor.classValue ? ' tt-on' : ''}`;
    button.setAttribute('aria-pressed', cls.value === editor.classValue);
    button.title = `Draw "${cls.name}"${i < 9 ? ` (${i + 1})` : ''}; what is chosen gets this class`;
    const swatch = document.createElement('i');
    swatch.style.background = cls.colour;
    const name = document.createElement('span');
    name.textContent = cls.name;
    button.append(swatch, name);
    if (i < 9) button.append(Object.assign(document.createElement('kbd'), { textContent: i + 1 }));
    button.addEventListener('click', () => { button.blur(); this.closeMenus(); editor.pickClass(cls.value); });
    return button;
  }

  // Classes that have no room in the bar are in a menu beside it; the one in hand is always in the bar.
  fitClasses() {
    const buttons = [...this.classBar.children];
    for (const button of buttons) button.hidden = false;
    const { button: all } = this.allClasses;
    all.hidden = true;
    const room = () => this.classBar.clientWidth;
    const needs = (shown) => shown.reduce((sum, button) => sum + button.offsetWidth + 1, 0);
    if (!buttons.length || needs(buttons) <= room()) return;
    all.hidden = false;
    const [chosen] = buttons.filter((button) => button.classList.contains('tt-on'));
    const widths = new Map(buttons.map((button) => [button, button.offsetWidth + 1]));
    let left = room() - (widths.get(chosen) || 0);
    for (const button of buttons) {
      if (button === chosen) continue;
      left -= widths.get(button);
      button.hidden = left < 0;
    }
  }

  // Over the map: while drawing, what ends it (a finger has no Enter key); else what can be done with the chosen labels.
  showStrip() {
    const { editor } = this;
    const drawing = editor.count() > 0;
    const chosen = [...editor.selection].map((id) => editor.labels.get(id)).filter(Boolean);
    const kind = drawing ? `draw ${editor.tool}` : chosen.length ? `chosen ${chosen.some((one) => one.kind !== 'area')}` : '';
    if (kind !== this.stripKind) {
      this.stripKind = kind;
      this.buttons = this.buttons.filter(([button]) => !this.strip.contains(button));
      this.strip.replaceChildren();
      this.chosenWidth = null;
      if (drawing) this.fillDrawing();
      else if (chosen.length) this.fillChosen(chosen.some((one) => one.kind !== 'area'));
      this.strip.hidden = !kind;
    }
    if (!kind || drawing) return;
    this.chosenText.textContent = this.describe(chosen);
    if (!this.chosenWidth || document.activeElement === this.chosenWidth) return;
    const widths = new Set(chosen.filter((one) => one.kind !== 'area').map(({ feature }) => feature.properties.width_m ?? ''));
    this.chosenWidth.value = widths.size === 1 ? [...widths][0] : '';
    this.chosenWidth.placeholder = widths.size > 1 ? 'differ' : '';
  }

  fillDrawing() {
    const { editor } = this;
    if (editor.active.finish && !['rectangle', 'circle'].includes(editor.tool)) {
      this.button(this.strip, 'done', 'Finish', 'Finish (Enter)', () => editor.finish());
      this.button(this.strip, 'back', 'Back', 'Take back the last vertex (Backspace)', () => editor.back());
    }
    this.button(this.strip, 'close', 'Drop', 'Drop what is being drawn (Esc)', () => editor.escape());
  }

  fillChosen(withWidth) {
    this.chosenText = L.DomUtil.create('span', 'tt-chosen', this.strip);
    if (withWidth) {
      this.chosenWidth = this.widthField(this.strip, 'Width (m)', 'Burnt this wide into tiles; left empty, the width on the Tiles page holds.', (width) => this.editor.setWidth([...this.editor.selection], width));
      this.chosenWidth.setAttribute('aria-label', 'Width of the chosen (m)');
    }
    for (const action of STRIP) if (this.actions.has(action)) this.actionButton(this.strip, action);
    this.button(this.strip, 'close', '', 'Let go of what is chosen (Esc)', () => this.editor.select([]));
  }

  describe(chosen) {
    const sum = (wanted) => chosen.filter(({ kind }) => kind === wanted).reduce((total, { size }) => total + size, 0);
    const [length, area] = [sum('line'), sum('area')];
    const what = chosen.length === 1 ? (this.editor.classOf(chosen[0].feature) || { name: 'Removed class' }).name : `${chosen.length.toLocaleString('en')} chosen`;
    return [what, length && metres(length), area && squareMetres(area)].filter(Boolean).join(' · ');
  }

  showHint() {
    const { active } = this.editor;
    const measure = this.editor.measure();
    this.hintLine.textContent = measure || (active ? `${active.name}: ${active.hint}` : '');
    this.hintLine.classList.toggle('tt-measure', Boolean(measure));
    if (this.chosenText && this.editor.shaping) this.chosenText.textContent = this.describe([{ ...this.editor.shaping, size: sizeOf(this.editor.shaping.feature.geometry) }]);
  }

  // In place of the hint, until the next thing is done: no error, and nothing of the map is covered.
  advise(text) {
    this.hintLine.textContent = text;
    this.hintLine.classList.add('tt-measure');
  }

  complain(fact, remedy) {
    this.complaint.textContent = `${fact} ${remedy || ''}`;
    this.complaint.hidden = false;
    clearTimeout(this.complaintTimer);
    this.complaintTimer = setTimeout(() => { this.complaint.hidden = true; }, 9000);
  }

  // A sheet over everything. Esc, Enter on a button or a click beside it ends it. `content` may be a function of what ends it.
  sheet(title, content, buttons) {
    const { box } = this.editor.canvas;
    return new Promise((resolve) => {
      const veil = L.DomUtil.create('div', 'tt-veil tt-over', box);
      const sheet = L.DomUtil.create('div', 'tt-sheet', veil);
      sheet.setAttribute('role', 'dialog');
      sheet.setAttribute('aria-modal', 'true');
      sheet.tabIndex = -1; // a click into it keeps the keys here
      sheet.setAttribute('aria-label', title);
      L.DomUtil.create('h3', '', sheet).textContent = title;
      const end = (answer) => { veil.remove(); resolve(answer); };
      sheet.append(...(typeof content === 'function' ? content(end) : content));
      const row = L.DomUtil.create('div', 'tt-sheet-buttons', sheet);
      buttons.forEach(([words, answer], i) => {
        const button = L.DomUtil.create('button', `tt-sheet-button${i ? '' : ' tt-main'}`, row);
        button.type = 'button';
        button.textContent = words;
        button.addEventListener('click', () => end(answer));
      });
      veil.addEventListener('click', (event) => { if (event.target === veil) end(null); });
      sheet.addEventListener('keydown', (event) => {
        if (event.key !== 'Escape' && (event.key !== '?' || event.target.matches('input'))) return;
        event.stopPropagation();
        end(null);
      });
      row.firstChild.focus({ preventScroll: true });
    });
  }

  async ask(question, remark, yes) {
    const words = L.DomUtil.create('p');
    words.textContent = remark;
    return await this.sheet(question, [words], [[yes, true], ['Cancel', false]]) === true;
  }

  help() {
    const table = L.DomUtil.create('div', 'tt-keys');
    for (const { section, entries } of this.editor.actions) {
      const part = L.DomUtil.create('section', '', table);
      L.DomUtil.create('h4', '', part).textContent = section;
      for (const one of entries) {
        const row = L.DomUtil.create('div', 'tt-key', part);
        L.DomUtil.create('kbd', '', row).textContent = shownKeys(one);
        L.DomUtil.create('span', '', row).textContent = one.what;
        if (one.more) row.title = one.more;
      }
    }
    return this.sheet('Keys', [table], [['Close', null]]);
  }
}
