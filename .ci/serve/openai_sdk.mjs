// The official OpenAI SDK for Node against a server: node openai_sdk.mjs URL FOLDER, where FOLDER
// has what .ci/clients made: want, two images of "a red heart" of seed 1.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [url, folder] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "x", maxRetries: 0 });
const want = [0, 1].map((i) => readFileSync(`${folder}/want/00000${i}-a-red-heart.png`));

const names = [];
for await (const model of client.models.list()) names.push(model.id);
assert.equal(names[0], "emoji");

const answer = await client.images.generate({ model: "emoji", prompt: "a red heart", n: 2, seed: 1 });
answer.data.forEach((image, i) => assert.deepEqual(Buffer.from(image.b64_json, "base64"), want[i]));

const kinds = [];
let last;
for await (const event of await client.images.generate({ model: "emoji", prompt: "a red heart", stream: true, partial_images: 2, seed: 1 })) {
  kinds.push(event.type);
  last = event;
}
assert.deepEqual(kinds, ["image_generation.partial_image", "image_generation.partial_image", "image_generation.completed"]);
assert.deepEqual(Buffer.from(last.b64_json, "base64"), want[0]);

await assert.rejects(client.images.generate({ model: "fashion", prompt: "sneeker" }), (err) => err.status === 400 && err.param === "prompt");
console.log("the OpenAI SDK for Node: all as it should be");
