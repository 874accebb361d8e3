// Tools for labels that are there: choose, choose by a box, reshape, move, cut, split, delete.

const VERSION = new URL(import.meta.url).search;
const { onDrag } = await import(`./label_pointer.js${VERSION}`);
const { geomanTool } = await import(`./tools_draw.js${VERSION}`);
const { latLngsOf, shifted, touches } = await import(`./label_shapes.js${VERSION}`);

const SNAP_PX = 10;
const ROOM_PX = 14; // handles closer together than this are in each other's way
const TOOL_COLOUR = '#e0218a';

export function chooseTools(editor) {
  return [
    {
      tool: 'pan', key: 'v', name: 'Choose', icon: 'pan', keeps: true, listens: true,
      hint: 'Click a label to choose it, Shift+click for more, Shift+drag for a box; drag moves the map. Number keys change the class.',
      click: (id, event) => editor.choose(id, event),
      start() { this.stop = boxDrag(editor, (event) => event.shiftKey); },
    },
    {
      tool: 'box', key: 'b', name: 'Choose by box', icon: 'box', keeps: true,
      hint: 'Drag a box: what it touches is chosen; with Shift, added to what is chosen.',
      click: (id, event) => editor.choose(id, event),
      start() { this.stop = boxDrag(editor, () => true); },
    },
  ];
}

export function changeTools(editor) {
  const withShape = (tool) => (geometry) => editor.reshape(tool, geometry);
  return [
    editTool(editor),
    moveTool(editor),
    geomanTool(editor, {
      tool: 'cut', key: 'x', name: 'Cut', shape: 'Polygon', done: withShape('cut'), colour: () => TOOL_COLOUR,
      hint: 'Draw an area: it is cut out of the chosen labels, or of all it touches. Inside a label it leaves a hole.',
    }),
    geomanTool(editor, {
      tool: 'split', key: 's', name: 'Split', shape: 'Line', done: withShape('split'), colour: () => TOOL_COLOUR,
      hint: 'Draw a line across: the chosen labels, or all it crosses, are parted along it. Enter or a double click ends it.',
    }),
    {
      tool: 'delete', key: 'd', name: 'Delete', icon: 'delete', hint: 'Click labels to delete them. Undo brings them back.',
      click: (id) => id && editor.remove([id]),
    },
  ].map((one) => (['cut', 'split'].includes(one.tool) ? { ...one, keeps: true } : one));
}

function boxDrag(editor, wanted) {
  const { map } = editor;
  let start = null;
  let frame = null;
  const drop = () => { if (frame) frame.remove(); frame = null; };
  return onDrag(map, {
    begin(latlng, event) { start = latlng; return wanted(event); },
    move(latlng) {
      frame = frame || L.rectangle([start, latlng], { color: '#00aaff', weight: 1.5, dashArray: '5 4', fillOpacity: 0.12, interactive: false, pmIgnore: true }).addTo(map);
      frame.setBounds([start, latlng]);
    },
    end(latlng, event) {
      drop();
      const bounds = L.latLngBounds(start, latlng);
      const hit = [...editor.labels].filter(([, { feature }]) => touches(feature.geometry, bounds)).map(([id]) => id);
      editor.select(event.shiftKey ? [...editor.selection, ...hit] : hit);
    },
    cancel: drop,
  });
}

function editTool(editor) {
  let armed = null; // layer with vertices to drag
  let stopMoving = () => {};
  const disarm = () => {
    if (armed) armed.off('pm:vertexadded pm:vertexremoved pm:markerdragend', makeRoomSoon);
    if (armed && armed.pm.enabled()) armed.pm.disable();
    armed = null;
  };
  // Where vertices are dense, their handles are small, and those between them wait until the map is zoomed in.
  const makeRoom = () => {
    if (!armed || !armed.pm._markerGroup) return;
    const handles = armed.pm._markerGroup.getLayers().filter(({ _icon }) => _icon);
    const between = ({ _icon }) => L.DomUtil.hasClass(_icon, 'marker-icon-middle');
    const vertices = handles.filter((one) => !between(one)).map((one) => [one, editor.map.latLngToContainerPoint(one.getLatLng())]);
    for (const handle of handles) {
      const at = editor.map.latLngToContainerPoint(handle.getLatLng());
      const crowded = vertices.some(([other, place]) => other !== handle && at.distanceTo(place) < ROOM_PX);
      handle._icon.classList.toggle(between(handle) ? 'tt-no-room' : 'tt-crowded', crowded);
    }
  };
  const makeRoomSoon = () => setTimeout(makeRoom, 0);
  const self = {
    tool: 'edit', key: 'e', name: 'Edit', icon: 'edit', keeps: true,
    hint: 'Click a label, then drag its vertices; small dots add one, a right click (or long press) removes one. Every change is saved.',
    click: (id, event) => editor.choose(id, event),
    start() {
      stopMoving = moveDrag(editor, (id) => (editor.selection.has(id) && editor.labels.get(id).kind === 'point' ? [id] : []));
      self.chosen();
    },
    stop() { stopMoving(); disarm(); },
    // The selection, or the label that is selected, has changed.
    chosen() {
      const [id] = editor.selection;
      const known = editor.selection.size === 1 ? editor.labels.get(id) : null;
      if (known && armed === known.layer) return;
      disarm();
      if (!known || known.kind === 'point') return;
      armed = known.layer;
      editor.offerSnapping();
      armed.options.snapIgnore = true;
      armed.on('pm:vertexadded pm:vertexremoved pm:markerdragend', makeRoomSoon);
      armed.pm.enable({ allowSelfIntersection: true, snappable: editor.snapping, snapDistance: SNAP_PX, draggable: false, removeLayerBelowMinVertexCount: false });
      makeRoom();
    },
    gone(layer) { if (layer === armed) disarm(); },
    refresh() { disarm(); self.chosen(); },
    zoomed: makeRoom,
    snap() { self.refresh(); },
  };
  return self;
}

function moveTool(editor) {
  return {
    tool: 'move', key: 'm', name: 'Move', icon: 'move', keeps: true, hint: 'Drag a label to another place; what is chosen moves together.',
    click: (id, event) => editor.choose(id, event),
    start() { this.stop = moveDrag(editor, (id) => (editor.selection.has(id) ? [...editor.selection] : [id])); },
  };
}

// which(id): the labels to move when a drag begins on label `id`.
function moveDrag(editor, which) {
  const { map } = editor;
  let moving = []; // {id, layer, feature}
  let from = null;
  const by = (latlng, feature) => shifted(map, feature.geometry, map.project(latlng).subtract(map.project(from)));
  const put = ({ layer, kind }, geometry) => { if (kind === 'point') layer.setLatLng(latLngsOf(geometry)); else layer.setLatLngs(latLngsOf(geometry)); };
  return onDrag(map, {
    begin(latlng) {
      from = latlng;
      const id = editor.labelAt(latlng);
      moving = id ? which(id).map((one) => ({ id: one, ...editor.labels.get(one) })) : [];
      return moving.length > 0;
    },
    move(latlng) { for (const one of moving) put(one, by(latlng, one.feature)); },
    end(latlng) {
      editor.change(moving.map(({ id, feature }) => ({ id, before: feature, after: { ...feature, geometry: by(latlng, feature) } })));
    },
    cancel() { for (const one of moving) put(one, one.feature.geometry); },
  });
}
