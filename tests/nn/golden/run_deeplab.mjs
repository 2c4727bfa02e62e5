// Run the source graph of deeplabv3_mobilenetv2 in TensorFlow.js: `node run_deeplab.mjs FOLDER`, see make_deeplab.py.
//
// FOLDER holds `model/` (the package's), `images.json` (a list of {name, height, width}) and NAME.rgb for each (uint8,
// rows of RGB); it receives NAME.logits (float32, 21 a cell at stride 8) and NAME.classes (uint8, at full size).
// The graph wants a canvas of 513 x 513 and pools over all of it, the empty part included. Here its nodes run on the
// image alone: all convolutions from the normalised image on, then the head with the mean of the map. Constants of the
// graph that follow from the canvas get the values for the image: how far maps are filled up to be dilated.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const folder = process.argv[2];
const require = createRequire(path.resolve(folder, "package.json"));
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");

const NORMALISED = "sub_7";
const FEATURES = "MobilenetV2/expanded_conv_16/project/BatchNorm/FusedBatchNorm";
const POOLED = "AvgPool2D/AvgPool";
const POOLING_BRANCH = "image_pooling/Relu";
const ENLARGED = "ResizeBilinear_1";
const DILATED = { 2: "MobilenetV2/expanded_conv_7", 4: "MobilenetV2/expanded_conv_14" }; // first block of each rate
const LOGITS = "logits/semantic/BiasAdd";

async function loadModel() {
  const model = JSON.parse(fs.readFileSync(path.join(folder, "model/model.json")));
  const [group] = model.weightsManifest;
  const shards = group.paths.map((name) => fs.readFileSync(path.join(folder, "model", name)));
  const bytes = Uint8Array.from(Buffer.concat(shards));
  return tf.loadGraphModel({
    load: async () => ({
      modelTopology: model.modelTopology,
      weightSpecs: group.weights,
      weightData: bytes.buffer,
    }),
  });
}

// SAME padding of a dilated 3x3 convolution, by space-to-batch: `rate` cells on either side, then up to a multiple.
function fillings(height, width) {
  const constants = {};
  for (const rate of [2, 4]) {
    const extra = [height, width].map((size) => (rate - (size % rate)) % rate);
    const paddings = extra.map((cells) => [rate, rate + cells]);
    const crops = extra.map((cells) => [0, cells]);
    const prefix = `${DILATED[rate]}/depthwise/depthwise`;
    constants[`${prefix}/SpaceToBatchND/paddings`] = tf.tensor2d(paddings, [2, 2], "int32");
    constants[`${prefix}/BatchToSpaceND/crops`] = tf.tensor2d(crops, [2, 2], "int32");
  }
  return constants;
}

function logitsOf(model, pixels) {
  const normalised = tf.sub(tf.mul(pixels.toFloat(), 2 / 255), 1);
  const [rows, columns] = [pixels.shape[1], pixels.shape[2]].map((side) => Math.ceil(side / 8));
  const features = model.execute({ [NORMALISED]: normalised, ...fillings(rows, columns) }, FEATURES);
  const mean = tf.mean(features, [1, 2], true);
  const branch = model.execute({ [POOLED]: mean }, POOLING_BRANCH);
  const everywhere = tf.tile(branch, [1, features.shape[1], features.shape[2], 1]);
  return model.execute({ [ENLARGED]: everywhere, [FEATURES]: features }, LOGITS);
}

function save(name, kind, array) {
  fs.writeFileSync(path.join(folder, `${name}.${kind}`), Buffer.from(array.buffer, array.byteOffset, array.byteLength));
}

wasm.setWasmPaths(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json")) + "/dist/");
await tf.setBackend("wasm");
const model = await loadModel();
for (const { name, height, width } of JSON.parse(fs.readFileSync(path.join(folder, "images.json")))) {
  const bytes = fs.readFileSync(path.join(folder, `${name}.rgb`));
  const logits = logitsOf(model, tf.tensor4d(bytes, [1, height, width, 3]));
  save(name, "logits", logits.dataSync());
  const classes = tf.argMax(tf.image.resizeBilinear(logits, [height, width], true), 3);
  save(name, "classes", Uint8Array.from(classes.dataSync()));
}
console.log(`TensorFlow.js ${tf.version.tfjs}, ${tf.getBackend()}`);
