// Draws the surface whose arrays lie in the page. Drag turns, wheel or pinch zooms, Shift and drag moves, the slider cuts.
"use strict";

const VERTEX = `#version 300 es
in vec3 position;
in vec3 colour;
in vec3 normal;
uniform mat3 turn;
uniform vec3 centre;
uniform vec2 scale;
uniform vec2 shift;
out vec3 tint;
out vec3 facing;
out float depth;
void main() {
  vec3 seen = turn * (position - centre);
  tint = colour;
  facing = turn * normal;
  depth = seen.z;
  gl_Position = vec4(seen.xy * scale + shift, -seen.z / 1.01, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 tint;
in vec3 facing;
in float depth;
uniform float front;
uniform float radius;
uniform vec3 ground;
out vec4 shown;
void main() {
  if (depth > front) discard;
  vec3 normal = normalize(facing);
  float lit = gl_FrontFacing
    ? 0.62 + 0.38 * max(0.0, dot(normal, normalize(vec3(-0.35, 0.5, 0.8))))
    : 0.62;
  float far = clamp(0.5 - 0.5 * depth / radius, 0.0, 1.0);
  shown = vec4(mix(tint * lit, ground, 0.35 * far * far), 1.0);
}`;

const GROUND = [1, 1, 1];

// Undo the packing: low bytes lie before high ones, and every number is a difference to the one before it.
async function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const apart = new Uint8Array(await new Response(stream).arrayBuffer());
  const width = Kind.BYTES_PER_ELEMENT;
  const length = apart.length / width;
  const out = new Kind(length);
  for (let n = 0; n < length; n++) {
    let value = n ? out[n - 1] : 0;
    for (let byte = 0; byte < width; byte++) value += apart[byte * length + n] * 2 ** (8 * byte);
    out[n] = value; // wraps
  }
  return out;
}

// Columns to rows: all x, all y, all z to x, y, z of each vertex.
function interleave(columns, Kind) {
  const length = columns.length / 3;
  const out = new Kind(columns.length);
  for (let n = 0; n < length; n++) for (let c = 0; c < 3; c++) out[3 * n + c] = columns[c * length + n];
  return out;
}

function normals(positions, corners) {
  const out = new Float32Array(positions.length);
  for (let t = 0; t < corners.length; t += 3) {
    const [a, b, c] = [3 * corners[t], 3 * corners[t + 1], 3 * corners[t + 2]];
    const u = [0, 1, 2].map((n) => positions[b + n] - positions[a + n]);
    const v = [0, 1, 2].map((n) => positions[c + n] - positions[a + n]);
    const face = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let n = 0; n < 3; n++) out[corner + n] += face[n] / 65535;
  }
  return out;
}

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error("the shaders do not fit this browser");
  return made;
}

function upload(gl, made, name, values, kind, normalized) {
  const place = gl.getAttribLocation(made, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, 3, kind, normalized, 0, 0);
}

// The middle of the box around the vertices and the farthest of them from there, where 65535 is 1.
function extent(positions) {
  const low = [Infinity, Infinity, Infinity];
  const high = [0, 0, 0];
  positions.forEach((value, n) => {
    low[n % 3] = Math.min(low[n % 3], value / 65535);
    high[n % 3] = Math.max(high[n % 3], value / 65535);
  });
  const centre = low.map((value, n) => (value + high[n]) / 2);
  let radius = 0;
  for (let n = 0; n < positions.length; n += 3)
    radius = Math.max(radius, Math.hypot(...centre.map((value, c) => positions[n + c] / 65535 - value)));
  return { centre, radius };
}

// Matrices are columns, as WebGL reads them.
function multiply(a, b) {
  const out = [];
  for (let column = 0; column < 3; column++)
    for (let row = 0; row < 3; row++)
      out.push(a[row] * b[3 * column] + a[row + 3] * b[3 * column + 1] + a[row + 6] * b[3 * column + 2]);
  return out;
}

// A turn about the upright axis, then about the level one; angles in radians.
function turned(across, down) {
  const [c, s, d, t] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
  return multiply([1, 0, 0, 0, d, t, 0, -t, d], [c, 0, -s, 0, 1, 0, s, 0, c]);
}

const start = () => ({ turn: turned(-0.5, 0.35), zoom: 1, shift: [0, 0] });

function steer(canvas, slider, reset, view, draw) {
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  const zoom = (factor) => { view.zoom = Math.min(20, Math.max(0.3, view.zoom * factor)); };
  const move = (across, down) => {
    view.shift[0] += (2 * across) / canvas.clientWidth;
    view.shift[1] -= (2 * down) / canvas.clientHeight;
  };
  const turn = (across, down) => { view.turn = multiply(turned(across, down), view.turn); };
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
  });
  for (const ended of ["pointerup", "pointercancel"])
    canvas.addEventListener(ended, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const apart = fingers.size === 2 && spread();
    const [across, down] = [event.clientX - before.x, event.clientY - before.y];
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (apart) zoom(spread() / apart);
    if (apart) move(across / 2, down / 2);
    else if (event.shiftKey) move(across, down);
    else turn(across * 0.008, down * 0.008);
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0012));
    draw();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (!step) return;
    event.preventDefault();
    turn(...step);
    draw();
  });
  slider.addEventListener("input", draw);
  reset.addEventListener("click", () => {
    Object.assign(view, start());
    slider.value = 0;
    draw();
  });
}

async function show(mesh, canvas) {
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("this browser has no WebGL 2");
  const made = program(gl);
  const positions = interleave(await unpack(mesh.positions, Uint16Array), Uint16Array);
  const corners = await unpack(mesh.corners, Uint32Array);
  upload(gl, made, "position", positions, gl.UNSIGNED_SHORT, true);
  upload(gl, made, "colour", interleave(await unpack(mesh.colours, Uint8Array), Uint8Array), gl.UNSIGNED_BYTE, true);
  upload(gl, made, "normal", normals(positions, corners), gl.FLOAT, false);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
  gl.useProgram(made);
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(...GROUND, 1);

  const { centre, radius } = extent(positions);
  const at = (name) => gl.getUniformLocation(made, name);
  gl.uniform3fv(at("centre"), centre);
  gl.uniform1f(at("radius"), radius);
  gl.uniform3fv(at("ground"), GROUND);
  const slider = document.getElementById("cut");
  const view = start();
  let waiting = false;
  const draw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.round(n * devicePixelRatio));
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      const size = (view.zoom * Math.min(width, height)) / (1.02 * radius);
      gl.viewport(0, 0, width, height);
      gl.uniformMatrix3fv(at("turn"), false, view.turn);
      gl.uniform2f(at("scale"), size / width, size / height);
      gl.uniform2fv(at("shift"), view.shift);
      gl.uniform1f(at("front"), radius * (1 - slider.value / 50));
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.drawElements(gl.TRIANGLES, corners.length, gl.UNSIGNED_INT, 0);
      canvas.dataset.drawn = Number(canvas.dataset.drawn || 0) + 1;
    });
  };
  steer(canvas, slider, document.getElementById("reset"), view, draw);
  new ResizeObserver(draw).observe(canvas);
  draw();
}

const mesh = JSON.parse(document.getElementById("mesh").textContent);
const canvas = document.getElementById("surface");
if (mesh && canvas) {
  show(mesh, canvas).catch((error) => {
    const said = document.getElementById("surface-help");
    said.textContent = `The surface cannot be drawn here: ${error.message}.`;
    canvas.hidden = true;
  });
}
