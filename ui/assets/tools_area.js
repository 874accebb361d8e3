// The tool that says where everything is labelled: corners by clicks as for any area, or a box by dragging. Such an area is a label
// of a value of its own; it is drawn dashed and unfilled below all others, and only its edge can be hit.

const VERSION = new URL(import.meta.url).search;
const { onDrag } = await import(`./label_pointer.js${VERSION}`);
const { geomanTool } = await import(`./tools_draw.js${VERSION}`);
const { areaM2, squareMetres } = await import(`./label_shapes.js${VERSION}`);

export function fullyLabelledTool(editor) {
  const save = (geometry) => editor.create(geometry, editor.fullyLabelled.value);
  const corners = geomanTool(editor, {
    tool: 'full', key: 'i', name: 'Fully labelled area', shape: 'Polygon', done: save, draws: 'area', colour: () => editor.fullyLabelled.colour,
    hint: 'Click corners or drag a box where you have drawn everything: what is not drawn inside is background, and outside only what is drawn counts.',
  });
  let box = null;
  let stopDragging = () => {};
  const drop = () => { if (box) box.remove(); box = null; };
  return {
    ...corners,
    start() {
      corners.start();
      let from = null;
      stopDragging = onDrag(editor.map, {
        begin(latlng) { from = latlng; return corners.count() === 0; },
        move(latlng) {
          box = box || L.rectangle([from, latlng], { color: editor.fullyLabelled.colour, weight: 2, dashArray: '9 6', fill: false, interactive: false, pmIgnore: true }).addTo(editor.map);
          box.setBounds([from, latlng]);
          editor.showMeasure();
        },
        end() {
          const { geometry } = box.toGeoJSON(9);
          drop();
          save(geometry);
          editor.showMeasure();
        },
        cancel: drop,
      });
    },
    stop() { stopDragging(); drop(); corners.stop(); },
    measure: () => (box ? squareMetres(areaM2(box.getLatLngs()[0])) : corners.measure()),
  };
}
