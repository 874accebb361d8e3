// Dragging over the map with mouse, pen or finger.

const STILL_PX = 4;

// While Space is held, drags move the map.
let panning = false;
window.addEventListener('keydown', ({ key }) => { if (key === ' ') panning = true; }, true);
window.addEventListener('keyup', ({ key }) => { if (key === ' ') panning = false; }, true);
window.addEventListener('blur', () => { panning = false; });

// begin(latLng, event) says whether the drag is wanted; then the map stays still, move(latLng, event) follows, and at last
// end(latLng), or cancel() when a second finger comes (that is a pinch) or the tool is put away. A press that does not move
// is a click and none of this. Returns what ends listening.
export function onDrag(map, { begin, move, end, cancel }) {
  const box = map.getContainer();
  let drag = null; // {id, from, moved}
  const where = (event) => map.mouseEventToLatLng(event);
  const finish = () => {
    drag = null;
    map.dragging.enable();
    for (const [name, handler] of Object.entries(handlers)) window.removeEventListener(name, handler, true);
  };
  const giveUp = () => { if (drag) { finish(); cancel(); } };
  const down = (event) => {
    if (drag) { giveUp(); return; }
    if (panning || event.button !== 0 || !event.isPrimary || event.target.closest('.leaflet-control, .tt-over, .marker-icon:not(.cursor-marker)') || !begin(where(event), event)) return;
    drag = { id: event.pointerId, from: [event.clientX, event.clientY], moved: false };
    map.dragging.disable();
    for (const [name, handler] of Object.entries(handlers)) window.addEventListener(name, handler, true);
  };
  const handlers = {
    pointermove(event) {
      if (event.pointerId !== drag.id) return;
      drag.moved = drag.moved || Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]) > STILL_PX;
      if (drag.moved) move(where(event), event);
    },
    pointerup(event) {
      if (event.pointerId !== drag.id) return;
      const { moved } = drag;
      finish();
      if (!moved) { cancel(); return; }
      swallowClick(box);
      end(where(event), event);
    },
    pointercancel: () => giveUp(),
  };
  box.addEventListener('pointerdown', down, true);
  return () => { giveUp(); box.removeEventListener('pointerdown', down, true); };
}

// The click that a browser sends after a drag.
function swallowClick(box) {
  const stop = (event) => event.stopPropagation();
  box.addEventListener('click', stop, true);
  setTimeout(() => box.removeEventListener('click', stop, true), 0);
}
