// The block that torch_block.py exported, in ONNX Runtime: ort_block.js WIDTH BATCH TOKENS, in the working folder.
const fs = require("fs");
const readline = require("readline");
const ort = require("onnxruntime-node");

const [width, batch, tokens] = process.argv.slice(2).map(Number);
const raw = (name) => {
  const b = fs.readFileSync(name + ".raw");
  return new Float32Array(b.buffer, b.byteOffset, b.length / 4);
};

(async () => {
  const session = await ort.InferenceSession.create("block.onnx", {
    executionProviders: ["cpu"],
    intraOpNumThreads: 2,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
  });
  const feeds = {
    x: new ort.Tensor("float32", raw("x"), [batch, tokens, width]),
    c: new ort.Tensor("float32", raw("c"), [batch, width]),
  };
  const want = raw("out");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim() !== "check") {
      const times = [];
      const begin = performance.now();
      while (performance.now() - begin < 300) {
        const start = performance.now();
        await session.run(feeds);
        times.push(performance.now() - start);
      }
      times.sort((a, b) => a - b);
      console.log(times[times.length >> 1]);
      continue;
    }
    const { out } = await session.run(feeds);
    let worst = 0;
    let squares = 0;
    for (let i = 0; i < want.length; i++) {
      worst = Math.max(worst, Math.abs(out.data[i] - want[i]));
      squares += want[i] * want[i];
    }
    console.log(worst / Math.sqrt(squares / want.length));
  }
})();
