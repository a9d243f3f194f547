// Passes on what the microphone gives, a block at a time.
registerProcessor("pass", class extends AudioWorkletProcessor {
  process(inputs) {
    if (inputs[0].length) this.port.postMessage(inputs[0][0].slice());
    return true;
  }
});
