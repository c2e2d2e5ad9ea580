"""The official OpenAI SDK for Python against a server: openai_sdk.py URL FOLDER.

FOLDER has what .ci/clients made: want, two images of "a red heart" of seed 1, and class, a sneaker."""
import base64
import pathlib
import sys

from openai import BadRequestError, OpenAI

url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
client = OpenAI(base_url=url + "/v1", api_key="x", max_retries=0)
want = [(folder / f"want/{i:06}-a-red-heart.png").read_bytes() for i in range(2)]

names = [m.id for m in client.models.list()]
assert names[:2] == ["emoji", "fashion"], names

answer = client.images.generate(model="emoji", prompt="a red heart", n=2, extra_body={"seed": 1})
for i, image in enumerate(answer.data):
    assert base64.b64decode(image.b64_json) == want[i], f"image {i} is another than generate's"
assert answer.seed == 1 and answer.policy and 0 < answer.computed_token_ratio < 1, answer

events = list(client.images.generate(
    model="emoji", prompt="a red heart", n=1, stream=True, partial_images=2, extra_body={"seed": 1}))
kinds = [e.type for e in events]
assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"], kinds
assert [e.partial_image_index for e in events[:2]] == [0, 1]
assert base64.b64decode(events[2].b64_json) == want[0] and events[2].usage.total_tokens == 0

by_url = client.images.generate(prompt="a red heart", response_format="url", extra_body={"seed": 1})
assert client._client.get(by_url.data[0].url).content == want[0]

sneaker = client.images.generate(model="fashion", prompt="sneaker", extra_body={"seed": 1})
assert base64.b64decode(sneaker.data[0].b64_json) == (folder / "class/000000.png").read_bytes()

for wrong, param in [({"prompt": "sneeker", "model": "fashion"}, "prompt"), ({"prompt": "bag", "n": 11}, "n"), ({"prompt": "bag", "model": "dall-e-3"}, "model"),
                     ({"prompt": "bag", "size": "1024x1024"}, "size"), ({"prompt": "x" * 32001}, "prompt")]:
    try:
        client.images.generate(**wrong)
        raise AssertionError(f"{param}: no error")
    except BadRequestError as err:
        assert err.param == param, (err.param, param)
print("the OpenAI SDK for Python: all as it should be")
