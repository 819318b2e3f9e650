// Draw the molecule's surface from the arrays in the page.
// Drag rotates, wheel or pinch zooms, Shift and drag moves, the slider cuts the front away.
"use strict";

const VERTEX = `#version 300 es
in vec3 position;
in vec3 colour;
in vec3 normal;
uniform mat3 rotation;
uniform vec3 centre;
uniform vec2 scale;
uniform vec2 shift;
out vec3 vertexColour;
out vec3 vertexNormal;
out float depth;
void main() {
  vec3 rotated = rotation * (position - centre);
  vertexColour = colour;
  vertexNormal = rotation * normal;
  depth = rotated.z;
  gl_Position = vec4(rotated.xy * scale + shift, -rotated.z / 1.01, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 vertexColour;
in vec3 vertexNormal;
in float depth;
uniform float cutDepth;
uniform float radius;
uniform vec3 background;
out vec4 pixel;
void main() {
  if (depth > cutDepth) discard;
  vec3 normal = normalize(vertexNormal);
  float light = gl_FrontFacing
    ? 0.62 + 0.38 * max(0.0, dot(normal, normalize(vec3(-0.35, 0.5, 0.8))))
    : 0.62;
  float depthFraction = clamp(0.5 - 0.5 * depth / radius, 0.0, 1.0);
  pixel = vec4(mix(vertexColour * light, background, 0.35 * depthFraction * depthFraction), 1.0); // distant parts fade
}`;

const BACKGROUND = [1, 1, 1];
const MAX_POSITION = 65535; // positions are stored in 16 bits

// Decode base64 of deflated differences, low bytes before high bytes, as surface.py encodes them.
async function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytePlanes = new Uint8Array(await new Response(stream).arrayBuffer());
  const width = Kind.BYTES_PER_ELEMENT;
  const length = bytePlanes.length / width;
  const out = new Kind(length);
  for (let n = 0; n < length; n++) {
    let value = n ? out[n - 1] : 0;
    for (let byte = 0; byte < width; byte++) value += bytePlanes[byte * length + n] * 2 ** (8 * byte);
    out[n] = value; // wraps around
  }
  return out;
}

// Reorder (all x, all y, all z) to (x, y, z) of each vertex.
function interleave(columns, Kind) {
  const length = columns.length / 3;
  const out = new Kind(columns.length);
  for (let n = 0; n < length; n++) for (let c = 0; c < 3; c++) out[3 * n + c] = columns[c * length + n];
  return out;
}

// Sum the normals of the faces around each vertex; the shader normalises them.
function vertexNormals(positions, corners) {
  const out = new Float32Array(positions.length);
  for (let t = 0; t < corners.length; t += 3) {
    const [a, b, c] = [3 * corners[t], 3 * corners[t + 1], 3 * corners[t + 2]];
    const u = [0, 1, 2].map((n) => positions[b + n] - positions[a + n]);
    const v = [0, 1, 2].map((n) => positions[c + n] - positions[a + n]);
    const face = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let n = 0; n < 3; n++) out[corner + n] += face[n] / MAX_POSITION;
  }
  return out;
}

function compileProgram(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("this browser rejects the shaders");
  return program;
}

function upload(gl, program, name, values, kind, normalized) {
  const location = gl.getAttribLocation(program, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(location);
  gl.vertexAttribPointer(location, 3, kind, normalized, 0, 0);
}

// The centre of the vertices' bounding box and their largest distance from it, in units of the mesh's span.
function boundingSphere(positions) {
  const low = [Infinity, Infinity, Infinity];
  const high = [0, 0, 0];
  positions.forEach((value, n) => {
    low[n % 3] = Math.min(low[n % 3], value / MAX_POSITION);
    high[n % 3] = Math.max(high[n % 3], value / MAX_POSITION);
  });
  const centre = low.map((value, n) => (value + high[n]) / 2);
  let radius = 0;
  for (let n = 0; n < positions.length; n += 3)
    radius = Math.max(radius, Math.hypot(...centre.map((value, c) => positions[n + c] / MAX_POSITION - value)));
  return { centre, radius };
}

// Multiply 3 × 3 matrices, stored by columns as in WebGL.
function multiply(a, b) {
  const out = [];
  for (let column = 0; column < 3; column++)
    for (let row = 0; row < 3; row++)
      out.push(a[row] * b[3 * column] + a[row + 3] * b[3 * column + 1] + a[row + 6] * b[3 * column + 2]);
  return out;
}

// Rotate about the vertical axis, then about the horizontal one; angles in radians.
function rotation(across, down) {
  const [c, s, d, t] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
  return multiply([1, 0, 0, 0, d, t, 0, -t, d], [c, 0, -s, 0, 1, 0, s, 0, c]);
}

const initialView = () => ({ rotation: rotation(-0.5, 0.35), zoom: 1, shift: [0, 0] });

function addControls(canvas, slider, reset, view, draw) {
  const pointers = new Map();
  const pinchDistance = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  const zoom = (factor) => { view.zoom = Math.min(20, Math.max(0.3, view.zoom * factor)); };
  const move = (across, down) => {
    view.shift[0] += (2 * across) / canvas.clientWidth;
    view.shift[1] -= (2 * down) / canvas.clientHeight;
  };
  const rotate = (across, down) => { view.rotation = multiply(rotation(across, down), view.rotation); };
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
  });
  for (const ended of ["pointerup", "pointercancel"])
    canvas.addEventListener(ended, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const previous = pointers.get(event.pointerId);
    if (!previous) return;
    const previousDistance = pointers.size === 2 && pinchDistance();
    const [across, down] = [event.clientX - previous.x, event.clientY - previous.y];
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (previousDistance) zoom(pinchDistance() / previousDistance);
    if (previousDistance) move(across / 2, down / 2);
    else if (event.shiftKey) move(across, down);
    else rotate(across * 0.008, down * 0.008);
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
    rotate(...step);
    draw();
  });
  slider.addEventListener("input", draw);
  reset.addEventListener("click", () => {
    Object.assign(view, initialView());
    slider.value = 0;
    draw();
  });
}

async function showSurface(mesh, canvas) {
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("this browser has no WebGL 2");
  const program = compileProgram(gl);
  const positions = interleave(await decode(mesh.positions, Uint16Array), Uint16Array);
  const corners = await decode(mesh.corners, Uint32Array);
  upload(gl, program, "position", positions, gl.UNSIGNED_SHORT, true);
  upload(gl, program, "colour", interleave(await decode(mesh.colours, Uint8Array), Uint8Array), gl.UNSIGNED_BYTE, true);
  upload(gl, program, "normal", vertexNormals(positions, corners), gl.FLOAT, false);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(...BACKGROUND, 1);

  const { centre, radius } = boundingSphere(positions);
  const uniform = (name) => gl.getUniformLocation(program, name);
  gl.uniform3fv(uniform("centre"), centre);
  gl.uniform1f(uniform("radius"), radius);
  gl.uniform3fv(uniform("background"), BACKGROUND);
  const slider = document.getElementById("cut");
  const view = initialView();
  let frameRequested = false;
  const draw = () => {
    if (frameRequested) return;
    frameRequested = true;
    requestAnimationFrame(() => {
      frameRequested = false;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.round(n * devicePixelRatio));
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      const size = (view.zoom * Math.min(width, height)) / (1.02 * radius);
      gl.viewport(0, 0, width, height);
      gl.uniformMatrix3fv(uniform("rotation"), false, view.rotation);
      gl.uniform2f(uniform("scale"), size / width, size / height);
      gl.uniform2fv(uniform("shift"), view.shift);
      gl.uniform1f(uniform("cutDepth"), radius * (1 - slider.value / 50));
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.drawElements(gl.TRIANGLES, corners.length, gl.UNSIGNED_INT, 0);
      canvas.dataset.drawn = Number(canvas.dataset.drawn || 0) + 1;
    });
  };
  addControls(canvas, slider, document.getElementById("reset"), view, draw);
  new ResizeObserver(draw).observe(canvas);
  draw();
}

const mesh = JSON.parse(document.getElementById("mesh").textContent);
const canvas = document.getElementById("surface");
if (mesh && canvas) {
  showSurface(mesh, canvas).catch((error) => {
    const help = document.getElementById("surface-help");
    help.textContent = `The surface cannot be drawn: ${error.message}.`;
    canvas.hidden = true;
  });
}
