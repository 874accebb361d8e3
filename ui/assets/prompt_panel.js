// The magic wand's panel on the map: which tool answers, how far it is, what can be done with the outline.

const CHOICE = 'terratune.prompt.model';
const SMART_SELECT = 'smart-select';
const LOOK_EVERY_MS = 700; // while something is being downloaded

const element = (name, className, parent, words = '') => {
  const made = L.DomUtil.create(name, className, parent);
  made.textContent = words;
  return made;
};
const size = (bytes) => (bytes < 1e9 ? `${Math.max(1, Math.round(bytes / 1e6))} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

export class PromptPanel {
  constructor(editor, wand) {
    this.editor = editor;
    this.wand = wand;
    this.models = [];
    this.model = SMART_SELECT;
    try { this.wished = localStorage.getItem(CHOICE) || SMART_SELECT; } catch { this.wished = SMART_SELECT; }
  }

  open() {
    this.build();
    this.panel.hidden = false;
    this.opened = true;
    this.show();
    this.look();
  }

  close() {
    this.opened = false;
    clearTimeout(this.timer);
    this.closeMenu();
    this.panel.hidden = true;
  }

  build() {
    if (this.panel) return;
    const { bar, canvas } = this.editor;
    this.panel = element('div', 'tt-prompt tt-over', canvas.host);
    L.DomEvent.disableClickPropagation(this.panel).disableScrollPropagation(this.panel);
    this.row = element('div', 'tt-prompt-row', this.panel);
    this.chooser = bar.button(this.row, 'down', 'Smart select', 'What outlines the things you click', () => this.toggleMenu());
    this.chooser.classList.add('tt-prompt-model');
    this.chooser.setAttribute('aria-expanded', 'false');
    this.said = element('span', 'tt-prompt-said', this.row);
    this.said.setAttribute('role', 'status');
    this.meter = element('progress', '', this.row);
    this.meter.max = 1;
    this.modes = {
      area: bar.button(this.row, 'everything', 'Everything', 'Outline everything in an area (Shift+E); Shift+drag does the same', () => this.wand.use('area')),
      rough: bar.button(this.row, 'rough', 'Rough outline', 'Draw roughly around a thing; the outline is fitted to the picture (Shift+R)', () => this.wand.use('rough')),
    };
    this.view = bar.button(this.row, 'whole', 'All in view', 'Everything that you see (Enter)', () => this.wand.everything());
    this.alike = bar.button(this.row, 'similar', 'All like it', 'Propose what is like the labels you made last (Shift+S)', () => this.wand.similar(this.wand.examples));
    this.buildFinds();
    this.buttons = {
      accept: bar.button(this.row, 'done', 'Accept', 'Make it a label (Enter)', () => this.wand.finish()),
      another: bar.button(this.row, 'another', 'Other', 'Another possible outline (Tab)', () => this.wand.another()),
      back: bar.button(this.row, 'back', 'Back', 'Take back the last click (Backspace)', () => this.wand.back()),
      drop: bar.button(this.row, 'close', 'Drop', 'Drop the outline (Esc)', () => this.wand.clear()),
    };
    this.buttons.accept.classList.add('tt-prompt-accept');
    this.menu = element('div', 'tt-prompt-menu', this.panel);
    this.menu.hidden = true;
  }

  // Fewer or more of what was found.
  buildFinds() {
    const { bar } = this.editor;
    this.many = element('label', 'tt-prompt-many', this.row);
    this.many.title = 'Offer fewer or more of what was found (, and .)';
    element('span', '', this.many, 'Fewer');
    this.slider = element('input', '', this.many);
    Object.assign(this.slider, { type: 'range', min: 0, step: 1 });
    this.slider.setAttribute('aria-label', 'How many to offer');
    element('span', '', this.many, 'More');
    this.slider.addEventListener('input', () => this.wand.finds.offer(Number(this.slider.value)));
    this.slider.addEventListener('change', () => this.slider.blur()); // the keys are the map's again
    this.none = bar.button(this.row, 'box', 'None', 'Drop all, then click those you want', () => this.wand.finds.none());
  }

  // --- the outline ---------------------------------------------------------------------------------------------------

  show() {
    if (!this.opened) return;
    const { wand, buttons } = this;
    const { last, waiting } = wand;
    this.panel.hidden = this.editor.selection.size > 0;
    const ready = Boolean(last && last.geometry);
    const nothing = Boolean(last && last.answer && !last.geometry);
    const { finds } = wand;
    const many = finds.shown;
    const kept = finds.kept.length;
    this.panel.dataset.mode = wand.mode;
    this.panel.dataset.found = many ? finds.things.length : '';
    this.panel.dataset.kept = many ? kept : '';
    this.panel.dataset.state = many ? 'many' : waiting ? 'busy' : wand.running ? 'asking' : nothing ? 'nothing' : ready ? 'ready' : 'idle';
    this.panel.dataset.clicks = last ? last.points.length : 0;
    this.panel.dataset.candidate = ready ? last.candidate : '';
    this.words(waiting ? this.progress(waiting) : nothing ? 'Nothing found here: click once more, or drag a box around it.' : '');
    const idle = !last && !finds.active;
    for (const [mode, button] of Object.entries(this.modes)) {
      button.hidden = !idle;
      button.setAttribute('aria-pressed', wand.mode === mode);
      button.classList.toggle('tt-on', wand.mode === mode);
    }
    this.view.hidden = !idle || wand.mode !== 'area';
    this.alike.hidden = !idle || wand.mode !== 'one' || !wand.examples.length;
    this.many.hidden = this.none.hidden = !many;
    if (many) {
      Object.assign(this.slider, { max: finds.things.length, value: finds.count });
      this.name(this.none, finds.count ? 'None' : 'Again');
    }
    this.meter.hidden = !waiting;
    if (waiting && waiting.share === null) this.meter.removeAttribute('value');
    else if (waiting) this.meter.value = waiting.share;
    buttons.accept.hidden = !ready && !many;
    buttons.accept.disabled = many && !kept;
    this.name(buttons.accept, many ? `Accept ${kept}` : 'Accept');
    buttons.another.hidden = !ready;
    buttons.another.disabled = !ready || last.scores.length < 2;
    if (ready) this.name(buttons.another, `Other ${last.candidate + 1}/${last.scores.length}`);
    buttons.back.hidden = !last || wand.steps.length < 2;
    buttons.drop.hidden = idle;
    this.name(buttons.drop, waiting ? 'Stop' : 'Drop');
  }

  progress({ stage, share, ahead }) {
    const far = share === null ? '' : ` ${Math.round(share * 100)} %`;
    const then = this.wand.accepting ? '; accepted when complete' : '';
    return ahead > 0 ? `${stage}: ${ahead} before it${then}` : `${stage}${far}${then}`;
  }

  words(said) {
    this.said.textContent = said;
    this.said.hidden = !said;
  }

  name(button, words) {
    button.querySelector('span').textContent = words;
    button.setAttribute('aria-label', words);
  }

  // --- tools to choose from ------------------------------------------------------------------------------------------

  async look() {
    clearTimeout(this.timer);
    try {
      const response = await fetch(this.editor.address('prompt/models'), { cache: 'no-store', signal: AbortSignal.timeout(20000) });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.fact);
      this.take(answer.models);
    } catch {
      if (this.opened && this.menuOpen) this.timer = setTimeout(() => this.look(), LOOK_EVERY_MS);
    }
  }

  take(models) {
    this.models = models;
    const there = (name) => models.find((one) => one.name === name && one.available);
    if (this.model !== this.wished && there(this.wished)) this.choose(this.wished);
    if (this.awaited && there(this.awaited)) { this.choose(this.awaited); this.awaited = null; }
    if (!there(this.model)) this.model = SMART_SELECT;
    this.name(this.chooser, (there(this.model) || { title: 'Smart select' }).title);
    if (!this.opened) return;
    if (this.menuOpen) this.fillMenu();
    if (models.some(({ fetch: fetching }) => fetching && fetching.state === 'running')) this.timer = setTimeout(() => this.look(), LOOK_EVERY_MS);
  }

  choose(name) {
    this.wished = name;
    try { localStorage.setItem(CHOICE, name); } catch { /* chosen for this page only */ }
    if (this.model === name) return;
    this.model = name;
    this.wand.clear();
    this.wand.slow = 0;
    const tool = this.models.find((one) => one.name === name);
    if (tool) this.name(this.chooser, tool.title);
  }

  get menuOpen() { return Boolean(this.menu && !this.menu.hidden); }

  toggleMenu() {
    if (this.closeMenu()) return;
    this.menu.hidden = false;
    this.chooser.setAttribute('aria-expanded', 'true');
    this.fillMenu();
    this.look();
  }

  // Whether it was open.
  closeMenu() {
    if (!this.menuOpen) return false;
    this.menu.hidden = true;
    this.chooser.setAttribute('aria-expanded', 'false');
    return true;
  }

  fillMenu() {
    const scrolled = this.menu.scrollTop;
    const focus = this.menu.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    this.menu.replaceChildren(...this.models.map((one) => this.line(one)));
    if (!this.models.length) element('p', '', this.menu, 'Looking for what this server has ...');
    this.menu.scrollTop = scrolled;
    if (focus) [...this.menu.querySelectorAll('button')].find(({ dataset }) => dataset.act === focus)?.focus();
  }

  line(one) {
    const line = element('section', `tt-prompt-tool${one.name === this.model ? ' tt-on' : ''}`);
    line.dataset.model = one.name;
    const head = element('div', 'tt-prompt-head', line);
    element('strong', '', head, one.title);
    if (one.bytes) element('span', 'tt-prompt-size', head, size(one.bytes));
    const button = (words, act) => {
      const made = element('button', 'tt-sheet-button', head, words);
      made.type = 'button';
      made.dataset.act = `${one.name} ${words}`;
      made.addEventListener('click', act);
      return made;
    };
    const { fetch: fetching } = one;
    if (one.name === this.model) element('span', 'tt-prompt-size', head, 'in use');
    else if (one.available) button('Use', () => { this.choose(one.name); this.closeMenu(); this.show(); });
    else if (fetching && fetching.state === 'running') button('Stop', () => { this.awaited = null; this.send(one.name, 'DELETE'); });
    else button(fetching ? 'Try again' : 'Download', () => { this.awaited = one.name; this.send(one.name, 'POST'); });
    element('p', '', line, one.summary);
    if (one.licence) element('p', 'tt-prompt-licence', line, `Licence: ${one.licence}`);
    if (fetching && fetching.state === 'running') this.download(line, fetching);
    if (fetching && fetching.state === 'failed') element('p', 'tt-prompt-failed', line, `${fetching.fact} ${fetching.remedy}`).setAttribute('role', 'alert');
    return line;
  }

  download(line, { done_bytes: done, total_bytes: total }) {
    const meter = element('progress', '', line);
    Object.assign(meter, { max: total || 1, value: done });
    element('span', 'tt-prompt-size', line, `${size(done)} of ${size(total)}`);
  }

  async send(name, method) {
    try {
      const response = await fetch(this.editor.address(`prompt/models/${name}/fetch`), { method, signal: AbortSignal.timeout(20000) });
      if (!response.ok) { const { fact, remedy } = await response.json(); this.editor.complain(fact, remedy); }
    } catch {
      this.editor.complain('Not connected: this needs the server.', 'Try again in a moment.');
    }
    this.look();
  }
}
