// The mesh of a report, to be turned by mouse or finger. Data: the JSON in #mesh, see apps/page_view.py; z is up.
import {
  Box3,
  BufferAttribute,
  BufferGeometry,
  Color,
  DirectionalLight,
  DoubleSide,
  HemisphereLight,
  Mesh,
  MeshBasicMaterial,
  MeshLambertMaterial,
  PerspectiveCamera,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

const CREASE = Math.cos((30 * Math.PI) / 180); // faces that meet at more than this keep a sharp edge between them
const FROM = new Vector3(0.47, -0.79, 0.39); // where the first view looks from
const ANGLE = 32; // degrees from the picture's bottom to its top
const ROOM = 1.08; // around what is shown
const GREY = [0.8, 0.8, 0.83];

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const linear = Array.from({ length: 256 }, (_, i) => new Color().setRGB(i / 255, 0, 0, "srgb").r);
const byte = (value) => linear[Math.round(255 * Math.min(Math.max(value, 0), 1))];

function decoded(data) {
  const places = new Uint16Array(bytes(data.positions).buffer);
  const index = new (data.wide ? Uint32Array : Uint16Array)(bytes(data.faces).buffer);
  const positions = Float32Array.from(places, (value, i) => (value / 65535 - 0.5) * data.extent[i % 3]);
  return { positions, index, colors: data.colors && bytes(data.colors), confidence: data.confidence && bytes(data.confidence) };
}

// A normal for each corner of each face: the mean, weighted by area, of the faces around its vertex that the face doesn't meet at a crease.
function cornerNormals(positions, index) {
  const faces = index.length / 3;
  const areas = new Float32Array(3 * faces), units = new Float32Array(3 * faces), normals = new Float32Array(9 * faces);
  const start = new Uint32Array(positions.length / 3 + 1), around = new Uint32Array(index.length);
  const [a, b, c] = [new Vector3(), new Vector3(), new Vector3()];
  for (let face = 0; face < faces; face++) {
    a.fromArray(positions, 3 * index[3 * face]);
    b.fromArray(positions, 3 * index[3 * face + 1]).sub(a);
    c.fromArray(positions, 3 * index[3 * face + 2]).sub(a);
    b.cross(c).toArray(areas, 3 * face);
    b.normalize().toArray(units, 3 * face);
  }
  for (const vertex of index) start[vertex + 1]++;
  for (let i = 1; i < start.length; i++) start[i] += start[i - 1];
  const next = start.slice();
  index.forEach((vertex, corner) => (around[next[vertex]++] = Math.floor(corner / 3)));
  index.forEach((vertex, corner) => {
    const own = 3 * Math.floor(corner / 3);
    a.set(0, 0, 0);
    for (let i = start[vertex]; i < start[vertex + 1]; i++) {
      const other = 3 * around[i];
      const meets = units[own] * units[other] + units[own + 1] * units[other + 1] + units[own + 2] * units[other + 2];
      if (meets >= CREASE) a.add(b.fromArray(areas, other));
    }
    a.normalize().toArray(normals, 3 * corner);
  });
  return normals;
}

// Paints of corners: functions of a corner and its vertex that give linear red, green and blue.
function paintings(data, mesh, normals) {
  const map = data.colormap.map((color) => color.map((value) => linear[value]));
  const confident = map.length - 1;
  return {
    colors: (_, vertex) => (mesh.colors ? [0, 1, 2].map((i) => linear[mesh.colors[3 * vertex + i]]) : GREY.map(byte)),
    confidence: (_, vertex) => {
      const place = (mesh.confidence[vertex] / 255) * confident, low = Math.min(Math.floor(place), confident - 1);
      return map[low].map((value, i) => value + (place - low) * (map[low + 1][i] - value));
    },
    normals: (corner) => [0, 1, 2].map((i) => byte(0.5 + normals[3 * corner + i] / 2)),
  };
}

function painted(paint, index) {
  const colors = new Float32Array(3 * index.length);
  index.forEach((vertex, corner) => colors.set(paint(corner, vertex), 3 * corner));
  return new BufferAttribute(colors, 3);
}

function show(data, canvas, controls) {
  const mesh = decoded(data), { index } = mesh;
  const normals = cornerNormals(mesh.positions, index);
  const paints = paintings(data, mesh, normals), made = {};
  const geometry = new BufferGeometry(), corners = new Float32Array(3 * index.length);
  index.forEach((vertex, corner) => corners.set(mesh.positions.subarray(3 * vertex, 3 * vertex + 3), 3 * corner));
  geometry.setAttribute("position", new BufferAttribute(corners, 3));
  geometry.setAttribute("normal", new BufferAttribute(normals, 3));
  const every = Uint32Array.from(index, (_, corner) => corner);
  const seen = mesh.confidence
    ? every.filter((corner) => [0, 1, 2].every((i) => mesh.confidence[index[corner - (corner % 3) + i]] >= data.seen))
    : every;

  const behindWires = { polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 };
  const lit = new MeshLambertMaterial({ vertexColors: true, side: DoubleSide, ...behindWires });
  const flat = new MeshBasicMaterial({ vertexColors: true, side: DoubleSide, ...behindWires });
  const surface = new Mesh(geometry, lit);
  const wires = new Mesh(geometry, new MeshBasicMaterial({ wireframe: true, color: 0x000000, transparent: true, opacity: 0.35 }));
  const size = Math.hypot(...data.extent), camera = new PerspectiveCamera(ANGLE, 1, size / 1000, 20 * size);
  camera.up.set(0, 0, 1);
  const scene = new Scene(), sky = new HemisphereLight(0xffffff, 0xb8b4ac, 1.6), sun = new DirectionalLight(0xffffff, 2);
  sky.position.set(0, 0, 1);
  sun.position.set(-0.4, 0.55, 1); // above the viewer's left shoulder, wherever that is
  camera.add(sun, sun.target);
  scene.add(surface, wires, camera, sky);

  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  const orbit = new OrbitControls(camera, canvas);
  orbit.enableZoom = false; // the wheel scrolls the page until the view is taken hold of
  canvas.addEventListener("pointerdown", () => (orbit.enableZoom = true));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !event.buttons && (orbit.enableZoom = false));

  let waiting = false;
  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      renderer.render(scene, camera);
      canvas.dataset.drawn = Number(canvas.dataset.drawn || 0) + 1;
    });
  }
  function choose() {
    const paint = controls.paint.value;
    made[paint] ||= painted(paints[paint], index);
    geometry.setAttribute("color", made[paint]);
    surface.material = paint === "normals" ? flat : lit;
    geometry.setIndex(new BufferAttribute(controls.seen?.checked ? seen : every, 1));
    wires.visible = controls.wires.checked;
    draw();
  }
  function fit() {
    const { clientWidth, clientHeight } = canvas.parentElement;
    renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    renderer.setSize(clientWidth, clientHeight, false);
    camera.aspect = clientWidth / clientHeight;
    camera.updateProjectionMatrix();
    draw();
  }
  function home() {
    const shown = geometry.index.array, box = new Box3(), place = new Vector3();
    for (const corner of shown) box.expandByPoint(place.fromArray(corners, 3 * corner));
    box.getCenter(orbit.target);
    const ahead = FROM.clone().normalize().negate(), right = ahead.clone().cross(camera.up).normalize(), up = right.clone().cross(ahead);
    const high = Math.tan((ANGLE * Math.PI) / 360), wide = high * camera.aspect;
    let away = 0; // from which all that is shown fits between the sides
    for (const corner of shown) {
      place.fromArray(corners, 3 * corner).sub(orbit.target);
      away = Math.max(away, Math.max(Math.abs(place.dot(right)) / wide, Math.abs(place.dot(up)) / high) - place.dot(ahead));
    }
    camera.position.copy(ahead).multiplyScalar(-ROOM * (away || size)).add(orbit.target);
    orbit.update();
    draw();
  }
  orbit.addEventListener("change", draw);
  controls.addEventListener("change", choose);
  controls.home.addEventListener("click", home);
  canvas.addEventListener("webglcontextrestored", draw);
  new ResizeObserver(fit).observe(canvas.parentElement);
  fit();
  choose();
  home();
}

if (document.createElement("canvas").getContext("webgl2")) {
  const part = (id) => document.getElementById(id);
  show(JSON.parse(part("mesh").textContent), part("canvas"), part("controls"));
} else {
  document.getElementById("view").classList.add("without");
}
