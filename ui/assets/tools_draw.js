// Tools that draw a new shape: with Leaflet-Geoman (line, area, box, circle), by hand without lifting, a point, a whole picture.

const VERSION = new URL(import.meta.url).search;
const { onDrag } = await import(`./label_pointer.js${VERSION}`);
const { areaM2, circleRing, covers, lengthM, metres, pixelsOf, squareMetres } = await import(`./label_shapes.js${VERSION}`);

const SNAP_PX = 10;
const SAME_PLACE_PX = 3;
const SMOOTH_PX = 1.5; // freehand strokes are simplified by as much
const DOUBLE_CLICK_MS = 600;

export function drawTools(editor) {
  const save = (geometry) => editor.create(geometry);
  return [
    geomanTool(editor, {
      tool: 'line', key: 'l', name: 'Line', shape: 'Line', done: save, draws: 'line',
      hint: 'Click along the road; double click or Enter ends it, Backspace takes back a vertex, Esc drops it.',
    }),
    strokeTool(editor, { tool: 'freeline', key: 'g', name: 'Free line', draws: 'line', hint: 'Press and draw along the road without lifting; let go to end the line.' }),
    geomanTool(editor, {
      tool: 'polygon', key: 'p', name: 'Area', shape: 'Polygon', done: save, draws: 'area',
      hint: 'Click the corners; a double click, Enter or a click on the first one closes it, Backspace takes back a corner.',
    }),
    strokeTool(editor, { tool: 'freearea', key: 'f', name: 'Free area', draws: 'area', hint: 'Press and draw around the area without lifting; let go to close it.' }),
    geomanTool(editor, { tool: 'rectangle', key: 'r', name: 'Box', shape: 'Rectangle', done: save, draws: 'area', hint: 'Drag from corner to corner, or click two opposite corners.' }),
    geomanTool(editor, { tool: 'circle', key: 'c', name: 'Circle', shape: 'Circle', done: save, draws: 'area', hint: 'Drag from the centre to the edge, or click both.' }),
    {
      tool: 'point', key: 'o', name: 'Point', icon: 'point', draws: 'point', hint: 'Click to place a point.',
      click: (_, { latlng }) => save({ type: 'Point', coordinates: place(latlng) }),
    },
    wholeTool(editor, save),
  ];
}

const PLACED = { Rectangle: '_placeStartingMarkers', Circle: '_placeCenterMarker' }; // what Geoman does at their first click

// A tool that has Geoman draw a shape and hands the finished geometry to `done`. Cut and split are such tools too.
export function geomanTool(editor, { tool, key, name, hint, shape, done, draws = null, colour = null }) {
  const { map } = editor;
  let centred = false;
  let finished = 0; // when the last shape was
  let stopDragging = () => {};
  const draw = () => (map.pm.Draw[shape].enabled() ? map.pm.Draw[shape] : null);
  const paint = () => (colour ? colour() : (editor.currentClass() || { colour: '#ff9f1c' }).colour);
  const ribbon = () => (draws === 'line' ? pixelsOf(map, editor.lineWidth, map.getCenter().lat) : 0);
  const restart = () => { self.stop(); self.start(); };
  const count = () => {
    const now = draw();
    if (!now) return 0;
    if (shape === 'Rectangle') return now._startMarker && L.DomUtil.hasClass(now._startMarker._icon, 'visible') ? 1 : 0;
    return shape === 'Circle' ? Number(centred) : now._markers.length;
  };
  // Geoman's mark of the pointer waits in the middle of the map until the pointer is moved.
  const showPointer = () => { if (editor.pointerAt) draw()._syncHintMarker({ latlng: map.containerPointToLatLng(editor.pointerAt) }); };
  // Press, drag, let go: what two clicks do.
  const dragged = () => {
    let from = null;
    let placed = false;
    const sync = (latlng, event) => draw()._syncHintMarker({ latlng, originalEvent: event });
    return onDrag(map, {
      begin(latlng) { from = latlng; placed = false; return count() === 0; },
      move(latlng, event) {
        if (!placed) {
          sync(from, event);
          draw()[PLACED[shape]]({ latlng: from });
          placed = true;
        }
        sync(latlng, event);
        editor.showMeasure();
      },
      end(latlng, event) {
        sync(latlng, event);
        draw()._finishShape({ latlng });
        if (count()) restart(); // back where it began: nothing
        editor.drawn();
      },
      cancel() { if (placed) restart(); },
    });
  };
  const self = {
    tool, key, name, hint, icon: tool, draws, count,
    start() {
      centred = false;
      editor.offerSnapping();
      map.pm.enableDraw(shape, {
        snappable: editor.snapping, snapDistance: SNAP_PX, snapSegment: true, continueDrawing: true, tooltips: false, allowSelfIntersection: true,
        cursorMarker: true, rectangleAngle: 0, pathOptions: { color: paint(), fillColor: paint(), fillOpacity: 0.25 },
        templineStyle: { color: paint(), weight: Math.max(3, ribbon()), opacity: ribbon() > 6 ? 0.6 : 1, lineCap: 'round' },
        hintlineStyle: { color: paint(), weight: 2, dashArray: '5 5' },
      });
      showPointer();
      if (PLACED[shape]) stopDragging = dragged();
    },
    stop() { stopDragging(); map.pm.disableDraw(); },
    // Snapping was switched on or off: what was begun stays.
    snap() {
      const now = draw();
      if (!now) return;
      now.options.snappable = editor.snapping;
      if (!editor.snapping) now._cleanupSnapping();
    },
    // Another class, width or zoom: the shape begun keeps its vertices.
    refresh() {
      const now = draw();
      if (!now) return;
      if (!count() || !now.options.hintlineStyle) { restart(); return; }
      Object.assign(now.options.templineStyle, { color: paint(), weight: Math.max(3, ribbon()), opacity: ribbon() > 6 ? 0.6 : 1 });
      Object.assign(now.options.hintlineStyle, { color: paint() });
      Object.assign(now.options.pathOptions, { color: paint(), fillColor: paint() });
      now.setStyle();
    },
    centred() { centred = true; },
    created(layer) {
      layer.remove();
      centred = false;
      finished = performance.now();
      const geometry = shape === 'Circle' ? { type: 'Polygon', coordinates: [circleRing(layer.getLatLng(), layer.getRadius())] } : layer.toGeoJSON(9).geometry;
      if (geometry.type === 'LineString') geometry.coordinates = withoutRepeats(map, geometry.coordinates);
      done(geometry);
    },
    finish() {
      if (count() < 2) return false;
      if (shape === 'Polygon' && count() < 3) editor.complain('An area needs three corners.', 'Click one more, or press Esc to drop it.');
      else draw()._finishShape();
      return true;
    },
    // The second click of a double click may fall on the vertex that the first one placed, or begin a shape that nobody wants.
    doubleClick() {
      if (shape === 'Polygon' && count() > 2) draw()._finishShape();
      else if (count() === 1 && performance.now() - finished < DOUBLE_CLICK_MS) restart();
    },
    back() {
      if (!count()) return false;
      if (count() > 1) draw()._removeLastVertex();
      else restart();
      return true;
    },
    cancel() {
      if (!count()) return false;
      restart();
      return true;
    },
    sync: (event) => draw() && draw()._syncHintMarker({ ...event }),
    snapList: () => draw() && draw()._createSnapList(),
    measure() {
      if (!count()) return '';
      const now = draw();
      if (shape === 'Circle') return `radius ${metres(now._layer.getRadius())} · ${squareMetres(Math.PI * now._layer.getRadius() ** 2)}`;
      if (shape === 'Rectangle') return squareMetres(areaM2(now._layer.getLatLngs().flat()));
      const along = [...now._layer.getLatLngs().flat(), now._hintMarker.getLatLng()];
      if (shape === 'Line') return metres(lengthM(along));
      return along.length > 2 ? squareMetres(areaM2(along)) : metres(lengthM(along));
    },
  };
  return self;
}

// A double click may leave two vertices next to each other.
function withoutRepeats(map, coordinates) {
  const spot = ([longitude, latitude]) => map.latLngToContainerPoint([latitude, longitude]);
  const spread = coordinates.filter((at, i) => i === 0 || spot(at).distanceTo(spot(coordinates[i - 1])) > SAME_PLACE_PX);
  return spread.length > 1 ? spread : coordinates;
}

function strokeTool(editor, { tool, key, name, hint, draws }) {
  const { map } = editor;
  let stopListening = () => {};
  let stroke = null;
  const drop = () => { if (stroke) stroke.remove(); stroke = null; };
  return {
    tool, key, name, hint, icon: tool, draws,
    start() {
      stopListening = onDrag(map, {
        begin(latlng) {
          const { colour } = editor.currentClass() || { colour: '#ff9f1c' };
          stroke = L.polyline([latlng], { color: colour, weight: Math.max(3, draws === 'line' ? pixelsOf(map, editor.lineWidth, latlng.lat) : 0), opacity: 0.8, pmIgnore: true, interactive: false }).addTo(map);
          return true;
        },
        move(latlng) { stroke.addLatLng(latlng); editor.showMeasure(); },
        end() {
          const smooth = L.LineUtil.simplify(stroke.getLatLngs().map((at) => map.latLngToLayerPoint(at)), SMOOTH_PX).map((at) => map.layerPointToLatLng(at));
          drop();
          editor.showMeasure();
          const line = smooth.map(place);
          if (draws === 'line' && line.length > 1) editor.create({ type: 'LineString', coordinates: line });
          else if (draws === 'area' && line.length > 2) editor.create({ type: 'Polygon', coordinates: [[...line, line[0]]] });
        },
        cancel: drop,
      });
    },
    stop() { stopListening(); drop(); },
    count: () => 0,
    measure() {
      if (!stroke) return '';
      const along = stroke.getLatLngs();
      return draws === 'line' ? metres(lengthM(along)) : squareMetres(areaM2(along));
    },
  };
}

function wholeTool(editor, save) {
  return {
    tool: 'whole', key: 'w', name: 'Whole picture', icon: 'whole', draws: 'area', hint: 'Click a picture to label all of it.',
    click(_, { latlng }) {
      const scene = [...editor.scenes].reverse().find(({ geometry }) => covers(geometry, latlng));
      if (scene) save(scene.geometry);
      else editor.complain('There is no picture at this place.', 'Click inside one.');
    },
  };
}

export const place = ({ lng, lat }) => [Math.round(lng * 1e9) / 1e9, Math.round(lat * 1e9) / 1e9];
