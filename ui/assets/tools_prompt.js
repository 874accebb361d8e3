// The magic wand: a click, a box -> an outline, straight from the route `prompt` and back, without the page. Every click goes on
// from the outline before it. What can answer is chosen in prompt_panel.js; many outlines at once are in prompt_finds.js.

const VERSION = new URL(import.meta.url).search;
const { newId } = await import(`./label_queue.js${VERSION}`);
const { onDrag } = await import(`./label_pointer.js${VERSION}`);
const { covers, latLngsOf, pixelsOf, sizeOf, squareMetres } = await import(`./label_shapes.js${VERSION}`);
const { PromptPanel } = await import(`./prompt_panel.js${VERSION}`);
const { Finds } = await import(`./prompt_finds.js${VERSION}`);

const SMART_SELECT = 'smart-select';
const ANSWER_WITHIN_MS = 120000;
const TELL_AFTER_MS = 300; // a wait shorter than this is not told
const WHOLE_WITHIN_MS = 180000; // so long the parts of a large object are waited for
const SAME_CLICK_PX = 3; // a double click is one click
const SMALLEST_BOX_PX = 5;
const REST_MS = 120; // a pointer that rests so long gets a preview
const QUICK_MS = 400;
const SLOW_PREVIEWS = 3; // after so many in a row there are none until a click was answered quickly
const NOT_READY_MS = 1500;
const SMALLEST_ROUGH_PX = 12;
const ROUGH_STEP_PX = 3;
const LIKE_AT_MOST = 50;

// What the next drag does; a click belongs to the first only.
const MODES = {
  one: null,
  area: 'Drag over an area, or press Enter for all you see.',
  rough: 'Draw roughly around the thing with the button held; the outline is fitted to the picture.',
};

const STOPPED = { fact: 'Stopped.' };

export function promptTools(editor) { return [new Wand(editor)]; }

class Wand {
  constructor(editor) {
    Object.assign(this, {
      tool: 'wand', key: 't', name: 'Magic wand', icon: 'wand', draws: 'area',
      hint: 'Click a thing to outline it; Shift+click or right click what does not belong, drag a box around it. Enter accepts.',
    });
    this.editor = editor;
    this.map = editor.map;
    this.client = newId();
    this.steps = []; // clicks, boxes and rough areas so far, each with what it was answered
    this.mode = 'one';
    this.accepted = []; // ids of the labels made last
    this.finds = new Finds(editor, this);
    this.panel = new PromptPanel(editor, this);
  }

  start() {
    this.marks = L.layerGroup([], { pmIgnore: true }).addTo(this.map);
    this.ghost = L.layerGroup([], { pmIgnore: true }).addTo(this.map);
    this.finds.start();
    this.stopDragging = this.listenForDrag();
    this.onContext = (event) => {
      event.originalEvent.preventDefault();
      if (!event.originalEvent.target.closest('.leaflet-control, .tt-over')) this.press(event.latlng, false);
    };
    this.map.on('contextmenu', this.onContext);
    this.onMove = (event) => this.pointed(event);
    const box = this.map.getContainer();
    box.addEventListener('pointermove', this.onMove);
    box.addEventListener('pointerleave', this.onMove);
    this.slow = 0;
    this.panel.open();
  }

  stop() {
    this.clear();
    this.mode = 'one';
    this.finds.stop();
    this.stopDragging();
    this.map.off('contextmenu', this.onContext);
    const box = this.map.getContainer();
    box.removeEventListener('pointermove', this.onMove);
    box.removeEventListener('pointerleave', this.onMove);
    this.hideGhost();
    this.marks.remove();
    this.ghost.remove();
    this.panel.close();
  }

  // --- what the person does ------------------------------------------------------------------------------------------

  click(_, { latlng, originalEvent }) { this.press(latlng, !originalEvent.shiftKey); }

  press(latlng, wanted) {
    if (this.finds.shown) this.finds.toggle(latlng);
    else if (MODES[this.mode] && !this.last) this.editor.complain(MODES[this.mode], '');
    else if (!this.finds.active) this.point(latlng, wanted);
  }

  // A drag is a box around one thing, with Shift or in the mode "area" an area to search, in the mode "rough" a rough outline.
  listenForDrag() {
    let from = null;
    let path = [];
    let drawn = null;
    let area = false;
    const looks = { color: '#fff', weight: 2, dashArray: '5 4', fillOpacity: 0.08, interactive: false, pmIgnore: true };
    const drop = () => { if (drawn) drawn.remove(); drawn = null; };
    return onDrag(this.map, {
      begin: (latlng, event) => {
        if (this.finds.active) return false; // the map moves
        area = this.mode === 'area' || (this.mode === 'one' && event.shiftKey);
        from = latlng;
        path = [latlng];
        return true;
      },
      move: (latlng) => {
        this.hideGhost();
        if (this.mode === 'rough') {
          if (this.pixelsApart(latlng, path[path.length - 1]) >= ROUGH_STEP_PX) path.push(latlng);
          drawn = drawn || L.polygon(path, looks).addTo(this.map);
          drawn.setLatLngs(path);
        } else {
          drawn = drawn || L.rectangle([from, latlng], { ...looks, dashArray: area ? null : looks.dashArray }).addTo(this.map);
          drawn.setBounds([from, latlng]);
        }
      },
      end: (latlng) => {
        drop();
        if (this.mode === 'rough') { this.rough(path); return; }
        const across = this.map.latLngToContainerPoint(from).subtract(this.map.latLngToContainerPoint(latlng));
        if (Math.min(Math.abs(across.x), Math.abs(across.y)) < SMALLEST_BOX_PX) return;
        if (area) this.everything(L.latLngBounds(from, latlng));
        else this.box(L.latLngBounds(from, latlng));
      },
      cancel: drop,
    });
  }

  // The same mode again ends it.
  use(mode) {
    this.clear();
    this.mode = this.mode === mode ? 'one' : mode;
    this.draw();
  }

  rough(path) {
    const extent = L.bounds(path.map((at) => this.map.latLngToContainerPoint(at))).getSize();
    if (path.length < 4 || Math.min(extent.x, extent.y) < SMALLEST_ROUGH_PX) { this.editor.complain(MODES.rough, ''); return; }
    const ring = [...path, path[0]].map(({ lng, lat }) => [lng, lat]);
    this.fit({ type: 'Polygon', coordinates: [ring] });
  }

  // Fit a rough area to the picture; `replaces` is the label that it belongs to.
  fit(area, replaces = null) {
    const raster = this.rasterAt(L.geoJSON(area, { pmIgnore: true }).getBounds().getCenter());
    if (!raster) { this.noPicture(); return; }
    this.clear();
    this.begin({ raster, points: [], box: null, area, replaces, previous: null });
  }

  refine(id) {
    const { geometry } = this.editor.labels.get(id).feature;
    if (this.editor.active !== this) this.editor.useTool('wand');
    else this.editor.select([]);
    this.mode = 'one';
    this.fit(geometry, id);
  }

  everything(bounds = this.map.getBounds(), like = []) {
    const raster = this.rasterAt(bounds.getCenter()) || this.rasterIn(bounds);
    if (!raster) { this.noPicture(); return; }
    this.clear();
    this.mode = 'one';
    this.finds.look(bounds, raster, like);
    this.draw();
  }

  // All in view that is like these labels.
  similar(ids) {
    const like = ids.map((id) => this.editor.labels.get(id)).filter((known) => known && known.kind === 'area').slice(0, LIKE_AT_MOST).map(({ feature }) => feature.geometry);
    if (!like.length) return;
    if (this.editor.active !== this) this.editor.useTool('wand');
    else this.editor.select([]);
    this.everything(undefined, like);
  }

  // Labels that "all like it" would go by.
  get examples() { return this.accepted.filter((id) => (this.editor.labels.get(id) || {}).kind === 'area'); }

  point(latlng, wanted) {
    const last = this.accepting ? null : this.last; // a click after Enter begins the next thing
    if (!last && !wanted) { this.editor.complain('There is no outline yet.', 'First click the thing itself.'); return; }
    if (last && last.points.some(([lng, lat, label]) => label === Number(wanted) && this.pixelsApart(latlng, { lng, lat }) <= SAME_CLICK_PX)) return;
    const raster = last ? last.raster : this.rasterAt(latlng);
    if (!raster) { this.noPicture(); return; }
    const points = [...(last ? last.points : []), [latlng.lng, latlng.lat, Number(wanted)]];
    this.begin({ raster, points, box: last ? last.box : null, previous: last ? last.previousFor() : null });
  }

  // A box begins anew.
  box(bounds) {
    const raster = this.rasterAt(bounds.getCenter());
    if (!raster) { this.noPicture(); return; }
    this.begin({ raster, points: [], box: [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()], previous: null });
  }

  begin(step) {
    if (this.accepting) { this.next = step; return; } // the outline before is still being finished
    this.hideGhost();
    step.candidate = 0;
    step.previousFor = () => (step.answer ? { answer: step.answer, candidate: step.candidate } : step.previous);
    this.steps.push(step);
    this.draw();
    this.ask(step);
  }

  // Tab: the next of the possible outlines.
  another() {
    const { last } = this;
    if (!last || !last.answer) return false;
    if (last.scores.length < 2 || this.accepting) return true;
    last.wanted = ((last.wanted ?? last.candidate) + 1) % last.scores.length;
    this.ask(last);
    return true;
  }

  // Enter. While the outline is not complete it is accepted as soon as it is; Enter again takes it as it stands.
  finish() {
    const { last } = this;
    if (this.finds.shown) {
      const made = this.finds.accept(this.origin);
      if (made.length) this.accepted = made;
      this.draw();
      return true;
    }
    if (this.mode === 'area' && !this.running) { this.everything(); return true; }
    if (!last) return false;
    if (this.running && !(this.accepting && last.geometry)) this.accepting = true;
    else if (last.geometry) this.accept();
    this.panel.show();
    return true;
  }

  back() {
    if (!this.last) return false;
    this.hush();
    this.steps.pop();
    this.draw();
    if (this.last && !this.last.answer) this.ask(this.last);
    return true;
  }

  cancel() {
    if (this.panel.closeMenu()) return true;
    if (!this.last && !this.finds.active && this.mode === 'one') return false;
    if (!this.last && !this.finds.active) this.mode = 'one';
    this.clear();
    return true;
  }

  get last() { return this.steps[this.steps.length - 1]; }

  get busy() { return this.waiting; }

  measure() {
    const { last } = this;
    if (this.finds.shown) return `${this.finds.kept.length} of ${this.finds.things.length}${this.remark()} · Click to drop or take one, Enter accepts, Esc drops all`;
    if (MODES[this.mode] && !last) return MODES[this.mode];
    if (!last || !last.geometry) return '';
    return `${squareMetres(last.size)} · Enter accepts, Esc drops it`;
  }

  // What to expect of what is offered; measured in docs/labelling.md.
  remark() {
    if (this.origin !== SMART_SELECT) return '';
    return this.finds.like ? ', by colour, size and shape only: most will be wrong' : ' pieces, by colour and edges only';
  }

  // Class or zoom has changed; what is chosen has changed.
  refresh() { this.draw(); }

  chosen() { this.panel.show(); }

  // --- asking --------------------------------------------------------------------------------------------------------

  async ask(step) {
    const began = performance.now();
    const failed = await this.untilAnswered('prompt', () => this.body(step), (answer) => {
      this.take(step, answer);
      if (performance.now() - began < QUICK_MS) this.slow = 0;
    });
    if (failed === STOPPED) return;
    if (failed) this.refused(step, failed);
    else if (this.accepting && step.geometry) this.accept();
    this.accepting = false;
    this.draw();
  }

  // Everything in an area, or all like something; null where it was stopped or refused.
  async askAll({ raster, box, like }) {
    let found = null;
    const failed = await this.untilAnswered('prompt/find', () => ({ ...this.asked({ raster }), box, like }), (answer) => { found = answer; });
    if (failed === STOPPED) return null;
    if (failed) this.editor.complain(failed.fact, failed.remedy);
    return found;
  }

  // Post until the server is done: told(answer) for each answer. Returns why it was refused, null, or STOPPED.
  async untilAnswered(route, body, told) {
    this.hush();
    const mine = { stop: new AbortController() };
    this.running = mine;
    const late = setTimeout(() => { if (this.running === mine && !this.waiting) this.wait({ stage: 'Starting', share: null, ahead: 0 }); }, TELL_AFTER_MS);
    const began = performance.now();
    let failed = null;
    try {
      while (this.running === mine) {
        const { status, answer } = await this.post(body(), mine.stop.signal, route);
        if (this.running !== mine) return STOPPED;
        if (status === 202) this.wait(answer.waiting);
        else if (status === 200) told(answer);
        else { failed = answer; break; }
        if (!answer.retry_ms || (status === 200 && performance.now() - began > WHOLE_WITHIN_MS)) break;
        await new Promise((resolve) => setTimeout(resolve, answer.retry_ms));
      }
    } catch (error) {
      if (this.running === mine) failed = { fact: error.name === 'TimeoutError' ? 'The server took too long.' : 'Not connected: this needs the server.', remedy: 'Try again in a moment.' };
    } finally {
      clearTimeout(late);
    }
    if (this.running !== mine) return STOPPED;
    this.running = null;
    this.waiting = null;
    return failed;
  }

  body(step) {
    const { answer, wanted, candidate } = step;
    return {
      ...this.asked(step), candidate: wanted ?? candidate, points: step.points, ...(step.box && { box: step.box }), ...(step.area && { area: step.area }),
      previous: answer ? { answer, candidate } : step.previous,
    };
  }

  asked({ raster }) {
    return { raster, model: this.panel.model, resolution_m: 1 / pixelsOf(this.map, 1, this.map.getCenter().lat), client: this.client };
  }

  async post(body, signal, route = 'prompt') {
    const response = await fetch(this.editor.address(route), {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, cache: 'no-store', body: JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
    });
    return { status: response.status, answer: response.status === 204 ? null : await response.json() };
  }

  take(step, { answer, geometry, candidate, scores, whole }) {
    Object.assign(step, { answer, geometry, candidate, scores, whole });
    if (candidate === step.wanted) delete step.wanted;
    step.size = geometry ? sizeOf(geometry) : 0;
    this.waiting = whole ? null : { stage: 'The outline goes on: looking at the part beside', share: null, ahead: 0 };
    this.draw();
  }

  wait(waiting) {
    this.waiting = waiting;
    this.panel.show();
  }

  // The click that could not be answered is taken back.
  refused(step, { fact, remedy }) {
    this.steps = this.steps.filter((one) => one !== step || one.answer);
    delete step.wanted;
    this.next = null;
    this.editor.complain(fact, remedy);
    this.panel.look();
  }

  // Forget what is being asked.
  hush() {
    if (this.running) this.running.stop.abort();
    this.running = null;
    this.waiting = null;
  }

  leave() { fetch(`${this.editor.address('prompt')}?client=${this.client}`, { method: 'DELETE', keepalive: true }).catch(() => {}); }

  clear() {
    if (this.running) this.leave();
    this.hush();
    this.steps = [];
    this.finds.clear();
    this.accepting = false;
    this.next = null;
    this.draw();
  }

  accept() {
    const { geometry } = this.last;
    const { next, origin } = this;
    const replaced = this.editor.labels.get(this.steps[0].replaces);
    const id = replaced ? replaced.feature.id : newId();
    const before = replaced ? replaced.feature : null;
    const properties = before ? before.properties : { class_value: this.editor.classValue, origin, note: '', width_m: null, review: '' };
    this.hush();
    this.clear();
    this.editor.change([{ id, before, after: { type: 'Feature', id, geometry, properties } }], { tool: 'magic wand' });
    this.accepted = [id];
    this.panel.show();
    if (next) this.begin(next);
  }

  get origin() { return this.panel.model === SMART_SELECT ? SMART_SELECT : 'sam'; }

  // --- which picture -------------------------------------------------------------------------------------------------

  // Id of the uppermost picture that shows at a place; null where there is none.
  rasterAt(latlng) {
    const layers = [...this.editor.canvas.drawn.values()].map(({ layer }) => layer);
    const shows = ({ id }) => layers.some((layer) => layer._url && layer._url.includes(`/raster.${id}/`) && this.map.hasLayer(layer) && layer.options.opacity !== 0);
    const scene = [...this.editor.scenes].reverse().find((one) => covers(one.geometry, latlng) && shows(one));
    return scene ? scene.id : null;
  }

  // Of the uppermost picture that shows anywhere in an area.
  rasterIn(bounds) {
    const centres = this.editor.scenes.map(({ geometry }) => L.geoJSON(geometry, { pmIgnore: true }).getBounds()).filter((one) => one.intersects(bounds))
      .map((one) => L.latLngBounds([Math.max(one.getSouth(), bounds.getSouth()), Math.max(one.getWest(), bounds.getWest())], [Math.min(one.getNorth(), bounds.getNorth()), Math.min(one.getEast(), bounds.getEast())]).getCenter());
    return centres.map((at) => this.rasterAt(at)).findLast(Boolean) || null;
  }

  noPicture() { this.editor.complain('There is no picture at this place.', 'Click inside one, or switch it on in the list of layers.'); }

  pixelsApart(one, other) { return this.map.latLngToContainerPoint(one).distanceTo(this.map.latLngToContainerPoint(other)); }

  // --- what is shown -------------------------------------------------------------------------------------------------

  draw() {
    const { last } = this;
    this.marks.clearLayers();
    const shape = this.steps.findLast((one) => one.geometry && (one === last || !last.answer));
    if (shape) this.outline(shape.geometry, this.marks, { opacity: 1, fillOpacity: 0.3 });
    if (last && last.box) {
      const [west, south, east, north] = last.box;
      L.rectangle([[south, west], [north, east]], { color: '#fff', weight: 1.5, dashArray: '5 4', fill: false, interactive: false, pmIgnore: true }).addTo(this.marks);
    }
    if (last && last.area) L.polygon(latLngsOf(last.area), { color: '#fff', weight: 1.5, dashArray: '5 4', fill: false, interactive: false, pmIgnore: true }).addTo(this.marks);
    for (const [lng, lat, wanted] of last ? last.points : []) {
      L.circleMarker([lat, lng], { radius: 5, color: '#fff', weight: 2, fillColor: wanted ? '#1f9d61' : '#d0342c', fillOpacity: 1, interactive: false, pmIgnore: true }).addTo(this.marks);
    }
    this.finds.draw();
    this.panel.show();
    this.editor.showMeasure();
  }

  outline(geometry, group, { opacity, fillOpacity }) {
    const { colour } = this.editor.currentClass() || { colour: '#ff9f1c' };
    const at = latLngsOf(geometry);
    const looks = { interactive: false, pmIgnore: true, opacity };
    L.polygon(at, { ...looks, color: '#fff', weight: 5, opacity: 0.8 * opacity, fill: false }).addTo(group);
    L.polygon(at, { ...looks, color: colour, weight: 2.5, fillColor: colour, fillOpacity, dashArray: opacity < 1 ? '2 4' : null }).addTo(group);
  }

  // --- preview under the pointer -------------------------------------------------------------------------------------

  pointed(event) {
    clearTimeout(this.resting);
    const resting = event.type === 'pointermove' && event.pointerType === 'mouse' && !event.buttons && !event.target.closest('.leaflet-control, .tt-over');
    if (!resting) { this.hideGhost(); return; }
    const latlng = this.map.mouseEventToLatLng(event);
    if (this.ghosted && !latLngsCover(this.ghosted, latlng)) this.hideGhost();
    this.resting = setTimeout(() => this.preview(latlng), REST_MS);
  }

  async preview(latlng) {
    if (this.last || this.finds.active || this.mode !== 'one' || this.previewing || this.slow >= SLOW_PREVIEWS || performance.now() < (this.notBefore || 0)) return;
    const raster = this.rasterAt(latlng);
    if (!raster) return;
    const mine = { stop: new AbortController() };
    this.previewing = mine;
    const began = performance.now();
    try {
      const { status, answer } = await this.post({ ...this.asked({ raster }), points: [[latlng.lng, latlng.lat, 1]], hover: true }, mine.stop.signal);
      if (this.previewing !== mine) return;
      this.slow = performance.now() - began > QUICK_MS ? this.slow + 1 : 0;
      if (status !== 200) this.notBefore = performance.now() + NOT_READY_MS;
      this.hideGhost();
      if (status === 200 && answer.geometry) {
        this.ghosted = answer.geometry;
        this.outline(answer.geometry, this.ghost, { opacity: 0.75, fillOpacity: 0.12 });
      }
    } catch {
      this.notBefore = performance.now() + NOT_READY_MS; // a preview that fails is none
    } finally {
      if (this.previewing === mine) this.previewing = null;
    }
  }

  hideGhost() {
    clearTimeout(this.resting);
    if (this.previewing) this.previewing.stop.abort();
    this.previewing = null;
    this.ghosted = null;
    this.ghost.clearLayers();
  }
}

const latLngsCover = ({ type, coordinates }, latlng) => (type === 'MultiPolygon' ? coordinates : [coordinates]).some((polygon) => covers({ coordinates: polygon }, latlng));
