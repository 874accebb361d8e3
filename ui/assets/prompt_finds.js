// Many outlines at once: everything in an area, or all that is like some labels. They are shown on the map; a click drops one or
// takes it back, Enter makes labels of those that are left, as one step.

const VERSION = new URL(import.meta.url).search;
const { newId } = await import(`./label_queue.js${VERSION}`);
const { covers, latLngsOf, sizeOf } = await import(`./label_shapes.js${VERSION}`);

const CASED = 150; // so many outlines get a light casing, too
const FEW = 5; // offered where nothing is good enough to be offered
const STEP = 0.15; // "fewer" and "more" change the number by this share

export class Finds {
  constructor(editor, wand) {
    this.editor = editor;
    this.wand = wand;
    this.things = null; // {geometry, worth, size, wish}, the best first; wish: true or false where a person clicked
    this.count = 0; // the best so many are offered
  }

  get shown() { return Boolean(this.things); }

  // Whether something is shown or being looked for.
  get active() { return this.shown || Boolean(this.asked); }

  get kept() { return this.things ? this.things.filter((one, i) => one.wish ?? i < this.count) : []; }

  start() { this.group = L.layerGroup([], { pmIgnore: true }).addTo(this.editor.map); }

  stop() { this.clear(); this.group.remove(); }

  clear() {
    this.things = null;
    this.asked = null;
    if (this.group) this.group.clearLayers();
  }

  // like: GeoJSON areas; none: everything.
  async look(bounds, raster, like = []) {
    this.clear();
    const asked = { like };
    this.asked = asked;
    const box = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
    const answer = await this.wand.askAll({ raster, box, like });
    if (this.asked !== asked) return;
    this.asked = null;
    if (answer) this.take(answer, asked);
    this.wand.draw();
  }

  take({ things, offered_from: from }, { like }) {
    if (!things.length) { this.editor.complain('Nothing was found here.', 'Zoom in, or try another place.'); return; }
    this.things = things.map((one) => ({ ...one, size: sizeOf(one.geometry) }));
    this.count = this.things.filter(({ worth }) => worth >= from).length || Math.min(FEW, this.things.length);
    this.before = this.count; // while none is offered, these stay on the map as faint lines to pick from
    this.like = like.length > 0;
  }

  // A click: the smallest thing there that is offered is dropped; one that is not offered is taken.
  toggle(latlng) {
    const there = this.things.map((one, i) => ({ one, kept: one.wish ?? i < this.count }))
      .filter(({ one }) => parts(one.geometry).some((polygon) => covers({ coordinates: polygon }, latlng)));
    const [found] = there.sort((a, b) => b.kept - a.kept || (b.one.wish === false) - (a.one.wish === false) || a.one.size - b.one.size);
    if (found) found.one.wish = !found.kept;
    this.wand.draw();
  }

  // Offer the best so many; what was clicked stays as it is.
  offer(count) {
    this.count = Math.min(Math.max(0, Math.round(count)), this.things.length);
    this.wand.draw();
  }

  more(direction) {
    if (!this.shown) return false;
    this.offer(this.count + direction * Math.max(1, Math.round(this.count * STEP)));
    return true;
  }

  // None, so that those wanted can be picked; or all again.
  none() {
    for (const one of this.things) delete one.wish;
    if (this.count) this.before = this.count;
    this.offer(this.count ? 0 : this.before || this.things.length);
  }

  accept(origin) {
    const { kept } = this;
    if (!kept.length) { this.editor.complain('No outline is left.', 'Click those you want, or Esc.'); return []; }
    const changes = kept.map(({ geometry }) => {
      const id = newId();
      const properties = { class_value: this.editor.classValue, origin, note: '', width_m: null, review: '' };
      return { id, before: null, after: { type: 'Feature', id, geometry, properties } };
    });
    this.clear();
    this.editor.change(changes, { tool: 'magic wand' });
    return changes.map(({ id }) => id);
  }

  draw() {
    this.group.clearLayers();
    if (!this.shown) return;
    const { colour } = this.editor.currentClass() || { colour: '#ff9f1c' };
    const { kept } = this;
    const looks = { interactive: false, pmIgnore: true, bubblingMouseEvents: true };
    const pale = this.things.filter(({ wish }, i) => wish === false || (wish === undefined && !this.count && i < this.before));
    for (const { geometry } of pale) {
      L.polygon(latLngsOf(geometry), { ...looks, color: '#fff', weight: 1.5, opacity: 0.7, dashArray: '2 5', fill: false }).addTo(this.group);
    }
    for (const { geometry } of kept) {
      const at = latLngsOf(geometry);
      if (kept.length <= CASED) L.polygon(at, { ...looks, color: '#fff', weight: 4, opacity: 0.7, fill: false }).addTo(this.group);
      L.polygon(at, { ...looks, color: colour, weight: 2, fillColor: colour, fillOpacity: 0.25 }).addTo(this.group);
    }
  }
}

const parts = ({ type, coordinates }) => (type === 'MultiPolygon' ? coordinates : [coordinates]);
