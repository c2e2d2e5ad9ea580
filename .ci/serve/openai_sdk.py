"""The official OpenAI SDK for Python against a server: openai_sdk.py URL FOLDER.

FOLDER has what `tokencache generate --class sneaker --count 2 --seed 1` wrote."""
import base64
import pathlib
import sys

from openai import BadRequestError, OpenAI

url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
client = OpenAI(base_url=url + "/v1", api_key="x", max_retries=0)
want = [(folder / f"{i:06}.png").read_bytes() for i in range(2)]

names = [m.id for m in client.models.list()]
assert names[0] == "fashion", names

answer = client.images.generate(model="fashion", prompt="sneaker", n=2, extra_body={"seed": 1})
for i, image in enumerate(answer.data):
    assert base64.b64decode(image.b64_json) == want[i], f"image {i} is another than generate's"
assert answer.seed == 1 and answer.policy and 0 < answer.computed_token_ratio < 1, answer

events = list(client.images.generate(
    model="fashion", prompt="sneaker", n=1, stream=True, partial_images=2, extra_body={"seed": 1}))
kinds = [e.type for e in events]
assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"], kinds
assert [e.partial_image_index for e in events[:2]] == [0, 1]
assert base64.b64decode(events[2].b64_json) == want[0] and events[2].usage.total_tokens == 0

by_url = client.images.generate(prompt="sneaker", response_format="url", extra_body={"seed": 1})
assert client._client.get(by_url.data[0].url).content == want[0]

for wrong, param in [({"prompt": "sneeker"}, "prompt"), ({"prompt": "bag", "n": 11}, "n"), ({"prompt": "bag", "model": "dall-e-3"}, "model"),
                     ({"prompt": "bag", "size": "1024x1024"}, "size"), ({"prompt": "x" * 32001}, "prompt")]:
    try:
        client.images.generate(**wrong)
        raise AssertionError(f"{param}: no error")
    except BadRequestError as err:
        assert err.param == param, (err.param, param)
print("the OpenAI SDK for Python: all as it should be")
