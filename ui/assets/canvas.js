// The map component. Loads the libraries from the app itself, draws the map document that ui/maps.py made, and keeps the
// map when the page reruns: only layers that changed are touched. Labels are the business of label_editor.js.

const HERE = new URL('.', import.meta.url);
const APP = new URL('..', HERE);
const VERSION = new URL(import.meta.url).search;
const LIBRARIES = [
  ['vendor/leaflet/leaflet.js', 'vendor/leaflet/leaflet.css'],
  ['vendor/side-by-side/leaflet-side-by-side.js', 'vendor/side-by-side/layout.css', 'vendor/side-by-side/range.css'],
];
const EDIT_LIBRARIES = [['vendor/geoman/leaflet-geoman.min.js', 'vendor/geoman/leaflet-geoman.css', 'prompt.css']];
const canvases = new Map(); // element -> MapCanvas
const views = new Map(); // key -> {wanted, center, zoom}: survives leaving the page
const went = new Map(); // key -> id of the last place gone to
const TELL_VIEW_AFTER_MS = 600;

const fetched = new Map();
function load(path) {
  if (!fetched.has(path)) {
    fetched.set(path, new Promise((resolve, reject) => {
      const css = path.endsWith('.css');
      const element = document.createElement(css ? 'link' : 'script');
      if (css) element.rel = 'stylesheet';
      element[css ? 'href' : 'src'] = new URL(path, HERE).href + VERSION;
      element.onload = resolve;
      element.onerror = () => { fetched.delete(path); element.remove(); reject(new Error(`${path} could not be loaded`)); };
      document.head.appendChild(element);
    }));
  }
  return fetched.get(path);
}

async function loadLibraries(editing) {
  const sets = editing ? [...LIBRARIES, ...EDIT_LIBRARIES] : LIBRARIES;
  await Promise.all([load('canvas.css'), ...sets.flatMap((files) => files.slice(1).map(load))]);
  for (const [script] of sets) await load(script);
}

export async function render(component, box) {
  let canvas = canvases.get(box);
  if (!canvas) {
    canvas = new MapCanvas(box, component.data);
    canvases.set(box, canvas);
  }
  await canvas.update(component);
}

// Called when Streamlit lets go of the component: for good, or only to draw it again.
export function leave(box) {
  setTimeout(() => {
    const canvas = canvases.get(box);
    if (canvas && !box.isConnected) {
      canvases.delete(box);
      canvas.destroy();
    }
  }, 500);
}

class MapCanvas {
  constructor(box, data) {
    this.box = box;
    this.key = data.key;
    this.drawn = new Map(); // layer key -> {layer, described}
    this.flickering = { shown: 0, seconds: 0 };
    this.ready = this.start(data);
  }

  async start(data) {
    this.box.classList.add('tt-loading');
    await loadLibraries(data.mode === 'label');
    this.box.classList.remove('tt-loading');
    this.box.replaceChildren();
    this.box.tabIndex = -1; // a click beside the fields leaves the focus here, not on the page around
    const middle = L.DomUtil.create('div', 'tt-middle', this.box);
    this.host = L.DomUtil.create('div', 'tt-map', middle);
    if (data.mode === 'label') this.side = L.DomUtil.create('div', 'tt-list', middle);
    this.host.style.height = `${data.height}px`;
    this.map = L.map(this.host, {
      maxZoom: data.map.maxZoom, zoomSnap: 0.25, zoomDelta: 1, wheelPxPerZoomLevel: 90, zoomControl: true, boxZoom: data.mode !== 'label',
      attributionControl: true, doubleClickZoom: data.mode !== 'label', inertia: data.mode !== 'label', keyboard: true, pmIgnore: false,
    });
    this.map.attributionControl.setPrefix(false);
    L.control.scale({ imperial: false, position: 'bottomleft' }).addTo(this.map);
    this.layerList = new (layerList())({}, {}, { position: 'topright', collapsed: true }).addTo(this.map);
    this.addButtons();
    this.addCoordinates();
    this.map.on('moveend', () => this.rememberView());
    this.resizing = new ResizeObserver(() => this.map.invalidateSize({ animate: false }));
    this.resizing.observe(this.host);
    this.box.mapCanvas = this;
  }

  async update(component) {
    this.component = component;
    await this.ready;
    const { data } = this.component; // the latest, should several updates have waited
    if (this.host.style.height !== `${data.height}px`) this.host.style.height = `${data.height}px`;
    this.viewKey = data.map.link ? data.map.link.name : data.key; // linked maps remember one view
    this.showBounds(data.map.bounds);
    this.drawLayers(data.map.layers);
    await this.drawSides(data.map);
    this.goTo(data.go);
    if (data.mode === 'label') await this.updateEditor();
  }

  async updateEditor() {
    if (!this.editor) {
      const { LabelEditor } = await import(`./label_editor.js${VERSION}`);
      this.editor = this.editor || new LabelEditor(this, APP);
    }
    await this.editor.update(this.component);
  }

  // The view asked for is shown when it is asked for the first time; then the view is the person's.
  showBounds(bounds) {
    if (!bounds) return;
    const wanted = JSON.stringify(bounds);
    if (this.wanted === wanted) return;
    this.wanted = wanted;
    const seen = views.get(this.viewKey);
    if (seen && seen.wanted === wanted) this.map.setView(seen.center, seen.zoom, { animate: false });
    else this.fit(bounds);
  }

  fit([west, south, east, north], options = {}) {
    this.map.fitBounds([[south, west], [north, east]], { animate: false, padding: [12, 12], ...options });
  }

  rememberView() {
    if (this.wanted) views.set(this.viewKey, { wanted: this.wanted, center: this.map.getCenter(), zoom: this.map.getZoom() });
    clearTimeout(this.viewTimer);
    if (this.component?.data.tellView) this.viewTimer = setTimeout(() => this.tellView(), TELL_VIEW_AFTER_MS);
  }

  // What is seen: [west, south, east, north] in degrees.
  tellView() {
    if (!this.box.isConnected) return;
    const seen = this.map.getBounds();
    this.component.setStateValue('view', [seen.getWest(), seen.getSouth(), seen.getEast(), seen.getNorth()]);
  }

  drawLayers(layers) {
    const wanted = new Map(layers.map((one) => [one.key, one]));
    for (const [key, { layer }] of [...this.drawn]) {
      if (wanted.has(key)) continue;
      this.layerList.removeLayer(layer);
      this.map.removeLayer(layer);
      this.drawn.delete(key);
    }
    let order = 1;
    for (const one of layers) {
      let known = this.drawn.get(one.key);
      if (!known) {
        known = { layer: this.makeLayer(one), opacity: one.options && one.options.opacity };
        this.drawn.set(one.key, known);
        if (one.overlay) this.layerList.addOverlay(known.layer, text(one.name));
        else this.layerList.addBaseLayer(known.layer, text(one.name));
        if (one.show) known.layer.addTo(this.map);
      }
      if (known.layer.setZIndex) known.layer.setZIndex(order++);
      if (one.options && one.options.opacity !== known.opacity) {
        known.opacity = one.options.opacity;
        known.layer.setOpacity(known.opacity);
      }
    }
    if (!this.nothing && layers.some((one) => !one.overlay)) {
      this.nothing = L.layerGroup();
      this.layerList.addBaseLayer(this.nothing, 'No basemap');
    }
  }

  makeLayer(one) {
    if (one.kind === 'tiles') {
      const own = !/^[a-z]+:\/\//i.test(one.url);
      const address = own ? APP.href + one.url : one.url;
      return new (seamlessTiles())(address, {
        ...one.options, maxZoom: this.map.options.maxZoom, attribution: own ? text(one.options.attribution) : one.options.attribution,
        keepBuffer: 4, updateWhenZooming: false, className: own ? 'tt-tiles' : 'tt-basemap',
      });
    }
    const group = L.featureGroup();
    for (const feature of one.features) {
      if (!feature.geometry) continue;
      const shape = L.GeoJSON.geometryToLayer({ type: 'Feature', geometry: feature.geometry }, {
        pointToLayer: (_, at) => L.circleMarker(at, { radius: 5 }),
      });
      shape.options.pmIgnore = true;
      if (shape.setStyle) shape.setStyle(feature.style);
      if (feature.text) shape.bindTooltip(text(feature.text), { sticky: true });
      group.addLayer(shape);
    }
    return group;
  }

  // Two sides of one place: see compare_views.js.
  async drawSides({ swipe, flicker, link }) {
    const described = JSON.stringify([swipe, flicker, link]);
    if (this.sidesDrawn === described) return;
    this.sidesDrawn = described;
    const views = swipe || flicker || link ? await import(`./compare_views.js${VERSION}`) : null;
    if (this.sidesDrawn !== described) return; // another wish came meanwhile
    if (this.swipe) this.dividerAt = this.swipe.position;
    for (const name of ['swipe', 'flicker', 'link']) {
      if (this[name]) this[name].remove();
      this[name] = null;
    }
    const layers = (keys) => keys.map((key) => this.drawn.get(key)).filter(Boolean).map((known) => known.layer);
    const sides = (pair) => ({ left: layers(pair.left), right: layers(pair.right), labels: pair.labels });
    if (swipe) this.swipe = new views.Swipe(this, sides(swipe), this.dividerAt);
    if (flicker) this.flicker = new views.Flicker(this, sides(flicker), this.flickering);
    if (link) this.link = new views.Link(this, link.name, link.label);
  }

  // Once: a place to go to.
  goTo(wish) {
    if (!wish || went.get(this.key) === wish.id) return;
    went.set(this.key, wish.id);
    this.fit(wish.bounds);
  }

  addButtons() {
    const bar = L.control({ position: 'topleft' });
    bar.onAdd = () => {
      const element = L.DomUtil.create('div', 'leaflet-bar tt-view-buttons');
      const button = (label, sign, action) => {
        const link = L.DomUtil.create('a', '', element);
        link.href = '#';
        link.role = 'button';
        link.title = label;
        link.setAttribute('aria-label', label);
        link.innerHTML = sign;
        L.DomEvent.on(link, 'click', (event) => { L.DomEvent.stop(event); action(); });
      };
      button('Show everything', ICONS.home, () => this.showAll());
      button('Full screen', ICONS.full, () => this.toggleFullScreen());
      L.DomEvent.disableClickPropagation(element);
      return element;
    };
    bar.addTo(this.map);
  }

  showAll() { if (this.wanted) this.fit(JSON.parse(this.wanted)); }

  toggleFullScreen() { if (document.fullscreenElement) document.exitFullscreen(); else this.box.requestFullscreen(); }

  addCoordinates() {
    const place = L.control({ position: 'bottomleft' });
    let element;
    place.onAdd = () => { element = L.DomUtil.create('div', 'tt-coordinates'); return element; };
    place.addTo(this.map);
    this.map.on('mousemove', (event) => {
      const at = event.latlng.wrap();
      element.textContent = `${at.lat.toFixed(6)}, ${at.lng.toFixed(6)}`;
    });
    this.map.on('mouseout', () => { element.textContent = ''; });
  }

  destroy() {
    this.rememberView();
    if (this.editor) this.editor.destroy();
    this.resizing.disconnect();
    for (const sides of [this.swipe, this.flicker, this.link]) if (sides) sides.remove();
    this.map.remove();
  }
}

const ICONS = {
  home: '<svg viewBox="0 0 24 24"><path d="M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5" /><circle cx="12" cy="12" r="2.5" /></svg>',
  full: '<svg viewBox="0 0 24 24"><path d="M14 10l6-6M15 4h5v5M10 14l-6 6M9 20H4v-5" /></svg>',
};

// Names come from people: shown as text, never read as markup.
export function text(value) {
  const element = document.createElement('span');
  element.textContent = value;
  return element.innerHTML;
}

// Leaflet's list of layers, with an opacity for each that has one.
let LayerList;
function layerList() {
  LayerList = LayerList || L.Control.Layers.extend({
    _addItem(item) {
      const label = L.Control.Layers.prototype._addItem.call(this, item);
      const { layer } = item;
      if (!item.overlay || !layer.setOpacity) return label;
      const range = L.DomUtil.create('input', 'tt-opacity');
      Object.assign(range, { type: 'range', min: 0, max: 1, step: 0.05, value: layer.options.opacity ?? 1, title: 'Opacity' });
      range.setAttribute('aria-label', `Opacity of ${label.textContent.trim()}`);
      range.addEventListener('input', () => layer.setOpacity(Number(range.value)));
      label.after(range);
      return label;
    },
  });
  return LayerList;
}

// At zooms between two levels neighbouring tiles leave hairlines; a pixel of overlap closes them.
let SeamlessTiles;
function seamlessTiles() {
  SeamlessTiles = SeamlessTiles || L.TileLayer.extend({
    _initTile(tile) {
      L.TileLayer.prototype._initTile.call(this, tile);
      const size = this.getTileSize();
      tile.style.width = `${size.x + 1}px`;
      tile.style.height = `${size.y + 1}px`;
    },
  });
  return SeamlessTiles;
}
