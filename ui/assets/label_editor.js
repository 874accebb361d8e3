// The labels of a project on the map: what is there, what is chosen, what changes. Every change is applied at once, put into
// the queue, and called saved when the server has answered. Changes made elsewhere arrive by looking every two seconds.
// Tools are in label_tools.js, keys and buttons in label_actions.js, what stands around the map in label_bar.js.

const VERSION = new URL(import.meta.url).search;
const { LabelQueue, newId } = await import(`./label_queue.js${VERSION}`);
const { LabelHistory } = await import(`./label_history.js${VERSION}`);
const { covers, kindOf, labelCanvas, shapeOf, shifted, sizeOf, sizeText, style } = await import(`./label_shapes.js${VERSION}`);
const { makeTools } = await import(`./label_tools.js${VERSION}`);
const { keyOf, makeActions } = await import(`./label_actions.js${VERSION}`);
const { LabelBar } = await import(`./label_bar.js${VERSION}`);
const { LabelList } = await import(`./label_list.js${VERSION}`);
const { person, showHistory, showVersions } = await import(`./label_record.js${VERSION}`);

const LOOK_EVERY_MS = 2000;
const LOOK_HIDDEN_MS = 15000;
const TELL_AFTER_MS = 1500; // the page around the map may wait; edits may not wait for the page
const SNAP_AMONG = 300; // labels in view beyond which drawing no longer snaps to them
const ASK_FROM = 10; // changing or deleting so many at once is asked about
const BRING_UP = 50; // chosen labels, up to so many, are drawn over the others
const SHAPES_WITHIN_MS = 20000;
const CLOSEST_ZOOM = 19;
const CONFLICTS = {
  copied: ['Changed here and elsewhere at the same time.', 'Both versions are kept: yours is a second label with a note.'],
  revived: ['Deleted elsewhere while you changed it.', 'Your version is kept, with a note.'],
  kept: ['Changed elsewhere just before you deleted it.', 'It is still there: look at it, then delete it again if it should go.'],
};
const KEPT_BY_SERVER = ['created', 'changed', 'revision'];
const PRESSES = ['pointerdown', 'pointerup', 'pointercancel'];

const kept = new Map(); // key -> {tool, classValue}: survives leaving the page
const done = new Set(); // ids of commands already carried out

export class LabelEditor {
  constructor(canvas, app) {
    this.canvas = canvas;
    this.map = canvas.map;
    this.app = app;
    this.labels = new Map(); // object id -> {feature, layer, kind, size}
    this.selection = new Set(); // object ids, in the order they were chosen
    this.seen = new Map(); // object id -> version an edit is made from: its revision, or the id of our own latest edit of it
    this.edited = new Set(); // layers whose vertices were changed since the button was pressed
    this.classes = [];
    this.scenes = [];
    this.revision = 0;
    this.etag = '';
    this.connected = true;
    this.snapping = true;
    this.renderer = labelCanvas({ padding: 0.4, tolerance: 5 }).addTo(this.map);
    this.group = L.featureGroup([], { opacity: 1 }).addTo(this.map);
    this.tip = L.tooltip({ sticky: true, opacity: 0.95 });
    this.map.keyboard.disable();
    this.group.setOpacity = (opacity) => { this.group.options.opacity = opacity; if (this.renderer._container) this.renderer._container.style.opacity = opacity; };
    canvas.layerList.addOverlay(this.group, 'Labels');
    this.toolGroups = makeTools(this);
    this.tools = this.toolGroups.flat();
    this.list = new LabelList(this, canvas.side);
    this.actions = makeActions(this);
    this.byKey = new Map(); // one key may mean several things; the first that means something just now is done
    for (const entry of this.actions.flatMap(({ entries }) => entries)) {
      for (const key of entry.keys) this.byKey.set(key, [...(this.byKey.get(key) || []), entry]);
    }
    this.bar = new LabelBar(this);
    this.listen();
  }

  async update(component) {
    this.component = component;
    const { data } = component;
    this.token = data.token;
    this.scenes = data.scenes;
    this.fullyLabelled = { ...data.fullyLabelled, hollow: true }; // what stands for the class of such an area
    this.setClasses(data.classes);
    if (this.journal !== data.journal) await this.open(data.journal, data.lineWidth);
    this.obey(data.command);
    this.tellName();
  }

  // What the page itself does to labels (imports, changes of the classes) is done under the same name.
  tellName() {
    if ((this.toldName || '') === person()) return;
    this.toldName = person();
    this.component.setStateValue('author', this.toldName);
  }

  address(route) { return `${this.app.href}api/${this.token}/${route}`; }

  async open(journal, lineWidth) {
    this.journal = journal;
    if (this.queue) this.queue.close();
    if (this.history) this.history.close();
    this.queue = new LabelQueue(journal, {
      address: () => this.address('operations'), listen: () => this.showState(), answered: (answer) => this.answered(answer), confirm: (count) => this.mayGo(count),
    });
    this.history = new LabelHistory(journal, newId, () => this.showButtons());
    const width = localStorage.getItem(this.widthSlot);
    this.lineWidth = width === null ? lineWidth : (Number(width) || null); // of lines and points drawn from now on; null: none of their own
    const before = kept.get(this.canvas.key) || {};
    if (before.classValue) this.chooseClass(before.classValue);
    this.useTool(before.tool || 'pan');
    await Promise.all([this.look(), this.history.ready]);
    this.queue.send();
  }

  get widthSlot() { return `terratune.width.${this.journal}`; }

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
    if (whole) this.seen.clear();
    if (whole || answer.since === null) {
      const there = new Set(answer.features.map((feature) => feature.id));
      answer.deleted = [...this.labels.keys()].filter((id) => !there.has(id));
    }
    for (const feature of answer.features) this.found(feature.id, feature, answer.revision);
    for (const id of answer.deleted) this.found(id, null, answer.revision);
    if (!this.loaded) {
      for (const edit of this.queue.edits) {
        this.seen.set(edit.object_id, edit.operation_id);
        if (edit.kind === 'delete') this.hide(edit.object_id);
        else this.show(edit.feature);
      }
    }
    this.loaded = true;
    this.revision = answer.revision;
    this.showState();
    this.showButtons();
    this.tellPage();
  }

  // What the server has of an object; edits of it that are on their way go first.
  found(id, feature, revision) {
    if (this.queue.waitsFor(id)) return;
    this.seen.set(id, feature ? feature.properties.revision : revision);
    if (feature) this.show(feature);
    else this.hide(id);
  }

  answered(answer) {
    this.settleConflicts(answer);
    for (const { object_id: id, geometry } of answer.repaired || []) this.settleRepair(id, geometry);
    if (answer.base === this.revision && !answer.conflicts) this.revision = answer.revision;
    if (answer.acknowledged.length) this.saved = true;
    if (answer.rejected && answer.rejected.length) {
      this.complain(answer.rejected[0].fact, answer.rejected[0].remedy);
    }
    if (answer.dropped || (answer.rejected && answer.rejected.length)) {
      this.loaded = false; // show what the server has instead
      this.etag = '';
    }
    this.setConnected(true);
    this.tellPage();
    if (!this.loaded || (answer.base !== undefined && this.revision !== answer.revision)) this.look();
  }

  // Somebody else was quicker: nothing is lost, and it is said.
  settleConflicts({ conflicts = [], revision }) {
    const chosen = new Set(this.selection);
    for (const { object_id: id, feature, kept_as: keptAs, kept } of conflicts) {
      this.found(id, feature, revision);
      if (keptAs === id) continue;
      this.found(keptAs, kept, revision);
      if (kept && chosen.delete(id)) chosen.add(keptAs);
    }
    const told = conflicts.filter(({ kind }) => CONFLICTS[kind]); // merged ones lost nothing
    if (!told.length) return;
    this.select([...chosen]);
    const labels = new Set(told.map((one) => one.object_id)).size;
    const [fact, remedy] = CONFLICTS[told[0].kind];
    this.complain(labels > 1 ? `${labels.toLocaleString('en')} labels: ${fact[0].toLowerCase()}${fact.slice(1)}` : fact, remedy);
  }

  settleRepair(id, geometry) {
    const known = this.labels.get(id);
    if (!known || this.queue.waitsFor(id)) return;
    this.history.repaired(id, JSON.stringify(known.feature.geometry), geometry);
    this.show({ ...known.feature, geometry });
  }

  // --- labels on the map ---------------------------------------------------------------------------------------------

  show(feature) {
    const known = this.labels.get(feature.id);
    if (known && same(known.feature, feature)) { known.feature = feature; return; }
    if (known && JSON.stringify(known.feature.geometry) === JSON.stringify(feature.geometry) && widthOf(known.feature) === widthOf(feature)) {
      known.feature = feature;
      this.restyle(feature.id);
      this.list.refresh();
      return;
    }
    if (known) this.removeLayer(known);
    const kind = kindOf(feature.geometry.type);
    const layer = shapeOf(feature.geometry, {
      ...style(kind, this.classOf(feature), this.selection.has(feature.id)), widthM: widthOf(feature), renderer: this.renderer, snapIgnore: true, bubblingMouseEvents: true,
    });
    layer.labelId = feature.id;
    layer.on('pm:edit', () => { this.edited.add(layer); if (!this.pressing) this.storeEdited(); });
    layer.on('pm:change', () => this.reshaping(layer));
    this.labels.set(feature.id, { feature, layer, kind, size: sizeOf(feature.geometry) });
    this.group.addLayer(layer);
    if (this.isHollow(feature)) layer.bringToBack();
    if (this.selection.has(feature.id) && this.active.chosen) this.active.chosen();
    this.list.refresh();
  }

  hide(id) {
    const known = this.labels.get(id);
    if (!known) return;
    this.removeLayer(known);
    this.labels.delete(id);
    this.selection.delete(id);
    this.tip.remove();
    this.list.refresh();
  }

  removeLayer({ layer }) {
    if (this.active && this.active.gone) this.active.gone(layer);
    this.group.removeLayer(layer);
  }

  restyle(id) {
    const known = this.labels.get(id);
    if (known) known.layer.setStyle(style(known.kind, this.classOf(known.feature), this.selection.has(id)));
  }

  classOf(feature) { return this.classWith(feature.properties.class_value); }

  classWith(value) { return this.classes.find((one) => one.value === value) || (this.fullyLabelled.value === value ? this.fullyLabelled : undefined); }

  // Whether it is a fully labelled area: no object of a class.
  isHollow(feature) { return feature.properties.class_value === this.fullyLabelled.value; }

  currentClass() { return this.classes.find((one) => one.value === this.classValue); }

  // The label at a place: a point before a line before an area, the smaller area first, so that a large one hides nothing. Of a
  // fully labelled area only the edge counts, and only where no other label is.
  labelAt(latlng) {
    const at = this.map.latLngToLayerPoint(latlng);
    const rank = { point: -2, line: -1 };
    let best = null;
    for (let order = this.renderer._drawLast; order; order = order.prev) {
      const { labelId } = order.layer;
      const known = labelId && order.layer._containsPoint(at) ? this.labels.get(labelId) : null;
      const hollow = known && this.isHollow(known.feature);
      if (hollow && !L.Polyline.prototype._containsPoint.call(order.layer, at, true)) continue;
      const worth = known ? rank[known.kind] ?? (hollow ? Number.MAX_VALUE : known.size) : Infinity;
      if (known && (!best || worth < best.worth)) best = { id: labelId, worth };
    }
    return best && best.id;
  }

  // --- what is chosen ------------------------------------------------------------------------------------------------

  // look: bring a label that is out of sight into view.
  select(ids, { look = false } = {}) {
    const before = this.selection;
    this.selection = new Set(ids.filter((id) => this.labels.has(id)));
    for (const id of before) if (!this.selection.has(id)) this.restyle(id);
    for (const id of this.selection) {
      if (before.has(id)) continue;
      this.restyle(id);
      const { layer, feature } = this.labels.get(id);
      if (this.selection.size < BRING_UP && !this.isHollow(feature)) layer.bringToFront();
    }
    this.shaping = null;
    if (this.active && this.active.chosen) this.active.chosen();
    const [only] = this.selection;
    if (look && only && !this.map.getBounds().contains(this.boundsOf([only]).getCenter())) this.zoomTo([only]);
    if (this.selection.size === 1) this.list.reveal(only);
    this.list.refresh();
    this.showButtons();
  }

  // A click with a tool that chooses: Shift adds and takes away.
  choose(id, { originalEvent }) {
    if (!originalEvent.shiftKey) this.select(id ? [id] : []);
    else if (id) this.select(this.selection.has(id) ? [...this.selection].filter((one) => one !== id) : [...this.selection, id]);
  }

  boundsOf(ids) {
    return ids.reduce((bounds, id) => {
      const { layer } = this.labels.get(id);
      return bounds.extend(layer.getBounds ? layer.getBounds() : layer.getLatLng());
    }, L.latLngBounds([]));
  }

  zoomTo(ids) {
    const there = ids.filter((id) => this.labels.has(id));
    if (there.length) this.map.fitBounds(this.boundsOf(there), { maxZoom: Math.max(this.map.getZoom(), CLOSEST_ZOOM), padding: [60, 60], animate: false });
  }

  // The next picture, in their order, seen from the one in the middle of the map.
  goToScene(step) {
    if (!this.scenes.length) return;
    const middles = this.scenes.map(({ geometry }) => L.geoJSON(geometry, { pmIgnore: true }).getBounds());
    const here = this.map.getCenter();
    const away = middles.map((bounds) => bounds.getCenter().distanceTo(here));
    const at = this.scenes.findIndex(({ geometry }) => covers(geometry, here));
    const from = at >= 0 ? at : away.indexOf(Math.min(...away)) - (step > 0 ? 1 : -1);
    this.map.fitBounds(middles[(from + step + middles.length) % middles.length], { animate: false, padding: [12, 12] });
  }

  nextUnreviewed() {
    const ids = [...this.labels.keys()];
    const [chosen] = this.selection;
    const from = ids.indexOf(chosen) + 1;
    const next = [...ids.slice(from), ...ids.slice(0, from)].find((id) => !this.labels.get(id).feature.properties.review);
    if (!next) { this.complain('Every label has been looked at.', ''); return; }
    if (!this.active.keeps) this.useTool('pan');
    this.select([next]);
    this.zoomTo([next]);
  }

  // --- changes -------------------------------------------------------------------------------------------------------

  // Each change is {id, before, after}: features, or null where the object is not there.
  // `tool` is what the history of a label says; `confirmed`: somebody said that as many labels as this deletes may go.
  change(changes, { undoable = true, tool = this.tool, confirmed = false } = {}) {
    if (!changes.length) return;
    if (undoable) this.history.push(changes);
    for (const { id, after } of changes) (after ? this.show(after) : this.hide(id));
    const edits = changes.map(({ id, after }) => ({
      operation_id: newId(), kind: after ? 'upsert' : 'delete', object_id: id, made_from: this.seen.get(id) ?? 0, author: person(), tool,
      ...(after ? { feature: after } : { confirmed }),
    }));
    for (const edit of edits) this.seen.set(edit.object_id, edit.operation_id);
    this.queue.add(edits);
    if (this.active.snapList) this.offerSnapping();
    this.tip.remove();
    this.showButtons();
  }

  create(geometry, value = this.classValue) {
    const id = newId();
    const width = kindOf(geometry.type) === 'area' ? null : this.lineWidth;
    const properties = { class_value: value, origin: 'drawn', note: '', width_m: width, review: '' };
    this.change([{ id, before: null, after: { type: 'Feature', id, geometry, properties } }]);
  }

  copyOf(id, offset) {
    const { feature } = this.labels.get(id);
    return { ...feature, id: newId(), geometry: shifted(this.map, feature.geometry, offset), properties: { ...feature.properties, review: '' } };
  }

  // The vertices of a label are being dragged: its size follows.
  reshaping(layer) {
    const known = this.labels.get(layer.labelId);
    if (!known || known.layer !== layer) return;
    this.shaping = { ...known, feature: { ...known.feature, geometry: layer.toGeoJSON(9).geometry } };
    this.showMeasure();
  }

  // A vertex added and dragged at one press of the button is one edit.
  storeEdited() {
    const layers = [...this.edited];
    this.edited.clear();
    for (const layer of layers) this.reshaped(layer);
  }

  reshaped(layer) {
    const known = this.labels.get(layer.labelId);
    if (!known || known.layer !== layer) return;
    const { geometry } = layer.toGeoJSON(9);
    this.shaping = null;
    if (JSON.stringify(geometry) === JSON.stringify(known.feature.geometry)) return;
    const before = known.feature;
    Object.assign(known, { feature: { ...before, geometry }, size: sizeOf(geometry) });
    this.list.refresh();
    this.change([{ id: layer.labelId, before, after: known.feature }]);
  }

  async remove(ids, { ask = false } = {}) {
    const there = () => ids.filter((id) => this.labels.has(id));
    if (ask && !await this.mayGo(there().length)) return;
    const changes = there().map((id) => ({ id, before: this.labels.get(id).feature, after: null }));
    this.change(changes, { tool: 'delete', confirmed: changes.length >= ASK_FROM });
  }

  // Whether so many labels may be deleted; a few may without a question.
  async mayGo(count, back = 'Undo') {
    return count < ASK_FROM || this.bar.ask(`Delete ${count.toLocaleString('en')} labels?`, `${back} brings them back.`, 'Delete');
  }

  async reclassify(ids, value) {
    const { name } = this.classes.find((one) => one.value === value);
    const classed = ids.filter((id) => this.labels.has(id) && !this.isHollow(this.labels.get(id).feature));
    const others = classed.filter((id) => this.labels.get(id).feature.properties.class_value !== value);
    if (others.length >= ASK_FROM && !await this.bar.ask(`Make ${others.length.toLocaleString('en')} labels "${name}"?`, 'Undo gives them back the classes they had.', 'Change class')) return;
    this.describe(others, { class_value: value }, 'class');
  }

  setWidth(ids, width) {
    this.describe(ids.filter((id) => this.labels.has(id) && this.labels.get(id).kind !== 'area'), { width_m: width }, 'width');
  }

  // Review marks; the same mark again takes it away. A single label marked is a step through the list: N goes on.
  mark(review) {
    const ids = [...this.selection];
    const marked = ids.every((id) => this.labels.get(id).feature.properties.review === review);
    this.describe(ids, { review: marked ? '' : review }, 'review');
  }

  // Give labels other properties; those that have them already are left alone.
  describe(ids, properties, tool) {
    const changes = ids.filter((id) => this.labels.has(id)).map((id) => {
      const before = this.labels.get(id).feature;
      return { id, before, after: { ...before, properties: { ...before.properties, ...properties } } };
    });
    this.change(changes.filter(({ before, after }) => !same(before, after)), { tool });
  }

  // Split, cut or merge: the server works out the shapes, and they are stored like any edit, as one step.
  async reshape(tool, shape) {
    const chosen = this.selection.size > 0 || !shape;
    const near = shape && L.geoJSON(shape, { pmIgnore: true }).getBounds();
    const hollow = (id) => this.isHollow(this.labels.get(id).feature);
    const ids = chosen ? [...this.selection] : [...this.labels.keys()].filter((id) => !hollow(id) && this.boundsOf([id]).intersects(near));
    if (tool === 'merge' && ids.some(hollow) && !ids.every(hollow)) {
      this.complain('A fully labelled area cannot be merged with labels.', 'Choose only areas of that kind, or only labels.');
      return;
    }
    const before = new Map(ids.map((id) => [id, this.labels.get(id).feature]));
    const answer = await this.askShapes({ tool, with: shape, labels: ids.map((id) => ({ id, geometry: before.get(id).geometry })) });
    if (!answer) return;
    if (answer.changed.some(({ id }) => (this.labels.get(id) || {}).feature !== before.get(id))) {
      this.complain('A label was changed at the same moment.', 'Try again.');
      return;
    }
    const made = [];
    const changes = answer.changed.flatMap(({ id, geometries: [first, ...more] }) => {
      const feature = before.get(id);
      const parts = more.map((geometry) => ({ ...feature, id: newId(), geometry }));
      made.push(...parts.map((part) => part.id));
      return [{ id, before: feature, after: first ? { ...feature, geometry: first } : null }, ...parts.map((part) => ({ id: part.id, before: null, after: part }))];
    });
    const gone = changes.filter(({ after }) => !after).length;
    if (tool !== 'merge' && !await this.mayGo(gone)) return;
    this.change(changes, { tool, confirmed: gone >= ASK_FROM });
    if (chosen) this.select([...ids, ...made]);
  }

  async askShapes(question) {
    try {
      const response = await fetch(this.address('shapes'), {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(question), signal: AbortSignal.timeout(SHAPES_WITHIN_MS),
      });
      const answer = await response.json();
      if (response.ok) return answer;
      this.complain(answer.fact, answer.remedy);
    } catch {
      this.complain('Not connected: this needs the server.', 'Try again in a moment.');
    }
    return null;
  }

  merge() { this.reshape('merge'); }

  undo() { this.step(this.history.last(false)); }

  redo() { this.step(this.history.last(true)); }

  async step(step) {
    if (!step) return;
    const [wanted, expected] = step.undone ? ['after', 'before'] : ['before', 'after'];
    const current = ({ id }) => (this.labels.get(id) || {}).feature || null;
    const gone = step.changes.filter((one) => !one[wanted]).length;
    if (gone >= ASK_FROM && (!await this.mayGo(gone, step.undone ? 'Undo' : 'Redo') || step !== this.history.last(step.undone))) return;
    const changes = step.changes.map((one) => ({ id: one.id, after: rebased(current(one), one[expected], one[wanted]) }));
    if (changes.some(({ after }) => after === undefined)) {
      this.complain('That label was changed elsewhere since.', 'This step cannot be taken back; earlier ones can.');
      this.history.dropped(step);
      return;
    }
    const chosen = [...this.selection];
    this.history.took(step);
    const tool = wanted === 'after' ? 'redo' : 'undo';
    this.change(changes, { undoable: false, tool, confirmed: gone >= ASK_FROM });
    if (chosen.length) this.select(chosen);
  }

  // Make the labels what they were in a version. `changes` are as the server told them at `revision`.
  restore(changes, revision) {
    for (const { id, before } of changes) this.found(id, before, revision);
    this.change(changes, { tool: 'restore', confirmed: true });
  }

  showVersions() { showVersions(this); }

  showHistory() { showHistory(this, [...this.selection][0]); }

  // --- tools ---------------------------------------------------------------------------------------------------------

  // The tool that is in hand already stays as it is, with what it has begun.
  useTool(name) {
    if (this.active && this.tool === name) {
      if (!this.active.keeps) this.select([]);
      return;
    }
    if (this.active && this.active.stop) this.active.stop();
    const tool = this.tools.find((one) => one.tool === name) || this.tools[0];
    this.active = tool;
    this.tool = tool.tool;
    if (!tool.keeps) this.select([]);
    this.remember();
    const container = this.map.getContainer();
    for (const one of this.tools) container.classList.toggle(`tt-tool-${one.tool}`, one === tool);
    container.classList.toggle('tt-draws', Boolean(tool.draws || tool.created));
    if (tool.start) tool.start();
    this.tip.remove();
    this.showButtons();
  }

  // Snapping looks at every label on each move of the pointer: only those in view take part, and none where they are many.
  offerSnapping() {
    const view = this.map.getBounds();
    const inView = [...this.labels.values()].filter(({ layer, kind }) => (kind === 'point' ? view.contains(layer.getLatLng()) : view.intersects(layer.getBounds())));
    const near = new Set(inView.length <= SNAP_AMONG ? inView : []);
    for (const known of this.labels.values()) known.layer.options.snapIgnore = !near.has(known);
    if (this.active && this.active.snapList) this.active.snapList();
  }

  toggleSnapping() {
    this.snapping = !this.snapping;
    if (this.active.snap) this.active.snap();
    this.showButtons();
  }

  count() { return this.active && this.active.count ? this.active.count() : 0; }

  measure() { return this.active && this.active.measure ? this.active.measure() : ''; }

  finish() { return Boolean(this.active.finish && this.active.finish()) && this.drawn(); }

  // Take back a vertex; false where none has been placed.
  back() { return Boolean(this.active.back && this.active.back()) && this.drawn(); }

  escape() {
    if (this.bar.closeMenus()) return;
    if (this.active.cancel && this.active.cancel()) this.drawn();
    else if (this.selection.size) this.select([]);
    else this.useTool('pan');
  }

  drawn() { this.showButtons(); return true; }

  setClasses(classes) {
    const changed = JSON.stringify(classes) !== JSON.stringify(this.classes);
    const fresh = this.classes.length ? classes.filter(({ value }) => !this.classes.some((one) => one.value === value)) : [];
    const made = fresh.length === 1 && classes.length > this.classes.length ? fresh[0].value : null;
    this.classes = classes;
    if (made !== null) this.chooseClass(made); // a class just made is the one to draw with
    if (!classes.some((one) => one.value === this.classValue)) this.classValue = classes.length ? classes[0].value : null;
    if (!changed) return;
    for (const id of this.labels.keys()) this.restyle(id);
    this.list.refresh();
    this.showButtons();
  }

  // Draw with a class from now on, and give it to what is chosen.
  pickClass(value) {
    if (this.selection.size) this.reclassify([...this.selection], value);
    this.chooseClass(value);
  }

  chooseClass(value) {
    if (!this.classes.some((one) => one.value === value)) return;
    this.classValue = value;
    this.remember();
    if (this.active && this.active.draws && this.active.refresh) this.active.refresh();
    this.showButtons();
  }

  pressedNumber(number) {
    const cls = this.classes[number - 1];
    if (!cls) return false;
    this.pickClass(cls.value);
    return true;
  }

  setLineWidth(width) {
    this.lineWidth = width;
    localStorage.setItem(this.widthSlot, width ?? '');
    if (this.active.draws && this.active.refresh) this.active.refresh();
    this.showButtons();
  }

  remember() { kept.set(this.canvas.key, { tool: this.tool, classValue: this.classValue }); }

  // --- the page ------------------------------------------------------------------------------------------------------

  async obey(command) {
    if (!command || done.has(command.id)) return;
    done.add(command.id);
    await this.fetchChanges(); // what the page has just done to these labels (a changed class) is no conflict
    if (this.closed) { done.delete(command.id); return; } // for the map that comes after this one
    if (command.kind === 'delete') this.remove(command.object_ids);
    else { this.select(command.object_ids); this.zoomTo(command.object_ids); }
  }

  tellPage() {
    clearTimeout(this.tellTimer);
    this.tellTimer = setTimeout(() => {
      if (this.closed || this.revision === this.told) return;
      if (this.queue.size) { this.tellPage(); return; }
      this.told = this.revision;
      this.component.setStateValue('revision', this.revision);
    }, TELL_AFTER_MS);
  }

  // --- events --------------------------------------------------------------------------------------------------------

  listen() {
    this.map.on('pm:create', ({ layer }) => { this.active.created(layer); this.showButtons(); });
    this.map.on('pm:drawstart', ({ workingLayer }) => {
      workingLayer.on('pm:change', () => this.showMeasure());
      workingLayer.on('pm:vertexadded', () => this.showButtons());
      workingLayer.on('pm:centerplaced', () => { this.active.centred(); this.showButtons(); });
    });
    this.map.on('click', (event) => {
      if (this.active.click) this.active.click(this.labelAt(event.latlng), event);
      this.showStripSoon();
    });
    this.map.on('dblclick', () => {
      if (this.active.doubleClick) this.active.doubleClick();
      this.showStripSoon();
    });
    // A quick click may come without a move of the pointer before it: what it snaps to is looked up for the click itself.
    this.map.on('preclick', (event) => this.active.sync && this.active.sync(event));
    this.map.on('moveend', () => this.active.snapList && this.offerSnapping());
    this.map.on('zoomend', () => this.active.zoomed && this.active.zoomed());
    this.map.on('zoomend', () => this.active.draws === 'line' && this.active.refresh && this.active.refresh());
    this.map.on('mousemove', ({ latlng, containerPoint }) => { this.pointer = latlng; this.pointerAt = containerPoint; this.pointedSoon(); });
    this.map.on('mouseout', () => { this.pointerAt = null; });
    this.map.on('mouseout movestart', () => { this.pointer = null; this.tip.remove(); });
    this.onKey = (event) => this.key(event);
    this.onLeave = (event) => { if (this.queue && this.queue.size) event.preventDefault(); };
    this.onVisible = () => { if (!document.hidden) this.look(); };
    this.onPress = ({ type, target }) => {
      if (type === 'pointerdown') this.bar.closeMenus(target);
      this.pressing = type === 'pointerdown';
      if (!this.pressing) setTimeout(() => this.storeEdited(), 0);
    };
    for (const type of PRESSES) window.addEventListener(type, this.onPress, true);
    window.addEventListener('keydown', this.onKey, true);
    window.addEventListener('beforeunload', this.onLeave);
    document.addEventListener('visibilitychange', this.onVisible);
  }

  showStripSoon() { setTimeout(() => !this.closed && this.showButtons(), 0); }

  pointedSoon() {
    if (this.pointing) return;
    this.pointing = requestAnimationFrame(() => {
      this.pointing = null;
      if (this.closed || !this.pointer) return;
      if (this.count()) this.showMeasure();
      else if (!this.active.draws && !this.active.created) this.showTip(this.pointer);
    });
  }

  key(event) {
    const { target } = event;
    if (!this.canvas.box.isConnected || !target.closest || target.isContentEditable) return;
    // A closed list of choices keeps the focus after a choice; with the pointer on the map, keys are meant for the map.
    if (this.pointerAt && target.matches('[role=combobox][aria-expanded=false]') && !event.target.closest('[role=dialog]')) {
      target.blur();
      document.body.dispatchEvent(new KeyboardEvent('keydown', event));
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    if (target.closest('input:not(.leaflet-sbs-range):not([type=radio]):not([type=checkbox]), textarea, select, [role=dialog], [role=combobox], [role=listbox], [role=grid], [role=slider]')) return;
    if (['Enter', ' '].includes(event.key) && target.closest('button, a, summary, [role=button], [role=tab]')) return;
    if (document.querySelector('[role=dialog][aria-modal=true]')) return;
    const key = keyOf(event);
    for (const entry of this.byKey.get(key) || []) {
      if (!entry.run || entry.run(key) === false) continue;
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    const idle = (this.byKey.get(key) || []).find(({ button, enabled }) => button && enabled && !enabled());
    if (idle && key !== 'backspace') this.bar.advise(`${idle.button}: nothing is chosen that it can be done to. Choose a label with the arrow (V), or in the list.`);
  }

  help() { this.bar.help(); }

  showButtons() { if (this.bar && this.active) this.bar.show(); }

  showMeasure() { this.bar.showHint(); }

  showTip(latlng) {
    const id = this.labelAt(latlng);
    this.map.getContainer().classList.toggle('tt-over-label', Boolean(id));
    const reshaped = this.tool === 'edit' && this.selection.has(id); // nothing covers it
    if (!id || reshaped) { this.tip.remove(); return; }
    const { feature, kind, size } = this.labels.get(id);
    const cls = this.classOf(feature);
    const content = document.createElement('span');
    content.textContent = [cls ? cls.name : `class ${feature.properties.class_value}`, sizeText(kind, size, widthOf(feature)), feature.properties.review].filter(Boolean).join(' · ');
    this.tip.setContent(content).setLatLng(latlng);
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
    this.bar.stateLine.dataset.state = state;
    this.bar.stateLine.dataset.revision = this.revision;
    this.bar.stateLine.dataset.labels = this.labels.size;
    if (this.bar.stateLine.textContent !== said) this.bar.stateLine.textContent = said;
  }

  complain(fact, remedy) { this.bar.complain(fact, remedy); }

  destroy() {
    this.closed = true;
    clearTimeout(this.lookTimer);
    clearTimeout(this.tellTimer);
    if (this.active && this.active.stop) this.active.stop();
    if (this.queue) this.queue.close();
    if (this.history) this.history.close();
    for (const type of PRESSES) window.removeEventListener(type, this.onPress, true);
    window.removeEventListener('keydown', this.onKey, true);
    window.removeEventListener('beforeunload', this.onLeave);
    document.removeEventListener('visibilitychange', this.onVisible);
  }
}

// Full width of a line, diameter of a point, in metres; null where it has none of its own.
const widthOf = (feature) => feature.properties.width_m ?? null;

// What becomes of a label when a step from `from` to `to` is made on it as it is now: fields that the step does not touch stay as
// they are. undefined: what the step would change is not as it was.
function rebased(now, from, to) {
  if (!now || !from || !to) return same(now, from) ? to : undefined;
  const field = (one, name) => JSON.stringify(name === 'geometry' ? one.geometry : one.properties[name] ?? null);
  const touched = ['geometry', ...Object.keys({ ...from.properties, ...to.properties }).filter((name) => !KEPT_BY_SERVER.includes(name))]
    .filter((name) => field(from, name) !== field(to, name));
  if (touched.some((name) => field(now, name) !== field(from, name))) return undefined;
  const after = { ...now, properties: { ...now.properties } };
  for (const name of touched) {
    if (name === 'geometry') after.geometry = to.geometry;
    else after.properties[name] = to.properties[name];
  }
  return after;
}

// Whether two features show the same: geometry, class, width and review mark. Either may be null.
function same(one, other) {
  if (!one || !other) return !one && !other;
  if (one.properties.class_value !== other.properties.class_value || widthOf(one) !== widthOf(other)) return false;
  if ((one.properties.review || '') !== (other.properties.review || '')) return false;
  return JSON.stringify(one.geometry) === JSON.stringify(other.geometry);
}
