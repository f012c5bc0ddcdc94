// The shaders: a flow's move is a segment that grows while the time passes it; a flow at a step is a glowing point.

const COMMON = /* glsl */ `
precision highp float;
in vec4 start;   // place, level
in vec4 end;     // place, level
in vec3 about;   // mass, number of the flow, step of the end
uniform float time;
uniform float trail;      // steps after which a move fades; 0 keeps all
uniform float past;       // opacity of what has faded
uniform float highest;    // level at the bright end
uniform float byLevel;
uniform float dimmed;     // opacity of flows that are not chosen
uniform sampler2D flowTable;
uniform sampler2D ramp;
out vec4 shade;

vec4 flowEntry() {
  int number = int(about.y + 0.5);
  return texelFetch(flowTable, ivec2(number & 1023, number >> 10), 0);
}

vec3 colourAt(float level, vec4 entry) {
  vec3 own = entry.rgb * mix(0.6, 1.0, clamp(level / highest, 0.0, 1.0));
  return mix(own, texture(ramp, vec2(clamp(level / highest, 0.0, 1.0), 0.5)).rgb, byLevel);
}
`;

export const SEGMENT_VERTEX = /* glsl */ `
${COMMON}
uniform vec2 viewport;
uniform float thickness;
out float across;

void main() {
  vec4 entry = flowEntry();
  float age = time - about.z;
  float grown = clamp(age + 1.0, 0.0, 1.0);
  vec3 tip = mix(start.xyz, end.xyz, grown);
#ifdef WIDE
  vec4 one = projectionMatrix * (modelViewMatrix * vec4(start.xyz, 1.0));
  vec4 other = projectionMatrix * (modelViewMatrix * vec4(tip, 1.0));
  int corner = gl_VertexID & 3;
  bool atEnd = corner > 1;
  across = float((corner & 1) * 2 - 1);
  vec2 along = other.xy / max(other.w, 1e-4) - one.xy / max(one.w, 1e-4);
  along *= viewport;
  float far = length(along);
  vec2 normal = far > 1e-4 ? vec2(-along.y, along.x) / far : vec2(0.0, 1.0);
  vec4 corners = atEnd ? other : one;
  float pixels = thickness * (0.35 + 0.65 * sqrt(about.x)) * mix(1.0, 1.9, step(0.75, entry.a));
  corners.xy += normal * across * pixels / viewport * corners.w;
#else
  bool atEnd = (gl_VertexID & 1) == 1;
  across = 0.0;
  vec4 corners = projectionMatrix * (modelViewMatrix * vec4(atEnd ? tip : start.xyz, 1.0));
#endif
  gl_Position = corners;
  float level = atEnd ? mix(start.w, end.w, grown) : start.w;
  float old = max(0.0, atEnd ? age : age + 1.0);
  float fade = trail > 0.0 ? past + (1.0 - past) * exp(-old / trail) : 1.0;
  float chosen = entry.a > 0.3 ? 1.0 : dimmed;
  shade = vec4(colourAt(level, entry), fade * chosen * (grown > 0.0 ? 1.0 : 0.0));
}
`;

export const SEGMENT_FRAGMENT = /* glsl */ `
precision highp float;
in vec4 shade;
in float across;
uniform float opacity;
out vec4 colour;
void main() {
  float edge = 1.0 - across * across;
  colour = vec4(shade.rgb, shade.a * opacity * (0.25 + 0.75 * edge));
}
`;

export const HEAD_VERTEX = /* glsl */ `
${COMMON}
uniform float share;   // of the way to the next step
uniform float size;    // pixels of a whole flow at a distance of 1
out float solid;

void main() {
  vec4 entry = flowEntry();
  bool ends = about.z > 0.5;
  float level = mix(start.w, end.w, share);
  gl_Position = projectionMatrix * (modelViewMatrix * vec4(mix(start.xyz, end.xyz, share), 1.0));
  float strength = clamp(level / highest, 0.0, 1.0);
  gl_PointSize = size * (0.4 + 0.6 * sqrt(about.x)) * (0.55 + 0.6 * strength) / gl_Position.w;
  float chosen = entry.a > 0.3 ? 1.0 : dimmed;
  solid = entry.a > 0.75 ? 1.0 : 0.0;
  shade = vec4(colourAt(level, entry), chosen * (ends ? 1.0 - share : 1.0));
}
`;

export const HEAD_FRAGMENT = /* glsl */ `
precision highp float;
in vec4 shade;
in float solid;
uniform float glow;
out vec4 colour;
void main() {
  float far = 2.0 * length(gl_PointCoord - 0.5);
  if (far > 1.0) discard;
  float core = smoothstep(0.42, 0.3, far);
  float halo = glow * pow(1.0 - far, 2.4);
  float ring = solid * smoothstep(0.1, 0.0, abs(far - 0.8));
  colour = vec4(mix(shade.rgb, vec3(1.0), 0.35 * core * glow), shade.a * max(max(core, halo * 0.75), ring));
}
`;

export const CLOUD_VERTEX = /* glsl */ `
precision highp float;
in vec2 visits;   // share of the busiest cell's, step of the first
uniform float time;
uniform float size;
out float strength;
void main() {
  gl_Position = projectionMatrix * (modelViewMatrix * vec4(position, 1.0));
  strength = visits.y > time ? 0.0 : visits.x;
  gl_PointSize = size * (0.55 + 0.75 * visits.x) / gl_Position.w;
}
`;

export const CLOUD_FRAGMENT = /* glsl */ `
precision highp float;
in float strength;
uniform vec3 tint;
uniform float opacity;
out vec4 colour;
void main() {
  float far = 2.0 * length(gl_PointCoord - 0.5);
  if (far > 1.0 || strength <= 0.0) discard;
  colour = vec4(tint, opacity * (0.12 + 0.88 * strength) * (1.0 - far) * (1.0 - far));
}
`;

export const FACE_VERTEX = /* glsl */ `
out vec2 place;
void main() {
  place = uv;
  gl_Position = projectionMatrix * (modelViewMatrix * vec4(position, 1.0));
}
`;

export const FACE_FRAGMENT = /* glsl */ `
precision highp float;
in vec2 place;
uniform sampler2D sites;
uniform vec2 size;       // columns and rows
uniform float opacity;
out vec4 colour;
void main() {
  vec2 within = abs(fract(place * size) - 0.5);
  if (max(within.x, within.y) > 0.46) discard;
  colour = vec4(texture(sites, place).rgb, opacity);
}
`;
