// Elements without HTML strings: what comes from data is always text.

/** Make an element: properties, `on` handlers, `aria-*` and `data-*` attributes, then children (elements or text). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (/^(aria-|data-|role$|for$|list$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return element;
}

/** A button with words for people who do not see its sign. */
export function button(sign, label, press, properties = {}) {
  return make("button", { type: "button", title: label, "aria-label": label, on: { click: press }, ...properties }, sign);
}

/** A drop-down list: [[value, words], ...]. */
export function choice(label, options, chosen, change) {
  const list = make("select", { "aria-label": label, title: label, on: { change: () => change(list.value) } });
  for (const [value, words] of options) list.append(make("option", { value, selected: value === chosen }, words));
  return list;
}

/** A canvas as large as its place in pixels, ready to draw. */
export function brush(canvas) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { pen, width, height };
}

/** A colour of the page, by the name of its CSS variable. */
export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** A number in few digits. */
export function figure(value, digits = 3) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : "-";
}
