// Two sides of one place: a divider that is dragged, or one picture after the other; and maps that show the same place together.

// The library clips one layer a side; here all of a side's layers are clipped.
let SwipeControl;
function swipeControl() {
  SwipeControl = SwipeControl || L.Control.SideBySide.extend({
    _updateClip() {
      const map = this._map;
      const northWest = map.containerPointToLayerPoint([0, 0]);
      const southEast = map.containerPointToLayerPoint(map.getSize());
      const divider = this.getPosition();
      const x = northWest.x + divider;
      this._divider.style.left = `${divider}px`;
      const clip = (layers, from, to) => layers.forEach((layer) => {
        const element = layer.getContainer && layer.getContainer();
        if (element) element.style.clip = `rect(${northWest.y}px,${to}px,${southEast.y}px,${from}px)`;
      });
      clip(this._leftLayers, northWest.x, x);
      clip(this._rightLayers, x, southEast.x);
    },
    remove() {
      if (!this._map) return this;
      for (const layer of [...this._leftLayers, ...this._rightLayers]) {
        const element = layer.getContainer && layer.getContainer();
        if (element) element.style.clip = '';
      }
      this._leftLayer = this._rightLayer = null;
      return L.Control.SideBySide.prototype.remove.call(this);
    },
  });
  return SwipeControl;
}

function sideLabel(host, label, side) {
  const element = L.DomUtil.create('div', `tt-side tt-side-${side}`, host);
  element.textContent = label;
  return element;
}

// A divider over the map; it stays where it is when the sides change.
export class Swipe {
  constructor(canvas, sides, position = 0.5) {
    this.control = new (swipeControl())(sides.left, sides.right).addTo(canvas.map);
    const range = this.control._range;
    range.value = position;
    range.setAttribute('aria-label', `Divider between ${sides.labels[0]} and ${sides.labels[1]}`);
    range.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation(); // the map would move, too
      range.value = Number(range.value) + step;
      this.control._updateClip();
    });
    this.control._updateClip();
    this.labels = sides.labels.map((label, side) => sideLabel(canvas.host, label, side ? 'right' : 'left'));
  }

  get position() { return Number(this.control._range.value); }

  remove() {
    this.control.remove();
    this.labels.forEach((label) => label.remove());
  }
}

const SPEEDS = [2, 1, 0.5]; // seconds; never so fast that it could harm people who are sensitive to flashes (three a second)

// One side after the other at the same place, switched by hand, by a key or by time.
export class Flicker {
  constructor(canvas, sides, state) {
    this.canvas = canvas;
    this.sides = sides;
    this.state = state; // {shown: 0 | 1, seconds: 0 when it stands still}; kept by the canvas
    this.bar = L.DomUtil.create('div', 'tt-flicker', canvas.host);
    L.DomEvent.disableClickPropagation(this.bar);
    L.DomEvent.on(this.bar, 'keydown', (event) => event.stopPropagation());
    this.buttons = sides.labels.map((label, side) => this.button(label, () => this.show(side)));
    this.play = this.button('', () => this.run(this.state.seconds ? 0 : SPEEDS[1]));
    this.speed = L.DomUtil.create('select', '', this.bar);
    this.speed.setAttribute('aria-label', 'How long each side is shown');
    for (const seconds of SPEEDS) this.speed.add(new Option(`${seconds} s`, seconds));
    this.speed.addEventListener('change', () => this.run(Number(this.speed.value)));
    this.onKey = (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest('input, select, button, .tt-flicker')) return;
      if (event.key !== ' ' && event.key.toLowerCase() !== 'f') return;
      event.preventDefault();
      this.show(1 - this.state.shown);
    };
    canvas.box.addEventListener('keydown', this.onKey);
    this.again = () => this.apply();
    canvas.map.on('layeradd', this.again);
    this.run(state.seconds);
  }

  button(label, action) {
    const element = L.DomUtil.create('button', 'tt-button', this.bar);
    element.type = 'button';
    element.textContent = label;
    element.addEventListener('click', action);
    return element;
  }

  show(side) {
    this.state.shown = side;
    this.apply();
  }

  run(seconds) {
    clearInterval(this.timer);
    this.state.seconds = seconds;
    if (seconds) this.timer = setInterval(() => this.show(1 - this.state.shown), seconds * 1000);
    this.play.textContent = seconds ? '❚❚' : '▶';
    this.play.setAttribute('aria-label', seconds ? 'Stop switching' : 'Switch by itself');
    this.play.title = seconds ? 'Stop switching' : 'Switch by itself. By hand: press Space or F on the map.';
    this.speed.hidden = !seconds;
    if (seconds) this.speed.value = seconds;
    this.apply();
  }

  apply() {
    [this.sides.left, this.sides.right].forEach((layers, side) => layers.forEach((layer) => {
      const element = layer.getContainer && layer.getContainer();
      if (element) element.style.visibility = side === this.state.shown ? '' : 'hidden';
    }));
    this.buttons.forEach((button, side) => {
      button.classList.toggle('tt-on', side === this.state.shown);
      button.setAttribute('aria-pressed', String(side === this.state.shown));
    });
  }

  remove() {
    clearInterval(this.timer);
    this.canvas.box.removeEventListener('keydown', this.onKey);
    this.canvas.map.off('layeradd', this.again);
    for (const layer of [...this.sides.left, ...this.sides.right]) {
      const element = layer.getContainer && layer.getContainer();
      if (element) element.style.visibility = '';
    }
    this.bar.remove();
  }
}

const linked = new Map(); // name -> set of canvases that show the same place
let following = false; // one of them is being moved along

// Maps with the same link move together, and show where the pointer is on the other.
export class Link {
  constructor(canvas, name, label) {
    this.canvas = canvas;
    this.name = name;
    this.label = sideLabel(canvas.host, label, 'left');
    if (!linked.has(name)) linked.set(name, new Set());
    const first = this.others()[0];
    linked.get(name).add(canvas);
    if (first) canvas.map.setView(first.map.getCenter(), first.map.getZoom(), { animate: false });
    this.pointer = L.circleMarker([0, 0], { radius: 7, color: '#fff', weight: 2, fill: false, interactive: false, pmIgnore: true });
    this.events = {
      move: () => {
        if (following) return;
        following = true;
        for (const other of this.others()) other.map.setView(canvas.map.getCenter(), canvas.map.getZoom(), { animate: false });
        following = false;
      },
      mousemove: (event) => this.others().forEach((other) => other.link.pointer.setLatLng(event.latlng).addTo(other.map)),
      mouseout: () => this.others().forEach((other) => other.link.pointer.remove()),
    };
    canvas.map.on(this.events);
  }

  others() { return [...linked.get(this.name)].filter((other) => other !== this.canvas); }

  remove() {
    this.events.mouseout();
    this.canvas.map.off(this.events);
    this.pointer.remove();
    this.label.remove();
    linked.get(this.name).delete(this.canvas);
  }
}
