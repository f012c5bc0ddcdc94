// Colours: a ramp for levels, a hue for every place of the face, and a set for classes.

const RAMPS = {
  dark: [
    [0.0, "#1d1a4f"], [0.18, "#4329a3"], [0.36, "#8a35c4"], [0.54, "#e0488f"],
    [0.7, "#ff7a59"], [0.85, "#ffc155"], [1.0, "#fffbe0"],
  ],
  light: [
    [0.0, "#b9c6e8"], [0.18, "#8fa3e0"], [0.36, "#7a6fd6"], [0.54, "#a43fb8"],
    [0.7, "#cb2f7d"], [0.85, "#c8321f"], [1.0, "#6b1005"],
  ],
};
const CLASS_COLOURS = [
  "#4e9df5", "#ff9f43", "#3ecf8e", "#f0559b", "#b28bff", "#e6d24a", "#2fd0d6", "#ff6b57", "#9fb3c8", "#c98a5b",
];
const RAMP_SIZE = 256;

/** "#rrggbb" to [r, g, b], each 0 to 255. */
export function parse(hex) {
  return [1, 3, 5].map((start) => Number.parseInt(hex.slice(start, start + 2), 16));
}

/** The ramp of levels as RGBA bytes, RAMP_SIZE colours from low to high. */
export function rampBytes(theme) {
  const stops = RAMPS[theme].map(([at, hex]) => [at, parse(hex)]);
  const bytes = new Uint8Array(RAMP_SIZE * 4);
  for (let index = 0; index < RAMP_SIZE; index++) {
    const at = index / (RAMP_SIZE - 1);
    const upper = Math.max(1, stops.findIndex(([stop]) => stop >= at));
    const [[from, low], [to, high]] = [stops[upper - 1], stops[upper]];
    const share = (at - from) / (to - from);
    for (let part = 0; part < 3; part++) bytes[4 * index + part] = Math.round(low[part] + share * (high[part] - low[part]));
    bytes[4 * index + 3] = 255;
  }
  return bytes;
}

/** Colours for classes as RGBA bytes, in as many bands; of two classes the first is dim. */
export function bandBytes(classes, theme) {
  const dim = theme === "dark" ? [38, 48, 82] : [186, 194, 214];
  const bright = theme === "dark" ? [80, 230, 165] : [8, 129, 90];
  const bytes = new Uint8Array(RAMP_SIZE * 4);
  for (let index = 0; index < RAMP_SIZE; index++) {
    const band = Math.min(classes - 1, Math.floor((index / RAMP_SIZE) * classes));
    bytes.set(classes === 2 ? [dim, bright][band] : classColour(band), 4 * index);
    bytes[4 * index + 3] = 255;
  }
  return bytes;
}

/** A colour of a ramp as [r, g, b], by a share from 0 to 1. */
export function rampColour(bytes, share) {
  const index = 4 * Math.round(Math.min(1, Math.max(0, share || 0)) * (RAMP_SIZE - 1));
  return [bytes[index], bytes[index + 1], bytes[index + 2]];
}

/** A colour in OKLCH (lightness 0 to 1, chroma, hue in degrees) to sRGB bytes. */
export function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const [l, m, s] = [
    (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
    (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
    (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3,
  ];
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((value) => {
    const held = Math.min(1, Math.max(0, value));
    return Math.round(255 * (held <= 0.0031308 ? 12.92 * held : 1.055 * held ** (1 / 2.4) - 0.055));
  });
}

/** The colour of a launch site: hue by the direction from the middle of the face, paler towards the middle. */
export function siteColour(column, row, columns, rows, theme, generation = 0) {
  const x = (column + 0.5) / columns - 0.5;
  const y = (row + 0.5) / rows - 0.5;
  const hue = (Math.atan2(y, x) * 180) / Math.PI + 200;
  const radius = Math.min(1, Math.hypot(x, y) / 0.6);
  const lightness = (theme === "dark" ? 0.8 : 0.52) + (theme === "dark" ? 0.05 : 0.09) * Math.min(generation, 3);
  return oklch(lightness, 0.05 + 0.13 * radius, hue + 9 * generation);
}

/** The colour of a class by its number. */
export function classColour(number) {
  return parse(CLASS_COLOURS[number % CLASS_COLOURS.length]);
}

/** [r, g, b] to what CSS and a canvas take. */
export function css([red, green, blue], alpha = 1) {
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}
