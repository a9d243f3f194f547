// Labels of a file, or of the microphone, window by window, by the ONNX model beside this page.
"use strict";

const COLOURS = ["#1f77b4", "#d95f02", "#2a9d5c", "#b5307a", "#8a6d1f"];
const OVERLAP = 0.5; // of neighbouring windows
const LISTENED = 30; // seconds of the microphone that are shown
const LONGEST = 3600; // seconds of a file
const at = (name) => document.getElementById(name);

let info, session, rows = [], stopListening = null, busy = false;

function say(text, state) {
  at("status").textContent = text;
  if (state) document.body.dataset.state = state;
}

async function start() {
  ort.env.wasm.wasmPaths = new URL("ort/", document.baseURI).href;
  ort.env.wasm.numThreads = 1; // more would need headers that plain file servers do not send
  info = await (await fetch("model.json")).json();
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  at("about").textContent =
    `${info.labels.length} classes; windows of ${info.window} s at ${info.sample_rate / 1000} kHz.`;
  for (const label of info.labels) {
    const item = document.createElement("li");
    for (const name of ["name", "bar", "value"]) {
      const part = document.createElement("span");
      part.className = name;
      item.append(part);
    }
    item.children[0].textContent = label;
    item.children[1].append(document.createElement("i"));
    at("classes").append(item);
  }
  at("microphone").disabled = !(navigator.mediaDevices && window.AudioWorkletNode);
  say("", "ready");
}

// Probabilities of one window of samples in [-1, 1].
async function probabilities(samples) {
  let tensor;
  if (info.samples === "int16") {
    const whole = Int16Array.from(samples, (x) => Math.max(-32768, Math.min(32767, Math.round(x * 32768))));
    tensor = new ort.Tensor("int16", whole, [1, whole.length]);
  } else {
    tensor = new ort.Tensor("float32", samples, [1, samples.length]);
  }
  const found = await session.run({ waveform: tensor });
  return Array.from(found.probabilities.data);
}

function mono(buffer) {
  const count = buffer.numberOfChannels;
  if (count === 1 || info.channel === "left") return buffer.getChannelData(0);
  if (info.channel === "right") return buffer.getChannelData(1);
  const mixed = new Float32Array(buffer.length);
  for (let channel = 0; channel < count; channel++) {
    const one = buffer.getChannelData(channel);
    for (let i = 0; i < mixed.length; i++) mixed[i] += one[i] / count;
  }
  return mixed;
}

async function labelFile(file) {
  if (busy) return;
  busy = true;
  if (stopListening) stopListening();
  try {
    say(`Reading ${file.name} …`, "busy");
    // A context at the model's rate resamples while it decodes.
    const context = new OfflineAudioContext(1, 1, info.sample_rate);
    const samples = mono(await context.decodeAudioData(await file.arrayBuffer()));
    if (samples.length > LONGEST * info.sample_rate) throw new Error(`longer than ${LONGEST} s`);
    const width = Math.round(info.window * info.sample_rate), step = Math.max(1, Math.round(width * (1 - OVERLAP)));
    rows = [];
    for (let first = 0; first === 0 || first + width - step < samples.length; first += step) {
      const piece = samples.slice(first, first + width);
      const [start, end] = [first / info.sample_rate, (first + piece.length) / info.sample_rate];
      rows.push({ start, end, probabilities: await probabilities(piece) });
    }
    show(samples.length / info.sample_rate, mean(rows));
    say(`${file.name}: ${rows.length} windows`, "done");
  } catch (error) {
    say(`${file.name} is not readable here: ${error.message}`, "failed");
  } finally {
    busy = false;
  }
}

async function listen() {
  const media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext({ sampleRate: info.sample_rate });
  await context.audioWorklet.addModule("worklet.js");
  const source = context.createMediaStreamSource(media), node = new AudioWorkletNode(context, "pass");
  const width = Math.round(info.window * info.sample_rate), held = new Float32Array(width);
  let total = 0, running = false, next = width;
  rows = [];
  node.port.onmessage = async ({ data }) => {
    held.copyWithin(0, data.length);
    held.set(data, width - data.length);
    total += data.length;
    if (running || total < next) return;
    running = true;
    next = total + Math.round(width * (1 - OVERLAP));
    const end = total / info.sample_rate;
    const row = { start: end - info.window, end, probabilities: await probabilities(held.slice()) };
    rows = [...rows.filter((one) => one.end > end - LISTENED), row];
    show(LISTENED, row.probabilities, Math.max(0, end - LISTENED));
    running = false;
  };
  source.connect(node);
  at("microphone").textContent = "Stop";
  say("Listening …", "listening");
  stopListening = () => {
    media.getTracks().forEach((track) => track.stop());
    context.close();
    stopListening = null;
    at("microphone").textContent = "Use the microphone";
    say("", "ready");
  };
}

function mean(some) {
  return info.labels.map((_, n) => some.reduce((sum, row) => sum + row.probabilities[n], 0) / some.length);
}

function show(seconds, overall, from = 0) {
  at("found").hidden = false;
  const order = overall.map((_, n) => n).sort((a, b) => overall[b] - overall[a]);
  const named = info.multi_label ? order.filter((n) => overall[n] >= info.threshold) : order.slice(0, 1);
  at("label").textContent = named.length ? named.map((n) => info.labels[n]).join(", ") : "none of the classes";
  const items = [...at("classes").children].sort((a, b) => a.dataset.number - b.dataset.number);
  items.forEach((item, n) => (item.dataset.number ??= n));
  order.forEach((n, rank) => {
    const item = items.find((one) => Number(one.dataset.number) === n);
    const bar = item.children[1].firstChild;
    bar.style.width = `${100 * overall[n]}%`;
    bar.style.background = rank < COLOURS.length ? COLOURS[rank] : "";
    item.children[2].textContent = overall[n].toFixed(3);
    at("classes").append(item);
  });
  draw(order.slice(0, COLOURS.length), seconds, from);
  at("axis").firstElementChild.textContent = `${from.toFixed(1)} s`;
  at("length").textContent = `${(from + seconds).toFixed(1)} s`;
}

function draw(classes, seconds, from) {
  const canvas = at("plot"), scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.strokeStyle = getComputedStyle(document.body).getPropertyValue("--line");
  for (const level of [0.25, 0.5, 0.75]) {
    pen.beginPath();
    pen.moveTo(0, height * (1 - level));
    pen.lineTo(width, height * (1 - level));
    pen.stroke();
  }
  pen.lineWidth = 2;
  classes.forEach((n, rank) => {
    pen.strokeStyle = COLOURS[rank];
    pen.beginPath();
    rows.forEach((row, place) => {
      const y = 3 + (height - 6) * (1 - row.probabilities[n]);
      // Windows overlap: a window is a point at its middle; the first and the last reach to the edges.
      const times = [(row.start + row.end) / 2];
      if (place === 0) times.unshift(row.start);
      if (place === rows.length - 1) times.push(row.end);
      for (const time of times) pen.lineTo(((time - from) / seconds) * width, y);
    });
    pen.stroke();
  });
}

at("file").addEventListener("change", (event) => event.target.files.length && labelFile(event.target.files[0]));
at("microphone").addEventListener("click", () => {
  if (stopListening) stopListening();
  else listen().catch((error) => say(`No microphone: ${error.message}`, "failed"));
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length && session) labelFile(event.dataTransfer.files[0]);
  });
}
start().catch((error) => say(`The model cannot be loaded: ${error.message}. The page needs a web server, see READ.txt.`, "failed"));
