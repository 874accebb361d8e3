// The magic wand: a click, a box -> an outline, straight from the route `prompt` and back, without the page. Every click goes on
// from the outline before it. What can answer is chosen in prompt_panel.js.

const VERSION = new URL(import.meta.url).search;
const { newId } = await import(`./label_queue.js${VERSION}`);
const { onDrag } = await import(`./label_pointer.js${VERSION}`);
const { covers, latLngsOf, pixelsOf, sizeOf, squareMetres } = await import(`./label_shapes.js${VERSION}`);
const { PromptPanel } = await import(`./prompt_panel.js${VERSION}`);

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
    this.steps = []; // clicks and boxes so far, each with what it was answered
    this.panel = new PromptPanel(editor, this);
  }

  start() {
    this.marks = L.layerGroup([], { pmIgnore: true }).addTo(this.map);
    this.ghost = L.layerGroup([], { pmIgnore: true }).addTo(this.map);
    this.stopDragging = this.listenForBox();
    this.onContext = (event) => {
      event.originalEvent.preventDefault();
      if (!event.originalEvent.target.closest('.leaflet-control, .tt-over')) this.point(event.latlng, false);
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

  click(_, { latlng, originalEvent }) { this.point(latlng, !originalEvent.shiftKey); }

  listenForBox() {
    let from = null;
    let frame = null;
    const drop = () => { if (frame) frame.remove(); frame = null; };
    return onDrag(this.map, {
      begin: (latlng) => { from = latlng; return true; },
      move: (latlng) => {
        this.hideGhost();
        frame = frame || L.rectangle([from, latlng], { color: '#fff', weight: 2, dashArray: '5 4', fillOpacity: 0.08, interactive: false, pmIgnore: true }).addTo(this.map);
        frame.setBounds([from, latlng]);
      },
      end: (latlng) => {
        drop();
        const across = this.map.latLngToContainerPoint(from).subtract(this.map.latLngToContainerPoint(latlng));
        if (Math.min(Math.abs(across.x), Math.abs(across.y)) >= SMALLEST_BOX_PX) this.box(L.latLngBounds(from, latlng));
      },
      cancel: drop,
    });
  }

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
    if (!this.last) return false;
    this.clear();
    return true;
  }

  get last() { return this.steps[this.steps.length - 1]; }

  get busy() { return this.waiting; }

  measure() {
    const { last } = this;
    if (!last || !last.geometry) return '';
    return `${squareMetres(last.size)} · Enter accepts, Esc drops it`;
  }

  // Class or zoom has changed; what is chosen has changed.
  refresh() { this.draw(); }

  chosen() { this.panel.show(); }

  // --- asking --------------------------------------------------------------------------------------------------------

  async ask(step) {
    this.hush();
    const mine = { stop: new AbortController() };
    this.running = mine;
    const late = setTimeout(() => { if (this.running === mine && !this.waiting) this.wait({ stage: 'Starting', share: null, ahead: 0 }); }, TELL_AFTER_MS);
    const began = performance.now();
    let failed = null;
    try {
      while (this.running === mine) {
        const { status, answer } = await this.post(this.body(step), mine.stop.signal);
        if (this.running !== mine) return;
        if (status === 202) this.wait(answer.waiting);
        else if (status === 200) this.take(step, answer);
        else { failed = answer; break; }
        if (status === 200 && performance.now() - began < QUICK_MS) this.slow = 0;
        if (!answer.retry_ms || (status === 200 && performance.now() - began > WHOLE_WITHIN_MS)) break;
        await new Promise((resolve) => setTimeout(resolve, answer.retry_ms));
      }
    } catch (error) {
      if (this.running === mine) failed = { fact: error.name === 'TimeoutError' ? 'The server took too long.' : 'Not connected: this needs the server.', remedy: 'Try again in a moment.' };
    } finally {
      clearTimeout(late);
    }
    if (this.running !== mine) return;
    this.running = null;
    this.waiting = null;
    if (failed) this.refused(step, failed);
    else if (this.accepting && step.geometry) this.accept();
    this.accepting = false;
    this.draw();
  }

  body(step) {
    const { answer, wanted, candidate } = step;
    return {
      ...this.asked(step), candidate: wanted ?? candidate, points: step.points, ...(step.box && { box: step.box }),
      previous: answer ? { answer, candidate } : step.previous,
    };
  }

  asked({ raster }) {
    return { raster, model: this.panel.model, resolution_m: 1 / pixelsOf(this.map, 1, this.map.getCenter().lat), client: this.client };
  }

  async post(body, signal) {
    const response = await fetch(this.editor.address('prompt'), {
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
    this.accepting = false;
    this.next = null;
    this.draw();
  }

  accept() {
    const { geometry } = this.last;
    const { next } = this;
    const id = newId();
    const origin = this.panel.model === SMART_SELECT ? SMART_SELECT : 'sam';
    const properties = { class_value: this.editor.classValue, origin, note: '', width_m: null, review: '' };
    this.hush();
    this.clear();
    this.editor.change([{ id, before: null, after: { type: 'Feature', id, geometry, properties } }], { tool: 'magic wand' });
    if (next) this.begin(next);
  }

  // --- which picture -------------------------------------------------------------------------------------------------

  // Id of the uppermost picture that shows at a place; null where there is none.
  rasterAt(latlng) {
    const layers = [...this.editor.canvas.drawn.values()].map(({ layer }) => layer);
    const shows = ({ id }) => layers.some((layer) => layer._url && layer._url.includes(`/raster.${id}/`) && this.map.hasLayer(layer) && layer.options.opacity !== 0);
    const scene = [...this.editor.scenes].reverse().find((one) => covers(one.geometry, latlng) && shows(one));
    return scene ? scene.id : null;
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
    for (const [lng, lat, wanted] of last ? last.points : []) {
      L.circleMarker([lat, lng], { radius: 5, color: '#fff', weight: 2, fillColor: wanted ? '#1f9d61' : '#d0342c', fillOpacity: 1, interactive: false, pmIgnore: true }).addTo(this.marks);
    }
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
    if (this.last || this.previewing || this.slow >= SLOW_PREVIEWS || performance.now() < (this.notBefore || 0)) return;
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
