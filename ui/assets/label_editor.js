// Drawing and changing labels on the map: tools, classes, selection, undo. Every change is applied at once, put into the
// queue, and called saved when the server has answered. Changes made elsewhere arrive by looking every two seconds.

const VERSION = new URL(import.meta.url).search;
const { LabelQueue, newId } = await import(`./label_queue.js${VERSION}`);
const { areaM2, kindOf, lengthM, metres, shapeOf, sizeText, squareMetres, style, widthText } = await import(`./label_shapes.js${VERSION}`);

const LOOK_EVERY_MS = 2000;
const LOOK_HIDDEN_MS = 15000;
const TELL_AFTER_MS = 60;
const UNDO_STEPS = 200;
const SNAP_AMONG = 300; // labels in view beyond which drawing no longer snaps to them
const SNAP_PX = 10;
const SAME_PLACE_PX = 3;

const TOOLS = [
  { tool: 'pan', key: 'v', name: 'Pan', hint: 'Drag to move the map, click a label to select it; number keys change its class, Del removes it.' },
  { tool: 'line', key: 'l', name: 'Line', hint: 'Click along the road; double click or Enter ends it, Backspace takes back a vertex, Esc drops it.' },
  { tool: 'polygon', key: 'p', name: 'Area', hint: 'Click the corners; click the first one again or press Enter to close, Backspace takes back a corner.' },
  { tool: 'rectangle', key: 'r', name: 'Box', hint: 'Click two opposite corners.' },
  { tool: 'point', key: 'o', name: 'Point', hint: 'Click to place a point.' },
  { tool: 'edit', key: 'e', name: 'Edit', hint: 'Click a label, then drag its vertices; small dots add one, a right click removes one. Every change is saved.' },
  { tool: 'move', key: 'm', name: 'Move', hint: 'Drag a label to another place.' },
  { tool: 'delete', key: 'd', name: 'Delete', hint: 'Click labels to delete them. Undo brings them back.' },
];
const SHAPES = { line: 'Line', polygon: 'Polygon', rectangle: 'Rectangle' };
const ICONS = {
  pan: '<path d="M5 3l14 8-6.5 1.8L9.5 19z"/>',
  line: '<path d="M5 18l5-8 5 3 4-8"/><circle cx="5" cy="18" r="1.8"/><circle cx="19" cy="5" r="1.8"/>',
  polygon: '<path d="M6 6l11-2 3 10-9 6-7-6z"/>',
  rectangle: '<rect x="4" y="6" width="16" height="12"/>',
  point: '<circle cx="12" cy="12" r="5"/>',
  edit: '<path d="M4 17L12 6l8 11"/><rect x="10" y="4" width="4" height="4"/><rect x="2" y="15" width="4" height="4"/><rect x="18" y="15" width="4" height="4"/>',
  move: '<path d="M12 3v18M3 12h18M12 3l-3 3M12 3l3 3M12 21l-3-3M12 21l3-3M3 12l3-3M3 12l3 3M21 12l-3-3M21 12l-3 3"/>',
  delete: '<path d="M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13"/>',
  undo: '<path d="M8 5L4 9l4 4M4 9h9a6 6 0 010 12h-3"/>',
  redo: '<path d="M16 5l4 4-4 4M20 9h-9a6 6 0 000 12h3"/>',
};
const kept = new Map(); // key -> {tool, classValue}: survives leaving the page
const done = new Set(); // ids of commands already carried out

export class LabelEditor {
  constructor(canvas, app) {
    this.canvas = canvas;
    this.map = canvas.map;
    this.app = app;
    this.labels = new Map(); // object id -> {feature, layer, kind}
    this.classes = [];
    this.revision = 0;
    this.etag = '';
    this.selected = null;
    this.connected = true;
    this.tool = 'pan';
    this.renderer = L.canvas({ padding: 0.4, tolerance: 5 });
    this.group = L.featureGroup().addTo(this.map);
    this.tip = L.tooltip({ sticky: true, opacity: 0.95 });
    this.drawChrome();
    this.listen();
  }

  async update(component) {
    this.component = component;
    const { data } = component;
    this.token = data.token;
    this.setClasses(data.classes);
    this.lineWidth = data.lineWidth; // of lines and points drawn from now on; null: none of their own
    if (this.journal !== data.journal) await this.open(data.journal);
    this.obey(data.command);
  }

  address(route) { return `${this.app.href}api/${this.token}/${route}`; }

  async open(journal) {
    this.journal = journal;
    if (this.queue) this.queue.close();
    this.queue = new LabelQueue(journal, {
      address: () => this.address('operations'), listen: () => this.showState(), answered: (answer) => this.answered(answer),
    });
    this.readHistory();
    const before = kept.get(this.canvas.key) || {};
    if (before.classValue) this.chooseClass(before.classValue);
    this.useTool(before.tool || 'pan');
    await this.look();
    this.queue.send();
  }

  // --- what the server has -------------------------------------------------------------------------------------------

  async look() {
    clearTimeout(this.lookTimer);
    if (this.closed) return;
    if (!this.looking) {
      this.looking = true;
      await this.fetchChanges();
      this.looking = false;
    }
    clearTimeout(this.lookTimer);
    if (!this.closed) this.lookTimer = setTimeout(() => this.look(), document.hidden ? LOOK_HIDDEN_MS : LOOK_EVERY_MS);
  }

  async fetchChanges() {
    const whole = !this.loaded;
    try {
      const response = await fetch(this.address(whole ? 'labels' : `labels?since=${this.revision}`), {
        cache: 'no-store', headers: this.etag ? { 'If-None-Match': this.etag } : {}, signal: AbortSignal.timeout(30000),
      });
      if (response.status === 304) { this.setConnected(true); return; }
      const answer = await response.json();
      if (!response.ok) { this.setConnected(true, answer); return; }
      this.etag = response.headers.get('ETag') || '';
      this.setConnected(true);
      this.take(answer, whole);
    } catch {
      this.setConnected(false);
    }
  }

  take(answer, whole) {
    if (!whole && answer.revision < this.revision) return; // overtaken by an answer to our own edits
    if (whole || answer.since === null) {
      const there = new Set(answer.features.map((feature) => feature.id));
      answer.deleted = [...this.labels.keys()].filter((id) => !there.has(id));
    }
    for (const feature of answer.features) if (!this.queue.waitsFor(feature.id)) this.show(feature);
    for (const id of answer.deleted) if (!this.queue.waitsFor(id)) this.hide(id);
    if (!this.loaded) for (const edit of this.queue.edits) (edit.kind === 'delete' ? this.hide(edit.object_id) : this.show(edit.feature));
    this.loaded = true;
    this.revision = answer.revision;
    this.showState();
    this.tellPage();
  }

  answered(answer) {
    for (const { object_id: id, geometry } of answer.repaired || []) this.settleRepair(id, geometry);
    if (answer.base === this.revision) this.revision = answer.revision;
    if (answer.acknowledged.length) this.saved = true;
    if (answer.rejected && answer.rejected.length) {
      this.complain(answer.rejected[0].fact, answer.rejected[0].remedy);
      this.loaded = false; // show what the server has instead
      this.etag = '';
    }
    this.setConnected(true);
    this.tellPage();
    if (!this.loaded || (answer.base !== undefined && this.revision !== answer.revision)) this.look();
  }

  settleRepair(id, geometry) {
    const known = this.labels.get(id);
    if (!known || this.queue.waitsFor(id)) return;
    const sent = JSON.stringify(known.feature.geometry);
    for (const step of [...this.undone, ...this.steps].flat()) {
      for (const side of ['before', 'after']) {
        if (step.id === id && step[side] && JSON.stringify(step[side].geometry) === sent) step[side] = { ...step[side], geometry };
      }
    }
    this.writeHistory();
    this.show({ ...known.feature, geometry });
  }

  // --- labels on the map ---------------------------------------------------------------------------------------------

  show(feature) {
    const known = this.labels.get(feature.id);
    if (known && same(known.feature, feature)) { known.feature = feature; return; }
    const chosen = this.selected === feature.id;
    if (known) this.removeLayer(known);
    const kind = kindOf(feature.geometry.type);
    const layer = shapeOf(feature.geometry, {
      ...style(kind, this.classOf(feature), chosen), widthM: widthOf(feature), renderer: this.renderer, snapIgnore: true, bubblingMouseEvents: true,
    });
    layer.labelId = feature.id;
    layer.on('pm:edit', () => this.reshaped(layer));
    layer.on('pm:dragend', () => this.reshaped(layer));
    this.labels.set(feature.id, { feature, layer, kind });
    this.group.addLayer(layer);
    if (chosen || this.tool === 'move') this.arm(feature.id);
  }

  hide(id) {
    const known = this.labels.get(id);
    if (!known) return;
    if (this.selected === id) this.select(null);
    this.removeLayer(known);
    this.labels.delete(id);
    this.tip.remove();
  }

  removeLayer({ layer }) {
    this.disarmLayer(layer);
    this.group.removeLayer(layer);
  }

  restyle(id) {
    const known = this.labels.get(id);
    if (known) known.layer.setStyle(style(known.kind, this.classOf(known.feature), this.selected === id));
  }

  classOf(feature) { return this.classes.find((one) => one.value === feature.properties.class_value); }

  // --- changes -------------------------------------------------------------------------------------------------------

  // Each change is {id, before, after}: features, or null where the object is not there.
  change(changes, { undoable = true } = {}) {
    if (!changes.length) return;
    if (undoable) {
      this.steps.push(changes);
      this.steps.splice(0, this.steps.length - UNDO_STEPS);
      this.undone = [];
      this.writeHistory();
    }
    for (const { id, after } of changes) (after ? this.show(after) : this.hide(id));
    this.queue.add(changes.map(({ id, after }) => ({
      operation_id: newId(), kind: after ? 'upsert' : 'delete', object_id: id, ...(after ? { feature: after } : {}),
    })));
    this.showButtons();
  }

  create(geometry) {
    const id = newId();
    const width = kindOf(geometry.type) === 'area' ? null : this.lineWidth;
    const properties = { class_value: this.classValue, origin: 'drawn', note: '', width_m: width };
    this.change([{ id, before: null, after: { type: 'Feature', id, geometry, properties } }]);
  }

  reshaped(layer) {
    const known = this.labels.get(layer.labelId);
    if (!known || known.layer !== layer) return;
    const { geometry } = layer.toGeoJSON(9);
    if (JSON.stringify(geometry) === JSON.stringify(known.feature.geometry)) return;
    const before = known.feature;
    known.feature = { ...before, geometry };
    this.change([{ id: layer.labelId, before, after: known.feature }]);
  }

  remove(ids) {
    this.change(ids.filter((id) => this.labels.has(id)).map((id) => ({ id, before: this.labels.get(id).feature, after: null })));
  }

  reclassify(ids, value) {
    this.describe(ids, { class_value: value });
  }

  setWidth(ids, width) {
    this.describe(ids.filter((id) => this.labels.has(id) && this.labels.get(id).kind !== 'area'), { width_m: width });
  }

  // Give labels other properties; those that have them already are left alone.
  describe(ids, properties) {
    const changes = ids.filter((id) => this.labels.has(id)).map((id) => {
      const before = this.labels.get(id).feature;
      return { id, before, after: { ...before, properties: { ...before.properties, ...properties } } };
    });
    this.change(changes.filter(({ before, after }) => !same(before, after)));
  }

  undo() { this.step(this.steps, this.undone, 'before', 'after'); }

  redo() { this.step(this.undone, this.steps, 'after', 'before'); }

  step(from, to, wanted, expected) {
    const changes = from.pop();
    if (!changes) return;
    const current = ({ id }) => (this.labels.get(id) || {}).feature || null;
    if (changes.some((one) => !same(current(one), one[expected]))) {
      this.complain('That label was changed elsewhere since.', 'This step cannot be taken back; earlier ones can.');
    } else {
      to.push(changes);
      const chosen = this.selected;
      this.change(changes.map((one) => ({ id: one.id, after: one[wanted] })), { undoable: false });
      if (chosen && this.labels.has(chosen)) this.select(chosen);
    }
    this.writeHistory();
    this.showButtons();
  }

  get historySlot() { return `terratune.history.${this.journal}`; }

  readHistory() {
    this.steps = [];
    this.undone = [];
    try {
      Object.assign(this, JSON.parse(sessionStorage.getItem(this.historySlot) || '{}'));
    } catch (error) {
      console.error('The undo history could not be read', error);
    }
    this.showButtons();
  }

  writeHistory() {
    try {
      sessionStorage.setItem(this.historySlot, JSON.stringify({ steps: this.steps, undone: this.undone }));
    } catch {
      this.steps.splice(0, Math.ceil(this.steps.length / 2)); // storage is full: forget the oldest half
    }
  }

  // --- tools ---------------------------------------------------------------------------------------------------------

  useTool(tool) {
    this.map.pm.disableDraw();
    this.disarm();
    if (!['pan', 'edit'].includes(tool)) this.select(null);
    this.tool = tool;
    this.remember();
    const container = this.map.getContainer();
    for (const { tool: name } of TOOLS) container.classList.toggle(`tt-tool-${name}`, name === tool);
    this.measure = '';
    if (SHAPES[tool]) this.startDrawing();
    if (tool === 'move') for (const id of this.labels.keys()) this.arm(id);
    if (tool === 'edit' && this.selected) this.arm(this.selected);
    this.tip.remove();
    this.showButtons();
  }

  startDrawing() {
    this.offerSnapping();
    const colour = (this.classes.find((one) => one.value === this.classValue) || { colour: '#ff9f1c' }).colour;
    this.map.pm.enableDraw(SHAPES[this.tool], {
      snappable: true, snapDistance: SNAP_PX, snapSegment: true, continueDrawing: true, tooltips: false, allowSelfIntersection: true,
      cursorMarker: true, templineStyle: { color: colour, weight: 3, opacity: 1 }, hintlineStyle: { color: colour, weight: 2, dashArray: '5 5' },
      pathOptions: { color: colour, fillColor: colour, fillOpacity: 0.25 }, rectangleAngle: 0,
    });
  }

  // Snapping looks at every label on each move of the pointer: only those in view take part, and none where they are many.
  offerSnapping() {
    const view = this.map.getBounds();
    const inView = [...this.labels.values()].filter(({ layer, kind }) => (kind === 'point' ? view.contains(layer.getLatLng()) : view.intersects(layer.getBounds())));
    const near = new Set(inView.length <= SNAP_AMONG ? inView : []);
    for (const known of this.labels.values()) known.layer.options.snapIgnore = !near.has(known);
    const drawing = SHAPES[this.tool] && this.map.pm.Draw[SHAPES[this.tool]];
    if (drawing && drawing.enabled()) drawing._createSnapList();
  }

  get drawing() {
    const draw = SHAPES[this.tool] ? this.map.pm.Draw[SHAPES[this.tool]] : null;
    return draw && draw.enabled() ? draw : null;
  }

  get vertices() {
    const { drawing } = this;
    if (!drawing) return 0;
    if (this.tool !== 'rectangle') return drawing._markers.length;
    return drawing._startMarker && L.DomUtil.hasClass(drawing._startMarker._icon, 'visible') ? 1 : 0;
  }

  finished(layer) {
    layer.remove();
    this.measure = '';
    const { geometry } = layer.toGeoJSON(9);
    if (geometry.type === 'LineString') geometry.coordinates = this.withoutRepeats(geometry.coordinates);
    this.create(geometry);
  }

  // A double click may leave two vertices next to each other.
  withoutRepeats(coordinates) {
    const place = ([longitude, latitude]) => this.map.latLngToContainerPoint([latitude, longitude]);
    const spread = coordinates.filter((at, i) => i === 0 || place(at).distanceTo(place(coordinates[i - 1])) > SAME_PLACE_PX);
    return spread.length > 1 ? spread : coordinates;
  }

  select(id) {
    const before = this.selected;
    if (before === id) { if (id) this.arm(id); return; }
    if (before) this.disarm(before);
    this.selected = id;
    if (before) this.restyle(before);
    if (id) { this.restyle(id); this.labels.get(id).layer.bringToFront(); this.arm(id); }
    this.tellPage();
    this.showButtons();
  }

  // Let a label be reshaped or dragged, as the tool says.
  arm(id) {
    const { layer, kind } = this.labels.get(id) || {};
    if (!layer || !layer.pm) return;
    if (this.tool === 'move' || (this.tool === 'edit' && kind === 'point' && id === this.selected)) {
      layer.pm.setOptions({ draggable: true });
      layer.pm.enableLayerDrag();
    } else if (this.tool === 'edit' && id === this.selected) {
      this.offerSnapping();
      layer.options.snapIgnore = true;
      layer.pm.enable({ allowSelfIntersection: true, snappable: true, snapDistance: SNAP_PX, draggable: false, removeLayerBelowMinVertexCount: false });
    }
  }

  disarm(only) {
    for (const id of only ? [only] : this.labels.keys()) {
      const known = this.labels.get(id);
      if (known) this.disarmLayer(known.layer);
    }
  }

  disarmLayer({ pm }) {
    if (!pm) return;
    if (pm.enabled()) pm.disable();
    if (pm.layerDragEnabled()) pm.disableLayerDrag();
  }

  clicked(id, event) {
    if (this.tool === 'delete') { L.DomEvent.stop(event); this.remove([id]); }
    else if (this.tool === 'pan' || this.tool === 'edit') { L.DomEvent.stop(event); this.select(id); }
  }

  setClasses(classes) {
    const changed = JSON.stringify(classes) !== JSON.stringify(this.classes);
    this.classes = classes;
    if (!classes.some((one) => one.value === this.classValue)) this.classValue = classes.length ? classes[0].value : null;
    if (!changed) return;
    for (const id of this.labels.keys()) this.restyle(id);
    this.showButtons();
  }

  chooseClass(value) {
    if (!this.classes.some((one) => one.value === value)) return;
    this.classValue = value;
    this.remember();
    const { drawing } = this;
    if (drawing) {
      if (this.vertices) {
        const { colour } = this.classes.find((one) => one.value === value);
        Object.assign(drawing.options.templineStyle, { color: colour });
        Object.assign(drawing.options.hintlineStyle, { color: colour });
        drawing.setStyle();
      } else { this.map.pm.disableDraw(); this.startDrawing(); }
    }
    this.showButtons();
    this.tellPage();
  }

  remember() { kept.set(this.canvas.key, { tool: this.tool, classValue: this.classValue }); }

  // --- what the page asks for ----------------------------------------------------------------------------------------

  obey(command) {
    if (!command || done.has(command.id)) return;
    done.add(command.id);
    const ids = command.object_ids.filter((id) => this.labels.has(id));
    if (command.kind === 'delete') this.remove(ids);
    else if (command.kind === 'reclassify') this.reclassify(ids, command.class_value);
    else if (command.kind === 'width') this.setWidth(ids, command.width_m);
    else if (ids.length) {
      if (!['pan', 'edit'].includes(this.tool)) this.useTool('pan');
      this.select(ids[0]);
      if (command.kind === 'zoom') this.zoomTo(ids);
    }
  }

  zoomTo(ids) {
    const bounds = L.featureGroup(ids.map((id) => this.labels.get(id).layer)).getBounds();
    this.map.fitBounds(bounds, { maxZoom: Math.max(this.map.getZoom(), 19), padding: [60, 60], animate: false });
  }

  tellPage() {
    clearTimeout(this.tellTimer);
    this.tellTimer = setTimeout(() => {
      if (this.closed || this.queue.sending) return;
      const news = { revision: this.revision, selected: this.selected, class_value: this.classValue };
      if (JSON.stringify(news) === this.told) return;
      this.told = JSON.stringify(news);
      this.component.setStateValue('labels', news);
    }, TELL_AFTER_MS);
  }

  // --- events --------------------------------------------------------------------------------------------------------

  listen() {
    this.map.on('pm:create', ({ layer }) => this.finished(layer));
    this.map.on('pm:drawstart', ({ workingLayer }) => workingLayer.on('pm:change', ({ latlngs }) => this.showMeasure(latlngs)));
    this.map.on('click', ({ latlng }) => {
      if (this.tool === 'point') this.create({ type: 'Point', coordinates: [round(latlng.lng), round(latlng.lat)] });
      else if (this.tool === 'pan' || this.tool === 'edit') this.select(null);
    });
    // A quick click may come without a move of the pointer before it: what it snaps to is looked up for the click itself.
    this.map.on('preclick', (event) => this.drawing && this.drawing._syncHintMarker({ ...event }));
    this.map.on('moveend', () => SHAPES[this.tool] && this.offerSnapping());
    this.group.on('click', (event) => event.layer.labelId && this.clicked(event.layer.labelId, event));
    this.group.on('mouseover mousemove', ({ layer, latlng }) => this.showTip(layer, latlng));
    this.group.on('mouseout', () => this.tip.remove());
    this.onKey = (event) => this.key(event);
    this.onLeave = (event) => { if (this.queue && this.queue.size) event.preventDefault(); };
    this.onVisible = () => { if (!document.hidden) this.look(); };
    window.addEventListener('keydown', this.onKey, true);
    window.addEventListener('beforeunload', this.onLeave);
    document.addEventListener('visibilitychange', this.onVisible);
  }

  key(event) {
    const { target } = event;
    if (!this.canvas.box.isConnected || !target.closest || target.isContentEditable) return;
    if (target.closest('input:not(.leaflet-sbs-range):not([type=radio]):not([type=checkbox]), textarea, select, [role=dialog], [role=combobox], [role=listbox], [role=grid], [role=slider]')) return;
    if (document.querySelector('[role=dialog][aria-modal=true]')) return;
    if (this.pressed(event)) { event.preventDefault(); event.stopImmediatePropagation(); }
  }

  // Whether the key meant something here.
  pressed(event) {
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === 'z' && !event.shiftKey && this.vertices && this.drawing._removeLastVertex) { this.takeBackVertex(); return true; }
      if (key === 'z') { if (event.shiftKey) this.redo(); else this.undo(); return true; }
      if (key === 'y') { this.redo(); return true; }
      return false;
    }
    if (event.altKey) return false;
    if (/^[1-9]$/.test(key)) return this.pressedNumber(Number(key));
    const found = TOOLS.find((one) => one.key === key);
    if (found) { this.useTool(found.tool); return true; }
    if (key === 'escape') {
      if (this.vertices) { this.map.pm.disableDraw(); this.startDrawing(); this.showMeasure([]); }
      else if (this.selected) this.select(null);
      else this.useTool('pan');
      return true;
    }
    if (key === 'enter' && this.vertices > 1 && this.tool !== 'rectangle') { this.drawing._finishShape(); return true; }
    if (key === 'backspace' && this.vertices && this.tool !== 'rectangle') { this.takeBackVertex(); return true; }
    if ((key === 'delete' || key === 'backspace') && this.selected) { this.remove([this.selected]); return true; }
    return false;
  }

  pressedNumber(number) {
    const cls = this.classes[number - 1];
    if (!cls) return false;
    if (this.selected) this.reclassify([this.selected], cls.value);
    this.chooseClass(cls.value);
    return true;
  }

  takeBackVertex() {
    if (this.vertices > 1) this.drawing._removeLastVertex();
    else { this.map.pm.disableDraw(); this.startDrawing(); }
  }

  // --- what one sees around the map ----------------------------------------------------------------------------------

  drawChrome() {
    const bar = L.DomUtil.create('div', 'tt-bar');
    this.canvas.box.insertBefore(bar, this.canvas.host);
    const tools = L.DomUtil.create('div', 'tt-tools', bar);
    this.toolButtons = new Map(TOOLS.map(({ tool, key, name, hint }) => {
      const button = this.button(tools, tool, name, `${name} (${key.toUpperCase()}). ${hint}`, () => this.useTool(tool));
      L.DomUtil.create('kbd', '', button).textContent = key.toUpperCase();
      return [tool, button];
    }));
    L.DomUtil.create('span', 'tt-gap', tools);
    this.undoButton = this.button(tools, 'undo', '', 'Undo (Ctrl+Z)', () => this.undo());
    this.redoButton = this.button(tools, 'redo', '', 'Redo (Ctrl+Shift+Z)', () => this.redo());
    this.classBar = L.DomUtil.create('div', 'tt-classes', bar);
    const foot = L.DomUtil.create('div', 'tt-foot', this.canvas.box);
    this.hintLine = L.DomUtil.create('span', 'tt-hint', foot);
    this.stateLine = L.DomUtil.create('span', 'tt-state', foot);
    this.stateLine.setAttribute('role', 'status');
    this.complaint = L.DomUtil.create('div', 'tt-complaint', this.canvas.host);
    this.complaint.setAttribute('role', 'alert');
    this.complaint.hidden = true;
  }

  button(parent, icon, name, title, action) {
    const button = L.DomUtil.create('button', `tt-button tt-${icon}`, parent);
    button.type = 'button';
    button.title = title;
    button.setAttribute('aria-label', name || title);
    button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[icon]}</svg>`;
    if (name) L.DomUtil.create('span', '', button).textContent = name;
    button.addEventListener('click', () => { button.blur(); action(); });
    return button;
  }

  showButtons() {
    for (const [tool, button] of this.toolButtons) {
      button.classList.toggle('tt-on', tool === this.tool);
      button.setAttribute('aria-pressed', tool === this.tool);
    }
    this.undoButton.disabled = !(this.steps && this.steps.length);
    this.redoButton.disabled = !(this.undone && this.undone.length);
    const described = JSON.stringify([this.classes, this.classValue]);
    if (described !== this.classesShown) { this.classesShown = described; this.showClasses(); }
    this.showHint();
  }

  showClasses() {
    this.classBar.replaceChildren(...this.classes.map((cls, i) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = `tt-class${cls.value === this.classValue ? ' tt-on' : ''}`;
      button.setAttribute('aria-pressed', cls.value === this.classValue);
      button.title = `Draw "${cls.name}"${i < 9 ? ` (${i + 1})` : ''}`;
      const swatch = document.createElement('i');
      swatch.style.background = cls.colour;
      const name = document.createElement('span');
      name.textContent = cls.name;
      button.append(swatch, name);
      if (i < 9) button.append(Object.assign(document.createElement('kbd'), { textContent: i + 1 }));
      button.addEventListener('click', () => {
        button.blur();
        if (this.selected) this.reclassify([this.selected], cls.value);
        this.chooseClass(cls.value);
      });
      return button;
    }));
  }

  showHint() { this.hintLine.textContent = this.measure || TOOLS.find(({ tool }) => tool === this.tool).hint; }

  showMeasure(latLngs) {
    const flat = (latLngs || []).flat(3).filter((at) => at && at.lat !== undefined);
    if (this.tool === 'line') this.measure = flat.length > 1 ? `${metres(lengthM(flat.map(L.latLng)))} · double click or Enter ends the line` : '';
    else this.measure = flat.length > 2 ? squareMetres(areaM2(flat)) : '';
    this.showHint();
  }

  showTip(layer, at) {
    const known = this.labels.get(layer.labelId);
    if (!known || SHAPES[this.tool] || this.tool === 'point') return;
    const cls = this.classOf(known.feature);
    const content = document.createElement('span');
    content.textContent = [cls ? cls.name : `class ${known.feature.properties.class_value}`, sizeText(known.kind, layer), widthText(widthOf(known.feature))].filter(Boolean).join(' · ');
    this.tip.setContent(content).setLatLng(at);
    if (!this.tip._map) this.tip.addTo(this.map);
  }

  setConnected(connected, problem) {
    this.connected = connected;
    this.problem = problem && problem.fact ? problem : null;
    if (connected && this.queue && this.queue.size && !this.queue.sending) this.queue.send();
    this.showState();
  }

  showState() {
    if (!this.queue) return;
    const { size, failures, trouble, stored, sending } = this.queue;
    const waiting = `${size} edit${size === 1 ? '' : 's'} waiting`;
    const problem = trouble || this.problem;
    let [state, said] = ['saved', this.loaded ? 'Saved' : 'Loading labels ...'];
    if (problem) [state, said] = ['trouble', `${problem.fact} ${problem.remedy || ''}${size ? ` (${waiting})` : ''}`];
    else if (size && (failures || !this.connected)) [state, said] = ['offline', `Not connected: ${waiting}${stored ? '' : ', only in this page: keep it open'}`];
    else if (!this.connected) [state, said] = ['offline', 'Not connected'];
    else if (size || sending) [state, said] = ['saving', 'Saving ...'];
    this.stateLine.dataset.state = state;
    this.stateLine.dataset.revision = this.revision;
    this.stateLine.dataset.labels = this.labels.size;
    if (this.stateLine.textContent !== said) this.stateLine.textContent = said;
  }

  complain(fact, remedy) {
    this.complaint.textContent = `${fact} ${remedy || ''}`;
    this.complaint.hidden = false;
    clearTimeout(this.complaintTimer);
    this.complaintTimer = setTimeout(() => { this.complaint.hidden = true; }, 9000);
  }

  destroy() {
    this.closed = true;
    clearTimeout(this.lookTimer);
    clearTimeout(this.tellTimer);
    if (this.queue) this.queue.close();
    window.removeEventListener('keydown', this.onKey, true);
    window.removeEventListener('beforeunload', this.onLeave);
    document.removeEventListener('visibilitychange', this.onVisible);
  }
}

const round = (degrees) => Math.round(degrees * 1e9) / 1e9;

// Full width of a line, diameter of a point, in metres; null where it has none of its own.
const widthOf = (feature) => feature.properties.width_m ?? null;

// Whether two features show the same: geometry, class and width. Either may be null.
function same(one, other) {
  if (!one || !other) return !one && !other;
  if (one.properties.class_value !== other.properties.class_value || widthOf(one) !== widthOf(other)) return false;
  return JSON.stringify(one.geometry) === JSON.stringify(other.geometry);
}
