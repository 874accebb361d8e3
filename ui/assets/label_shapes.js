// How labels look: lines with a light casing and, where they have a width, a translucent ribbon as wide as they will be burnt;
// points likewise a disc.

const CASING = 'rgba(255, 255, 255, .85)';
const CHOSEN = '#00e5ff';
const LINE = 3;

// Length of `metres` on the ground in pixels of the map.
export function pixelsOf(map, metres, latitude) {
  const metresPerPixel = (40075016.686 * Math.cos((latitude * Math.PI) / 180)) / 2 ** (map.getZoom() + 8);
  return (metres || 0) / metresPerPixel;
}

// Leaflet's canvas tells the map of the pointer every 32 ms at most, and not of where it stops; here each move is told. What
// lies below the pointer is looked up by whoever wants to know.
let LabelCanvas;
export function labelCanvas(options) {
  LabelCanvas = LabelCanvas || L.Canvas.extend({
    _onMouseMove(event) { if (this._map && !this._map.dragging.moving() && !this._map._animatingZoom) this._fireEvent(false, event); },
  });
  return new LabelCanvas(options);
}

let RibbonLine;
export function ribbonLine() {
  RibbonLine = RibbonLine || L.Polyline.extend({
    // `options.weight` is the widest stroke: Leaflet takes the area to redraw and to click from it.
    _project() {
      const { widthM, chosen } = this.options;
      const latitude = this._latlngs.length ? this.getBounds().getCenter().lat : 0;
      this._ribbon = pixelsOf(this._map, widthM, latitude);
      this.options.weight = Math.max(this._ribbon, LINE + (chosen ? 6 : 2));
      L.Polyline.prototype._project.call(this);
    },
    _updatePath() {
      const { options } = this;
      const { weight, color, opacity, dashArray } = options;
      const stroke = (width, paint, strength, dashes) => {
        Object.assign(options, { weight: width, color: paint, opacity: strength, _dashArray: dashes });
        L.Polyline.prototype._updatePath.call(this);
      };
      if (this._ribbon > LINE) stroke(this._ribbon, color, 0.32);
      stroke(LINE + (options.chosen ? 6 : 2), options.chosen ? CHOSEN : CASING, options.chosen ? 0.95 : 0.6);
      stroke(LINE, color, 1, dashArray ? dashArray.split(' ').map(Number) : undefined);
      Object.assign(options, { weight, color, opacity, _dashArray: undefined });
    },
  });
  return RibbonLine;
}

let DiscPoint;
function discPoint() {
  DiscPoint = DiscPoint || L.CircleMarker.extend({
    _updateBounds() {
      this._disc = pixelsOf(this._map, this.options.widthM, this._latlng.lat) / 2;
      this._withRadius(Math.max(this._disc, this._radius), () => L.CircleMarker.prototype._updateBounds.call(this));
    },
    _updatePath() {
      const { stroke, fillOpacity } = this.options;
      if (this._disc > this._radius) {
        Object.assign(this.options, { stroke: false, fillOpacity: 0.32 });
        this._withRadius(this._disc, () => L.CircleMarker.prototype._updatePath.call(this));
        Object.assign(this.options, { stroke, fillOpacity });
      }
      L.CircleMarker.prototype._updatePath.call(this);
    },
    _withRadius(radius, draw) {
      const own = this._radius;
      this._radius = radius;
      draw();
      this._radius = own;
    },
  });
  return DiscPoint;
}

export function style(kind, cls, chosen) {
  const colour = cls ? cls.colour : '#888888';
  if (cls && cls.hollow) return { color: chosen ? CHOSEN : colour, weight: chosen ? 4 : 2.5, opacity: 1, dashArray: '9 6', fill: false };
  const dashArray = cls && cls.ignore ? '6 6' : null;
  if (kind === 'line') return { color: colour, opacity: 1, dashArray, chosen, fill: false, lineCap: 'round', lineJoin: 'round' };
  if (kind === 'point') return { color: chosen ? CHOSEN : '#ffffff', weight: chosen ? 4 : 2, opacity: 1, fillColor: colour, fillOpacity: 1, radius: 6 };
  return {
    color: chosen ? CHOSEN : colour, weight: chosen ? 4 : 2, opacity: 1, dashArray: chosen ? null : dashArray, fillColor: colour, fillOpacity: cls && cls.ignore ? 0.15 : 0.28,
  };
}

export function kindOf(geometryType) {
  if (geometryType.endsWith('Point')) return 'point';
  return geometryType.endsWith('LineString') ? 'line' : 'area';
}

// A Leaflet layer for a label. Several points are drawn as one place each, and kept together.
export function shapeOf(geometry, options) {
  const kind = kindOf(geometry.type);
  if (kind === 'area') return L.polygon(latLngsOf(geometry), options);
  return new (kind === 'line' ? ribbonLine() : discPoint())(latLngsOf(geometry), options);
}

// Length along a line, or area inside a ring, on the sphere.
export function lengthM(latLngs) {
  return latLngs.slice(1).reduce((sum, at, i) => sum + latLngs[i].distanceTo(at), 0);
}

export function areaM2(latLngs) {
  const radius = 6371008.8;
  const rad = Math.PI / 180;
  const sum = latLngs.reduce((total, at, i) => {
    const next = latLngs[(i + 1) % latLngs.length];
    return total + (next.lng - at.lng) * rad * (2 + Math.sin(at.lat * rad) + Math.sin(next.lat * rad));
  }, 0);
  return Math.abs((sum * radius * radius) / 2);
}

// Size of a GeoJSON geometry: metres of a line, square metres of an area without its holes; 0 for points.
export function sizeOf({ type, coordinates }) {
  const at = ([lng, lat]) => ({ lng, lat, distanceTo: (other) => L.CRS.Earth.distance(L.latLng(lat, lng), L.latLng(other)) });
  const line = (vertices) => lengthM(vertices.map(at));
  const area = ([outer, ...holes]) => areaM2(outer.map(at)) - holes.reduce((sum, hole) => sum + areaM2(hole.map(at)), 0);
  const sum = (parts, one) => parts.reduce((total, part) => total + one(part), 0);
  if (type === 'LineString') return line(coordinates);
  if (type === 'MultiLineString') return sum(coordinates, line);
  if (type === 'Polygon') return area(coordinates);
  return type === 'MultiPolygon' ? sum(coordinates, area) : 0;
}

export function sizeText(kind, size, widthM) {
  const wide = widthM ? `${Math.round(widthM * 100) / 100} m` : '';
  if (kind === 'point') return wide ? `⌀ ${wide}` : 'Point';
  if (kind === 'line') return wide ? `${metres(size)} × ${wide}` : metres(size);
  return squareMetres(size);
}

// Ground that a label covers once it is burnt, in square metres.
export function coverM2(kind, size, widthM) {
  if (kind === 'area') return size;
  return kind === 'line' ? size * (widthM || 0) : (Math.PI * (widthM || 0) ** 2) / 4;
}

// A circle as a GeoJSON ring.
const CIRCLE_VERTICES = 64;
export function circleRing({ lat, lng }, radiusM) {
  const degrees = (radiusM / L.CRS.Earth.R) * (180 / Math.PI);
  const ring = Array.from({ length: CIRCLE_VERTICES }, (_, i) => {
    const angle = (2 * Math.PI * i) / CIRCLE_VERTICES;
    return [lng + (degrees * Math.cos(angle)) / Math.cos((lat * Math.PI) / 180), lat + degrees * Math.sin(angle)].map((value) => Math.round(value * 1e9) / 1e9);
  });
  return [...ring, ring[0]];
}

// Where Leaflet wants the vertices of a geometry.
export function latLngsOf({ type, coordinates }) {
  const { coordsToLatLng, coordsToLatLngs } = L.GeoJSON;
  if (type === 'Point') return coordsToLatLng(coordinates);
  if (type === 'MultiPoint') return coordsToLatLng(coordinates[0]);
  return coordsToLatLngs(coordinates, { LineString: 0, MultiLineString: 1, Polygon: 1, MultiPolygon: 2 }[type]);
}

// The geometry moved by pixels of the map.
export function shifted(map, geometry, offset) {
  const move = (part) => {
    if (Array.isArray(part[0])) return part.map(move);
    const { lng, lat } = map.unproject(map.project([part[1], part[0]]).add(offset));
    return [Math.round(lng * 1e9) / 1e9, Math.round(lat * 1e9) / 1e9];
  };
  return { type: geometry.type, coordinates: move(geometry.coordinates) };
}

// Whether any vertex or edge of the geometry lies in the bounds.
export function touches({ type, coordinates }, bounds) {
  const box = L.bounds([bounds.getWest(), bounds.getSouth()], [bounds.getEast(), bounds.getNorth()]);
  if (type === 'Point') return box.contains(coordinates);
  if (type === 'MultiPoint') return coordinates.some((at) => box.contains(at));
  const lines = type === 'LineString' ? [coordinates] : type === 'MultiPolygon' ? coordinates.flat() : coordinates;
  return lines.some((line) => line.some((to, i) => i > 0 && L.LineUtil.clipSegment(L.point(line[i - 1]), L.point(to), box) !== false));
}

const digits = (value, after = 0) => value.toLocaleString('en', { minimumFractionDigits: after, maximumFractionDigits: after });
export const metres = (value) => (value >= 10000 ? `${digits(value / 1000, 1)} km` : `${digits(value, value < 100 ? 1 : 0)} m`);
export const squareMetres = (value) => (value >= 100000 ? `${digits(value / 10000, 1)} ha` : `${digits(value, value < 100 ? 1 : 0)} m²`);

// Whether a place lies inside the outer ring of a GeoJSON Polygon.
export function covers({ coordinates: [ring] }, { lng, lat }) {
  return ring.reduce((odd, [x, y], i) => {
    const [px, py] = ring[(i + ring.length - 1) % ring.length];
    return (y > lat) !== (py > lat) && lng < x + ((px - x) * (lat - y)) / (py - y) ? !odd : odd;
  }, false);
}
