// How labels look: lines with a light casing and, where they have a width, a translucent ribbon as wide as they will be burnt;
// points likewise a disc.

const CASING = 'rgba(255, 255, 255, .85)';
const CHOSEN = '#00e5ff';
const LINE = 3;

// Length of `metres` on the ground in pixels of the map.
function pixelsOf(map, metres, latitude) {
  const metresPerPixel = (40075016.686 * Math.cos((latitude * Math.PI) / 180)) / 2 ** (map.getZoom() + 8);
  return (metres || 0) / metresPerPixel;
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
  const { coordsToLatLng, coordsToLatLngs } = L.GeoJSON;
  const { type, coordinates } = geometry;
  if (type === 'Point') return new (discPoint())(coordsToLatLng(coordinates), options);
  if (type === 'MultiPoint') return new (discPoint())(coordsToLatLng(coordinates[0]), options);
  if (type === 'LineString') return new (ribbonLine())(coordsToLatLngs(coordinates, 0), options);
  if (type === 'MultiLineString') return new (ribbonLine())(coordsToLatLngs(coordinates, 1), options);
  if (type === 'Polygon') return L.polygon(coordsToLatLngs(coordinates, 1), options);
  return L.polygon(coordsToLatLngs(coordinates, 2), options);
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

export function sizeText(kind, layer) {
  if (kind === 'point') return '';
  const flat = (list) => (list.length && Array.isArray(list[0]) ? list.flatMap(flat) : [list]);
  const rings = flat(layer.getLatLngs());
  if (kind === 'line') return metres(rings.reduce((sum, ring) => sum + lengthM(ring), 0));
  return squareMetres(areaM2(rings[0]));
}

export const widthText = (widthM) => (widthM ? `${Math.round(widthM * 10) / 10} m wide` : '');
export const metres = (value) => (value >= 10000 ? `${(value / 1000).toFixed(1)} km` : `${value.toFixed(value < 100 ? 1 : 0)} m`);
export const squareMetres = (value) => (value >= 100000 ? `${(value / 10000).toFixed(1)} ha` : `${value.toFixed(0)} m²`);
